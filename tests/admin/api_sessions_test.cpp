#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

using namespace claviger;
using test::ApiWorld;
using test::json;

namespace {

std::string path_of(const json& session) { return "/v1/sessions/" + session["id"].get<std::string>(); }

json without_token(json session) {
    session.erase("session_token");
    return session;
}

vault::Ref<vault::SessionToken> token_of(const ApiWorld& world, const json& text) {
    return world.records->catalog().session_token_by_hash(vault::token_hash(text.get<std::string>()));
}

}  // namespace

TEST_CASE("A session answers in the hosted shape, and shows its token once", "[admin]") {
    ApiWorld world;
    const std::string vault = world.new_vault()["id"];
    const auto agent = world.new_agent();
    const auto environment = world.new_environment();
    const auto session =
        world.post("/v1/sessions", {{"agent", {{"type", "agent"}, {"id", agent["id"]}, {"version", 1}}},
                                    {"environment_id", environment["id"]},
                                    {"vault_ids", {vault}},
                                    {"title", "Alice digest"},
                                    {"metadata", {{"ticket", "42"}}},
                                    {"source", "nightly job"}});
    CHECK(session["id"].get<std::string>().starts_with("sesn_01"));
    CHECK(session["type"] == "session");
    CHECK(session["status"] == "idle");
    CHECK(session["vault_ids"] == json({vault}));
    CHECK(session["agent"]["id"] == agent["id"]);
    CHECK_FALSE(session["agent"].contains("metadata"));
    CHECK(session["agent"]["tools"] == agent["tools"]);
    CHECK(session["deployment_id"].is_null());
    CHECK(session["resources"] == json::array());
    CHECK(session["outcome_evaluations"] == json::array());
    CHECK(session["budget"].is_null());
    CHECK(session["stats"] == json{{"active_seconds", 0}, {"duration_seconds", 0}});
    CHECK(session["usage"]["input_tokens"] == 0);
    CHECK(session["parent_session_id"].is_null());
    CHECK(session["source"] == "nightly job");
    CHECK(session["mcp_endpoints"] == json{{"linear", "http://127.0.0.1:8700/mcp/linear"}});

    const auto stored = token_of(world, session["session_token"]);
    REQUIRE(stored);
    CHECK(session["id"] == stored->session.text());
    CHECK(*stored->expires == world.clock.now() + std::chrono::hours(24));
    world.clock.advance(std::chrono::seconds(7));
    auto later = without_token(session);
    later["stats"]["duration_seconds"] = 7;
    CHECK(world.get(path_of(session)) == later);
    CHECK(world.get("/v1/sessions")["data"] == json::array({later}));
}

TEST_CASE("The name of a server is encoded in its endpoint", "[admin]") {
    ApiWorld world;
    const auto agent = world.new_agent(
        {{"mcp_servers", {{{"type", "url"}, {"name", "a b/c"}, {"url", "https://a.example"}}}},
         {"tools", {{{"type", "mcp_toolset"}, {"mcp_server_name", "a b/c"}}}}});
    CHECK(world.new_session({{"agent", agent["id"]}})["mcp_endpoints"]["a b/c"] ==
          "http://127.0.0.1:8700/mcp/a%20b%2Fc");
}

TEST_CASE("Who may only run agents decides neither what they reach nor what they may do", "[admin]") {
    ApiWorld world;
    const auto runner = world.new_key("agent-runner");
    const auto agent = world.new_agent();
    const auto environment = world.new_environment();
    const auto create = [&](std::string_view key, const json& overrides) {
        json given{{"type", "agent_with_overrides"}, {"id", agent["id"]}};
        given.update(overrides);
        return world.call_as(key, "POST", "/v1/sessions",
                             {{"agent", given}, {"environment_id", environment["id"]}});
    };
    const json tools{{"tools", agent["tools"]}}, servers{{"mcp_servers", agent["mcp_servers"]}};
    for (const auto& wider : {tools, servers}) {
        const auto refused = create(runner, wider);
        CHECK(refused.status == 403);
        CHECK(refused.code() == "api_key.role");
        CHECK(create(world.new_key("operator"), wider).status == 200);
    }
    CHECK(create(runner, {{"system", "Be brief."}}).status == 200);
    CHECK(world.get("/v1/sessions")["data"].size() == 3);
}

TEST_CASE("A session keeps the version of the agent it was created with, overrides applied", "[admin]") {
    ApiWorld world;
    const auto agent = world.new_agent();
    const std::string environment = world.new_environment()["id"];
    const auto pinned = world.new_session({{"agent", agent["id"]}, {"environment_id", environment}});
    world.post("/v1/agents/" + agent["id"].get<std::string>(), {{"name", "renamed"}});
    CHECK(world.get(path_of(pinned))["agent"]["name"] == "Ops agent");
    CHECK(world.new_session({{"agent", agent["id"]}, {"environment_id", environment}})["agent"]["version"] ==
          2);
    const auto old = world.new_session({{"agent", {{"type", "agent"}, {"id", agent["id"]}, {"version", 1}}},
                                        {"environment_id", environment}});
    CHECK(old["agent"]["name"] == "Ops agent");

    const auto overridden = world.new_session(
        {{"environment_id", environment},
         {"agent",
          {{"type", "agent_with_overrides"},
           {"id", agent["id"]},
           {"system", "Be brief."},
           {"model", "other"},
           {"mcp_servers", {{{"type", "url"}, {"name", "x"}, {"url", "https://x.example"}}}},
           {"tools", {{{"type", "mcp_toolset"}, {"mcp_server_name", "x"}}}}}}});
    CHECK(overridden["agent"]["system"] == "Be brief.");
    CHECK(overridden["agent"]["model"]["id"] == "other");
    CHECK(overridden["agent"]["mcp_servers"][0]["name"] == "x");
    CHECK(world.get("/v1/agents/" + agent["id"].get<std::string>())["mcp_servers"][0]["name"] == "linear");
}

TEST_CASE("Bad input for a session names its field and stores nothing", "[admin]") {
    ApiWorld world;
    const std::string agent = world.new_agent()["id"], environment = world.new_environment()["id"];
    const std::string vault = world.new_vault()["id"], archived = world.new_vault("old")["id"];
    world.post("/v1/vaults/" + archived + "/archive");
    constexpr const char* nobody = "011CZkZDLs7fYzm1hXNPeRjv";
    struct Row {
        json body;
        unsigned status;
        std::string message;
    };
    auto crowd = json::array();
    for (int i = 0; i < 51; ++i) crowd.push_back(vault);
    const std::vector<Row> rows{
        {{{"agent", nullptr}}, 400, "agent: is required"},
        {{{"agent", 5}}, 400, "agent: must be an object"},
        {{{"agent", "x"}}, 404, "agent: Agent not found"},
        {{{"agent", std::string("agent_") + nobody}}, 404, "agent: Agent not found"},
        {{{"agent", {{"id", agent}}}}, 400, "agent.type: is required"},
        {{{"agent", {{"type", "agent"}}}}, 400, "agent.id: is required"},
        {{{"agent", {{"type", "agent"}, {"id", agent}, {"version", 0}}}},
         400,
         "agent.version: must be a whole number"},
        {{{"agent", {{"type", "agent"}, {"id", agent}, {"version", 7}}}}, 404, "agent.version: Agent"},
        {{{"agent", {{"type", "agent"}, {"id", agent}, {"system", "x"}}}},
         400,
         "agent.system: is not a known field"},
        {{{"agent", {{"type", "agent_with_overrides"}, {"id", agent}, {"skills", {1}}}}},
         400,
         "agent.skills: needs"},
        {{{"agent", {{"type", "agent_with_overrides"}, {"id", agent}, {"tools", json::array()}}}},
         400,
         "agent.tools: no toolset names the MCP server 'linear'"},
        {{{"environment_id", nullptr}}, 400, "environment_id: is required"},
        {{{"environment_id", "prod"}}, 400, "environment_id: is not an environment id"},
        {{{"environment_id", std::string("env_") + nobody}}, 404, "environment_id: Environment not found"},
        {{{"environment", environment}}, 400, "environment: is not a known field here"},
        {{{"vault_ids", vault}}, 400, "vault_ids: must be a list"},
        {{{"vault_ids", {"alice"}}}, 400, "vault_ids[0]: is not a vault id"},
        {{{"vault_ids", {vault, vault}}}, 400, "vault_ids[1]: names the same vault twice"},
        {{{"vault_ids", {vault, std::string("vlt_") + nobody}}}, 404, "vault_ids[1]: Vault not found"},
        {{{"vault_ids", {archived}}}, 400, "vault_ids[0]: vault " + archived + " is archived"},
        {{{"vault_ids", crowd}}, 400, "vault_ids: must have at most 50 entries"},
        {{{"title", 1}}, 400, "title: must be a string"},
        {{{"metadata", {{"k", 1}}}}, 400, "metadata.k: must be a string"},
        {{{"parent_session_id", "x"}}, 400, "parent_session_id: is not a session id"},
        {{{"parent_session_id", std::string("sesn_") + nobody}}, 404, "parent_session_id: Session not found"},
        {{{"source", ""}}, 400, "source: must have 1 to 255 characters"},
        {{{"session_token_expires_in", 0}}, 400, "session_token_expires_in: must be a whole number from 1"},
        {{{"session_token_expires_in", 1.5}}, 400, "session_token_expires_in: must be"},
        {{{"session_token_expires_in", -1}}, 400, "session_token_expires_in: must be"},
        {{{"session_token_expires_in", 40'000'000}}, 400, "session_token_expires_in: must be"},
        {{{"resources", {{{"type", "file"}}}}}, 400, "resources: needs an agent loop"},
        {{{"initial_events", {{{"type", "user.message"}}}}}, 400, "initial_events: needs an agent loop"},
        {{{"budget", {{"type", "usd"}}}}, 400, "budget: needs an agent loop"},
    };
    for (const auto& row : rows) {
        json body{{"agent", agent}, {"environment_id", environment}};
        body.update(row.body);
        const auto reply = world.call("POST", "/v1/sessions", body);
        INFO(row.message << " got " << reply.text);
        CHECK(reply.status == row.status);
        CHECK(reply.message().starts_with(row.message));
    }
    CHECK(world.get("/v1/sessions")["data"].empty());
    CHECK(world
              .new_session({{"resources", json::array()},
                            {"initial_events", json::array()},
                            {"title", nullptr}})["title"]
              .is_null());
}

TEST_CASE("A session's title, metadata and tools change, its vaults do not", "[admin]") {
    ApiWorld world;
    const auto made = world.new_session({{"title", "one"}, {"metadata", {{"a", "1"}}}});
    world.clock.advance(std::chrono::seconds(2));
    const auto same =
        world.post(path_of(made), {{"title", "one"}, {"metadata", {{"a", "1"}}}, {"budget", nullptr}});
    CHECK(same["updated_at"] == made["updated_at"]);
    const auto changed = world.post(path_of(made), {{"title", nullptr},
                                                    {"metadata", {{"a", nullptr}, {"b", ""}}},
                                                    {"agent",
                                                     {{"tools",
                                                       {{{"type", "mcp_toolset"},
                                                         {"mcp_server_name", "linear"},
                                                         {"default_config", {{"enabled", false}}}}}}}}});
    CHECK(changed["title"].is_null());
    CHECK(changed["metadata"] == json{{"b", ""}});
    CHECK(changed["agent"]["tools"][0]["default_config"]["enabled"] == false);
    CHECK(changed["updated_at"] != made["updated_at"]);

    for (const json& ids : {json::array(), json(nullptr), json({"vlt_011CZkZDLs7fYzm1hXNPeRjv"})})
        CHECK(world.call("POST", path_of(made), {{"vault_ids", ids}})
                  .message()
                  .starts_with("vault_ids: cannot change"));
    CHECK(world.call("POST", path_of(made), {{"agent", {{"mcp_servers", json::array()}}}})
              .message()
              .starts_with("agent.mcp_servers: a toolset names"));
    CHECK(world.call("POST", path_of(made), {{"environment_id", "x"}}).status == 400);
}

TEST_CASE("An archived session is terminated; a deleted one is gone with its tokens", "[admin]") {
    ApiWorld world;
    const auto made = world.new_session();
    world.clock.advance(std::chrono::seconds(9));
    const auto archived = world.post(path_of(made) + "/archive");
    CHECK(archived["status"] == "terminated");
    CHECK(archived["archived_at"].is_string());
    world.clock.advance(std::chrono::seconds(9));
    CHECK(world.post(path_of(made) + "/archive") == archived);
    CHECK(world.get(path_of(made))["stats"]["duration_seconds"] == 9);
    CHECK(world.call("POST", path_of(made), {{"title", "x"}}).code() == "session.archived");
    CHECK(world.call("POST", path_of(made) + "/tokens").code() == "session.archived");

    CHECK(world.remove(path_of(made)) == json{{"id", made["id"]}, {"type", "session_deleted"}});
    CHECK(world.call("GET", path_of(made)).code() == "session.not_found");
    CHECK(token_of(world, made["session_token"]) == nullptr);
}

TEST_CASE("Sessions are filtered, ordered and paged in both directions", "[admin]") {
    ApiWorld world;
    const std::string agent = world.new_agent()["id"], environment = world.new_environment()["id"];
    std::vector<std::string> ids;
    for (int i = 0; i < 5; ++i) {
        world.clock.advance(std::chrono::minutes(1));
        ids.push_back(world.new_session({{"agent", agent}, {"environment_id", environment}})["id"]);
    }
    const auto other = world.new_session();
    world.post("/v1/sessions/" + ids[0] + "/archive");
    const auto listed = [&](const std::string& query) {
        std::vector<std::string> found;
        for (const auto& session : world.get("/v1/sessions?" + query)["data"]) found.push_back(session["id"]);
        return found;
    };
    using Ids = std::vector<std::string>;
    CHECK(listed("agent_id=" + agent) == Ids{ids[4], ids[3], ids[2], ids[1]});
    CHECK(listed("agent_id=" + agent + "&include_archived=true&order=asc") == ids);
    CHECK(listed("agent_id=" + agent + "&agent_version=2").empty());
    CHECK(listed("environment_id=" + other["environment_id"].get<std::string>()) == Ids{other["id"]});
    CHECK(listed("statuses%5B%5D=terminated") == Ids{ids[0]});
    CHECK(listed("statuses=idle&statuses=terminated&agent_id=" + agent).size() == 5);
    CHECK(listed("statuses[]=running").empty());
    CHECK(listed("deployment_id=x").empty());
    const std::string third = world.get("/v1/sessions/" + ids[2])["created_at"];
    CHECK(listed("created_at[gte]=" + third + "&agent_id=" + agent) == Ids{ids[4], ids[3], ids[2]});

    const std::string filter = "limit=2&include_archived=true&agent_id=" + agent;
    const auto first = world.get("/v1/sessions?" + filter);
    CHECK(first["prev_page"].is_null());
    const auto second =
        world.get("/v1/sessions?" + filter + "&page=" + first["next_page"].get<std::string>());
    CHECK(second["data"][0]["id"] == ids[2]);
    const auto last = world.get("/v1/sessions?" + filter + "&page=" + second["next_page"].get<std::string>());
    CHECK(last["data"].size() == 1);
    CHECK(last["next_page"].is_null());
    const auto back = world.get("/v1/sessions?" + filter + "&page=" + last["prev_page"].get<std::string>());
    CHECK(back["data"] == second["data"]);
    const auto start = world.get("/v1/sessions?" + filter + "&page=" + back["prev_page"].get<std::string>());
    CHECK(start["data"] == first["data"]);
    CHECK(start["prev_page"].is_null());

    const auto page = "&page=" + first["next_page"].get<std::string>();
    CHECK(world.call("GET", "/v1/sessions?order=asc" + page).code() == "page.invalid");
    CHECK(world.call("GET", "/v1/sessions?created_at[lt]=2020-01-01T00:00:00Z" + page).code() ==
          "page.invalid");
    CHECK(world.call("GET", "/v1/sessions?limit=1000").status == 200);
    for (const auto* bad : {"limit=1001", "order=up", "statuses=open", "agent_id=x", "agent_version=1"}) {
        INFO(bad);
        CHECK(world.call("GET", std::string("/v1/sessions?") + bad).code() == "query.invalid");
    }
}

TEST_CASE("More tokens of a session are minted, listed and revoked", "[admin]") {
    ApiWorld world;
    const auto session = world.new_session({{"session_token_expires_in", 60}});
    CHECK(*token_of(world, session["session_token"])->expires == world.clock.now() + std::chrono::minutes(1));
    const auto token = world.post(path_of(session) + "/tokens", {{"expires_in", 3600}});
    CHECK(token["type"] == "session_token");
    CHECK(token["session_id"] == session["id"]);
    CHECK(token["expires_at"] == base::to_rfc3339(world.clock.now() + std::chrono::hours(1)));
    REQUIRE(token_of(world, token["token"]));

    const auto listed = world.get(path_of(session) + "/tokens")["data"];
    CHECK(listed.size() == 2);
    auto shown = token;
    shown.erase("token");
    CHECK(listed[0] == shown);

    const auto path = path_of(session) + "/tokens/" + token["id"].get<std::string>();
    CHECK(world.remove(path) == json{{"id", token["id"]}, {"type", "session_token_revoked"}});
    CHECK(world.remove(path)["type"] == "session_token_revoked");
    CHECK(token_of(world, token["token"])->revoked.has_value());
    CHECK(world.get(path_of(session) + "/tokens")["data"][0]["revoked_at"].is_string());

    const auto other = world.new_session();
    CHECK(world.call("DELETE", path_of(other) + "/tokens/" + token["id"].get<std::string>()).code() ==
          "session_token.not_found");
    CHECK(world.call("POST", path_of(session) + "/tokens", {{"expires_in", "long"}})
              .message()
              .starts_with("expires_in: must be a whole number"));
}
