#include "oauth/grant_event.h"
#include "tests/support/spec.h"

#include <random>
#include <set>

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;
using enum GrantState;
using enum GrantAction;
using enum AnswerClass;
constexpr base::Time kNow{1'800'000'000s};
constexpr AttemptId kFirst{1}, kSecond{2}, kOther{9};

GrantFacts standing(GrantState state) {
    GrantFacts facts{.state = state, .epoch = 2, .gen = 5};
    facts.obtained_at = kNow - 30min;
    facts.expires_at = kNow + 30min;
    facts.renewable = true;
    facts.scopes_requested = {"a"};
    facts.seed = 11;
    return facts;
}
GrantFacts fresh_start() { return {}; }
GrantFacts attempting(std::optional<AttemptId> retry_of = {}) {
    auto facts = standing(refreshing);
    facts.attempt = RefreshAttempt{kFirst, 5, kNow - 5s, kNow + 40s, retry_of};
    if (retry_of) facts.unresolved = UnresolvedAttempt{*retry_of, kNow - 60s};
    return facts;
}
GrantFacts unsure() {
    auto facts = attempting();
    facts.state = uncertain;
    facts.fail_count = 1;
    facts.unresolved = UnresolvedAttempt{kFirst, kNow - 5s};
    return facts;
}
GrantFacts waiting() {
    auto facts = standing(backoff);
    facts.fail_count = 1;
    facts.cooldown_until = kNow - 1s;
    return facts;
}
GrantFacts finite() {
    auto facts = standing(ready);
    facts.renewable = false;
    return facts;
}
GrantFacts with(GrantFacts facts, auto change) {
    change(facts);
    return facts;
}

RefreshRefused refusal(AnswerClass kind, std::string code = "code") {
    return {.attempt = kFirst, .parent_gen = 5, .kind = kind, .code = std::move(code)};
}
TokensReceived new_tokens(AttemptId attempt = kFirst) {
    return {
        .attempt = attempt, .epoch = 2, .parent_gen = 5, .obtained_at = kNow - 5s, .expires_at = kNow + 1h};
}

TEST_CASE("Every numbered transition of the state machine", "[oauth]") {
    struct Row {
        unsigned row;
        const char* what;
        GrantFacts from;
        GrantEvent event;
        GrantState to;
        const char *audit, *webhook, *reason;
        std::vector<GrantAction> actions;
        base::Time now = kNow;
    };
    const auto degraded = [](GrantFacts& facts) { facts.degraded = true; };
    const auto expired = [](GrantFacts& facts) { facts.expires_at = kNow; };
    const Row rows[] = {
        {1,
         "a link for a new grant",
         fresh_start(),
         ConnectStarted{},
         initial,
         "connect.started",
         "",
         "",
         {open_flow}},
        {1,
         "a working grant keeps working",
         standing(ready),
         ConnectStarted{},
         ready,
         "connect.started",
         "",
         "",
         {open_flow}},
        {1,
         "a dead grant",
         standing(needs_reauth),
         ConnectStarted{},
         needs_reauth,
         "connect.started",
         "",
         "",
         {open_flow}},
        {2,
         "a first consent",
         fresh_start(),
         ConnectSucceeded{kNow + 1h, true, {"x"}},
         ready,
         "connect.succeeded",
         "connection.ready",
         "",
         {write_tokens, close_flow, wake_waiters}},
        {2,
         "a consent anew",
         standing(needs_reauth),
         ConnectSucceeded{kNow + 1h, true, {"x"}},
         ready,
         "connect.succeeded",
         "connection.ready",
         "",
         {write_tokens, close_flow, wake_waiters, revoke_previous_tokens}},
        {2,
         "a consent during a refresh",
         attempting(),
         ConnectSucceeded{{}, true, {}},
         ready,
         "connect.succeeded",
         "connection.ready",
         "",
         {write_tokens, close_flow, wake_waiters, revoke_previous_tokens}},
        {2,
         "a consent under a hold",
         with(standing(suspended), [](auto& f) { f.resume_to = needs_reauth; }),
         ConnectSucceeded{{}, true, {}},
         suspended,
         "connect.succeeded",
         "connection.ready",
         "",
         {write_tokens, close_flow, wake_waiters, revoke_previous_tokens}},
        {3,
         "no consent",
         standing(ready),
         ConnectFailed{"access_denied"},
         ready,
         "connect.failed",
         "connection.connect_failed",
         "",
         {close_flow}},
        {4,
         "nobody knows",
         standing(needs_reauth),
         ConnectUncertain{},
         needs_reauth,
         "connect.uncertain",
         "connection.connect_failed",
         "",
         {replay_exchange}},
        {5,
         "due",
         standing(ready),
         RefreshDue{kFirst, kNow + 45s},
         refreshing,
         "refresh.started",
         "",
         "",
         {commit_attempt}},
        {5,
         "forced by a 401",
         standing(ready),
         RefreshDue{kFirst, kNow + 45s, 5},
         refreshing,
         "refresh.started",
         "",
         "",
         {commit_attempt}},
        {5,
         "the waiting is over",
         waiting(),
         RefreshDue{kFirst, kNow + 45s},
         refreshing,
         "refresh.started",
         "",
         "",
         {commit_attempt}},
        {6,
         "tokens",
         attempting(),
         new_tokens(),
         ready,
         "refresh.succeeded",
         "",
         "",
         {write_tokens, collect_journal, wake_waiters}},
        {6,
         "tokens after trouble",
         with(attempting(), degraded),
         new_tokens(),
         ready,
         "refresh.succeeded",
         "connection.recovered",
         "",
         {write_tokens, collect_journal, wake_waiters}},
        {6,
         "tokens of a retry",
         attempting(kOther),
         new_tokens(),
         ready,
         "refresh.succeeded",
         "",
         "",
         {write_tokens, collect_journal, wake_waiters}},
        {7,
         "a refusal",
         attempting(),
         refusal(grant_dead, "invalid_grant"),
         needs_reauth,
         "refresh.rejected",
         "connection.needs_reauth",
         "invalid_grant",
         {keep_ciphertext, wake_waiters}},
        {7,
         "a refusal, told before",
         with(attempting(), [](auto& facts) { facts.reauth_told_epoch = 2; }),
         refusal(grant_dead, "invalid_grant"),
         needs_reauth,
         "refresh.rejected",
         "",
         "invalid_grant",
         {keep_ciphertext, wake_waiters}},
        {7,
         "a refused retry of a reusable token",
         with(attempting(kOther), [](auto& facts) { facts.reuse = RefreshTokenReuse::reusable; }),
         refusal(grant_dead, "invalid_grant"),
         needs_reauth,
         "refresh.rejected",
         "connection.needs_reauth",
         "invalid_grant",
         {keep_ciphertext, wake_waiters}},
        {8,
         "a refusal, but newer tokens came",
         with(attempting(), [](auto& facts) { facts.gen = 6; }),
         refusal(grant_dead),
         ready,
         "refresh.superseded",
         "",
         "",
         {drop_result, wake_waiters}},
        {8,
         "tokens, but newer ones came",
         with(attempting(), [](auto& facts) { facts.gen = 6; }),
         new_tokens(),
         ready,
         "refresh.superseded",
         "",
         "",
         {drop_result, wake_waiters}},
        {9,
         "later",
         attempting(),
         refusal(transient, "http_503"),
         backoff,
         "refresh.deferred",
         "",
         "http_503",
         {retry_later, wake_waiters}},
        {9,
         "nothing was sent",
         attempting(),
         refusal(not_sent, "not_sent"),
         backoff,
         "refresh.deferred",
         "",
         "not_sent",
         {retry_later, wake_waiters}},
        {9,
         "the nonce is refused again",
         attempting(),
         refusal(dpop_nonce, "use_dpop_nonce"),
         backoff,
         "refresh.deferred",
         "",
         "use_dpop_nonce",
         {retry_later, wake_waiters}},
        {9,
         "the third failure",
         with(attempting(), [](auto& facts) { facts.fail_count = 2; }),
         refusal(transient),
         backoff,
         "refresh.deferred",
         "connection.degraded",
         "code",
         {retry_later, wake_waiters}},
        {9,
         "the fourth failure",
         with(attempting(),
              [](auto& facts) {
                  facts.fail_count = 3;
                  facts.degraded = true;
              }),
         refusal(transient),
         backoff,
         "refresh.deferred",
         "",
         "code",
         {retry_later, wake_waiters}},
        {9,
         "a failure without a token left",
         with(attempting(), expired),
         refusal(transient),
         backoff,
         "refresh.deferred",
         "connection.degraded",
         "code",
         {retry_later, wake_waiters}},
        {9,
         "the token ends while we wait",
         with(waiting(), expired),
         TokenExpired{},
         backoff,
         "connection.degraded",
         "connection.degraded",
         "",
         {}},
        {9,
         "only a person can help with scopes",
         attempting(),
         refusal(scope, "invalid_scope"),
         backoff,
         "refresh.deferred",
         "connection.scope_required",
         "invalid_scope",
         {retry_later, wake_waiters, ask_for_scopes}},
        {10,
         "no answer",
         attempting(),
         refusal(unknown_outcome, "no_answer"),
         uncertain,
         "refresh.uncertain",
         "",
         "no_answer",
         {schedule_retry, wake_waiters}},
        {10,
         "the lease ran out",
         attempting(),
         LeaseExpired{kFirst},
         uncertain,
         "refresh.uncertain",
         "",
         "lease_expired",
         {schedule_retry, wake_waiters},
         kNow + 40s},
        {11,
         "the journal has the answer",
         unsure(),
         new_tokens(),
         ready,
         "refresh.recovered",
         "",
         "",
         {write_tokens, collect_journal, wake_waiters}},
        {11,
         "the journal has the answer, people worried",
         with(unsure(), degraded),
         new_tokens(),
         ready,
         "refresh.recovered",
         "connection.recovered",
         "",
         {write_tokens, collect_journal, wake_waiters}},
        {11,
         "a success beats the refusal of its own retry",
         with(standing(needs_reauth), [](auto& facts) { facts.reauth_told_epoch = 2; }),
         new_tokens(),
         ready,
         "refresh.recovered",
         "connection.recovered",
         "",
         {write_tokens, collect_journal, wake_waiters}},
        {11,
         "a success that lost its lease",
         attempting(),
         new_tokens(kOther),
         ready,
         "refresh.recovered",
         "",
         "",
         {write_tokens, collect_journal, wake_waiters}},
        {11,
         "a late success of the wrong issuer",
         with(standing(needs_config), [](auto& facts) { facts.reason = "issuer_changed"; }),
         new_tokens(),
         needs_config,
         "refresh.recovered",
         "",
         "issuer_changed",
         {write_tokens, collect_journal, wake_waiters}},
        {11,
         "a late success of a deleted grant is revoked with it",
         standing(revoking),
         new_tokens(),
         revoking,
         "refresh.recovered",
         "",
         "",
         {write_tokens, collect_journal}},
        {12,
         "the retry",
         unsure(),
         RetryDue{kSecond, kNow + 45s},
         refreshing,
         "refresh.retried",
         "",
         "",
         {commit_attempt}},
        {12,
         "a retry that a 401 forces",
         with(unsure(), [](auto& facts) { facts.reuse = RefreshTokenReuse::strict; }),
         RetryDue{kSecond, kNow + 45s, 5},
         refreshing,
         "refresh.retried",
         "",
         "",
         {commit_attempt}},
        {13,
         "the first attempt had spent the token",
         attempting(kOther),
         refusal(grant_dead, "invalid_grant"),
         needs_reauth,
         "refresh.lost",
         "connection.needs_reauth",
         "refresh_outcome_lost",
         {keep_ciphertext, wake_waiters}},
        {14,
         "the client is refused",
         attempting(),
         refusal(client_dead, "invalid_client"),
         needs_config,
         "client.rejected",
         "client.needs_attention",
         "invalid_client",
         {wake_waiters, reject_client}},
        {14,
         "the resource is refused",
         attempting(),
         refusal(target, "invalid_target"),
         needs_config,
         "client.rejected",
         "client.needs_attention",
         "invalid_target",
         {wake_waiters}},
        {14,
         "our request is refused",
         attempting(),
         refusal(bug, "http_404"),
         needs_config,
         "client.rejected",
         "client.needs_attention",
         "http_404",
         {wake_waiters, refetch_metadata}},
        {14,
         "another grant of a refused client",
         standing(ready),
         ClientRejected{"invalid_client"},
         needs_config,
         "client.rejected",
         "",
         "invalid_client",
         {}},
        {15,
         "the client was corrected",
         standing(needs_config),
         ConfigChanged{},
         backoff,
         "client.updated",
         "connection.recovered",
         "",
         {refresh_now}},
        {15,
         "the daily probe",
         standing(needs_config),
         ConfigChanged{ConfigCause::daily_probe},
         backoff,
         "client.updated",
         "connection.recovered",
         "",
         {refresh_now}},
        {15,
         "a grant without successor",
         with(standing(needs_config), [](auto& facts) { facts.renewable = false; }),
         ConfigChanged{},
         ready,
         "client.updated",
         "connection.recovered",
         "",
         {}},
        {16,
         "80 % of its life",
         finite(),
         ExpiryNear{},
         ready,
         "connection.expiring",
         "connection.expiring",
         "",
         {},
         kNow + 18min},
        {16,
         "its end",
         finite(),
         TokenExpired{},
         needs_reauth,
         "connection.expired",
         "connection.needs_reauth",
         "expired_no_refresh",
         {},
         kNow + 30min},
        {16,
         "80 % of what its provider gives the grant",
         with(standing(ready), [](auto& facts) { facts.granted_at = kNow - 80h; }),
         EndNear{kNow + 20h},
         ready,
         "connection.expiring",
         "connection.expiring",
         "",
         {}},
        {17,
         "more scope is needed",
         standing(ready),
         ScopeRefused{"tools/call x", {"b"}},
         ready,
         "scope.required",
         "connection.scope_required",
         "",
         {ask_for_scopes}},
        {18,
         "a fresh token is refused",
         with(standing(ready), [](auto& facts) { facts.obtained_at = kNow - 59s; }),
         FreshTokenRefused{5},
         ready,
         "upstream.rejects_fresh",
         "connection.degraded",
         "upstream_rejects_fresh_token",
         {}},
        {18,
         "claims that only a person can bring",
         finite(),
         ClaimsRefused{5},
         ready,
         "upstream.wants_claims",
         "connection.degraded",
         "insufficient_claims",
         {}},
        {19,
         "the provider revoked it",
         standing(ready),
         RevokedUpstream{},
         needs_reauth,
         "grant.revoked_upstream",
         "connection.needs_reauth",
         "revoked_upstream",
         {keep_ciphertext, wake_waiters}},
        {19,
         "revoked during a refresh",
         attempting(),
         RevokedUpstream{},
         needs_reauth,
         "grant.revoked_upstream",
         "connection.needs_reauth",
         "revoked_upstream",
         {keep_ciphertext, wake_waiters}},
        {20,
         "another issuer",
         standing(ready),
         IssuerChanged{},
         needs_config,
         "issuer.changed",
         "connection.needs_reauth",
         "issuer_changed",
         {wake_waiters}},
        {21,
         "a hold",
         standing(ready),
         Suspended{},
         suspended,
         "connection.suspended",
         "connection.suspended",
         "",
         {wake_waiters}},
        {21,
         "the hold ends",
         with(standing(suspended), [](auto& facts) { facts.resume_to = backoff; }),
         Resumed{},
         backoff,
         "connection.resumed",
         "connection.resumed",
         "",
         {}},
        {22,
         "deleted",
         standing(ready),
         Deleted{},
         revoking,
         "connection.deleted",
         "connection.deleted",
         "",
         {revoke_grant, wake_waiters}},
        {22,
         "deleted during a refresh",
         attempting(),
         Deleted{},
         revoking,
         "connection.deleted",
         "connection.deleted",
         "",
         {revoke_grant, wake_waiters}},
        {22,
         "deleted before it began",
         fresh_start(),
         Deleted{},
         revoking,
         "connection.deleted",
         "connection.deleted",
         "",
         {revoke_grant, wake_waiters}},
        {23,
         "revoked",
         standing(revoking),
         RevocationEnded{},
         revoked,
         "grant.revoked",
         "",
         "",
         {destroy_key}},
        {23,
         "given up",
         standing(revoking),
         RevocationEnded{RevocationEnd::given_up},
         revoked,
         "revocation_incomplete",
         "revocation_incomplete",
         "revocation_incomplete",
         {destroy_key}},
        {23,
         "not a thing the issuer does",
         standing(revoking),
         RevocationEnded{RevocationEnd::unsupported},
         revoked,
         "revocation_incomplete",
         "revocation_incomplete",
         "revocation_unsupported",
         {destroy_key}},
    };
    std::set<unsigned> covered;
    for (const auto& row : rows) {
        INFO("#" << row.row << " " << row.what);
        const auto taken = apply(row.from, row.event, row.now);
        CHECK(taken.taken());
        CHECK(taken.row == row.row);
        CHECK(to_text(taken.facts.state) == to_text(row.to));
        CHECK(taken.audit == row.audit);
        CHECK(taken.webhook == row.webhook);
        if (row.row >= 6 && row.row != 21) CHECK(taken.facts.reason == row.reason);
        CHECK(taken.actions == row.actions);
        covered.insert(row.row);
    }
    for (unsigned number = 1; number <= 23; ++number) CHECK(covered.contains(number));
}

TEST_CASE("An event that cannot happen changes nothing and says why", "[oauth]") {
    struct Row {
        const char* what;
        GrantFacts from;
        GrantEvent event;
        bool stray = false;
    };
    const Row rows[] = {
        {"connecting a deleted grant", standing(revoked), ConnectStarted{}},
        {"connecting a held grant", standing(suspended), ConnectStarted{}},
        {"a consent to a deleted grant", standing(revoking), ConnectSucceeded{}, true},
        {"a refused consent to a deleted grant", standing(revoked), ConnectFailed{"x"}},
        {"refreshing twice", attempting(), RefreshDue{kSecond, kNow + 45s}},
        {"refreshing before the waiting is over",
         with(waiting(), [](auto& facts) { facts.cooldown_until = kNow + 1ms; }),
         RefreshDue{kFirst, kNow + 45s}},
        {"refreshing without a refresh token", finite(), RefreshDue{kFirst, kNow + 45s}},
        {"a 401 for an older token", standing(ready), RefreshDue{kFirst, kNow + 45s, 4}},
        {"refreshing a dead grant", standing(needs_reauth), RefreshDue{kFirst, kNow + 45s}},
        {"refreshing a held grant", standing(suspended), RefreshDue{kFirst, kNow + 45s}},
        {"refreshing while uncertain", unsure(), RefreshDue{kSecond, kNow + 45s}},
        {"tokens of a former epoch", standing(ready),
         TokensReceived{.attempt = kFirst, .epoch = 1, .parent_gen = 5, .obtained_at = kNow}, true},
        {"tokens nobody asked for", standing(ready), new_tokens()},
        {"tokens of an older generation", with(standing(ready), [](auto& facts) { facts.gen = 6; }),
         new_tokens()},
        {"tokens after the provider revoked",
         with(standing(needs_reauth), [](auto& facts) { facts.reason = "revoked_upstream"; }), new_tokens(),
         true},
        {"tokens for a tombstone", standing(revoked), new_tokens(), true},
        {"a refusal of another attempt", attempting(),
         RefreshRefused{.attempt = kOther, .parent_gen = 5, .kind = grant_dead}},
        {"a refusal when nothing runs", standing(ready), refusal(grant_dead)},
        {"a refusal that was uncertain already", unsure(), refusal(grant_dead)},
        {"a success without tokens", attempting(), refusal(success)},
        {"a lease that still runs", attempting(), LeaseExpired{kFirst}},
        {"a lease of another", attempting(), LeaseExpired{kOther}},
        {"a retry of nothing", standing(ready), RetryDue{kSecond, kNow + 45s}},
        {"a retry too early", with(unsure(), [](auto& facts) { facts.reuse = RefreshTokenReuse::strict; }),
         RetryDue{kSecond, kNow + 45s}},
        {"a retry too early, for a 401 of an older token",
         with(unsure(), [](auto& facts) { facts.reuse = RefreshTokenReuse::strict; }),
         RetryDue{kSecond, kNow + 45s, 4}},
        {"the client's fate during a refresh", attempting(), ClientRejected{"invalid_client"}},
        {"the client's fate and a dead grant", standing(needs_reauth), ClientRejected{"invalid_client"}},
        {"a change that nobody waits for", standing(ready), ConfigChanged{}},
        {"a probe with tokens of another issuer",
         with(standing(needs_config), [](auto& facts) { facts.reason = "issuer_changed"; }),
         ConfigChanged{ConfigCause::daily_probe}},
        {"a warning about a grant that renews itself", standing(ready), ExpiryNear{}},
        {"a warning too early", finite(), ExpiryNear{}},
        {"a second warning", with(finite(), [](auto& facts) { facts.expiry_warned = true; }), ExpiryNear{}},
        {"a warning of an end too early",
         with(standing(ready), [](auto& facts) { facts.granted_at = kNow - 79h; }), EndNear{kNow + 21h}},
        {"a second warning of an end",
         with(standing(ready),
              [](auto& facts) {
                  facts.granted_at = kNow - 80h;
                  facts.end_warned = true;
              }),
         EndNear{kNow + 20h}},
        {"an end of nobody knows when it began", standing(ready), EndNear{kNow}},
        {"a lifetime of an older token", standing(ready), LifetimeLearned{2, 4, kNow + 1h}},
        {"a lifetime of another consent", standing(ready), LifetimeLearned{1, 5, kNow + 1h}},
        {"a lifetime of a token that is gone", standing(revoking), LifetimeLearned{2, 5, kNow + 1h}},
        {"claims that another token may bring", standing(ready), ClaimsRefused{5}},
        {"claims of an older token", finite(), ClaimsRefused{4}},
        {"claims a second time", with(finite(), [](auto& facts) { facts.reason = "insufficient_claims"; }),
         ClaimsRefused{5}},
        {"an end that has not come", finite(), TokenExpired{}},
        {"an end that a refresh follows", with(standing(ready), [](auto& facts) { facts.expires_at = kNow; }),
         TokenExpired{}},
        {"a challenge that names nothing new", standing(ready), ScopeRefused{"op", {"a"}}},
        {"a challenge that names nothing", standing(ready), ScopeRefused{"op", {}}},
        {"a challenge to a dead grant", standing(needs_reauth), ScopeRefused{"op", {"b"}}},
        {"an old token refused", standing(ready), FreshTokenRefused{5}},
        {"a fresh token of another generation",
         with(standing(ready), [](auto& facts) { facts.obtained_at = kNow; }), FreshTokenRefused{4}},
        {"revoking a dead grant", standing(needs_reauth), RevokedUpstream{}},
        {"revoking nothing", fresh_start(), RevokedUpstream{}},
        {"another issuer for a dead grant", standing(needs_reauth), IssuerChanged{}},
        {"holding a held grant", standing(suspended), Suspended{}},
        {"holding nothing", fresh_start(), Suspended{}},
        {"resuming what is not held", standing(ready), Resumed{}},
        {"deleting twice", standing(revoking), Deleted{}},
        {"an end of no revocation", standing(ready), RevocationEnded{}},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto refused = apply(row.from, row.event, kNow);
        CHECK_FALSE(refused.taken());
        CHECK(refused.facts == row.from);
        CHECK(refused.row == 0);
        CHECK(refused.audit.empty());
        CHECK(refused.webhook.empty());
        CHECK(refused.actions == (row.stray ? std::vector{revoke_stray_tokens} : std::vector<GrantAction>{}));
    }
}

TEST_CASE("A lifetime that was asked for is the token's, whatever the state", "[oauth]") {
    for (const auto state : {ready, suspended, backoff, needs_config}) {
        auto facts = standing(state);
        facts.expires_at.reset();
        const auto learned = apply(facts, LifetimeLearned{2, 5, kNow + 1h}, kNow);
        REQUIRE(learned.taken());
        CHECK(learned.facts.expires_at == kNow + 1h);
        CHECK(learned.facts.state == state);
        CHECK(learned.webhook.empty());
        CHECK_FALSE(apply(learned.facts, LifetimeLearned{2, 5, kNow + 1h}, kNow).taken());
    }
}

TEST_CASE("A consent opens a new epoch and forgets the old one's troubles", "[oauth]") {
    auto facts = attempting(kOther);
    facts.fail_count = 4;
    facts.degraded = true;
    facts.reuse = RefreshTokenReuse::grace;
    facts.reuse_grace = 600s;
    facts.step_ups = {{"op", {"a", "b"}, 2, true}};
    const auto taken = apply(facts, ConnectSucceeded{kNow + 1h, true, {"a", "b"}}, kNow).facts;
    CHECK(taken.epoch == 3);
    CHECK(taken.gen == 1);
    CHECK_FALSE(taken.attempt);
    CHECK_FALSE(taken.unresolved);
    CHECK(taken.fail_count == 0);
    CHECK_FALSE(taken.degraded);
    CHECK(taken.expires_at == kNow + 1h);
    CHECK(taken.granted_at == kNow);
    CHECK_FALSE(taken.end_warned);
    CHECK(taken.scopes_requested == Scopes{"a", "b"});
    CHECK(taken.reuse == RefreshTokenReuse::grace);
    CHECK(taken.reuse_grace == 600s);
    CHECK(taken.seed == 11);
    REQUIRE(taken.step_ups.size() == 1);
    CHECK_FALSE(taken.step_ups[0].pending);
    CHECK(taken.step_ups[0].attempts == 2);
    // The refresh that ran meanwhile has tokens of the old epoch: they are of no use.
    const auto late = apply(taken, new_tokens(), kNow);
    CHECK_FALSE(late.taken());
    CHECK(late.has(revoke_stray_tokens));
}

TEST_CASE("An attempt is on record before it runs, and a retry names what it repeats", "[oauth]") {
    const auto begun = apply(standing(ready), RefreshDue{kFirst, kNow + 45s}, kNow).facts;
    REQUIRE(begun.attempt);
    CHECK(*begun.attempt == RefreshAttempt{kFirst, 5, kNow, kNow + 45s, {}});
    const auto lost = apply(begun, refusal(unknown_outcome), kNow + 30s).facts;
    CHECK(lost.attempt == begun.attempt);
    CHECK(lost.unresolved == UnresolvedAttempt{kFirst, kNow});
    const auto retried = apply(lost, RetryDue{kSecond, kNow + 90s}, kNow + 31s).facts;
    REQUIRE(retried.attempt);
    CHECK(retried.attempt->retry_of == kFirst);

    // The retry never left: the first outcome is as unknown as before, also for the attempt after the next.
    const auto put_off = apply(
        retried, RefreshRefused{.attempt = kSecond, .parent_gen = 5, .kind = not_sent, .code = "not_sent"},
        kNow + 32s);
    CHECK(put_off.facts.state == backoff);
    CHECK(put_off.facts.fail_count == 2);
    const auto third = apply(put_off.facts, RefreshDue{kOther, kNow + 200s}, kNow + 60s).facts;
    REQUIRE(third.attempt);
    CHECK(third.attempt->retry_of == kFirst);
    const auto dead =
        apply(third,
              RefreshRefused{.attempt = kOther, .parent_gen = 5, .kind = grant_dead, .code = "invalid_grant"},
              kNow + 61s);
    CHECK(dead.facts.reason == "refresh_outcome_lost");
    CHECK_FALSE(dead.facts.unresolved);

    const auto renewed =
        apply(third, TokensReceived{.attempt = kOther, .epoch = 2, .parent_gen = 5, .obtained_at = kNow},
              kNow + 61s)
            .facts;
    CHECK(renewed.gen == 6);
    CHECK_FALSE(renewed.attempt);
    CHECK_FALSE(renewed.unresolved);
    CHECK(renewed.fail_count == 0);
    CHECK_FALSE(renewed.cooldown_until);
}

TEST_CASE("Waiting grows with failures, and follows the server's word", "[oauth]") {
    auto facts = attempting();
    const auto once = apply(facts, refusal(transient), kNow).facts;
    REQUIRE(once.cooldown_until);
    CHECK(*once.cooldown_until >= kNow + 2s);
    CHECK(*once.cooldown_until <= kNow + 3s);
    facts.fail_count = 30;
    CHECK(apply(facts, refusal(transient), kNow).facts.cooldown_until == kNow + 15min);
    auto asked = refusal(transient);
    asked.retry_after = 77s;
    CHECK(apply(facts, asked, kNow).facts.cooldown_until == kNow + 77s);
}

TEST_CASE("A hold does not stop the answer to a running attempt from being kept", "[oauth]") {
    const auto held = apply(attempting(), Suspended{}, kNow).facts;
    CHECK(held.state == suspended);
    CHECK(held.resume_to == refreshing);
    CHECK_FALSE(serves_tokens(held.state, held.expires_at, kNow));

    const auto renewed = apply(held, new_tokens(), kNow);
    CHECK(renewed.row == 6);
    CHECK(renewed.has(write_tokens));
    CHECK(renewed.facts.state == suspended);
    CHECK(renewed.facts.resume_to == ready);
    CHECK(renewed.facts.gen == 6);

    const auto dead = apply(held, refusal(grant_dead, "invalid_grant"), kNow).facts;
    CHECK(dead.state == suspended);
    CHECK(apply(dead, Resumed{}, kNow).facts.state == needs_reauth);
    CHECK(apply(dead, Resumed{}, kNow).facts.reason == "invalid_grant");
}

TEST_CASE("People are asked for scopes once per need, and three times at most", "[oauth]") {
    auto facts = standing(ready);
    facts = apply(facts, ScopeRefused{"op", {"b"}}, kNow).facts;
    REQUIRE(facts.step_ups.size() == 1);
    CHECK(facts.step_ups[0] == StepUp{"op", {"a", "b"}, 1, true});
    CHECK_FALSE(apply(facts, ScopeRefused{"op", {"b"}}, kNow).taken());
    CHECK(apply(facts, ScopeRefused{"other", {"b"}}, kNow).taken());
    facts = apply(facts, ScopeRefused{"op", {"c"}}, kNow).facts;
    CHECK(facts.step_ups[0] == StepUp{"op", {"a", "b", "c"}, 2, true});
    facts = apply(facts, ConnectSucceeded{{}, true, {"a"}}, kNow).facts;  // they granted less
    facts = apply(facts, ScopeRefused{"op", {"b"}}, kNow).facts;
    CHECK(facts.step_ups[0].attempts == 3);
    facts = apply(facts, ConnectSucceeded{{}, true, {"a"}}, kNow).facts;
    CHECK_FALSE(apply(facts, ScopeRefused{"op", {"b"}}, kNow).taken());
}

TEST_CASE("A changed issuer parks the attempt that runs, and a corrected one goes on from there", "[oauth]") {
    const auto parked = apply(attempting(), IssuerChanged{}, kNow).facts;
    CHECK_FALSE(parked.attempt);
    CHECK(parked.unresolved == UnresolvedAttempt{kFirst, kNow - 5s});
    const auto back = apply(parked, ConfigChanged{}, kNow).facts;
    CHECK(back.state == backoff);
    const auto next = apply(back, RefreshDue{kSecond, kNow + 45s}, kNow).facts;
    REQUIRE(next.attempt);
    CHECK(next.attempt->retry_of == kFirst);
}

/// Random events at random times; whatever comes, the machine keeps its promises.
class Walk {
public:
    explicit Walk(unsigned seed) : random_(seed) {
        facts_.reuse = pick({RefreshTokenReuse::unknown, RefreshTokenReuse::reusable,
                             RefreshTokenReuse::grace, RefreshTokenReuse::strict});
        facts_.reuse_grace = 600s;
        facts_.old_access_token =
            pick({OldAccessToken::unknown, OldAccessToken::survives, OldAccessToken::dies});
        facts_.seed = seed;
    }

    void step() {
        now_ += std::chrono::milliseconds(below(4) == 0 ? below(2'000'000) : below(5'000));
        const auto event = random_event();
        const auto before = facts_;
        const auto taken = apply(before, event, now_);
        INFO("event " << event.index() << " at " << to_text(before.state) << " to "
                      << to_text(taken.facts.state) << ": " << taken.refusal);
        check(before, event, taken);
        facts_ = taken.facts;
    }

    std::set<unsigned> rows;

private:
    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    template <class T>
    T pick(std::initializer_list<T> values) {
        return *(values.begin() + below(values.size()));
    }
    AttemptId known_attempt() {
        if (facts_.attempt && below(8) != 0) return facts_.attempt->id;
        return AttemptId{static_cast<unsigned char>(below(256)), static_cast<unsigned char>(below(256))};
    }
    AttemptId next_attempt() {
        ++attempts_;
        return AttemptId{static_cast<unsigned char>(attempts_ >> 8), static_cast<unsigned char>(attempts_),
                         1};
    }
    std::optional<std::uint64_t> maybe_gen() {
        if (below(2)) return std::nullopt;
        return facts_.gen - (facts_.gen > 0 && below(4) == 0 ? 1 : 0);
    }
    std::optional<base::Time> maybe_expiry() {
        if (below(5) == 0) return std::nullopt;
        return now_ + std::chrono::seconds(below(7200));
    }

    GrantEvent random_event() {
        if (facts_.state == revoking && below(8) == 0)
            return RevocationEnded{pick({RevocationEnd::done, RevocationEnd::given_up})};
        switch (below(29)) {
            case 0:
                return ConnectStarted{};
            case 1:
                return ConnectSucceeded{maybe_expiry(), below(5) != 0, {"a"}};
            case 2:
                return ConnectFailed{"denied"};
            case 3:
                return ConnectUncertain{};
            case 4:
            case 5:
            case 6:
            case 7:
                return RefreshDue{next_attempt(), now_ + 45s, maybe_gen()};
            case 8:
            case 9:
            case 10: {
                const auto parent = facts_.attempt && below(8) ? facts_.attempt->parent_gen : below(6);
                return TokensReceived{known_attempt(), below(6) ? facts_.epoch : below(4),
                                      parent,          now_,
                                      maybe_expiry(),  below(9) != 0};
            }
            case 11:
            case 12:
            case 13:
            case 14:
            case 15: {
                const auto kind = static_cast<AnswerClass>(below(10));
                return RefreshRefused{known_attempt(),
                                      facts_.attempt ? facts_.attempt->parent_gen : below(6),
                                      kind,
                                      std::string(to_text(kind)),
                                      {}};
            }
            case 16:
                return LeaseExpired{known_attempt()};
            case 17:
            case 18:
                return RetryDue{next_attempt(), now_ + 45s, maybe_gen()};
            case 19:
                return below(3) ? GrantEvent(TokenExpired{}) : GrantEvent(ClientRejected{"invalid_client"});
            case 20:
            case 21:
                return ConfigChanged{pick({ConfigCause::changed, ConfigCause::daily_probe})};
            case 22:
                return ExpiryNear{};
            case 23:
                return TokenExpired{};
            case 24:
                return ScopeRefused{"op" + std::to_string(below(3)), {std::string(1, char('a' + below(4)))}};
            case 25:
                return FreshTokenRefused{facts_.gen};
            case 26:
                return below(3) ? GrantEvent(Resumed{}) : GrantEvent(RevokedUpstream{});
            case 27:
                return below(3) ? GrantEvent(Resumed{}) : GrantEvent(IssuerChanged{});
            default:
                if (below(4)) return Suspended{};
                return below(8)   ? GrantEvent(Resumed{})
                       : below(2) ? GrantEvent(Deleted{})
                                  : GrantEvent(RevocationEnded{});
        }
    }

    void check(const GrantFacts& before, const GrantEvent& event, const Transition& taken) {
        const auto& after = taken.facts;
        if (!taken.taken()) {
            CHECK(after == before);
            CHECK(taken.audit.empty());
            CHECK(taken.webhook.empty());
            return;
        }
        rows.insert(taken.row);
        CHECK(taken.row >= 1);
        CHECK(taken.row <= 23);
        CHECK_FALSE(taken.audit.empty());
        // The generation only grows within an epoch; the epoch only with a consent.
        CHECK(after.epoch >= before.epoch);
        if (after.epoch == before.epoch)
            CHECK((after.gen == before.gen || after.gen == before.gen + 1));
        else
            CHECK((after.gen == 1 && after.epoch == before.epoch + 1 && taken.row == 2));
        // Tokens change with their generation, and never otherwise.
        CHECK((after.gen != before.gen || after.epoch != before.epoch) == taken.has(write_tokens));
        // A request leaves only with an attempt on record, one at a time.
        CHECK(taken.has(commit_attempt) == (taken.row == 5 || taken.row == 12));
        if (taken.has(commit_attempt)) {
            CHECK(before.state != refreshing);
            REQUIRE(after.attempt);
            CHECK(after.attempt->parent_gen == after.gen);
            CHECK(after.attempt->retry_of.has_value() == before.unresolved.has_value());
        }
        const auto inner = [](const GrantFacts& facts) {
            return facts.state == suspended ? facts.resume_to : facts.state;
        };
        if (inner(after) == refreshing || inner(after) == uncertain) CHECK(after.attempt);
        if (inner(after) == uncertain) CHECK(after.unresolved);
        if (inner(after) == ready) CHECK_FALSE((after.attempt || after.unresolved));
        // A grant is given up only on a whole, recognised refusal, its own end, or the provider's word.
        if (inner(after) == needs_reauth && inner(before) != needs_reauth) {
            const auto* refused = std::get_if<RefreshRefused>(&event);
            const bool complete =
                refused && refused->kind == grant_dead && (taken.row == 7 || taken.row == 13);
            CHECK((complete || taken.row == 16 || taken.row == 19));
        }
        // The dead stay dead, and a hold holds.
        if (before.state == revoked) CHECK(after.state == revoked);
        if (before.state == revoking) CHECK((after.state == revoking || after.state == revoked));
        if (before.state == suspended)
            CHECK((after.state == suspended || taken.row == 21 || taken.row == 22));
        CHECK(after.step_ups.size() <= 33);
        // Once per epoch people hear that it is dead.
        if (taken.webhook == "connection.needs_reauth" && taken.row != 20)
            CHECK(told_.insert(after.epoch).second);
    }

    std::mt19937_64 random_;
    base::Time now_ = kNow;
    GrantFacts facts_;
    unsigned attempts_ = 0;
    std::set<std::uint64_t> told_;
};

TEST_CASE("A waiting that began in the future is over, but for what a clock is corrected by", "[oauth]") {
    auto refused = refusal(transient);
    refused.retry_after = 120s;
    const auto waits = apply(attempting(), refused, kNow).facts;
    REQUIRE(waits.state == backoff);
    CHECK(waits.cooldown_since == kNow);
    const auto begins = [&](base::Time now) {
        return apply(waits, RefreshDue{kSecond, now + 45s}, now).taken();
    };
    CHECK_FALSE(begins(kNow + 1s));
    CHECK_FALSE(begins(kNow - 30s));
    CHECK(begins(kNow - 5h));
    CHECK(begins(kNow + 121s));
    CHECK_FALSE(
        apply(apply(waits, RefreshDue{kSecond, kNow}, kNow - 5h).facts, ClockPutBack{}, kNow).taken());
    for (const auto when : {kNow, kNow - 5h}) {
        const auto plan = plan_retry(unsure(), when);
        REQUIRE(plan.not_before);
        CHECK(*plan.not_before <= when);
    }
}

TEST_CASE("A set without successor that a clock ended lives when the clock says so again", "[oauth]") {
    auto facts = standing(ready);
    facts.renewable = false;
    const auto ended = apply(facts, TokenExpired{}, kNow + 5h).facts;
    REQUIRE(ended.state == needs_reauth);
    CHECK_FALSE(apply(ended, ClockPutBack{}, kNow + 5h).taken());
    const auto back = apply(ended, ClockPutBack{}, kNow);
    REQUIRE(back.taken());
    CHECK(back.row == 16);
    CHECK(back.facts.state == ready);
    CHECK(back.facts.reason.empty());
    CHECK(back.webhook == "connection.recovered");
    // Whoever is told that it works must be told again when it does not.
    CHECK(apply(back.facts, TokenExpired{}, kNow + 5h).webhook == "connection.needs_reauth");
    auto dead = ended;
    dead.reason = "invalid_grant";  // the server's word, which no clock takes back
    CHECK_FALSE(apply(dead, ClockPutBack{}, kNow).taken());
}

TEST_CASE("Whatever happens in whatever order, the promises of the state machine hold", "[oauth]") {
    std::set<unsigned> rows;
    for (unsigned seed = 1; seed <= 150; ++seed) {
        INFO("seed " << seed);
        Walk walk(seed);
        for (unsigned i = 0; i < 200; ++i) walk.step();
        rows.merge(walk.rows);
    }
    for (unsigned row = 1; row <= 23; ++row) {
        INFO("row " << row);
        CHECK(rows.contains(row));
    }
}

}  // namespace
}  // namespace claviger::oauth
