// Proof of possession towards the server that a token is for (RFC 9449 7).
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "net/client.h"
#include "vault/records.h"

#include <string>
#include <string_view>

namespace claviger::oauth {

/// "https://mcp.example.com:8443": scheme and authority, no path.
std::string text_of(const net::Origin& origin);

/// One request to a resource, as the proof names it.
struct ProvenRequest {
    std::string_view method;
    const net::Origin& origin;
    std::string_view target;      // path and query
    std::string_view nonce = {};  // the newest that the server gave; may be empty
};

/// Adds the DPoP header. Errors: denied "credential.not_sendable" when token or key is missing, or the header
/// cannot be written; those of DpopKey::import and DpopKey::proof.
base::Status add_resource_proof(net::OutboundHead& head, const ProvenRequest& request,
                                const vault::SecretParts& secrets, base::Time now);

}  // namespace claviger::oauth
