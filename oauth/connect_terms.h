// What is settled before a person is sent anywhere: with whom, as which client, for what.
#pragma once

#include "oauth/connect_client.h"
#include "oauth/dpop.h"

#include <optional>
#include <string>

namespace claviger::oauth {

struct Negotiated {
    ProviderProfile profile;
    AuthorizationServer server;
    vault::ConnectTerms terms;
    std::optional<crypto::Secret> client_secret;  // or the private key, in PEM
    std::optional<DpopKey> key;                   // the tokens are to be bound to it
    bool offline = false;                         // the profile's offline parameters are to be sent
    std::string claims = {};  // that the server wants to find in the next token (oauth.md 1.15); empty: none
};

/// Discovers, chooses the client and puts the scopes together: those of the wish; else of a reconnect what
/// was asked for before united with what calls were refused for since (oauth.md 1.15); else what the server
/// asks for, or the profile. Errors: denied "connect.other_issuer", and those of profile_of, discover and
/// choose_client.
net::awaitable<base::Result<Negotiated>> negotiate(const ConnectWorld& world, const Outbound& out,
                                                   const vault::Actor& actor, const vault::ConnectFlow& flow);

/// Whether the wish says enough about the authorization server. An MCP server names whichever it likes, so
/// whatever is proof of a client of ours goes to one that was named beforehand: by the wish, or by the
/// provider's profile; a grant that needs no person must have one in any case. Errors: invalid_request
/// "connect.issuer_needed", "connect.issuer_contradicts_provider".
base::Status check_pin(const ProviderProfile& profile, const vault::ConnectWish& wish, bool has_proof);

/// The block that rests in the credential: how the next token set is got, and from whom.
vault::Refresh refresh_block(const vault::ConnectWish& wish, const vault::ConnectTerms& terms,
                             const ProviderProfile& profile);

}  // namespace claviger::oauth
