// The token that a token is exchanged for: another credential's, or one that was given; with ID-JAG the
// assertion that the identity provider gives for it (RFC 8693, RFC 7523, oauth.md 1.11).
#pragma once

#include "oauth/discovery.h"
#include "oauth/provider_catalog.h"
#include "vault/records.h"

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::oauth {

/// A short word for a token type, as the admin API takes it ("access_token", "refresh_token", "id_token",
/// "jwt", "saml2"), and its URN (RFC 8693 3). Nothing for another word.
std::optional<std::string_view> token_type_urn(std::string_view word);

/// Sent instead of, or in exchange for, one attempt's token. Move only.
struct SubjectToken {
    crypto::Secret token;
    std::optional<base::Time> good_until = {};  // what is bought with it should not be used for longer
    std::uint64_t version = 0;  // of the other credential that it is, or was got for; 0: it was given
};

/// Why there is none, as the outcome of an attempt that sent nothing to the token endpoint.
struct SubjectRefusal {
    AnswerClass kind = AnswerClass::not_sent;
    std::string code;         // "subject_gone", "subject_elsewhere", "subject_unusable", or the identity
                              // provider's
    std::string description;  // for the log
    /// The version of the other credential whose token the identity provider refused, if it did.
    std::optional<std::uint64_t> refused = {};
};

/// Everything is borrowed.
struct SubjectSought {
    const vault::Refresh& block;  // with an exchange
    base::WorkspaceId workspace;
    base::VaultId vault;
    const crypto::Secret* given = nullptr;  // the subject token, unless it is another credential's
    std::string_view issuer;                // of the server that the new token comes from; ID-JAG's audience
};

/// Whether such a refusal may be the token's own that was exchanged (RFC 8693 2.2.2, RFC 6749 5.2).
bool may_refuse_subject(const Classification& said);

/// On the commit thread, in the change after which the subject token may leave: an entry for the credential
/// whose token it is, if it is one's.
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
net::awaitable<std::expected<SubjectToken, SubjectRefusal>> fetch_subject(const SubjectMeans& means,
                                                                          const SubjectSought& sought);

}  // namespace claviger::oauth
