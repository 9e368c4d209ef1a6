#include "oauth/grant_event.h"

#include "oauth/lifetime.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace claviger::oauth {
namespace {

using enum GrantState;
using enum GrantAction;

constexpr std::size_t kMaxStepUpRows = 32;  // operations that a grant remembers

/// Rows are functions from facts and one event; `now` and the facts are members so that each reads like its
/// line in the table.
class Step {
public:
    Step(const GrantFacts& facts, base::Time now) : before_(facts), after_(facts), now_(now) {}

    Transition take(const ConnectStarted&) {
        if (dead_or_held()) return refuse("the grant is deleted or suspended");
        return done(1, "connect.started", {}, {open_flow});
    }

    Transition take(const ConnectSucceeded& event) {
        if (gone()) return refuse_stray("the grant is deleted");
        const bool had_tokens = before_.gen > 0;
        after_ = {};
        after_.state = ready;
        after_.epoch = before_.epoch + 1;
        after_.gen = 1;
        after_.obtained_at = after_.granted_at = now_;
        after_.expires_at = event.expires_at;
        after_.renewable = event.renewable;
        after_.reuse = before_.reuse;
        after_.reuse_grace = before_.reuse_grace;
        after_.old_access_token = before_.old_access_token;
        after_.scopes_requested = event.scopes_requested;
        after_.step_ups = before_.step_ups;
        for (auto& step_up : after_.step_ups) step_up.pending = false;
        after_.seed = before_.seed;
        auto transition =
            done(2, "connect.succeeded", "connection.ready", {write_tokens, close_flow, wake_waiters});
        if (had_tokens) transition.actions.push_back(revoke_previous_tokens);
        return transition;
    }

    Transition take(const ConnectFailed&) {
        if (gone()) return refuse("the grant is deleted");
        return done(3, "connect.failed", "connection.connect_failed", {close_flow});
    }

    Transition take(const ConnectUncertain&) {
        if (gone()) return refuse("the grant is deleted");
        return done(4, "connect.uncertain", "connection.connect_failed", {replay_exchange});
    }

    Transition take(const RefreshDue& event) {
        if (before_.state != ready && before_.state != backoff)
            return refuse("only a ready grant, or one whose waiting is over, is refreshed");
        if (!before_.renewable) return refuse("there is nothing to refresh with");
        if (cools_down(before_, now_)) return refuse("the waiting is not over");
        if (event.refused_gen && *event.refused_gen != before_.gen)
            return refuse("a newer token is there already");
        begin(event.attempt, event.lease_until);
        if (before_.unresolved) after_.attempt->retry_of = before_.unresolved->id;
        return done(5, "refresh.started", {}, {commit_attempt});
    }

    Transition take(const TokensReceived& event) {
        if (event.epoch != before_.epoch)
            return refuse_stray("the grant was connected anew, or deleted, since");
        if (before_.state == revoked || before_.state == initial) return refuse_stray("the grant is deleted");
        if (event.parent_gen != before_.gen) return superseded(event);
        if (before_.state == needs_reauth && before_.reason == "revoked_upstream")
            return refuse_stray("the provider said that this grant is revoked");
        const bool in_time = before_.state == refreshing && ours(event.attempt);
        if (!in_time && !expects_late_tokens()) return refuse("no attempt is under way");
        const bool told = before_.degraded || before_.reauth_told_epoch == before_.epoch;
        after_.gen = before_.gen + 1;
        after_.obtained_at = event.obtained_at;
        after_.expires_at = event.expires_at;
        after_.renewable = event.renewable;
        forget_attempt();
        settle();
        if (before_.state == revoking)
            return done(11, "refresh.recovered", {}, {write_tokens, collect_journal});
        if (before_.state == needs_config && before_.reason == "issuer_changed") {
            after_.reason = before_.reason;  // the tokens are kept, the issuer is still the wrong one
            return done(11, "refresh.recovered", {}, {write_tokens, collect_journal, wake_waiters});
        }
        after_.state = ready;
        return done(in_time ? 6 : 11, in_time ? "refresh.succeeded" : "refresh.recovered",
                    told ? "connection.recovered" : "", {write_tokens, collect_journal, wake_waiters});
    }

    Transition take(const RefreshRefused& event) {
        if (!ours(event.attempt)) {
            if (event.kind == AnswerClass::grant_dead && event.parent_gen < before_.gen && !gone())
                return refuse("another attempt has brought newer tokens");
            return refuse("this attempt is not on record any more");
        }
        if (before_.state == revoking) {
            after_.attempt.reset();
            return done(9, "refresh.deferred", {}, {});
        }
        if (before_.state != refreshing) return refuse("no attempt is under way");
        if (before_.gen != event.parent_gen) return moved_on();
        switch (event.kind) {  // no default: a new class must be given its row here
            case AnswerClass::grant_dead:
                return dead(event);
            case AnswerClass::not_sent:
            case AnswerClass::transient:
            case AnswerClass::dpop_nonce:
                return wait(event);
            case AnswerClass::scope:
                return wait_for_scopes(event);
            case AnswerClass::client_dead:
            case AnswerClass::target:
            case AnswerClass::bug:
                return misconfigured(event);
            case AnswerClass::unknown_outcome:
                return lost_sight(event.code, event.retry_after);
            case AnswerClass::success:
                return refuse("a success comes with tokens");
        }
        return refuse("this is no outcome");
    }

    Transition take(const LeaseExpired& event) {
        if (!ours(event.attempt) || now_ < before_.attempt->lease_until)
            return refuse("no such lease has expired");
        if (before_.state == revoking) {
            after_.attempt.reset();
            return done(10, "refresh.uncertain", {}, {});
        }
        if (before_.state != refreshing) return refuse("no attempt is under way");
        return lost_sight("lease_expired", {});
    }

    Transition take(const RetryDue& event) {
        if (before_.state != uncertain) return refuse("nothing is uncertain");
        if (!before_.attempt) return refuse("nothing is on record to repeat");
        if (!before_.renewable) return refuse("there is nothing to refresh with");
        const bool forced = event.refused_gen == before_.gen && (before_.fail_count <= 1 || waited());
        const auto plan = plan_retry(before_, now_);
        if (!forced && (!plan.not_before || now_ < *plan.not_before)) return refuse("the retry is not due");
        const auto repeated = before_.attempt->id;
        begin(event.attempt, event.lease_until);
        after_.attempt->retry_of = repeated;
        return done(12, "refresh.retried", {}, {commit_attempt});
    }

    Transition take(const ClientRejected& event) {
        if (before_.state != ready && before_.state != backoff)
            return refuse("this grant's own answers tell what becomes of it");
        after_.state = needs_config;
        after_.reason = event.code;
        return done(14, "client.rejected", {}, {});
    }

    Transition take(const ConfigChanged& event) {
        if (before_.state != needs_config) return refuse("nothing waits for a change");
        if (before_.reason == "issuer_changed" && event.cause == ConfigCause::daily_probe)
            return refuse("tokens of one issuer are never sent to another");
        settle();
        after_.state = before_.renewable ? backoff : ready;
        if (before_.renewable) cool_down(now_);
        auto transition = done(15, "client.updated", "connection.recovered", {});
        if (before_.renewable) transition.actions.push_back(refresh_now);
        return transition;
    }

    Transition take(const ExpiryNear&) {
        if (before_.state != ready || before_.renewable || before_.expiry_warned || !before_.expires_at)
            return refuse("nobody needs a warning");
        if (before_.obtained_at && now_ < expiry_warning_at(*before_.obtained_at, *before_.expires_at))
            return refuse("it is too early for a warning");
        after_.expiry_warned = true;
        return done(16, "connection.expiring", "connection.expiring", {});
    }

    Transition take(const TokenExpired&) {
        if (!before_.expires_at || now_ < *before_.expires_at) return refuse("the token is not expired");
        if (before_.state == ready && !before_.renewable) {
            after_.state = needs_reauth;
            after_.reason = "expired_no_refresh";
            return done(16, "connection.expired", told_reauth_once(), {});
        }
        if ((before_.state == backoff || before_.state == uncertain) && !before_.degraded) {
            after_.degraded = true;
            return done(9, "connection.degraded", "connection.degraded", {});
        }
        return refuse("a refresh is what follows");
    }

    Transition take(const ClockPutBack&) {
        if (!is_ended_by_clock(before_, now_)) return refuse("no clock has ended this grant");
        settle();
        after_.state = ready;
        after_.reauth_told_epoch.reset();
        return done(16, "connection.recovered", "connection.recovered", {wake_waiters});
    }

    Transition take(const EndNear& event) {
        if (before_.state != ready || !before_.renewable || before_.end_warned || !before_.granted_at)
            return refuse("nobody needs a warning");
        if (now_ < expiry_warning_at(*before_.granted_at, event.ends_at))
            return refuse("it is too early for a warning");
        after_.end_warned = true;
        return done(16, "connection.expiring", "connection.expiring", {});
    }

    Transition take(const LifetimeLearned& event) {
        if (gone() || before_.state == initial) return refuse("there is no token");
        if (event.epoch != before_.epoch || event.gen != before_.gen)
            return refuse("a newer token is there already");
        if (before_.expires_at == event.expires_at) return refuse("that is known already");
        after_.expires_at = event.expires_at;
        return done(0, "token.lifetime_learned", {}, {});
    }

    Transition take(const ScopeRefused& event) {
        if (!serves_tokens(before_.state, {}, now_) || before_.state == needs_config)
            return refuse("the grant serves no tokens");
        const auto wanted = united(before_.scopes_requested, event.challenged);
        if (wanted.size() == united(before_.scopes_requested, {}).size())
            return refuse("the challenge names no scope that was not asked for before");
        return flag_step_up(event.operation, wanted);
    }

    Transition take(const FreshTokenRefused& event) {
        if (before_.state != ready) return refuse("the grant is not ready");
        if (event.gen != before_.gen) return refuse("a newer token is there already");
        if (!is_younger_than(before_, kFreshFor, now_)) return refuse("the token is not fresh: refresh it");
        cool_down(now_ + kFreshRefusedCooldown);
        after_.reason = "upstream_rejects_fresh_token";
        return done(18, "upstream.rejects_fresh", told_degraded_once(), {});
    }

    Transition take(const ClaimsRefused& event) {
        if (before_.state != ready || before_.renewable) return refuse("another token is what follows");
        if (event.gen != before_.gen) return refuse("a newer token is there already");
        if (before_.reason == "insufficient_claims") return refuse("that is known already");
        after_.reason = "insufficient_claims";
        return done(18, "upstream.wants_claims", told_degraded_once(), {});
    }

    Transition take(const RevokedUpstream&) {
        if (!is_live(before_.state) || before_.state == needs_reauth)
            return refuse("there is nothing to lose");
        settle();
        forget_attempt();
        after_.state = needs_reauth;
        after_.reason = "revoked_upstream";
        return done(19, "grant.revoked_upstream", told_reauth_once(), {keep_ciphertext, wake_waiters});
    }

    Transition take(const IssuerChanged&) {
        if (!is_live(before_.state) || before_.state == needs_reauth)
            return refuse("connecting anew will find the issuer");
        if (before_.state == needs_config && before_.reason == "issuer_changed")
            return refuse("that is known already");
        if (before_.attempt) note_unresolved();
        after_.attempt.reset();
        after_.state = needs_config;
        after_.reason = "issuer_changed";
        return done(20, "issuer.changed", "connection.needs_reauth", {wake_waiters});
    }

    Transition take(const Suspended&) {
        if (!is_live(before_.state) || before_.state == suspended) return refuse("there is nothing to hold");
        after_.resume_to = before_.state;
        after_.state = suspended;
        return done(21, "connection.suspended", "connection.suspended", {wake_waiters});
    }

    Transition take(const Resumed&) {
        if (before_.state != suspended) return refuse("nothing is held");
        after_.state = before_.resume_to;
        after_.resume_to = initial;
        return done(21, "connection.resumed", "connection.resumed", {});
    }

    Transition take(const Deleted&) {
        if (gone()) return refuse("the grant is deleted already");
        after_.state = revoking;
        after_.resume_to = initial;
        after_.reason.clear();
        warm_up();
        return done(22, "connection.deleted", "connection.deleted", {revoke_grant, wake_waiters});
    }

    Transition take(const RevocationEnded& event) {
        if (before_.state != revoking) return refuse("nothing is being revoked");
        forget_attempt();
        after_.state = revoked;
        if (event.end == RevocationEnd::done) return done(23, "grant.revoked", {}, {destroy_key});
        after_.reason =
            event.end == RevocationEnd::unsupported ? "revocation_unsupported" : "revocation_incomplete";
        return done(23, "revocation_incomplete", "revocation_incomplete", {destroy_key});
    }

private:
    bool gone() const { return before_.state == revoking || before_.state == revoked; }
    bool dead_or_held() const { return gone() || before_.state == suspended; }
    bool ours(const AttemptId& attempt) const { return before_.attempt && before_.attempt->id == attempt; }
    bool waited() const { return !cools_down(before_, now_); }
    void cool_down(base::Time until) {
        after_.cooldown_since = now_;
        after_.cooldown_until = until;
    }
    void warm_up() {
        after_.cooldown_since.reset();
        after_.cooldown_until.reset();
    }
    /// A set from the parent that the row still stands at is better than whatever the row says.
    bool expects_late_tokens() const {
        switch (before_.state) {
            case refreshing:
            case uncertain:
            case backoff:
            case needs_reauth:
            case needs_config:
            case revoking:
                return true;
            default:
                return false;
        }
    }

    /// No failures, no waiting, nothing to tell.
    void settle() {
        after_.reason.clear();
        after_.fail_count = 0;
        warm_up();
        after_.degraded = false;
        after_.expiry_warned = false;
    }

    void forget_attempt() {
        after_.attempt.reset();
        after_.unresolved.reset();
    }

    void begin(const AttemptId& id, base::Time lease_until) {
        after_.state = refreshing;
        warm_up();
        after_.attempt = RefreshAttempt{id, before_.gen, now_, lease_until, {}};
    }

    Transition superseded(const TokensReceived& event) {
        if (before_.state == refreshing && ours(event.attempt)) return moved_on();
        return refuse("newer tokens are there already");
    }

    /// Row 8: somebody else renewed the set while this attempt ran.
    Transition moved_on() {
        forget_attempt();
        settle();
        after_.state = ready;
        return done(8, "refresh.superseded", {}, {drop_result, wake_waiters});
    }

    /// Rows 7 and 13. A reusable refresh token is not spent by the attempt before: then the refusal means
    /// what it says.
    Transition dead(const RefreshRefused& event) {
        const bool ours_to_blame = before_.attempt->retry_of && before_.reuse != RefreshTokenReuse::reusable;
        forget_attempt();
        warm_up();
        after_.state = needs_reauth;
        after_.reason = ours_to_blame ? "refresh_outcome_lost" : event.code;
        return done(ours_to_blame ? 13 : 7, ours_to_blame ? "refresh.lost" : "refresh.rejected",
                    told_reauth_once(), {keep_ciphertext, wake_waiters});
    }

    void count_failure(const std::optional<std::chrono::seconds>& retry_after) {
        after_.fail_count = before_.fail_count + 1;
        cool_down(now_ + backoff_wait(after_.fail_count, retry_after, before_.seed));
    }

    Transition wait(const RefreshRefused& event) {
        after_.attempt.reset();
        count_failure(event.retry_after);
        after_.state = backoff;
        after_.reason = event.code;
        const bool expired = before_.expires_at && now_ >= *before_.expires_at;
        const bool tell = after_.fail_count >= kFailuresUntilDegraded || expired;
        return done(9, "refresh.deferred", tell ? told_degraded_once() : "", {retry_later, wake_waiters});
    }

    /// The engine has tried without scope already: only a person can help; the token in use stays.
    Transition wait_for_scopes(const RefreshRefused& event) {
        auto transition = wait(event);
        auto& rows = transition.facts.step_ups;
        const auto asked = std::any_of(rows.begin(), rows.end(), [](const auto& row) {
            return row.pending && row.operation == kRefreshOperation;
        });
        if (asked) return transition;
        std::erase_if(rows, [](const auto& row) { return row.operation == kRefreshOperation; });
        rows.push_back({std::string(kRefreshOperation), before_.scopes_requested, 1, true});
        transition.webhook = "connection.scope_required";
        transition.actions.push_back(ask_for_scopes);
        return transition;
    }

    Transition misconfigured(const RefreshRefused& event) {
        after_.attempt.reset();
        after_.state = needs_config;
        after_.reason = event.code;
        auto transition = done(14, "client.rejected", "client.needs_attention", {wake_waiters});
        if (event.kind == AnswerClass::client_dead) transition.actions.push_back(reject_client);
        if (event.kind == AnswerClass::bug) transition.actions.push_back(refetch_metadata);
        return transition;
    }

    void note_unresolved() {
        if (!after_.unresolved) after_.unresolved = {before_.attempt->id, before_.attempt->started_at};
    }

    Transition lost_sight(std::string_view code, const std::optional<std::chrono::seconds>& retry_after) {
        count_failure(retry_after);
        after_.state = uncertain;
        after_.reason = code;
        note_unresolved();
        return done(10, "refresh.uncertain", {}, {schedule_retry, wake_waiters});
    }

    Transition flag_step_up(const std::string& operation, const Scopes& wanted) {
        auto& rows = after_.step_ups;
        const auto same = std::find_if(rows.begin(), rows.end(),
                                       [&](const auto& row) { return row.operation == operation; });
        if (same == rows.end()) {
            if (rows.size() >= kMaxStepUpRows) return refuse("too many operations wait for scopes");
            rows.push_back({operation, wanted, 1, true});
        } else {
            if (same->pending && contains_all(same->scopes, wanted))
                return refuse("people were asked already");
            if (same->attempts >= kMaxStepUps) return refuse("people were asked often enough");
            *same = {operation, united(same->scopes, wanted), same->attempts + 1, true};
        }
        return done(17, "scope.required", "connection.scope_required", {ask_for_scopes});
    }

    std::string_view told_reauth_once() {
        if (before_.reauth_told_epoch == before_.epoch) return {};
        after_.reauth_told_epoch = before_.epoch;
        return "connection.needs_reauth";
    }
    std::string_view told_degraded_once() {
        if (before_.degraded) return {};
        after_.degraded = true;
        return "connection.degraded";
    }

    Transition done(unsigned row, std::string_view audit, std::string_view webhook,
                    std::vector<GrantAction> actions) {
        return {.facts = std::move(after_),
                .row = row,
                .audit = audit,
                .webhook = webhook,
                .actions = std::move(actions)};
    }
    Transition refuse(std::string_view why) const { return {.facts = before_, .refusal = why}; }
    Transition refuse_stray(std::string_view why) const {
        return {.facts = before_, .actions = {revoke_stray_tokens}, .refusal = why};
    }

    const GrantFacts& before_;
    GrantFacts after_;
    base::Time now_;
};

/// These go on behind the hold: the world does not know that we hold.
template <class Event>
constexpr bool kReachesSuspended =
    std::is_same_v<Event, ConnectSucceeded> || std::is_same_v<Event, ConnectFailed> ||
    std::is_same_v<Event, ConnectUncertain> || std::is_same_v<Event, TokensReceived> ||
    std::is_same_v<Event, RefreshRefused> || std::is_same_v<Event, LeaseExpired> ||
    std::is_same_v<Event, ClientRejected> || std::is_same_v<Event, ConfigChanged> ||
    std::is_same_v<Event, RevokedUpstream> || std::is_same_v<Event, IssuerChanged>;

template <class Event>
Transition behind_the_hold(const GrantFacts& facts, const Event& event, base::Time now) {
    GrantFacts inner = facts;
    inner.state = facts.resume_to;
    auto transition = Step(inner, now).take(event);
    transition.facts.resume_to = transition.facts.state;
    transition.facts.state = suspended;
    if (!transition.taken()) transition.facts = facts;
    return transition;
}

}  // namespace

bool is_ended_by_clock(const GrantFacts& facts, base::Time now) {
    return facts.state == needs_reauth && facts.reason == "expired_no_refresh" && facts.expires_at &&
           now < *facts.expires_at;
}

bool Transition::has(GrantAction action) const {
    return std::find(actions.begin(), actions.end(), action) != actions.end();
}

Transition apply(const GrantFacts& facts, const GrantEvent& event, base::Time now) {
    return std::visit(
        [&]<class Event>(const Event& one) {
            if constexpr (kReachesSuspended<Event>)
                if (facts.state == suspended) return behind_the_hold(facts, one, now);
            return Step(facts, now).take(one);
        },
        event);
}

}  // namespace claviger::oauth
