// Where a stored grant stands: its state, what its next step depends on, and what it still serves.
#pragma once

#include "base/clock.h"
#include "base/id.h"
#include "oauth/scopes.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

enum class GrantState {
    initial,       // "new": configured, no grant yet
    ready,         // a usable set; due or stale follows from time
    refreshing,    // an attempt is recorded and its lease held
    uncertain,     // an attempt may have been executed; its answer is unknown
    backoff,       // refused for now; not before cooldown_until
    needs_reauth,  // the grant is dead: a person must connect again
    needs_config,  // client, resource or metadata are refused: an operator must act
    suspended,     // held by an administrator or a policy
    revoking,      // deleted here, still to be revoked there
    revoked        // a tombstone
};

/// "new", "ready", "refreshing", … as stored and shown. Nothing for another text.
std::string_view to_text(GrantState state);
std::optional<GrantState> parse_grant_state(std::string_view text);

/// What using a refresh token does to it (oauth.md 2.6).
enum class RefreshTokenReuse {
    unknown,
    reusable,  // it stays valid
    grace,     // it is replaced, and accepted again for a while
    strict     // it is replaced; a second use is refused and may kill the grant
};

enum class OldAccessToken { unknown, survives, dies };  // when the refresh token is used

using AttemptId = base::RawId;

/// One use of the refresh token, on record before the first byte leaves.
struct RefreshAttempt {
    AttemptId id{};
    std::uint64_t parent_gen = 0;  // the generation whose refresh token it sends
    base::Time started_at{};
    base::Time lease_until{};
    std::optional<AttemptId> retry_of =
        {};  // the attempt that it repeats because that one's outcome is unknown
    bool operator==(const RefreshAttempt&) const = default;
};

/// An attempt whose outcome nobody knows; forgotten when the next token set is there.
struct UnresolvedAttempt {
    AttemptId id{};
    base::Time started_at{};
    bool operator==(const UnresolvedAttempt&) const = default;
};

/// Scopes that a refused operation needs and that only a person can grant (oauth.md 1.15).
struct StepUp {
    std::string operation;
    Scopes scopes;          // what to ask for: requested and challenged together
    unsigned attempts = 0;  // how often people were asked
    bool pending = true;    // false since the last consent
    bool operator==(const StepUp&) const = default;
};

/// Everything that transitions depend on and change. A plain record: the vault stores it, apply() rewrites
/// it.
struct GrantFacts {
    GrantState state = GrantState::initial;
    GrantState resume_to = GrantState::initial;  // the state behind `suspended`
    std::string reason = {};                     // normalised code of what led here; empty when all is well
    std::uint64_t epoch = 0;                     // grows by one with every consent
    std::uint64_t gen = 0;                       // grows by one with every token set of an epoch
    std::optional<RefreshAttempt> attempt = {};  // in flight, or of unknown outcome
    std::optional<UnresolvedAttempt> unresolved = {};
    unsigned fail_count = 0;  // failures in a row
    std::optional<base::Time> cooldown_until = {};
    std::optional<base::Time> cooldown_since = {};  // when that was decided
    std::optional<base::Time> obtained_at = {};
    std::optional<base::Time> expires_at = {};  // of the access token; nothing: unknown
    std::optional<base::Time> granted_at = {};  // when this epoch began: by a consent, or at the latest then
    bool renewable = false;  // there is something to get the next set with: a refresh token, or a grant that
                             // mints anew (client credentials, a JWT assertion)
    RefreshTokenReuse reuse = RefreshTokenReuse::unknown;
    std::chrono::seconds reuse_grace{0};  // with RefreshTokenReuse::grace
    OldAccessToken old_access_token = OldAccessToken::unknown;
    Scopes scopes_requested = {};
    std::vector<StepUp> step_ups = {};
    bool degraded = false;       // people were told that refreshing fails, and not yet that it works again
    bool expiry_warned = false;  // people were told that a set without successor runs out
    bool end_warned = false;     // people were told that the whole grant comes to its end
    std::optional<std::uint64_t> reauth_told_epoch = {};  // people were told that this epoch is dead
    std::uint64_t seed = 0;                               // of this credential's jitter, see jitter_seed
    bool operator==(const GrantFacts&) const = default;
};

/// Whether the stored access token may be injected: not when it is expired, and only in states that serve the
/// old token while a new one is missing. An unknown lifetime counts as not expired.
bool serves_tokens(GrantState state, std::optional<base::Time> expires_at, base::Time now);

/// How far the wall clock may go back without anybody taking it for more than a correction.
inline constexpr std::chrono::seconds kClockSlack{60};

/// Whether the waiting until `cooldown_until` goes on. A clock that was put back behind the beginning of it
/// ends it: what is to take seconds must not take the hours that the clock was wrong.
bool cools_down(const GrantFacts& facts, base::Time now);

/// Whether the token set came less than `window` ago, as far as a clock that may have been put back can tell.
bool is_younger_than(const GrantFacts& facts, std::chrono::seconds window, base::Time now);

/// True for the states of a grant that exists: not new, revoking or revoked.
bool is_live(GrantState state);

/// When to repeat an attempt of unknown outcome (oauth.md 9.4).
struct RetryPlan {
    /// Nothing: not before the upstream refuses the access token.
    std::optional<base::Time> not_before;
    /// The end of the provider's grace: a retry after it is refused if the first attempt was executed.
    std::optional<base::Time> best_before = {};
};
/// For facts in `uncertain` with their attempt; `now` only decides whether a grace is over.
RetryPlan plan_retry(const GrantFacts& facts, base::Time now);

}  // namespace claviger::oauth
