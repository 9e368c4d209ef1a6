// One use of a refresh token: the request, its answer, and what the answer means.
#pragma once

#include "oauth/exchange.h"
#include "oauth/mint.h"
#include "oauth/provider_profile.h"
#include "oauth/stored_grant.h"
#include "vault/records.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace claviger::oauth {

/// Everything is borrowed until the outcome is there.
struct RefreshCall {
    const vault::Credential& credential;  // with a refresh block
    const vault::SecretParts& parts;
    const StoredGrant& grant;
    const ProviderProfile& profile;
    PresentedTokens presented = {};  // of a grant that exchanges
    net::PrivateAddresses private_addresses = net::PrivateAddresses::refuse;
    std::chrono::milliseconds timeout{30'000};
};

struct RefreshOutcome {
    Classification classification = {};
    std::optional<TokenSet> tokens = {};      // with success, and never otherwise
    Lifetime lifetime = {};                   // of those tokens
    std::vector<std::string> act_chain = {};  // who acts by them: see act_chain_of
    base::Time sent_at{};
    std::optional<ExchangeAnswer> refusal = {};  // the answer that brought no tokens, when one came
};

/// The code of an attempt that sent nothing because its answer could not have been kept.
inline constexpr std::string_view kNoJournal = "journal_unavailable";

/// Sends the refresh token, once; once more without `scope` when the answer refuses that one, or with a nonce
/// (oauth.md 2.1, 3). Errors are classes: a request that could not even be made is a `bug` or `grant_dead`.
net::awaitable<RefreshOutcome> send_refresh(net::Worker& worker, net::ClientPool& pool,
                                            const base::Clock& clock, const RefreshCall& call,
                                            const AttemptJournal& journal);

/// The outcome of an attempt that ended before its request could leave.
RefreshOutcome refused_here(AnswerClass kind, std::string code, base::Time now);

/// What an answer means, read by every shape of the profile. Also for answers that come from the journal.
RefreshOutcome read_refresh_answer(const TokenAnswer& answer, const TokenRequestFacts& request,
                                   const ProviderProfile& profile, const UnrecognizedHistory& history);

/// Whether the credential's tokens are bound to a key of its own (RFC 9449).
bool is_bound(const vault::Credential& credential);

}  // namespace claviger::oauth
