#include "oauth/lifetime.h"

#include "base/bytes.h"
#include "oauth/answer_body.h"
#include "oauth/lifetime_text.h"
#include "oauth/token_response.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <span>
#include <string>

namespace claviger::oauth {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

/// SplitMix64: neighbouring seeds give unrelated numbers.
std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/// Evenly from 0 to `limit`.
milliseconds jitter(milliseconds limit, std::uint64_t seed) {
    if (limit <= 0ms) return 0ms;
    return milliseconds(
        static_cast<std::int64_t>(mixed(seed) % (static_cast<std::uint64_t>(limit.count()) + 1)));
}

std::optional<base::Time> expiry_in_claims(std::string_view claims) {
    const auto body = AnswerBody::parse_json(claims);
    if (!body) return std::nullopt;
    const auto exp = body->fields().find("exp");
    if (exp == body->fields().end()) return std::nullopt;
    return numeric_date(*exp);
}

}  // namespace

std::string_view to_text(LifetimeSource source) {
    switch (source) {  // no default: a new source must be given its word here
        case LifetimeSource::response:
            return "response";
        case LifetimeSource::jwt:
            return "jwt";
        case LifetimeSource::introspection:
            return "introspection";
        case LifetimeSource::profile:
            return "profile";
        case LifetimeSource::unknown:
            return "unknown";
    }
    return "unknown";
}

Lifetime lifetime_of(const LifetimeHints& hints) {
    std::optional<base::Time> of_profile;
    if (hints.profile) of_profile = after(hints.sent_at, hints.profile->count(), 1000);
    const Lifetime candidates[] = {{hints.response, LifetimeSource::response},
                                   {hints.jwt, LifetimeSource::jwt},
                                   {hints.introspection, LifetimeSource::introspection},
                                   {of_profile, LifetimeSource::profile}};
    for (const auto& candidate : candidates)
        if (candidate.expires_at && *candidate.expires_at - hints.sent_at <= kLongestLifetime)
            return candidate;
    return {};
}

std::optional<base::Time> jwt_expiry(const crypto::Secret& access_token) {
    return access_token.expose([](std::span<const std::byte> bytes) -> std::optional<base::Time> {
        const auto token = base::as_view(bytes);
        const auto first = token.find('.');
        if (first == std::string_view::npos) return std::nullopt;
        const auto second = token.find('.', first + 1);
        if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
            return std::nullopt;
        auto claims = base::from_base64url(token.substr(first + 1, second - first - 1));
        if (!claims) return std::nullopt;
        const auto expiry = expiry_in_claims(*claims);
        crypto::wipe(std::span<char>(*claims));
        return expiry;
    });
}

milliseconds refresh_margin(milliseconds lifetime) {
    const milliseconds wanted = lifetime < 5min ? std::max<milliseconds>(15s, lifetime / 4)
                                                : std::clamp<milliseconds>(lifetime / 10, 60s, 15min);
    return std::clamp<milliseconds>(wanted, 0ms, std::max<milliseconds>(lifetime / 2, 0ms));
}

std::uint64_t jitter_seed(std::string_view credential, std::uint64_t generation) {
    std::uint64_t seed = generation;
    for (const char c : credential) seed = mixed(seed ^ static_cast<unsigned char>(c));
    return mixed(seed);
}

std::optional<base::Time> refresh_due(const RefreshFacts& facts, std::uint64_t seed) {
    std::optional<base::Time> due;
    if (facts.expires_at) {
        const auto margin = refresh_margin(*facts.expires_at - facts.obtained_at);
        due = *facts.expires_at - margin - jitter(margin / 2, seed);
    }
    if (facts.refresh_token_idle_ttl) {
        const auto idle = std::min<milliseconds>(24h, milliseconds(*facts.refresh_token_idle_ttl) / 3);
        const auto keep_alive = facts.last_refreshed_at + std::max<milliseconds>(idle, 0ms);
        due = due ? std::min(*due, keep_alive) : keep_alive;
    }
    return due;
}

base::Time expiry_warning_at(base::Time obtained_at, base::Time expires_at) {
    return obtained_at + std::max<milliseconds>(expires_at - obtained_at, 0ms) / 5 * 4;
}

milliseconds backoff_wait(unsigned failures, std::optional<seconds> retry_after, std::uint64_t seed) {
    // A server that says "at once" again and again is not asked again and again at once.
    const seconds least(std::uint64_t{1} << std::min(failures == 0 ? 0U : failures - 1, 6U));
    if (retry_after) return std::clamp<milliseconds>(*retry_after, least, 1h);
    const milliseconds wait = seconds(std::uint64_t{1} << std::min(failures, 10U));
    return std::min<milliseconds>(wait + jitter(wait / 2, mixed(seed) + failures), 15min);
}

}  // namespace claviger::oauth
