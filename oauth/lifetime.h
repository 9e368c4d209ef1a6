// How long tokens live, and when to replace them: never invented, spread out, in good time.
#pragma once

#include "base/clock.h"
#include "crypto/secret.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace claviger::oauth {

enum class LifetimeSource { response, jwt, introspection, profile, unknown };
/// "response", "jwt", "introspection", "profile", "unknown".
std::string_view to_text(LifetimeSource source);

/// What is known, by source.
struct LifetimeHints {
    base::Time sent_at;  // when the request for the token left
    std::optional<base::Time> response = {};
    std::optional<base::Time> jwt = {};            // see jwt_expiry
    std::optional<base::Time> introspection = {};  // `exp` of RFC 7662
    std::optional<std::chrono::seconds> profile = {};
};

struct Lifetime {
    std::optional<base::Time> expires_at;  // nothing: refresh only when the upstream refuses the token
    LifetimeSource source = LifetimeSource::unknown;
};

/// The first source that says something. More than 10 years after `sent_at` is nothing.
Lifetime lifetime_of(const LifetimeHints& hints);

/// The `exp` claim of an access token that happens to be a signed JWT (RFC 7519 4.1.4). The signature is not
/// checked: a wrong answer only makes a refresh early or late. Nothing when it is no JWT or says nothing.
std::optional<base::Time> jwt_expiry(const crypto::Secret& access_token);

/// How long before its end a token of that lifetime is replaced: a tenth of it, 60 s to 15 min; below 5 min a
/// quarter of it, at least 15 s; and never more than half of it.
std::chrono::milliseconds refresh_margin(std::chrono::milliseconds lifetime);

/// A number that is the same for the same credential and generation, and unlike any other's.
std::uint64_t jitter_seed(std::string_view credential, std::uint64_t generation);

/// What a grant's next refresh depends on.
struct RefreshFacts {
    base::Time obtained_at;  // of the token set
    std::optional<base::Time> expires_at = {};
    std::optional<std::chrono::seconds> refresh_token_idle_ttl = {};  // it dies when not used for that long
    base::Time last_refreshed_at;                                     // or when it was granted
};

/// When to refresh in the background: the end less the margin less up to half a margin of jitter, or the keep
/// alive of the refresh token (a third of its idle time, at most 24 h), whichever is earlier. Nothing: only
/// when the upstream refuses the token.
std::optional<base::Time> refresh_due(const RefreshFacts& facts, std::uint64_t seed);

/// When to tell people that a token without successor runs out: at 80 % of its life.
base::Time expiry_warning_at(base::Time obtained_at, base::Time expires_at);

/// How long to wait after the `failures`-th failure in a row (1, 2, …): what the server asked for, at most
/// 1 h and at least 2^(failures - 1) s; else 2^failures seconds and up to half of that as jitter, at most 15
/// min.
std::chrono::milliseconds backoff_wait(unsigned failures, std::optional<std::chrono::seconds> retry_after,
                                       std::uint64_t seed);

}  // namespace claviger::oauth
