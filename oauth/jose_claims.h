// What an ID token must say before we believe who consented (OpenID Connect Core 3.1.3.7).
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/jose_key.h"

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <optional>
#include <string_view>

namespace claviger::oauth {

struct IdTokenRules {
    std::string_view issuer;     // compared byte by byte
    std::string_view client_id;  // ours
    /// As sent in the authorization request; nothing after a refresh, where it is not required.
    std::optional<std::string_view> nonce;
    /// After a refresh: the "sub" of the first ID token, which must not change.
    std::optional<std::string_view> subject;
    /// When max_age was asked for: "auth_time" must be there and recent enough.
    std::optional<std::chrono::seconds> max_age;
    /// The access token that came along, for "at_hash"; may be null.
    const crypto::Secret* access_token = nullptr;
    Algorithm algorithm{};            // of the ID token's signature: it decides how at_hash is made
    std::chrono::seconds leeway{60};  // between the issuer's clock and ours
};

/// Pure. `claims` are those of a verified token (claims_of). Times may be off by the leeway. Errors,
/// unauthenticated: "id_token.wrong_issuer", "id_token.wrong_audience", "id_token.wrong_party",
/// "id_token.expired", "id_token.from_the_future", "id_token.no_subject", "id_token.other_subject",
/// "id_token.wrong_nonce", "id_token.stale_login", "id_token.wrong_access_token", and "id_token.no_times"
/// when exp or iat is missing.
base::Status check_id_token(const nlohmann::json& claims, const IdTokenRules& rules, base::Time now);

}  // namespace claviger::oauth
