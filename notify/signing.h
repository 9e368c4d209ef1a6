// Signatures of deliveries as Standard Webhooks defines them, and how the secrets behind them rest.
#pragma once

#include "base/id.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "vault/key_ring.h"

#include <chrono>
#include <string>
#include <string_view>

namespace claviger::notify {

/// "whsec_" and 32 random bytes in base64.
crypto::Secret new_signing_secret();

/// As it rests in the endpoint's row: never in clear in the memory that holds the rows.
std::string seal_signing_secret(const vault::KeyRing& keys, const base::WebhookEndpointId& endpoint,
                                const crypto::Secret& secret);
/// Corrupt "webhook.secret_refused" when the text is not the one of that endpoint.
base::Result<crypto::Secret> open_signing_secret(const vault::KeyRing& keys,
                                                 const base::WebhookEndpointId& endpoint,
                                                 std::string_view sealed);

/// What a signature is made over.
struct Signed {
    std::string_view id;         // webhook-id
    std::int64_t timestamp = 0;  // webhook-timestamp: unix seconds of this attempt
    std::string_view body;
};
/// One value of webhook-signature, "v1,…". Corrupt "webhook.secret_refused" when `secret` is none of
/// new_signing_secret()'s shape.
base::Result<std::string> sign(const crypto::Secret& secret, const Signed& what);

}  // namespace claviger::notify
