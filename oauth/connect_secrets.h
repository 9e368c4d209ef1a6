// What is secret in a connect link and in a stored client, sealed apart from the rows that hold it.
#pragma once

#include "base/id.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "vault/key_ring.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::oauth {

struct ConnectSecrets {
    std::optional<crypto::Secret> client_secret = {};  // or the private key, in PEM
    std::optional<crypto::Secret> verifier = {};       // of PKCE
    std::optional<crypto::Secret> device_code = {};
    std::optional<crypto::Secret> registration_token = {};  // RFC 7592
    std::optional<crypto::Secret> dpop_key = {};            // RFC 9449, as DpopKey::exported gives it
    std::optional<crypto::Secret> subject_token = {};       // that the tokens are exchanged for, if given
};

/// A text that only opens with the same `row`, the id of the row that it rests in. Empty for no secrets.
std::string seal_secrets(const vault::KeyRing& keys, const base::RawId& row, const ConnectSecrets& secrets);
/// Corrupt "connect.secrets_refused".
base::Result<ConnectSecrets> open_secrets(const vault::KeyRing& keys, const base::RawId& row,
                                          std::string_view sealed);

}  // namespace claviger::oauth
