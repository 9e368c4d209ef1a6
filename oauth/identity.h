// Who consented: the ID token that came with an access token.
#pragma once

#include "oauth/discovery.h"
#include "vault/model.h"

#include <optional>
#include <string>

namespace claviger::oauth {

/// Success when there is no ID token, or a good one: issued by the issuer of the terms to its client, with
/// the nonce, and signed by a key of the issuer's where it publishes keys (OpenID Connect Core 3.1.3.7).
/// Errors: those of verify_jws and check_id_token; unauthenticated "id_token.keys_unreachable".
net::awaitable<base::Status> check_identity(const Outbound& out, const vault::ConnectTerms& terms,
                                            const ProviderProfile& profile, const TokenSet& tokens,
                                            std::optional<std::string> nonce);

}  // namespace claviger::oauth
