// The tokens that a token is exchanged for: the subject's, which is another credential's or was given, or
// with ID-JAG the assertion that the identity provider gives for it; and the actor's, if somebody acts for
// the subject (RFC 8693, RFC 7523, oauth.md 1.11).
#pragma once

#include "oauth/discovery.h"
#include "oauth/mint.h"
#include "oauth/provider_catalog.h"
#include "vault/records.h"

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

/// A short word for a token type, as the admin API takes it ("access_token", "refresh_token", "id_token",
/// "jwt", "saml2"), and its URN (RFC 8693 3). Nothing for another word.
std::optional<std::string_view> token_type_urn(std::string_view word);

/// Another credential's token, as it left the store.
struct LentToken {
    base::CredentialId credential;
    std::uint64_t version = 0;  // of the credential
};

/// Sent instead of, or in exchange for, one attempt's token. Move only.
struct SubjectToken {
    crypto::Secret token;
    std::optional<base::Time> good_until = {};  // what is bought with it should not be used for longer
    std::optional<LentToken> lent = {};         // whose it is, or for whose it was got; nothing: it was given
};

/// All that one request presents. Move only.
struct ExchangedTokens {
    SubjectToken subject;
    std::optional<SubjectToken> actor = {};  // of a token exchange in which somebody acts for the subject

    PresentedTokens presented() const;             // borrowed from this
    std::optional<base::Time> good_until() const;  // the earliest end of any of them
    std::vector<LentToken> lent() const;           // those that are other credentials'
};

/// Why there are none, as the outcome of an attempt that sent nothing to the token endpoint.
struct SubjectRefusal {
    AnswerClass kind = AnswerClass::not_sent;
    /// "subject_gone", "subject_elsewhere", "subject_unusable", the same with "actor_", or the identity
    /// provider's.
    std::string code;
    std::string description;  // for the log
    /// The other credential's token that the identity provider refused, if it did.
    std::optional<LentToken> refused = {};
};

/// Everything is borrowed.
struct SubjectSought {
    const vault::Refresh& block;  // with an exchange
    base::WorkspaceId workspace;
    base::VaultId vault;
    const crypto::Secret* given = nullptr;  // the subject token, unless it is another credential's
    std::string_view issuer;                // of the server that the new token comes from; ID-JAG's audience
};

/// Whether such a refusal may be due to a token that was exchanged, the subject's or the actor's (RFC 8693
/// 2.2.2, RFC 6749 5.2).
bool may_refuse_subject(const Classification& said);

/// On the commit thread, in the change after which the tokens may leave: an entry for each credential whose
/// token is the subject's or the actor's.
void note_exchange(vault::Change& change, const vault::Refresh& block);

struct SubjectMeans {
    const vault::Records& records;
    const ProviderCatalog& providers;
    const Outbound& out;
    /// Waits until that credential's token may be used.
    std::function<net::awaitable<base::Status>(const base::CredentialId&)> make_usable;
};

/// Another credential's token goes to the token endpoint that it came from and nowhere else: an exchange is
/// no way to get a stored token out. The identity provider is asked as the client of that credential, or for
/// a given token as the workspace's registered client of its issuer.
/// The actor's token is renewed first where that is due, like the subject's.
net::awaitable<std::expected<ExchangedTokens, SubjectRefusal>> fetch_exchanged(const SubjectMeans& means,
                                                                               const SubjectSought& sought);

}  // namespace claviger::oauth
