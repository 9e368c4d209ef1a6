// What authorization servers say of their tokens when they are asked (RFC 7662), and what servers demand.
#include "tests/oauth/refresher_world.h"

namespace claviger::oauth {
namespace {

std::string inactive(const std::string&) { return json_answer(200, R"({"active":false})"); }
std::string active(const std::string&) { return json_answer(200, R"({"active":true})"); }

TEST_CASE("A lifetime that nobody stated is asked for, once, and nothing waits for the answer",
          "[oauth][refresher][introspection]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(json_answer(200, R"({"access_token":"a"})"))};
    const auto end = std::chrono::floor<std::chrono::seconds>(world.clock.now()) + 2h;
    world.endpoint.introspection = [&](const std::string&) {
        return json_answer(200, R"({"active":true,"scope":"read","client_id":"client","sub":"x","exp":)" +
                                    std::to_string(end.time_since_epoch() / 1s) + "}");
    };
    world.store(-1s);
    world.start();
    REQUIRE(world.make_usable());
    CHECK(world.token() == "a");
    CHECK(test::soon([&] { return world.facts().expires_at == end; }));
    CHECK(world.grant().lifetime == LifetimeSource::introspection);
    CHECK(world.grant().scopes_granted == Scopes{"read"});
    CHECK(world.now()->expires == end);
    CHECK(world.now()->version == 2);  // what is known of a token is no other token
    CHECK(test::soon([&] {
        const auto next = world.refresher->next_step(world.credential.id);
        return next && *next < end;
    }));
    REQUIRE(world.endpoint.asked() == 1);
    CHECK(world.endpoint.questions[0].ends_with("token=a&token_type_hint=access_token&client_id=client"));
    CHECK(world.entries(vault::Action::introspect) == 1);
    CHECK(test::soon([&] { return world.journal_files() == 0; }));
}

TEST_CASE("What an authorization server says otherwise of a new token invents no lifetime and fails nothing",
          "[oauth][refresher][introspection]") {
    const std::vector<std::string> answers{
        json_answer(200, R"({"active":false})"),
        json_answer(200, R"({"active":true})"),
        json_answer(200, R"({"active":"true","exp":1900000000})"),
        json_answer(200, R"({"active":true,"exp":1})"),
        json_answer(200, R"({"active":true,"exp":99999999999})"),
        json_answer(200, "not JSON"),
        json_answer(401, R"({"error":"invalid_client"})"),
        json_answer(503, "{}"),
        "HTTP/1.1 200 OK\r\nContent-Type: application/token-introspection+jwt\r\nContent-Length: "
        "5\r\n\r\na.b.c",
    };
    for (const auto& answer : answers) {
        INFO(answer);
        World world;
        world.endpoint.answers = {TokenEndpoint::says(json_answer(200, R"({"access_token":"a"})"))};
        world.endpoint.introspection = [&](const std::string&) { return answer; };
        world.store(-1s);
        world.start();
        REQUIRE(world.make_usable());
        CHECK(test::soon([&] { return world.endpoint.asked() == 1; }));
        world.refresher->drain();
        CHECK(world.token() == "a");
        CHECK(world.facts().state == GrantState::ready);
        CHECK(world.facts().expires_at == std::nullopt);
        CHECK(world.grant().lifetime == LifetimeSource::unknown);
    }
}

TEST_CASE("A token that states its life is not asked about", "[oauth][refresher][introspection]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.endpoint.introspection = inactive;
    world.store(-1s);
    world.start();
    REQUIRE(world.make_usable());
    world.refresher->drain();
    CHECK(world.endpoint.asked() == 0);
}

TEST_CASE("A refused token that nothing renews is revoked when its authorization server says so",
          "[oauth][refresher][introspection]") {
    World world;
    world.credential.refresh->grant = "none";
    world.endpoint.introspection = inactive;
    SECTION("and its life was not over") {
        world.store(1h);
        world.start();
        const auto told = world.replace_refused(1);
        REQUIRE_FALSE(told);
        CHECK(told.error().code == "grant.needs_reauth");
        CHECK(world.facts().state == GrantState::needs_reauth);
        CHECK(world.facts().reason == "revoked_upstream");
        CHECK(world.told == std::vector<std::string>{"connection.needs_reauth"});
        CHECK(world.reasons() == std::vector<std::string>{"grant.revoked_upstream"});
        CHECK(world.entries(vault::Action::introspect) == 1);
        CHECK(world.endpoint.questions.at(0).find("token=access-0&token_type_hint=access_token") !=
              std::string::npos);
        CHECK_FALSE(world.refresher->usable(*world.now()));
        CHECK(world.token() == "access-0");  // nothing is deleted
        CHECK(world.refresher->counters().needs_reauth == 1);
    }
    SECTION("or has simply ended when nobody knew its life") {
        world.store(std::nullopt);
        world.start();
        const auto told = world.replace_refused(1);
        REQUIRE_FALSE(told);
        CHECK(told.error().code == "grant.needs_reauth");
        CHECK(world.facts().reason == "expired_no_refresh");
    }
    SECTION("and is kept when it says that the token is good") {
        world.endpoint.introspection = active;
        world.store(1h);
        world.start();
        for (int i = 0; i < 3; ++i) {
            const auto told = world.replace_refused(1);
            REQUIRE_FALSE(told);
            CHECK(told.error().code == "upstream.unauthorized");
        }
        CHECK(world.facts().state == GrantState::ready);
        REQUIRE(world.grant().introspected);
        CHECK(world.grant().introspected->active);
        CHECK(world.endpoint.asked() == 1);  // in a minute
        world.clock.advance(61s);
        REQUIRE_FALSE(world.replace_refused(1));
        CHECK(world.endpoint.asked() == 2);
    }
    SECTION("and is kept when nobody can be asked") {
        world.endpoint.introspection = nullptr;
        world.store(1h);
        world.start();
        const auto told = world.replace_refused(1);
        REQUIRE_FALSE(told);
        CHECK(told.error().code == "upstream.unauthorized");
        CHECK(world.facts().state == GrantState::ready);
        CHECK(world.entries(vault::Action::introspect) == 0);
    }
}

TEST_CASE("A grant that can be renewed is revoked only when both of its tokens are dead",
          "[oauth][refresher][introspection]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    std::string alive = "nothing";
    world.endpoint.introspection = [&](const std::string& request) {
        return request.find("token=" + alive + "&") == request.npos ? inactive(request) : active(request);
    };
    world.store(std::nullopt);
    world.start();
    REQUIRE(world.replace_refused(1));
    CHECK(world.endpoint.asked() == 0);  // a token that is replaced needs no question
    const auto refused_again = [&] {
        return world.loop->await<base::Error>([&](net::Worker& worker) {
            return world.refresher->refused_again(worker, world.credential.id, world.now()->version);
        });
    };
    SECTION("as when access was withdrawn while the call was under way") {
        CHECK(refused_again().code == "grant.needs_reauth");
        CHECK(world.facts().reason == "revoked_upstream");
        CHECK(world.endpoint.asked() == 2);
        CHECK(world.endpoint.questions.at(0).find("token=refresh-1&token_type_hint=refresh_token") !=
              std::string::npos);
    }
    SECTION("and not while its refresh token lives") {
        alive = "refresh-1";
        CHECK(refused_again().code == "upstream.unauthorized");
        CHECK(world.facts().state == GrantState::ready);
        const auto next = world.replace_refused(world.now()->version);
        REQUIRE_FALSE(next);
        CHECK(test::soon([&] { return world.facts().reason == "upstream_rejects_fresh_token"; }));
        CHECK(world.endpoint.asked() == 1);
    }
    SECTION("nor where the server tells nothing of refresh tokens") {
        alive = "access-1";
        CHECK(refused_again().code == "upstream.unauthorized");
        CHECK(world.facts().state == GrantState::ready);
        CHECK(world.endpoint.asked() == 2);
    }
}

TEST_CASE("Claims that a server wants travel into the next token request, once a minute",
          "[oauth][refresher][introspection]") {
    World world;
    const std::string claims = R"({"access_token":{"nbf":{"essential":true,"value":"1"}}})";
    const std::string sent = "claims=%7B%22access_token%22%3A%7B%22nbf%22%3A%7B%22essential%22%3Atrue%2C";
    world.endpoint.answers = {TokenEndpoint::says(tokens("1")), TokenEndpoint::says(tokens("2"))};
    world.store(1h);
    world.start();
    SECTION("also of a token that is new, and no later request has them") {
        REQUIRE(world.replace_refused(1));
        CHECK(world.endpoint.requests.at(0).find("claims=") == std::string::npos);
        REQUIRE(world.replace_refused(2, claims));
        CHECK(world.token() == "access-2");
        CHECK(world.endpoint.requests.at(1).find(sent) != std::string::npos);
        REQUIRE(world.grant().claims);
        CHECK(world.grant().claims->met);
        // A server that wants something else each time gets no token request for each call.
        REQUIRE_FALSE(world.replace_refused(3, R"({"other":1})"));
        CHECK(world.endpoint.count() == 2);
        world.clock.advance(61s);
        REQUIRE(world.replace_refused(3));
        CHECK(world.endpoint.requests.at(2).find("claims=") == std::string::npos);
    }
    SECTION("and are kept for the person who has to come") {
        world.endpoint.answers = {
            TokenEndpoint::says(json_answer(400, R"({"error":"interaction_required"})"))};
        const auto refused = world.replace_refused(1, claims);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "grant.needs_reauth");
        CHECK(refused.error().message.find("nbf") == std::string::npos);
        CHECK(world.facts().reason == "interaction_required");
        REQUIRE(world.grant().claims);
        CHECK_FALSE(world.grant().claims->met);
        CHECK(world.grant().claims->claims == claims);
    }
    SECTION("and where nothing renews the token people are told") {
        world.change([&](vault::Change& change) -> base::Status {
            auto grant = world.grant();
            grant.facts.renewable = false;
            change.note_grant(vault::Action::update, *world.now());
            return store_grant(change, *world.now(), grant);
        });
        REQUIRE_FALSE(world.replace_refused(1, claims));
        CHECK(world.endpoint.count() == 0);
        CHECK(world.facts().state == GrantState::ready);
        CHECK(world.facts().reason == "insufficient_claims");
        CHECK(world.told == std::vector<std::string>{"connection.degraded"});
    }
}

TEST_CASE("People are told when most of what a provider gives a grant is over", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1", 400 * 24 * 3600))};
    world.store(500 * 24h);
    world.change([&](vault::Change& change) -> base::Status {
        auto grant = world.grant();
        grant.provider = "atlassian";
        change.note_grant(vault::Action::update, *world.now());
        return store_grant(change, *world.now(), grant);
    });
    world.start();
    const auto& profile = world.refresher->profile_of(*world.now(), world.grant());
    const auto absolute = profile.refresh_token.absolute_lifetime;
    REQUIRE(absolute);
    REQUIRE(certain_end_of(*world.now(), world.grant(), profile) == *world.facts().granted_at + *absolute);
    CHECK_FALSE(world.facts().end_warned);
    world.clock.set(*world.facts().granted_at + *absolute / 5 * 4 + 1s);
    CHECK(test::soon([&] { return world.facts().end_warned; }));
    CHECK(world.facts().state != GrantState::needs_reauth);
    const std::lock_guard hold(world.guard);
    CHECK(std::ranges::count(world.told, "connection.expiring") == 1);
}

}  // namespace
}  // namespace claviger::oauth
