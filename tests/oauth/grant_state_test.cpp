#include "oauth/grant_state.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;
using enum GrantState;
constexpr base::Time kNow{1'800'000'000s};

TEST_CASE("A state has one word, and a word one state", "[oauth]") {
    for (const char* word : {"new", "ready", "refreshing", "uncertain", "backoff", "needs_reauth",
                             "needs_config", "suspended", "revoking", "revoked"}) {
        const auto state = parse_grant_state(word);
        REQUIRE(state);
        CHECK(to_text(*state) == word);
    }
    CHECK_FALSE(parse_grant_state("READY"));
    CHECK_FALSE(parse_grant_state(""));
}

TEST_CASE("The old access token is served while it lives, except where the grant is dead or held",
          "[oauth]") {
    struct Row {
        GrantState state;
        bool serves, live;
    };
    for (const auto& row :
         {Row{initial, false, false}, Row{ready, true, true}, Row{refreshing, true, true},
          Row{uncertain, true, true}, Row{backoff, true, true}, Row{needs_reauth, false, true},
          Row{needs_config, true, true}, Row{suspended, false, true}, Row{revoking, false, false},
          Row{revoked, false, false}}) {
        INFO(to_text(row.state));
        CHECK(serves_tokens(row.state, std::nullopt, kNow) == row.serves);
        CHECK(serves_tokens(row.state, kNow + 1ms, kNow) == row.serves);
        CHECK_FALSE(serves_tokens(row.state, kNow, kNow));
        CHECK(is_live(row.state) == row.live);
    }
}

TEST_CASE("When an attempt of unknown outcome is repeated depends on what that could cost", "[oauth]") {
    GrantFacts facts{.state = uncertain, .epoch = 1, .gen = 3};
    facts.attempt = RefreshAttempt{.id = {1}, .parent_gen = 3, .started_at = kNow - 40s, .lease_until = kNow};
    facts.unresolved = UnresolvedAttempt{.id = {1}, .started_at = kNow - 40s};
    facts.fail_count = 1;
    facts.obtained_at = kNow - 50min;
    facts.expires_at = kNow + 10min;  // margin 6 min
    const auto needed = kNow + 4min;
    const auto plan = [&](RefreshTokenReuse reuse, OldAccessToken old) {
        facts.reuse = reuse;
        facts.old_access_token = old;
        return plan_retry(facts, kNow);
    };
    using enum OldAccessToken;

    SECTION("at once where the token is reusable, or nobody knows") {
        CHECK(plan(RefreshTokenReuse::reusable, unknown).not_before <= kNow);
        CHECK(plan(RefreshTokenReuse::unknown, unknown).not_before <= kNow);
    }
    SECTION("at once within a grace, at the latest 30 s before its end") {
        facts.reuse_grace = 600s;
        const auto within = plan(RefreshTokenReuse::grace, survives);
        CHECK(within.not_before <= kNow);
        CHECK(within.best_before == kNow - 40s + 570s);
    }
    SECTION("when the grace is over the token counts as strict") {
        facts.reuse_grace = 60s;
        CHECK(plan(RefreshTokenReuse::grace, survives).not_before == needed);
        CHECK(plan(RefreshTokenReuse::grace, survives).best_before == std::nullopt);
        CHECK(plan(RefreshTokenReuse::grace, dies).not_before <= kNow);
    }
    SECTION("strict: not before the access token is needed") {
        CHECK(plan(RefreshTokenReuse::strict, survives).not_before == needed);
        CHECK(plan(RefreshTokenReuse::strict, unknown).not_before == needed);
        facts.expires_at.reset();
        CHECK(plan(RefreshTokenReuse::strict, unknown).not_before == std::nullopt);
    }
    SECTION("strict, but the old access token is dead anyway: at once") {
        CHECK(plan(RefreshTokenReuse::strict, dies).not_before <= kNow);
    }
    SECTION("a second unknown outcome waits") {
        facts.fail_count = 2;
        facts.cooldown_until = kNow + 5s;
        CHECK(plan(RefreshTokenReuse::unknown, unknown).not_before == kNow + 5s);
        facts.expires_at = kNow - 1s;
        CHECK(plan(RefreshTokenReuse::strict, unknown).not_before == kNow + 5s);
    }
}

}  // namespace
}  // namespace claviger::oauth
