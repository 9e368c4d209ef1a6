// Signed JSON Web Tokens: JWS compact serialization (RFC 7515), made and verified. No encryption.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/jose_key.h"
#include "oauth/jose_signing_key.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace claviger::oauth {

inline constexpr std::size_t kMostTokenBytes = 16 * 1024;

/// What the verifier of a token insists on. The token's own word counts for nothing: its "jku", "x5u", "x5c"
/// and "jwk" are ignored.
struct JwsRules {
    std::span<const Algorithm> algorithms;
    /// The values of "typ" that will do, without "application/" and in any case; "" allows it to be absent.
    /// No list: any.
    std::span<const std::string_view> types = {};
};

struct VerifiedJws {
    Algorithm algorithm;
    std::string key_id, type;  // "kid" and "typ"; empty when absent
    std::string payload;
};

/// The key is found by "kid"; without one, exactly one key of the set must fit the algorithm.
/// Errors: invalid_request "jwt.too_large", "jwt.malformed"; unauthenticated "jwt.algorithm_refused",
/// "jwt.type_refused", "jwt.critical_unknown", "jwt.key_unknown" (fetch the key set anew, then try once
/// more), "jwt.key_ambiguous", "jwt.signature_wrong".
base::Result<VerifiedJws> verify_jws(std::string_view token, const KeySet& keys, const JwsRules& rules);

/// The payload as claims; none of them has been checked. "jwt.malformed" when it is no JSON object.
base::Result<nlohmann::json> claims_of(const VerifiedJws& jws);

/// `header` is completed with "alg". The token is a secret: whoever has it can use it. Errors: those of
/// SigningKey::sign, and invalid_request "jwt.not_utf8", "jwt.too_large".
base::Result<crypto::Secret> sign_jwt(const SigningKey& key, Algorithm algorithm, nlohmann::json header,
                                      const nlohmann::json& claims);

/// The claims of a token that NOBODY HAS VERIFIED: good for choosing whose keys to ask, or for guessing when
/// our own access token ends; never for a decision about who may do what. Errors: invalid_request
/// "jwt.too_large", "jwt.malformed".
base::Result<nlohmann::json> unverified_claims(std::string_view token);
/// The "alg" in the header of such a token; empty when it is none that a signed token may have, or the header
/// demands an extension ("crit"). Errors as above.
base::Result<std::string> unverified_algorithm(std::string_view token);
/// "exp" of an access token that was issued to us; nothing when it is opaque, or says none.
std::optional<base::Time> unverified_expiry(std::string_view token);

/// A NumericDate claim (RFC 7519 section 2), fractions allowed; nothing when it is absent, no number, or
/// outside the years 1970 to 9999.
std::optional<base::Time> time_in(const nlohmann::json& claims, const char* name);
/// Whole seconds since 1970.
std::int64_t numeric_date(base::Time time);

}  // namespace claviger::oauth
