// The client that a stored grant belongs to, ready to prove itself.
#pragma once

#include "oauth/client_auth.h"
#include "oauth/provider_profile.h"
#include "vault/model.h"

#include <memory>
#include <string_view>

namespace claviger::oauth {

/// The identity, and the key that it points to if it has one. Move only.
struct GrantClient {
    ClientIdentity identity;
    std::unique_ptr<SigningKey> key;
};

ClientAuthMethod method_of(vault::TokenEndpointAuth auth);

/// `secret` is borrowed by the result: the client secret, or the private key in PEM; may be null. `issuer`
/// may be empty: then assertions are for the token endpoint. Errors: invalid_request "client_auth.no_key" and
/// those of SigningKey::from_pem.
base::Result<GrantClient> client_of(const vault::Refresh& refresh, const crypto::Secret* secret,
                                    const ProviderProfile& profile, std::string_view issuer);

/// `fields` with what the profile adds to every request to a token endpoint, and with the client's proof.
base::Result<TokenRequest> token_request(RequestFields fields, const GrantClient& client,
                                         const ProviderProfile& profile, base::Time now);

}  // namespace claviger::oauth
