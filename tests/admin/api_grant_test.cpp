// How a grant stands, as the admin API tells it: facts, words, history, and never a token.
#include "oauth/grant_event.h"
#include "oauth/stored_grant.h"
#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

#include <future>
#include <set>

using namespace claviger;
using namespace claviger::test;

namespace {

struct GrantWorld : ApiWorld {
    GrantWorld() : vault(new_vault()["id"]), list("/v1/vaults/" + vault + "/credentials") {
        made = post(list, {{"display_name", "Slack"}, {"auth", oauth()}});
        item = list + "/" + made["id"].get<std::string>();
    }
    static json oauth(std::string_view url = "https://mcp.slack.com/mcp") {
        return {{"type", "mcp_oauth"},
                {"mcp_server_url", std::string(url)},
                {"access_token", "CANARY-access"},
                {"expires_at", "2036-12-01T00:00:00Z"},
                {"refresh",
                 {{"token_endpoint", "https://slack.com/api/oauth.v2.user.access"},
                  {"client_id", "123.456"},
                  {"refresh_token", "CANARY-refresh"},
                  {"token_endpoint_auth",
                   {{"type", "client_secret_post"}, {"client_secret", "CANARY-client"}}}}}};
    }
    json grant(std::string_view more = {}) { return get(item + "/grant" + std::string(more)); }
    /// What the refresher would do.
    void happens(const oauth::GrantEvent& event) { happens_to(item, event); }
    void happens_to(const std::string& path, const oauth::GrantEvent& event) {
        const auto id = *base::CredentialId::parse(path.substr(path.rfind('/') + 1));
        std::promise<base::Status> done;
        records->change(
            {.kind = vault::ActorKind::system,
             .id = {},
             .workspace = base::WorkspaceId::parse(workspace)->raw},
            [&](vault::Change& change) -> base::Status {
                const auto credential = change.catalog().find<vault::Credential>(id);
                auto stored = oauth::grant_of(change.catalog(), *credential);
                if (!stored) return std::unexpected(stored.error());
                const auto transition = oauth::apply(stored->facts, event, change.now());
                stored->facts = transition.facts;
                change.note_grant(
                    transition.row == 5 ? vault::Action::refresh : vault::Action::refresh_failed, *credential,
                    transition.row == 7 ? "grant.needs_reauth" : "");
                return oauth::store_grant(change, *credential, *stored);
            },
            [&](base::Status status) { done.set_value(std::move(status)); });
        REQUIRE(done.get_future().get());
    }

    const std::string vault, list;
    json made;
    std::string item;
};

}  // namespace

TEST_CASE("A grant that was handed over is ready, and says what it is made of", "[admin]") {
    GrantWorld world;
    const auto grant = world.grant();
    CHECK(grant["type"] == "vault_credential_grant");
    CHECK(grant["credential_id"] == world.made["id"]);
    CHECK(grant["state"] == "ready");
    CHECK(grant["reason"].is_null());
    CHECK(grant["what_to_do"].is_null());
    CHECK_THAT(grant["meaning"].get<std::string>(), Catch::StartsWith("All is well"));
    CHECK(grant["token_is_served"] == true);
    CHECK(grant["epoch"] == 1);
    CHECK(grant["generation"] == 1);
    CHECK(grant["expires_at"] == "2036-12-01T00:00:00Z");
    CHECK(grant["renewable"] == true);
    CHECK(grant["attempt"].is_null());
    REQUIRE(grant["timeline"].size() == 1);
    CHECK(grant["timeline"][0]["action"] == "create");
}

TEST_CASE("Tokens are told apart by eight hex digits, and shown by nothing else", "[admin]") {
    GrantWorld world;
    const auto before = world.grant();
    const auto is_fingerprint = [](const json& text) {
        return text.is_string() && text.get<std::string>().size() == 8 &&
               text.get<std::string>().find_first_not_of("0123456789abcdef") == std::string::npos;
    };
    CHECK(is_fingerprint(before["token_fingerprint"]));
    CHECK(is_fingerprint(before["refresh_token_fingerprint"]));
    CHECK(before["token_fingerprint"] != before["refresh_token_fingerprint"]);
    CHECK(before.dump().find("CANARY") == std::string::npos);

    CHECK(world.grant()["token_fingerprint"] == before["token_fingerprint"]);
    world.post(world.item, {{"auth", {{"type", "mcp_oauth"}, {"access_token", "CANARY-other"}}}});
    const auto after = world.grant();
    CHECK(after["token_fingerprint"] != before["token_fingerprint"]);
    CHECK(after["refresh_token_fingerprint"] == before["refresh_token_fingerprint"]);
    // Another store would show others: the hash is keyed.
    GrantWorld elsewhere;
    CHECK(elsewhere.grant()["token_fingerprint"] != before["token_fingerprint"]);
}

TEST_CASE("A dead grant says why, what to do, and how it came to that", "[admin]") {
    GrantWorld world;
    const oauth::AttemptId attempt{1};
    world.happens(oauth::RefreshDue{attempt, world.clock.now() + std::chrono::seconds(45)});
    const auto during = world.grant();
    CHECK(during["state"] == "refreshing");
    CHECK(during["attempt"]["started_at"] == base::to_rfc3339(world.clock.now()));
    CHECK(during["token_is_served"] == true);
    world.happens(oauth::RefreshRefused{.attempt = attempt,
                                        .parent_gen = 1,
                                        .kind = oauth::AnswerClass::grant_dead,
                                        .code = "invalid_grant"});

    const auto grant = world.grant();
    CHECK(grant["state"] == "needs_reauth");
    CHECK(grant["reason"] == "invalid_grant");
    CHECK(grant["token_is_served"] == false);
    CHECK_THAT(grant["meaning"].get<std::string>(), Catch::Contains("invalid, expired or revoked"));
    CHECK_THAT(grant["what_to_do"].get<std::string>(), Catch::Contains("claviger credential connect"));
    CHECK(grant["next"]["action"].is_null());
    std::vector<std::string> actions;
    for (const auto& entry : grant["timeline"]) actions.push_back(entry["action"]);
    CHECK(actions == std::vector<std::string>{"refresh_failed", "refresh", "create"});
    CHECK(grant["timeline"][0]["reason"] == "grant.needs_reauth");
}

TEST_CASE("The history of a grant comes in pages, newest first", "[admin]") {
    GrantWorld world;
    for (int i = 0; i < 5; ++i)
        world.post(world.item,
                   {{"auth", {{"type", "mcp_oauth"}, {"access_token", "t" + std::to_string(i)}}}});
    std::set<std::uint64_t> positions;
    std::vector<std::uint64_t> in_order;
    std::string more = "?limit=2";
    for (int pages = 0; pages < 10; ++pages) {
        const auto grant = world.grant(more);
        for (const auto& entry : grant["timeline"]) in_order.push_back(entry["position"]);
        if (grant["next_page"].is_null()) break;
        CHECK(grant["timeline"].size() == 2);
        more = "?limit=2&page=" + grant["next_page"].get<std::string>();
    }
    positions.insert(in_order.begin(), in_order.end());
    CHECK(positions.size() == 6);
    CHECK(in_order.size() == 6);
    CHECK(std::ranges::is_sorted(in_order, std::greater()));
    CHECK(world.call("GET", world.item + "/grant?page=forged").code() == "page.invalid");
    CHECK(world.call("GET", world.item + "/grant?limit=101").status == 400);
}

TEST_CASE("What an update does to the grant follows from what it replaces", "[admin]") {
    struct Row {
        const char* what;
        json auth;
        int epochs;  // by how many consents the grant moves on
        bool renewable;
    };
    const std::vector<Row> rows{
        {"a new access token is a new grant", {{"access_token", "new"}}, 1, true},
        {"so is a new refresh token", {{"refresh", {{"refresh_token", "new"}}}}, 1, true},
        {"another expiry is not", {{"expires_at", "2037-01-01T00:00:00Z"}}, 0, true},
        {"forgetting the expiry is not", {{"expires_at", nullptr}}, 0, true},
        {"another client secret is not",
         {{"refresh", {{"token_endpoint_auth", {{"type", "client_secret_post"}, {"client_secret", "n"}}}}}},
         0,
         true},
        {"dropping the refresh block leaves a grant that ends", {{"refresh", nullptr}}, 1, false},
        {"null keeps what there is",
         {{"access_token", nullptr}, {"refresh", {{"refresh_token", nullptr}}}},
         0,
         true},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        GrantWorld world;
        auto auth = row.auth;
        auth["type"] = "mcp_oauth";
        const auto updated = world.post(world.item, {{"auth", auth}});
        const auto grant = world.grant();
        CHECK(grant["state"] == "ready");
        CHECK(grant["epoch"] == 1 + row.epochs);
        CHECK(grant["renewable"] == row.renewable);
        CHECK(grant["expires_at"] == updated["auth"]["expires_at"]);
    }
}

TEST_CASE("New tokens bring a dead grant back to life, another client secret tries the old ones again",
          "[admin]") {
    GrantWorld world;
    const auto dies = [&](oauth::AnswerClass kind, std::string code) {
        const oauth::AttemptId attempt{2};
        const auto gen = world.grant()["generation"].get<std::uint64_t>();
        world.happens(oauth::RefreshDue{attempt, world.clock.now() + std::chrono::seconds(45)});
        world.happens(oauth::RefreshRefused{
            .attempt = attempt, .parent_gen = gen, .kind = kind, .code = std::move(code)});
    };
    dies(oauth::AnswerClass::grant_dead, "invalid_grant");
    REQUIRE(world.grant()["state"] == "needs_reauth");
    world.post(world.item, {{"auth",
                             {{"type", "mcp_oauth"},
                              {"access_token", "fresh"},
                              {"refresh", {{"refresh_token", "fresh-refresh"}}}}}});
    CHECK(world.grant()["state"] == "ready");
    CHECK(world.grant()["reason"].is_null());

    dies(oauth::AnswerClass::client_dead, "invalid_client");
    REQUIRE(world.grant()["state"] == "needs_config");
    world.post(world.item,
               {{"auth",
                 {{"type", "mcp_oauth"},
                  {"refresh",
                   {{"token_endpoint_auth", {{"type", "client_secret_post"}, {"client_secret", "n"}}}}}}}});
    CHECK(world.grant()["state"] == "backoff");  // due at once
}

TEST_CASE("An archived credential's grant is being revoked, and has no token", "[admin]") {
    GrantWorld world;
    world.post(world.item + "/archive");
    const auto grant = world.grant();
    CHECK(grant["state"] == "revoking");
    CHECK(grant["token_fingerprint"].is_null());
    CHECK(grant["token_is_served"] == false);
    const auto items = world.records->catalog().all<vault::OutboxItem>([](const auto&) { return true; });
    REQUIRE(items.size() == 1);
    CHECK(items[0]->kind == vault::OutboxKind::revocation);
    for (const auto* secret : {"CANARY-access", "CANARY-refresh", "CANARY-client"}) {
        CHECK(items[0]->body.find(secret) == std::string::npos);
        CHECK(items[0]->secrets.find(secret) == std::string::npos);
    }
}

TEST_CASE("A client secret that is repaired at one credential is repaired at its siblings that wait for it",
          "[admin]") {
    GrantWorld world;
    const auto other_of = [&](std::string_view url) {
        return world.list + "/" +
               world.post(world.list, {{"auth", GrantWorld::oauth(url)}})["id"].get<std::string>();
    };
    const auto sibling = other_of("https://mcp.example.com/a"), well = other_of("https://mcp.example.com/b");
    const auto stands = [&](const std::string& item) { return world.get(item + "/grant"); };
    world.happens(oauth::RefreshDue{oauth::AttemptId{1}, world.clock.now() + std::chrono::seconds(45)});
    world.happens(
        oauth::RefreshRefused{oauth::AttemptId{1}, 1, oauth::AnswerClass::client_dead, "invalid_client"});
    world.happens_to(sibling, oauth::ClientRejected{"invalid_client"});
    REQUIRE(world.grant()["state"] == "needs_config");
    REQUIRE(stands(sibling)["state"] == "needs_config");

    world.post(world.item,
               {{"auth",
                 {{"type", "mcp_oauth"},
                  {"refresh",
                   {{"token_endpoint_auth",
                     {{"type", "client_secret_post"}, {"client_secret", "CANARY-repaired"}}}}}}}});
    CHECK(world.grant()["state"] == "backoff");
    CHECK(stands(sibling)["state"] == "backoff");
    CHECK(stands(sibling)["token_fingerprint"] == world.grant()["token_fingerprint"]);  // the tokens stay
    CHECK(world.get(sibling)["version"] == 2);
    CHECK(stands(sibling)["timeline"][0]["action"] == "update");
    CHECK(stands(well)["state"] == "ready");
    CHECK(world.get(well)["version"] == 1);
}

TEST_CASE("A hold serves no token, is on record, and ends where it began", "[admin]") {
    GrantWorld world;
    const auto held = world.post(world.item + "/suspend");
    CHECK(held["type"] == "vault_credential_grant");
    CHECK(held["state"] == "suspended");
    CHECK(held["token_is_served"] == false);
    CHECK_THAT(held["what_to_do"].get<std::string>(), Catch::Contains("claviger credential resume"));
    CHECK(held["timeline"][0]["action"] == "update");
    CHECK(held["timeline"][0]["reason"] == "grant.suspended");
    CHECK(held["timeline"][0]["actor"]["type"] == "api_key");
    CHECK(world.post(world.item + "/suspend")["timeline"].size() == held["timeline"].size());
    const auto refused = world.call("POST", world.item + "/mcp_oauth_validate", json::object());
    CHECK(refused.status == 409);
    CHECK(refused.code() == "grant.suspended");

    const auto free = world.post(world.item + "/resume");
    CHECK(free["state"] == "ready");
    CHECK(free["token_is_served"] == true);
    CHECK(free["timeline"][0]["reason"] == "grant.resumed");
    CHECK(world.post(world.item + "/resume")["timeline"].size() == free["timeline"].size());
}

TEST_CASE("A hold and its end are told to those who listen, once each", "[admin]") {
    GrantWorld world;
    world.post("/v1/webhooks", {{"url", "https://hooks.example.com/claviger"},
                                {"name", "alarms"},
                                {"enabled_events", {"connection.suspended", "connection.resumed"}}});
    for (const auto* path : {"/suspend", "/suspend", "/resume", "/resume"}) world.post(world.item + path);
    std::multiset<std::string> told;
    for (const auto& item : world.records->catalog().all<vault::OutboxItem>([](const auto&) { return true; }))
        told.insert(json::parse(item->body)["data"]["type"]);
    CHECK(told == std::multiset<std::string>{"connection.resumed", "connection.suspended"});
}

TEST_CASE("New tokens do not end a hold", "[admin]") {
    GrantWorld world;
    world.post(world.item + "/suspend");
    world.post(world.item, {{"auth", {{"type", "mcp_oauth"}, {"access_token", "CANARY-other"}}}});
    CHECK(world.grant()["state"] == "suspended");
    const auto free = world.post(world.item + "/resume");
    CHECK(free["state"] == "ready");
    CHECK(free["epoch"] == 2);
}

TEST_CASE("A dead grant is dead again after a hold, and an archived one has none", "[admin]") {
    GrantWorld world;
    world.happens(oauth::RevokedUpstream{});
    world.post(world.item + "/suspend");
    const auto again = world.post(world.item + "/resume");
    CHECK(again["state"] == "needs_reauth");
    CHECK(again["reason"] == "revoked_upstream");
    world.post(world.item + "/archive");
    CHECK(world.call("POST", world.item + "/suspend").code() == "credential.archived");
}

TEST_CASE("Only what was connected can be held, and only by those who may write", "[admin]") {
    GrantWorld world;
    const auto bearer = world.new_bearer(world.vault);
    CHECK(world.call("POST", world.list + "/" + bearer["id"].get<std::string>() + "/suspend").code() ==
          "credential.not_oauth");
    CHECK(world.call("POST", world.list + "/vcrd_0123/suspend").status == 404);
    for (const auto* role : {"auditor", "agent-runner"})
        CHECK(world.call_as(world.new_key(role), "POST", world.item + "/suspend").status == 403);
    world.happens(oauth::Deleted{});
    const auto gone = world.call("POST", world.item + "/suspend");
    CHECK(gone.status == 409);
    CHECK(gone.code() == "grant.nothing_to_hold");
}

TEST_CASE("Only OAuth credentials of the workspace have a grant to show", "[admin]") {
    GrantWorld world;
    const auto bearer = world.new_bearer(world.vault);
    const auto reply = world.call("GET", world.list + "/" + bearer["id"].get<std::string>() + "/grant");
    CHECK(reply.status == 400);
    CHECK(reply.code() == "credential.not_oauth");
    CHECK(world.call("GET", world.list + "/vcrd_011111111111111111111111/grant").status == 404);
    CHECK(world.call_as(world.new_key("auditor"), "GET", world.item + "/grant").status == 200);
    CHECK(world.call_as(world.new_key("agent-runner"), "GET", world.item + "/grant").status == 403);
}
