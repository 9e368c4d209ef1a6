// The client that a stored grant belongs to, ready to prove itself.
#pragma once

#include "oauth/client_auth.h"
#include "oauth/provider_profile.h"
#include "vault/records.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

/// The identity, and the key that it points to if it has one. Move only.
struct GrantClient {
    ClientIdentity identity;
    std::unique_ptr<SigningKey> key;
};

ClientAuthMethod method_of(vault::TokenEndpointAuth auth);

/// What tokens of the block are asked for (RFC 8707): as it was sent when the account was connected, which a
/// profile that fixes it may have had {variables} in.
std::vector<std::string> resources_of(const vault::Refresh& refresh, const ProviderProfile& profile);

/// Whether the credential's token goes nowhere without the client's certificate (RFC 8705 3).
bool shows_certificate(const vault::Credential& credential);
/// Errors: denied "credential.not_sendable" when there is none that can be used.
base::Result<std::shared_ptr<const net::TlsIdentity>> certificate_of(const vault::SecretParts& parts);

/// `secret` is borrowed by the result: the client secret, the private key in PEM, or that with its
/// certificate; may be null. `issuer` may be empty: then assertions are for the token endpoint. Errors:
/// invalid_request "client_auth.no_key", "client_auth.no_certificate" (also of a key that the profile's
/// key_hint names by its certificate), and those of SigningKey::from_pem and
/// TlsIdentity::from_pem.
base::Result<GrantClient> client_of(const vault::Refresh& refresh, const crypto::Secret* secret,
                                    const ProviderProfile& profile, std::string_view issuer);

/// `fields` with what the profile adds to every request to a token endpoint, and with the client's proof.
base::Result<TokenRequest> token_request(RequestFields fields, const GrantClient& client,
                                         const ProviderProfile& profile, base::Time now);

}  // namespace claviger::oauth
