// What happens to a grant, and what follows: the numbered transitions of the OAuth state machine, pure.
#pragma once

#include "oauth/classify.h"
#include "oauth/grant_state.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace claviger::oauth {

// Events. The comment gives the row of the table (oauth.md 9.3).

struct ConnectStarted {};  // 1: a person was sent a link
struct ConnectSucceeded {  // 2: the code was exchanged for tokens
    std::optional<base::Time> expires_at;
    bool renewable = false;
    Scopes scopes_requested = {};
};
struct ConnectFailed {  // 3: denied, expired, wrong issuer
    std::string reason;
};
struct ConnectUncertain {};  // 4: the code left, no answer came
struct RefreshDue {  // 5: also forced by an upstream that refused the token of generation `refused_gen`
    AttemptId attempt;
    base::Time lease_until;
    std::optional<std::uint64_t> refused_gen = {};
};
/// 6, 8, 11: a complete answer with tokens, in time, late, or from the journal.
struct TokensReceived {
    AttemptId attempt;
    std::uint64_t epoch = 0, parent_gen = 0;
    base::Time obtained_at;  // when the request left
    std::optional<base::Time> expires_at = {};
    bool renewable = true;
};
/// 7 to 10, 13, 14: any other outcome of an attempt.
struct RefreshRefused {
    AttemptId attempt;
    std::uint64_t parent_gen = 0;
    AnswerClass kind = AnswerClass::unknown_outcome;
    std::string code = {};
    std::optional<std::chrono::seconds> retry_after = {};
};
struct LeaseExpired {  // 10: whoever held it is gone
    AttemptId attempt;
};
struct RetryDue {  // 12; also forced like RefreshDue
    AttemptId attempt;
    base::Time lease_until;
    std::optional<std::uint64_t> refused_gen = {};
};
struct ClientRejected {  // 14, for the other grants of a client that was refused
    std::string code;
};
enum class ConfigCause { changed, daily_probe };
struct ConfigChanged {  // 15
    ConfigCause cause = ConfigCause::changed;
};
struct ExpiryNear {};    // 16: 80 % of the life of a set without successor are over
struct TokenExpired {};  // 16, and 9: the access token's time is up
struct ClockPutBack {};  // 16, undone: the clock that ended the set was wrong
struct EndNear {         // 16, of the grant as a whole: most of the time that its provider gives it is over
    base::Time ends_at;
};
/// No row: the authorization server said when the token ends, which its answer had left out (RFC 7662). A
/// time in the past means that it has ended.
struct LifetimeLearned {
    std::uint64_t epoch = 0, gen = 0;  // of the token that was asked about
    base::Time expires_at;
};
struct ScopeRefused {  // 17: 403 insufficient_scope
    std::string operation;
    Scopes challenged;
};
struct FreshTokenRefused {  // 18: the upstream refuses a token younger than kFreshFor
    std::uint64_t gen = 0;
};
/// 18, of a token without successor: the upstream wants claims that only another consent can bring.
struct ClaimsRefused {
    std::uint64_t gen = 0;
};
struct RevokedUpstream {};  // 19
struct IssuerChanged {};    // 20
struct Suspended {};        // 21
struct Resumed {};          // 21
struct Deleted {};          // 22
enum class RevocationEnd {
    done,
    given_up,
    unsupported  // the issuer answered that it does not revoke tokens of this type (RFC 7009 2.2.1)
};
struct RevocationEnded {  // 23
    RevocationEnd end = RevocationEnd::done;
};

using GrantEvent = std::variant<ConnectStarted, ConnectSucceeded, ConnectFailed, ConnectUncertain, RefreshDue,
                                TokensReceived, RefreshRefused, LeaseExpired, RetryDue, ClientRejected,
                                ConfigChanged, ExpiryNear, TokenExpired, ClockPutBack, EndNear,
                                LifetimeLearned, ScopeRefused, FreshTokenRefused, ClaimsRefused,
                                RevokedUpstream, IssuerChanged, Suspended, Resumed, Deleted, RevocationEnded>;

/// What the caller has to do, in the same transaction as the new facts where it touches the store.
enum class GrantAction {
    open_flow,               // write the row of the connect flow
    close_flow,              // with its reason
    replay_exchange,         // look into the journal for the answer to the code; never send the code again
    commit_attempt,          // durably, before the first byte of the request leaves
    write_tokens,            // access and refresh token together
    revoke_previous_tokens,  // the set of the former epoch
    revoke_stray_tokens,     // tokens that came too late to be of use
    drop_result,             // use what is in the row
    wake_waiters,            // with what is in the row now
    collect_journal,         // the answer is committed
    keep_ciphertext,         // kKeepDeadTokens for support; nothing serves it
    retry_later,             // at cooldown_until
    schedule_retry,          // see plan_retry()
    reject_client,           // ClientRejected to every other grant of the client; a dynamic client registers
                             // again, once
    refetch_metadata,        // once: the endpoint may have moved
    refresh_now,
    ask_for_scopes,  // a connect link for the step_ups that are pending
    revoke_grant,    // after the attempt in flight, at most kDeleteWaits; then destroy the data key
    destroy_key      // nothing can be opened any more
};

/// Numbers of the table.
inline constexpr std::chrono::seconds kFreshFor{60};  // row 18
inline constexpr std::chrono::seconds kFreshRefusedCooldown{60};
inline constexpr std::chrono::hours kKeepDeadTokens{7 * 24};      // row 7
inline constexpr std::chrono::seconds kDeleteWaits{30};           // row 22
inline constexpr unsigned kFailuresUntilDegraded = 3;             // row 9
inline constexpr unsigned kMaxStepUps = 3;                        // row 17
inline constexpr std::string_view kRefreshOperation = "refresh";  // the one that is ours, in a StepUp

struct Transition {
    GrantFacts facts;               // unchanged when refused
    unsigned row = 0;               // of the table; 0: section 2.5, or refused
    std::string_view audit = {};    // name of the audit event; empty: none
    std::string_view webhook = {};  // name of the webhook; empty: none
    std::vector<GrantAction> actions = {};
    std::string_view refusal = {};  // why the event changes nothing; empty when it was taken

    bool taken() const { return refusal.empty(); }
    bool has(GrantAction action) const;
};

/// A set without successor whose time was up by a clock that has been put back since.
bool is_ended_by_clock(const GrantFacts& facts, base::Time now);

/// What follows when `event` meets a grant that stands at `facts`. `now` is used for cooldowns and expiry
/// alone. An event that cannot happen here is refused: facts unchanged, no audit event, no webhook; tokens
/// that came with it are still to be revoked where the actions say so.
/// While a grant is suspended the outcome of a running attempt goes into the state behind the hold.
Transition apply(const GrantFacts& facts, const GrantEvent& event, base::Time now);

}  // namespace claviger::oauth
