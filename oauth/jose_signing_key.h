// Private keys that sign: from PEM as providers hand them out, from a JWK, or made here.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/jose_key.h"

#include <string>
#include <string_view>

namespace claviger::oauth {

/// The private numbers live inside OpenSSL and nowhere else. Move only. Const members are safe from several
/// threads; signing with RSA takes about a millisecond.
class SigningKey {
public:
    static constexpr std::size_t kMostBytes = 32 * 1024;

    /// The first private key of a PEM text: PKCS#8, PKCS#1 or SEC1, without a pass phrase.
    /// Errors, invalid_request: "key.pem_invalid", "key.encrypted", "key.unsupported".
    static base::Result<SigningKey> from_pem(const crypto::Secret& pem);
    /// A private JWK; its "kid", "alg" and "use" count. Errors: invalid_request "jwk.invalid",
    /// "jwk.unsupported".
    static base::Result<SigningKey> from_jwk(const crypto::Secret& jwk);
    /// What pkcs8() gave. Errors: corrupt "key.pkcs8_invalid", invalid_request "key.unsupported".
    static base::Result<SigningKey> from_pkcs8(const crypto::Secret& der);
    static SigningKey generate_p256();

    /// The key in DER, to be sealed at rest.
    crypto::Secret pkcs8() const;
    const PublicKey& public_key() const { return public_; }
    /// The key's own "alg" or else the usual one of its kind: RS256 for RSA, ES256 for P-256.
    Algorithm algorithm() const;
    /// Errors: invalid_request "key.algorithm_mismatch", internal "key.cannot_sign".
    base::Result<std::string> sign(Algorithm algorithm, std::string_view message) const;

private:
    SigningKey(KeyHandle key, PublicKey public_key) : key_(std::move(key)), public_(std::move(public_key)) {}
    static base::Result<SigningKey> checked(KeyHandle key, const nlohmann::json& labels);

    KeyHandle key_;
    PublicKey public_;
};

}  // namespace claviger::oauth
