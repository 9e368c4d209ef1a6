#include "oauth/grant_state.h"

#include "oauth/lifetime.h"

#include <algorithm>
#include <array>
#include <utility>

namespace claviger::oauth {
namespace {

using enum GrantState;
using namespace std::chrono_literals;

constexpr std::array<std::pair<GrantState, std::string_view>, 10> kNames{{{initial, "new"},
                                                                          {ready, "ready"},
                                                                          {refreshing, "refreshing"},
                                                                          {uncertain, "uncertain"},
                                                                          {backoff, "backoff"},
                                                                          {needs_reauth, "needs_reauth"},
                                                                          {needs_config, "needs_config"},
                                                                          {suspended, "suspended"},
                                                                          {revoking, "revoking"},
                                                                          {revoked, "revoked"}}};

/// From when on the access token is about to be missed.
base::Time needed_at(const GrantFacts& facts) {
    const auto obtained = facts.obtained_at.value_or(*facts.expires_at);
    return *facts.expires_at - refresh_margin(*facts.expires_at - obtained);
}

/// A spent refresh token that is sent again may cost the access token that still works, and a retry is no
/// better early: wait until that token is of no more use.
RetryPlan deferred(const GrantFacts& facts, base::Time earliest) {
    if (!facts.expires_at) return {.not_before = std::nullopt};
    return {.not_before = std::max(needed_at(facts), earliest)};
}

}  // namespace

std::string_view to_text(GrantState state) {
    for (const auto& [known, name] : kNames)
        if (known == state) return name;
    return "new";
}

std::optional<GrantState> parse_grant_state(std::string_view text) {
    for (const auto& [state, name] : kNames)
        if (name == text) return state;
    return std::nullopt;
}

bool serves_tokens(GrantState state, std::optional<base::Time> expires_at, base::Time now) {
    if (expires_at && now >= *expires_at) return false;
    switch (state) {  // no default: a new state must be given its place here
        case ready:
        case refreshing:
        case uncertain:
        case backoff:
        case needs_config:
            return true;
        case initial:
        case needs_reauth:
        case suspended:
        case revoking:
        case revoked:
            return false;
    }
    return false;
}

bool cools_down(const GrantFacts& facts, base::Time now) {
    if (!facts.cooldown_until || now >= *facts.cooldown_until) return false;
    return !facts.cooldown_since || now >= *facts.cooldown_since - kClockSlack;
}

bool is_younger_than(const GrantFacts& facts, std::chrono::seconds window, base::Time now) {
    if (!facts.obtained_at) return false;
    const auto age = now - *facts.obtained_at;
    return age < window && age > -kClockSlack;
}

bool is_live(GrantState state) { return state != initial && state != revoking && state != revoked; }

RetryPlan plan_retry(const GrantFacts& facts, base::Time now) {
    if (!facts.attempt) return {.not_before = now};
    const auto first_sent = facts.unresolved ? facts.unresolved->started_at : facts.attempt->started_at;
    // One retry goes out at once; when that got no answer either, something is down, and we wait longer each
    // time.
    auto at_once = facts.fail_count <= 1 ? first_sent : facts.cooldown_until.value_or(first_sent);
    if (!cools_down(facts, now)) at_once = std::min(at_once, now);  // the clock may have been put back
    switch (facts.reuse) {
        case RefreshTokenReuse::reusable:
            return {.not_before = at_once};
        case RefreshTokenReuse::grace: {
            const auto end = first_sent + facts.reuse_grace - 30s;
            if (now <= end) return {.not_before = std::min(at_once, end), .best_before = end};
            return facts.old_access_token == OldAccessToken::dies ? RetryPlan{.not_before = at_once}
                                                                  : deferred(facts, at_once);
        }
        case RefreshTokenReuse::strict:
            return facts.old_access_token == OldAccessToken::dies ? RetryPlan{.not_before = at_once}
                                                                  : deferred(facts, at_once);
        case RefreshTokenReuse::unknown:
            return {.not_before = at_once};
    }
    return {.not_before = at_once};
}

}  // namespace claviger::oauth
