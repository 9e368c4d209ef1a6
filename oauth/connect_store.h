// Where a new grant ends up: credential, grant, link and log entry change together or not at all.
#pragma once

#include "oauth/connect_flow.h"
#include "oauth/dpop.h"
#include "oauth/lifetime.h"

#include <optional>
#include <string>
#include <vector>

namespace claviger::oauth {

/// What a token endpoint gave for a flow whose terms are settled. Borrowed.
struct Connected {
    const TokenSet& tokens;
    Lifetime lifetime;
    const std::optional<crypto::Secret>& client_secret;
    const std::optional<crypto::Secret>& subject_token;  // that was given to be exchanged
    const std::optional<DpopKey>& key;                   // that the tokens are bound to
    std::string account = {};                 // tells accounts of the provider apart; empty: unknown
    std::vector<std::string> act_chain = {};  // who acts by the tokens: see act_chain_of
};

/// What tells one account of the provider from another, as a fingerprint: the members that the profile names,
/// else the subject of the ID token. Empty when neither says anything.
std::string account_of(const ProviderProfile& profile, std::string_view issuer, const TokenSet& tokens);

/// On the commit thread: makes the credential or gives its new tokens to the one that is connected anew,
/// keeps its id, moves its grant on (oauth.md 9.3, row 2) and closes the flow. Errors: conflict
/// "connect.ended" (the flow has ended meanwhile, or is gone), "connect.target_gone" (vault or credential are
/// archived or deleted), "connect.other_account"; and those of ConnectWorld::check_room.
base::Result<base::CredentialId> store_connected(const ConnectWorld& world, vault::Change& change,
                                                 const base::ConnectLinkId& id,
                                                 const ProviderProfile& profile, const Connected& connected);

}  // namespace claviger::oauth
