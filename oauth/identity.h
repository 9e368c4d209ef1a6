// Who consented: the ID token that came with an access token.
#pragma once

#include "oauth/discovery.h"
#include "vault/model.h"

#include <optional>
#include <string>

namespace claviger::oauth {

/// Success when there is no ID token, or a good one: issued by the issuer of the terms to its client, in
/// time, with the nonce, for the access token, and signed by a key of the issuer's (OpenID Connect
/// Core 3.1.3.7). Where the issuer publishes no keys, TLS to the token endpoint stands for the signature
/// (ibid., 6) and every claim is checked all the same; "alg": "none" is refused there, too. Where a profile's
/// issuer stands for many tenants, the issuer is the one that the token's "tid" names, and the one that
/// answered the browser, if it did. `now`: when the token came. Errors: those of verify_jws and
/// check_id_token; unauthenticated "id_token.keys_unreachable", "id_token.issuer", "id_token.no_proof".
net::awaitable<base::Status> check_identity(const Outbound& out, const vault::ConnectTerms& terms,
                                            const ProviderProfile& profile, const TokenSet& tokens,
                                            std::optional<std::string> nonce, base::Time now);

/// Whether an issuer is `templated` with another tenant: the same but for one segment of its path, which it
/// gives; nothing when it is not.
std::optional<std::string> tenant_of(std::string_view templated, std::string_view issuer);
/// Whether a profile's issuer leaves the tenant open: one that is an id itself does not.
bool leaves_tenant_open(const ProviderProfile& profile, std::string_view issuer);

}  // namespace claviger::oauth
