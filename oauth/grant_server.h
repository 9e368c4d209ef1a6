// The authorization server that a stored grant came from: what is known of it, and what it says of itself.
#pragma once

#include "oauth/discovery.h"
#include "oauth/provider_catalog.h"
#include "oauth/stored_grant.h"

#include <optional>

namespace claviger::oauth {

/// The profile that the grant follows, with the credential's own values in place of its {variables}; one that
/// cannot be filled is as it is.
ProviderProfile filled_profile(const ProviderCatalog& providers, const vault::Credential& credential,
                               const StoredGrant& grant);

/// The server's metadata, for a credential with a refresh block; of a grant that does not know its issuer
/// that of the token endpoint's origin. They count only if they name the token endpoint that we know, the one
/// for clients with a certificate where ours shows one (RFC 8705 5); then all endpoints are those. Errors:
/// those of find_authorization_server, and denied "grant.other_server".
net::awaitable<base::Result<AuthorizationServer>> server_of(const Outbound& out,
                                                            const vault::Credential& credential,
                                                            const StoredGrant& grant);

}  // namespace claviger::oauth
