// Every state of a grant has words, and says whether somebody has to do something.
#include "oauth/grant_story.h"

#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;

const base::Time kNow{1'790'000'000s};

StoredGrant grant_in(GrantState state, std::string reason = {}) {
    StoredGrant grant;
    grant.facts.state = state;
    grant.facts.reason = std::move(reason);
    grant.facts.renewable = true;
    grant.facts.obtained_at = kNow - 1h;
    grant.facts.expires_at = kNow + 1h;
    return grant;
}

TEST_CASE("Each state means something else, and asks for help exactly when it needs some", "[oauth]") {
    struct Row {
        GrantState state;
        const char* reason;
        const char* meaning;
        bool wants_help;
    };
    using enum GrantState;
    const std::vector<Row> rows{
        {initial, "", "No account has been connected yet.", true},
        {ready, "", "All is well", false},
        {ready, "insufficient_claims", "only another consent can bring", true},
        {needs_reauth, "revoked_upstream", "access was revoked", true},
        {ready, "upstream_rejects_fresh_token", "refuses even a token that was just renewed", true},
        {refreshing, "", "being renewed right now", false},
        {uncertain, "no_answer", "nobody knows whether the refresh token is spent", false},
        {backoff, "not_sent", "cannot be reached", false},
        {backoff, "http_429", "(http_429)", false},
        {needs_reauth, "invalid_grant", "invalid, expired or revoked", true},
        {needs_reauth, "refresh_outcome_lost", "not of the person", true},
        {needs_config, "invalid_client", "does not accept the client id or secret", true},
        {needs_config, "issuer_changed", "another authorization server", true},
        {suspended, "", "holds this grant", true},
        {revoking, "", "being revoked", false},
        {revoked, "", "nothing of its tokens is left", false},
        {revoked, "revocation_incomplete", "did not confirm", true},
        {revoked, "revocation_unsupported", "does not support revoking", true},
    };
    for (const auto& row : rows) {
        INFO(to_text(row.state) << " " << row.reason);
        const auto story = story_of(grant_in(row.state, row.reason), {}, kNow);
        CHECK_THAT(story.meaning, Catch::Contains(row.meaning));
        CHECK(story.meaning.ends_with("."));
        CHECK(story.advice.empty() != row.wants_help);
        CHECK_FALSE(story.next_meaning.empty());
    }
}

TEST_CASE("It says that a server demands other claims, until a token has them", "[oauth]") {
    auto grant = grant_in(GrantState::needs_reauth, "interaction_required");
    grant.claims = ClaimsDemand{R"({"canary-claim":1})", kNow};
    const auto told = story_of(grant, {}, kNow).meaning;
    CHECK_THAT(told, Catch::Contains("demands a token with other claims"));
    CHECK_THAT(told, !Catch::Contains("canary"));
    grant.claims->met = true;
    CHECK_THAT(story_of(grant, {}, kNow).meaning, !Catch::Contains("other claims"));
}

TEST_CASE("It says whether calls go on meanwhile", "[oauth]") {
    auto grant = grant_in(GrantState::backoff, "http_503");
    CHECK_THAT(story_of(grant, {}, kNow).meaning, Catch::Contains("Calls go on"));
    grant.facts.expires_at = kNow - 1s;
    CHECK_THAT(story_of(grant, {}, kNow).meaning, Catch::Contains("refused meanwhile"));
}

TEST_CASE("What happens next has a name where something is planned, and a sentence always", "[oauth]") {
    using enum GrantState;
    CHECK(story_of(grant_in(ready), kNow + 50min, kNow).next == "refresh");
    CHECK(story_of(grant_in(ready), {}, kNow).next.empty());
    CHECK(story_of(grant_in(backoff), kNow + 8s, kNow).next == "retry");
    CHECK(story_of(grant_in(uncertain), kNow, kNow).next == "retry");
    CHECK(story_of(grant_in(refreshing), kNow + 45s, kNow).next == "give_up_waiting");
    CHECK(story_of(grant_in(needs_config), kNow + 24h, kNow).next == "probe");
    CHECK(story_of(grant_in(revoking), {}, kNow).next == "revoke");
    CHECK(story_of(grant_in(needs_reauth), {}, kNow).next.empty());
    auto ends = grant_in(ready);
    ends.facts.renewable = false;
    CHECK(story_of(ends, kNow + 48min, kNow).next == "warn");
    auto finite = grant_in(ready);
    finite.facts.granted_at = kNow - 79h;
    CHECK(story_of(finite, kNow + 1h, kNow, kNow + 21h).next == "warn");
    CHECK(story_of(finite, kNow + 50min, kNow, kNow + 21h).next == "refresh");
    finite.facts.end_warned = true;
    const auto told = story_of(finite, kNow + 1h, kNow, kNow + 21h);
    CHECK(told.next == "refresh");
    CHECK_THAT(told.advice, Catch::Contains("before the provider ends the grant"));
    ends.facts.expiry_warned = true;
    CHECK(story_of(ends, kNow + 1h, kNow).next == "expire");
}

TEST_CASE("Scopes that are missing are what a person has to grant, whatever else holds", "[oauth]") {
    auto grant = grant_in(GrantState::ready);
    grant.facts.step_ups.push_back({.operation = "tools/call", .scopes = {"write"}});
    CHECK_THAT(story_of(grant, {}, kNow).advice, Catch::Contains("more scopes"));
    grant.facts.step_ups[0].pending = false;
    CHECK(story_of(grant, {}, kNow).advice.empty());
}

}  // namespace
}  // namespace claviger::oauth
