// Public keys that verify signatures (RFC 7517 JWK, RFC 7518, RFC 8037), alone or as a set.
#pragma once

#include "base/result.h"

#include <openssl/types.h>
#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

/// The signature algorithms there are here. No "none", and nothing with a shared secret, so that a public key
/// can never be mistaken for one.
enum class Algorithm { rs256, ps256, es256, es384, es512, eddsa };

/// As in the header of a JWS: "RS256".
std::string_view name_of(Algorithm algorithm);
std::optional<Algorithm> algorithm_named(std::string_view name);

enum class KeyShape { rsa, p256, p384, p521, ed25519 };

struct FreeKey {
    void operator()(EVP_PKEY* key) const;
};
using KeyHandle = std::unique_ptr<EVP_PKEY, FreeKey>;

/// Move only. Const members are safe from several threads.
class PublicKey {
public:
    /// RSA of 2048 to 8192 bits, EC P-256/384/521, OKP Ed25519. A key that also shows private members is
    /// refused: it is no secret any more. Errors: invalid_request "jwk.invalid", "jwk.unsupported".
    static base::Result<PublicKey> from_jwk(const nlohmann::json& jwk);

    /// The "kid"; may be empty.
    const std::string& id() const { return id_; }
    /// True when kty and crv match the algorithm and the key's own "alg", "use" and "key_ops" do not object.
    bool fits(Algorithm algorithm) const;
    /// False also when the algorithm does not fit.
    bool verifies(Algorithm algorithm, std::string_view message, std::string_view signature) const;
    /// The required members and no other, as JSON in the form that RFC 7638 hashes.
    const std::string& jwk() const { return jwk_; }
    /// RFC 7638, SHA-256, base64url.
    std::string thumbprint() const;

private:
    PublicKey() = default;

    KeyHandle key_;
    KeyShape shape_{};
    std::optional<Algorithm> only_algorithm_;
    bool signs_ = true;
    std::string id_, jwk_;
};

/// The keys of an issuer. Move only; const members are safe from several threads.
class KeySet {
public:
    static constexpr std::size_t kMostKeys = 100;
    static constexpr std::size_t kMostBytes = 256 * 1024;

    KeySet() = default;
    explicit KeySet(std::vector<PublicKey> keys) : keys_(std::move(keys)) {}
    /// Keys of kinds that we do not know, or that are broken, are left out (RFC 7517 section 5).
    /// Errors, invalid_request: those of parse_object, "jwks.invalid", "jwks.too_many_keys".
    static base::Result<KeySet> parse(std::string_view text);

    const std::vector<PublicKey>& keys() const { return keys_; }

private:
    std::vector<PublicKey> keys_;
};

}  // namespace claviger::oauth
