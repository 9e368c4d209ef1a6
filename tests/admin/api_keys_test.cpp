#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

#include <algorithm>
#include <functional>

using namespace claviger;
using test::ApiWorld;
using test::json;

TEST_CASE("A new API key is shown once and works at once", "[admin]") {
    ApiWorld world;
    const auto made = world.post("/v1/api_keys", {{"name", "CI"}, {"role", "operator"}});
    const std::string key = made["key"];
    CHECK(key.starts_with("clv_operator_"));
    CHECK(made["id"].get<std::string>().starts_with("apikey_01"));
    CHECK(made["type"] == "api_key");
    CHECK(made["workspace_id"] == world.workspace);
    CHECK(world.call_as(key, "GET", "/v1/vaults").status == 200);

    const auto listed = world.call("GET", "/v1/api_keys");
    CHECK(listed.body["data"].size() == 2);
    CHECK(listed.body["data"][0]["name"] == "CI");
    CHECK(listed.text.find(key) == std::string::npos);
}

TEST_CASE("Bad input for an API key names its field", "[admin]") {
    ApiWorld world;
    struct Row {
        json body;
        const char* message;
    };
    const std::vector<Row> rows{
        {{{"role", "admin"}}, "name: is required"},
        {{{"name", "a"}}, "role: is required, one of admin, operator, auditor, agent-runner"},
        {{{"name", "a"}, {"role", "root"}}, "role: must be one of"},
        {{{"name", "a"}, {"role", "admin"}, {"key", "mine"}}, "key: is not a known field here"},
    };
    for (const auto& row : rows)
        CHECK(world.call("POST", "/v1/api_keys", row.body).message().starts_with(row.message));
    CHECK(world.get("/v1/api_keys")["data"].size() == 1);
}

TEST_CASE("A revoked key opens nothing; the last admin key cannot be revoked", "[admin]") {
    ApiWorld world;
    const auto other = world.post("/v1/api_keys", {{"name", "b"}, {"role", "admin"}});
    const std::string path = "/v1/api_keys/" + other["id"].get<std::string>();
    CHECK(world.remove(path) == json{{"id", other["id"]}, {"type", "api_key_revoked"}});
    CHECK(world.remove(path)["type"] == "api_key_revoked");
    const auto refused = world.call_as(other["key"].get<std::string>(), "GET", "/v1/vaults");
    CHECK(refused.status == 401);
    CHECK(refused.code() == "api_key.unknown");

    const std::string own = world.get("/v1/api_keys")["data"][1]["id"];
    const auto last = world.call("DELETE", "/v1/api_keys/" + own);
    CHECK(last.status == 409);
    CHECK(last.code() == "api_key.last_admin");
    CHECK(last.headers.at("x-should-retry") == "false");
    CHECK(world.call("DELETE", "/v1/api_keys/apikey_none").code() == "api_key.not_found");
}

TEST_CASE("Workspaces are made by the admins of the first one and seen by themselves", "[admin]") {
    ApiWorld world;
    const auto made = world.post("/v1/workspaces", {{"name", "team b"}});
    const std::string key = made["admin_api_key"];
    CHECK(made["type"] == "workspace");
    CHECK(made["name"] == "team b");
    CHECK(world.get("/v1/workspaces")["data"].size() == 2);
    CHECK(world.call("POST", "/v1/workspaces").message().starts_with("name: is required"));

    const auto theirs = world.call_as(key, "GET", "/v1/workspaces");
    CHECK(theirs.body["data"].size() == 1);
    CHECK(theirs.body["data"][0]["id"] == made["id"]);
    CHECK(made["id"] == theirs.headers.at("anthropic-workspace-id"));
    const auto refused = world.call_as(key, "POST", "/v1/workspaces", {{"name", "c"}});
    CHECK(refused.status == 403);
    CHECK(refused.code() == "workspace.not_first");

    const auto vault = world.call_as(key, "POST", "/v1/vaults", {{"display_name", "theirs"}});
    CHECK(vault.status == 200);
    CHECK(world.call("GET", "/v1/vaults/" + vault.body["id"].get<std::string>()).status == 404);
    const std::string stranger = world.call_as(key, "GET", "/v1/api_keys").body["data"][0]["id"];
    CHECK(world.call("DELETE", "/v1/api_keys/" + stranger).status == 404);
}

TEST_CASE("The access log answers by every filter, page by page", "[admin]") {
    ApiWorld world;
    const std::string start = base::to_rfc3339(world.clock.now());
    const std::string vault = world.new_vault("Alice")["id"];
    const auto credential = world.new_bearer(vault);
    world.clock.advance(std::chrono::minutes(1));
    const auto session = world.new_session({{"title", "digest"}});
    world.new_vault("Bob");
    const auto count = [&](const std::string& query) {
        return world.get("/v1/access_log?" + query)["data"].size();
    };

    CHECK(count("vault_id=" + vault) == 2);
    CHECK(count("credential_id=" + credential["id"].get<std::string>()) == 1);
    CHECK(count("session_id=" + session["id"].get<std::string>()) >= 1);
    CHECK(count("kind=write&decision=allowed") == count("kind=write"));
    CHECK(count("decision=denied") == 0);
    CHECK(count("created_at[lte]=" + start) == 2);
    CHECK(count("created_at[gt]=" + start + "&vault_id=" + vault) == 0);
    CHECK(count("server=linear") == 0);

    const auto entry =
        world.get("/v1/access_log?credential_id=" + credential["id"].get<std::string>())["data"][0];
    CHECK(entry["type"] == "access_log_entry");
    CHECK(entry["kind"] == "write");
    CHECK(entry["action"] == "create");
    CHECK(entry["decision"] == "allowed");
    CHECK(entry["reason"].is_null());
    CHECK(entry["vault_id"] == vault);
    CHECK(entry["vault_name"] == "Alice");
    CHECK(entry["credential_name"].is_null());
    CHECK(entry["created_at"] == start);
    CHECK(entry["workspace_id"] == world.workspace);
    CHECK(entry["actor"]["id"].get<std::string>().starts_with("apikey_01"));
    CHECK(entry["server"].is_null());

    std::vector<std::uint64_t> positions;
    std::string page;
    for (int i = 0; i < 20; ++i) {
        const auto answer = world.get("/v1/access_log?limit=2" + page);
        for (const auto& each : answer["data"]) positions.push_back(each["position"]);
        if (answer["next_page"].is_null()) break;
        page = "&page=" + answer["next_page"].get<std::string>();
    }
    CHECK(positions.size() == count("limit=1000"));
    CHECK(std::ranges::is_sorted(positions, std::greater<>()));

    for (const auto* bad : {"limit=0", "limit=1001", "decision=maybe", "kind=other", "vault_id=x",
                            "session_id=vlt_1", "created_at[gte]=x"}) {
        INFO(bad);
        CHECK(world.call("GET", std::string("/v1/access_log?") + bad).code() == "query.invalid");
    }
    CHECK(world.call("GET", "/v1/access_log?page=x").code() == "page.invalid");
}

TEST_CASE("The access log shows nothing of another workspace", "[admin]") {
    ApiWorld world;
    const std::string vault = world.new_vault()["id"];
    const std::string key = world.post("/v1/workspaces", {{"name", "other"}})["admin_api_key"];
    CHECK(world.call_as(key, "GET", "/v1/access_log?vault_id=" + vault).body["data"].empty());
    for (const auto& entry : world.call_as(key, "GET", "/v1/access_log").body["data"])
        CHECK(entry["workspace_id"] != world.workspace);
}
