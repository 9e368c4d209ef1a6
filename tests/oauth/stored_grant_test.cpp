#include "oauth/stored_grant.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;

base::Time at(int seconds) { return base::Time(std::chrono::seconds(1'790'000'000 + seconds)); }

/// Every member holds something else than its default.
StoredGrant full() {
    StoredGrant grant;
    auto& facts = grant.facts;
    facts.state = GrantState::suspended;
    facts.resume_to = GrantState::uncertain;
    facts.reason = "no_answer";
    facts.epoch = 3;
    facts.gen = 17;
    facts.attempt = RefreshAttempt{test::id_of(1), 17, at(1), at(76), test::id_of(2)};
    facts.unresolved = UnresolvedAttempt{test::id_of(2), at(0)};
    facts.fail_count = 4;
    facts.cooldown_until = at(100);
    facts.cooldown_since = at(70);
    facts.obtained_at = at(-3600);
    facts.expires_at = at(60);
    facts.granted_at = at(-7200);
    facts.renewable = true;
    facts.reuse = RefreshTokenReuse::grace;
    facts.reuse_grace = 600s;
    facts.old_access_token = OldAccessToken::dies;
    facts.scopes_requested = {"read", "write"};
    facts.step_ups = {{"delete_repo", {"admin"}, 2, true}, {"refresh", {"read"}, 1, false}};
    facts.degraded = true;
    facts.expiry_warned = true;
    facts.end_warned = true;
    facts.reauth_told_epoch = 2;
    facts.seed = 0xfedcba9876543210ULL;
    grant.lifetime = LifetimeSource::profile;
    grant.unrecognized = {2, at(5)};
    grant.refresh_expires_at = at(9'999'999);
    grant.scopes_granted = {"read"};
    grant.provider = "linear-mcp";
    grant.issuer = "https://issuer.example";
    grant.revocation_endpoint = "https://issuer.example/revoke";
    grant.claims = ClaimsDemand{R"({"access_token":{"acr":null}})", at(7), true};
    grant.introspected = Introspected{at(8), true};
    grant.account = "someone";
    grant.act_chain = {"agent", "broker"};
    return grant;
}

TEST_CASE("What rests of a grant comes back as it was", "[oauth][stored_grant]") {
    for (const auto& grant : {StoredGrant(), full()}) {
        const auto text = encode(grant);
        INFO(text);
        const auto back = decode_stored_grant(text);
        REQUIRE(back);
        CHECK(*back == grant);
        CHECK(encode(*back) == text);
    }
    for (const auto source : {LifetimeSource::response, LifetimeSource::jwt, LifetimeSource::introspection,
                              LifetimeSource::profile, LifetimeSource::unknown}) {
        StoredGrant grant;
        grant.lifetime = source;
        const auto back = decode_stored_grant(encode(grant));
        REQUIRE(back);
        CHECK(back->lifetime == source);
    }
}

TEST_CASE("What encode() does not write is refused", "[oauth][stored_grant]") {
    for (const auto* text :
         {"", "[]", "null", R"({"states":"ready"})", R"({"state":"happy"})", R"({"epoch":-1})",
          R"({"epoch":"1"})", R"({"attempt":{"id":"00"}})", R"({"attempt":{"other":1}})",
          R"({"scopes_granted":"read"})", R"({"step_ups":[{"operation":1}]})", R"({"lifetime":"guess"})",
          R"({"renewable":1})", R"({"obtained_at":1.5})", R"({"claims":"{}"})",
          R"({"introspected":{"active":1}})", R"({"epoch":1,"epoch":2})"}) {
        INFO(text);
        const auto read = decode_stored_grant(text);
        REQUIRE_FALSE(read);
        CHECK(read.error().code == "grant.malformed");
    }
}

TEST_CASE("Tokens that an administrator brings begin a new epoch", "[oauth][stored_grant]") {
    vault::Credential credential;
    credential.type = vault::AuthType::mcp_oauth;
    credential.expires = at(-10);
    auto before = full();
    REQUIRE(before.facts.state == GrantState::suspended);
    const auto held = handed_over(credential, &before, at(0));
    CHECK(held.facts.state == GrantState::suspended);  // new tokens do not end a hold
    CHECK(held.facts.resume_to == GrantState::ready);
    before.facts.state = GrantState::needs_reauth;
    auto grant = handed_over(credential, &before, at(0));
    CHECK(grant.facts.state == GrantState::ready);
    CHECK(grant.facts.epoch == 4);
    CHECK(grant.facts.gen == 1);
    CHECK_FALSE(grant.facts.attempt);
    CHECK_FALSE(grant.facts.renewable);
    CHECK_FALSE(grant.facts.expires_at);  // a date in the past, and nothing to renew with: the server decides
    CHECK(grant.issuer == before.issuer);
    credential.refresh = vault::Refresh{};
    grant = handed_over(credential, nullptr, at(0));
    CHECK(grant.facts.epoch == 1);
    CHECK(grant.facts.renewable);
    CHECK(grant.facts.expires_at == at(-10));
    credential.refresh->grant = "none";  // connected, without a refresh token
    CHECK_FALSE(handed_over(credential, nullptr, at(0)).facts.renewable);
}

}  // namespace
}  // namespace claviger::oauth
