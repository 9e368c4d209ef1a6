// Grants whose tokens are exchanged for those of other credentials.
#include "tests/oauth/refresher_world.h"

namespace claviger::oauth {
namespace {

/// What the world stores next is another credential, for another server.
void become_another(World& world, unsigned char id, const char* server) {
    world.credential.id.raw = test::id_of(id);
    world.credential.mcp_server_url = world.credential.normal_url = server;
    world.credential.version = 0;
}

/// And its tokens are had for that credential's access or refresh token.
void exchange(World& world, const char* grant, const base::CredentialId& subject, const std::string& kind) {
    world.credential.refresh->grant = grant;
    world.credential.refresh->exchange =
        vault::Exchange{.credential = subject,
                        .token_type = "urn:ietf:params:oauth:token-type:" + kind + "_token",
                        .audience = {},
                        .requested_type = {},
                        .issuer = {}};
}

std::uint64_t version_of(World& world, const base::CredentialId& id) {
    return world.records->catalog().find<vault::Credential>(id)->version;
}

TEST_CASE("A token that died without anybody knowing is renewed before another is exchanged for it",
          "[oauth][refresher]") {
    World world;
    const auto is = [](const std::string& request, const char* what) {
        return request.find(what) != std::string::npos;
    };
    unsigned refused = 400;
    std::string refusal = R"({"error":"invalid_grant"})", dead = "subject_token=access-0";
    bool renews = true;
    world.endpoint.answers = {[&](Peer& peer, const std::string& request) {
        if (is(request, "grant_type=refresh_token"))
            peer.write(renews ? tokens("1") : json_answer(503, "{}"));
        else
            peer.write(is(request, dead.c_str()) ? json_answer(refused, refusal) : tokens("exchanged"));
    }};
    world.store(1h);
    const auto subject = world.credential.id;
    become_another(world, 9, "https://other.example.com/mcp");
    exchange(world, "token_exchange", subject, "access");
    world.store(100s);
    const auto before = version_of(world, subject);
    world.start();
    world.clock.advance(101s);
    SECTION("and exchanged again, once") {
        CHECK(world.make_usable());
        CHECK(world.token() == "access-exchanged");
        CHECK(world.endpoint.count() == 3);
        CHECK(version_of(world, subject) == before + 1);
        CHECK(test::soon([&] { return world.journal_files() == 0; }));
    }
    SECTION("also where the server calls the request invalid (RFC 8693 2.2.2)") {
        refusal = R"({"error":"invalid_request"})";
        CHECK(world.make_usable());
        CHECK(world.token() == "access-exchanged");
    }
    SECTION("and only when the new one is refused as well somebody is asked") {
        dead = "subject_token=";
        const auto usable = world.make_usable();
        REQUIRE_FALSE(usable);
        CHECK(usable.error().code == "grant.needs_reauth");
        CHECK(world.facts().reason == "subject_refused");
        CHECK(world.endpoint.count() == 3);
        CHECK(version_of(world, subject) == before + 1);
    }
    SECTION("and while it cannot be renewed nobody is") {
        renews = false;
        const auto usable = world.make_usable();
        REQUIRE_FALSE(usable);
        CHECK(usable.error().code == "grant.transient");
        CHECK(world.facts().reason == "subject_unusable");
        CHECK(world.endpoint.count() == 2);
    }
}

/// A signed JWT as far as anybody can tell who does not verify it.
std::string token_with(const char* claims) {
    return base::to_base64url(R"({"alg":"ES256"})") + "." + base::to_base64url(claims) + ".c2ln";
}

TEST_CASE("Who acts for a subject is named by a token of its own, kept fresh like the subject's",
          "[oauth][refresher]") {
    World world;
    const auto is = [](const std::string& request, const std::string& what) {
        return request.find(what) != std::string::npos;
    };
    std::string dead = "no token", refusal = R"({"error":"invalid_request"})";
    std::string acted = token_with(R"({"act":{"sub":"agent","act":{"sub":"broker"}}})");
    unsigned renewals = 0;
    world.endpoint.answers = {[&](Peer& peer, const std::string& request) {
        if (is(request, "grant_type=refresh_token"))
            peer.write(tokens("renewed" + std::to_string(++renewals)));
        else if (is(request, dead))
            peer.write(json_answer(400, refusal));
        else
            peer.write(json_answer(
                200, R"({"token_type":"Bearer","expires_in":3600,"access_token":")" + acted + R"("})"));
    }};
    world.store(1h);
    const auto subject = world.credential.id;
    become_another(world, 9, "https://actor.example.com/mcp");
    world.store(10min);
    const auto actor = world.credential.id;
    become_another(world, 10, "https://other.example.com/mcp");
    exchange(world, "token_exchange", subject, "access");
    world.credential.refresh->exchange->actor = actor;
    world.credential.refresh->exchange->actor_type = world.credential.refresh->exchange->token_type;
    world.store(100s);
    const auto change_actor = [&](const std::function<void(vault::Credential&)>& with) {
        world.change([&](vault::Change& change) -> base::Status {
            auto changed = *change.catalog().find<vault::Credential>(actor);
            const auto parts = change.open_secret(changed);  // sealed for where it may go
            if (!parts) return std::unexpected(parts.error());
            with(changed);
            change.note(vault::EntryKind::write, vault::Action::update, vault::ObjectKind::credential,
                        actor.raw, world.vault.id.raw);
            return change.store_with_secret(std::move(changed), *parts);
        });
    };
    const auto requests = [&](const std::string& what) {
        const std::lock_guard hold(world.endpoint.guard);
        return std::ranges::count_if(world.endpoint.requests,
                                     [&](const auto& request) { return is(request, what); });
    };
    SECTION("both are sent, and whom the new token names is kept for people") {
        world.start();
        world.clock.advance(101s);
        REQUIRE(world.make_usable());
        CHECK(requests("subject_token=access-0&") == 1);
        CHECK(requests("&actor_token=access-0&actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A"
                       "access_token") == 1);
        const auto grant = grant_of(world.records->catalog(), *world.now());
        REQUIRE(grant);
        CHECK(grant->act_chain == std::vector<std::string>{"agent", "broker"});
        // Not longer than the shorter of both.
        CHECK(grant->facts.expires_at == world.records->catalog().find<vault::Credential>(actor)->expires);
        vault::LogQuery query;
        query.workspace = world.workspace.raw;
        query.credential = actor.raw;
        query.kind = vault::EntryKind::grant;
        const auto page = world.records->access_log().query(query);
        REQUIRE(page);
        REQUIRE_FALSE(page->entries.empty());
        CHECK(vault::reason_code(page->entries.front().entry.reason) == "grant.exchanged_as_actor");
        acted = "opaque";  // says nothing of actors: then nothing is said of them
        world.clock.advance(10min);
        REQUIRE(world.make_usable());
        CHECK(grant_of(world.records->catalog(), *world.now())->act_chain.empty());
    }
    SECTION("the actor's is renewed first where it has run out") {
        world.start();
        world.clock.advance(11min);
        REQUIRE(world.make_usable());
        CHECK(requests("&actor_token=access-renewed1&") == 1);
        CHECK(requests("subject_token=access-0&") == 1);
    }
    SECTION("and both when the server takes one of them no more") {
        dead = "actor_token=access-0&";
        world.start();
        world.clock.advance(101s);
        REQUIRE(world.make_usable());
        CHECK(renewals == 2);
        CHECK(requests("subject_token=access-renewed") == 1);
        CHECK(requests("actor_token=access-renewed") == 1);
    }
    SECTION("and who cannot act any more even so is not left out") {
        dead = "actor_token=";
        refusal = R"({"error":"invalid_grant"})";
        world.start();
        world.clock.advance(101s);
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_reauth);
        CHECK(world.facts().reason == "exchange_refused");
        CHECK(requests("grant-type%3Atoken-exchange") == 2);
        CHECK(requests("subject_token=") == requests("actor_token="));
    }
    SECTION("nothing is sent without it") {
        const bool archived = GENERATE(true, false);
        change_actor([&](vault::Credential& changed) {
            if (archived)
                changed.archived = world.clock.now();
            else
                changed.refresh->token_endpoint = "https://elsewhere.example/token";
        });
        world.start();
        world.clock.advance(101s);
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_config);
        CHECK(world.facts().reason == (archived ? "actor_gone" : "actor_elsewhere"));
        CHECK(world.endpoint.count() == 0);
    }
    SECTION("a refusal for what the subject lets nobody do is as any other") {
        dead = "actor_token=";
        refusal = R"({"error":"unauthorized_client","error_description":"may_act"})";
        world.start();
        world.clock.advance(101s);
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_config);
        CHECK(renewals == 0);
    }
}

TEST_CASE("An identity provider that refuses a dead subject token is asked once more with its next one",
          "[oauth][refresher]") {
    World world;
    TokenEndpoint
        resource;  // the authorization server of the MCP server; the world's is the identity provider
    const auto is = [](const std::string& request, const std::string& what) {
        return request.find(what) != std::string::npos;
    };
    const std::string kind = GENERATE("access", "refresh");
    INFO("the subject token is the " << kind << " token");
    std::string dead = "subject_token=" + kind + "-0&", refusal = R"({"error":"invalid_grant"})";
    bool renews = true;
    unsigned assertions = 0;
    world.endpoint.answers = {[&](Peer& peer, const std::string& request) {
        if (is(request, "grant_type=refresh_token"))
            return peer.write(renews ? tokens("1") : json_answer(503, "{}"));
        if (is(request, dead)) return peer.write(json_answer(400, refusal));
        peer.write(json_answer(200, R"({"issued_token_type":"urn:ietf:params:oauth:token-type:id-jag",)"
                                    R"("token_type":"N_A","expires_in":300,"access_token":"assertion-)" +
                                        std::to_string(++assertions) + R"("})"));
    }};
    resource.answers = {TokenEndpoint::says(tokens("of-resource"))};
    world.store(1h);
    const auto subject = world.credential.id;
    become_another(world, 9, "https://other.example.com/mcp");
    world.credential.refresh->token_endpoint = resource.url();
    exchange(world, "id_jag", subject, kind);
    world.store(100s);
    const auto before = version_of(world, subject);
    world.start();
    world.clock.advance(101s);
    const auto asked = [](TokenEndpoint& endpoint, std::size_t number) {
        const std::lock_guard hold(endpoint.guard);
        return endpoint.requests.at(number);
    };
    SECTION("and the chain goes on with what comes of it") {
        REQUIRE(world.make_usable());
        CHECK(world.token() == "access-of-resource");
        REQUIRE(world.endpoint.count() == 3);
        CHECK(is(asked(world.endpoint, 0), "subject_token=" + kind + "-0&"));
        CHECK(is(asked(world.endpoint, 1), "grant_type=refresh_token&refresh_token=refresh-0"));
        CHECK(is(asked(world.endpoint, 2), "subject_token=" + kind + "-1&"));
        REQUIRE(resource.count() == 1);
        CHECK(is(asked(resource, 0), "assertion=assertion-1"));
        CHECK(version_of(world, subject) == before + 1);
    }
    SECTION("also where it calls the request invalid (RFC 8693 2.2.2)") {
        refusal = R"({"error":"invalid_request"})";
        REQUIRE(world.make_usable());
        CHECK(world.token() == "access-of-resource");
    }
    SECTION("and when that is refused, too, the chain ends, and nobody is asked for tokens") {
        dead = "subject_token=";
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_reauth);
        CHECK(world.facts().reason == "subject_refused");
        CHECK(world.endpoint.count() == 3);
        CHECK(version_of(world, subject) == before + 1);
        CHECK(resource.count() == 0);
    }
    SECTION("and while it cannot be renewed the chain waits") {
        renews = false;
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::backoff);
        CHECK(world.facts().reason == "subject_unusable");
        CHECK(resource.count() == 0);
    }
    SECTION("but an assertion that is refused is fresh, so no renewal would mend it") {
        dead = "no token";
        resource.answers = {TokenEndpoint::says(json_answer(400, R"({"error":"invalid_grant"})"))};
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_reauth);
        CHECK(world.facts().reason == "invalid_grant");
        CHECK(world.endpoint.count() == 1);
        CHECK(resource.count() == 1);
        CHECK(version_of(world, subject) == before);
    }
}

}  // namespace
}  // namespace claviger::oauth
