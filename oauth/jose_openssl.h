// What JOSE needs of OpenSSL 3: keys from the members of a JWK, and signatures as JWS writes them.
// Not for callers: only jose_*.cpp and client_auth.cpp include it.
#pragma once

#include "base/result.h"
#include "oauth/jose_key.h"

#include <openssl/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::oauth {

/// Drops what OpenSSL left in this thread's error queue since it was made: TLS connections on the same
/// thread would take it for their own trouble.
class QuietOpenSsl {
public:
    QuietOpenSsl();
    ~QuietOpenSsl();
    QuietOpenSsl(const QuietOpenSsl&) = delete;
    QuietOpenSsl& operator=(const QuietOpenSsl&) = delete;
};

/// The text of a JWK's string member; nothing when there is none.
using JwkMembers = std::function<std::optional<std::string_view>(std::string_view name)>;
enum class KeyPart { public_only, with_private };

/// Errors: invalid_request "jwk.unsupported" (kty, crv or size is none of ours), "jwk.invalid".
base::Result<KeyHandle> key_of_jwk(const JwkMembers& members, KeyPart part);

/// Nothing when the key is of none of our kinds, or an RSA key outside 2048 to 8192 bits.
std::optional<KeyShape> shape_of(EVP_PKEY* key);

/// The required public members in the order and spelling of RFC 7638 section 3.
std::string canonical_jwk(EVP_PKEY* key, KeyShape shape);

bool fits(KeyShape shape, Algorithm algorithm);

/// As JWS carries it: r and s side by side for ECDSA. Nothing when OpenSSL refuses.
std::optional<std::string> signature_of(EVP_PKEY* key, Algorithm algorithm, std::string_view message);
bool signature_holds(EVP_PKEY* key, Algorithm algorithm, std::string_view message,
                     std::string_view signature);

}  // namespace claviger::oauth
