#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

using namespace claviger;
using test::ApiWorld;
using test::json;

namespace {

std::string path_of(const json& agent) { return "/v1/agents/" + agent["id"].get<std::string>(); }

const json kSlack{{"type", "url"}, {"name", "slack"}, {"url", "https://mcp.slack.com/mcp"}};
const json kLinear{{"type", "url"}, {"name", "linear"}, {"url", "https://mcp.linear.app/mcp"}};
const json kAllow{{"type", "always_allow"}}, kAsk{{"type", "always_ask"}};

json toolset(const char* server) { return {{"type", "mcp_toolset"}, {"mcp_server_name", server}}; }

}  // namespace

TEST_CASE("An agent's permissions are shown resolved", "[admin]") {
    ApiWorld world;
    const auto agent = world.post(
        "/v1/agents", {{"name", "Ops agent"},
                       {"model", {{"id", "claude-opus-5-5"}, {"effort", "high"}, {"speed", nullptr}}},
                       {"description", "Slack + Linear"},
                       {"system", "You help\nops."},
                       {"mcp_servers", {kSlack, kLinear}},
                       {"tools",
                        {{{"type", "mcp_toolset"},
                          {"mcp_server_name", "slack"},
                          {"default_config", {{"enabled", false}}},
                          {"configs",
                           {{{"name", "search_messages"}, {"enabled", true}, {"permission_policy", kAllow}},
                            {{"name", "post_message"}, {"enabled", true}},
                            {{"name", "delete_message"}}}}},
                         {{"type", "mcp_toolset"},
                          {"mcp_server_name", "linear"},
                          {"default_config", {{"permission_policy", {{"type", "auto"}}}}}}}},
                       {"skills", json::array()},
                       {"multiagent", nullptr},
                       {"metadata", {{"owner", "ops"}}}});
    CHECK(agent["id"].get<std::string>().starts_with("agent_01"));
    CHECK(agent["type"] == "agent");
    CHECK(agent["version"] == 1);
    CHECK(agent["model"] == json{{"id", "claude-opus-5-5"}, {"effort", {{"type", "high"}}}});
    CHECK(agent["execution_identity"] == json{{"type", "service_account"}});
    CHECK(agent["multiagent"].is_null());
    CHECK(agent["skills"] == json::array());
    CHECK(agent["mcp_servers"] == json({kSlack, kLinear}));
    CHECK(agent["tools"][0]["default_config"] == json{{"enabled", false}, {"permission_policy", kAsk}});
    CHECK(agent["tools"][0]["configs"] ==
          json({{{"name", "search_messages"}, {"enabled", true}, {"permission_policy", kAllow}},
                {{"name", "post_message"}, {"enabled", true}, {"permission_policy", kAsk}},
                {{"name", "delete_message"}, {"enabled", false}, {"permission_policy", kAsk}}}));
    CHECK(agent["tools"][1]["default_config"] ==
          json{{"enabled", true}, {"permission_policy", {{"type", "auto"}}}});
    CHECK(agent["tools"][1]["configs"] == json::array());
    CHECK(world.get(path_of(agent)) == agent);
    CHECK(world.post("/v1/agents", {{"name", "bare"}, {"model", "m"}})["model"] == json{{"id", "m"}});
}

TEST_CASE("Bad input for an agent names its field and stores nothing", "[admin]") {
    ApiWorld world;
    struct Row {
        json body;
        const char* message;
    };
    auto many = json::array();
    for (int i = 0; i < 21; ++i) many.push_back(kSlack);
    const std::vector<Row> rows{
        {{{"name", nullptr}}, "name: is required"},
        {{{"model", nullptr}}, "model: is required"},
        {{{"model", 5}}, "model: must be a string"},
        {{{"model", json::object()}}, "model.id: is required"},
        {{{"model", {{"id", "m"}, {"temperature", 1}}}}, "model.temperature: is not a known field here"},
        {{{"system", std::string(100'001, 'x')}}, "system: must have 0 to 100000 characters"},
        {{{"mcp_servers", {kSlack}}}, "mcp_servers: no toolset names the MCP server 'slack'"},
        {{{"tools", {toolset("slack")}}}, "tools: a toolset names the MCP server 'slack'"},
        {{{"mcp_servers", {kSlack, kSlack}}, {"tools", {toolset("slack")}}},
         "tools: MCP server 'slack' is declared twice"},
        {{{"mcp_servers", {kSlack}}, {"tools", {toolset("slack"), toolset("slack")}}},
         "tools: MCP server 'slack' has two toolsets"},
        {{{"mcp_servers", many}}, "mcp_servers: must have at most 20 entries"},
        {{{"mcp_servers", {{{"type", "sse"}, {"name", "a"}, {"url", "https://a.example"}}}}},
         "mcp_servers[0].type: must be url"},
        {{{"mcp_servers", {{{"type", "url"}, {"url", "https://a.example"}}}}},
         "mcp_servers[0].name: is required"},
        {{{"mcp_servers", {{{"type", "url"}, {"name", "a"}, {"url", "nowhere"}}}}},
         "mcp_servers[0].url: server URL refused"},
        {{{"mcp_servers", {{{"type", "url"}, {"name", "a"}, {"url", "https://a.example"}, {"headers", 1}}}},
          {"tools", {toolset("a")}}},
         "mcp_servers[0].headers: is not a known field here"},
        {{{"tools", {{{"type", "agent_toolset_20260401"}}}}},
         "tools[0].type: 'agent_toolset_20260401' needs an agent"},
        {{{"tools", {{{"type", "custom"}, {"name", "x"}}}}}, "tools[0].type: 'custom' needs an agent loop"},
        {{{"tools", {{{"type", "other"}}}}}, "tools[0].type: must be mcp_toolset"},
        {{{"tools", {{{"type", "mcp_toolset"}}}}}, "tools[0].mcp_server_name: is required"},
        {{{"mcp_servers", {kSlack}},
          {"tools",
           {{{"type", "mcp_toolset"}, {"mcp_server_name", "slack"}, {"configs", {{{"enabled", true}}}}}}}},
         "tools[0].configs[0].name: is required"},
        {{{"mcp_servers", {kSlack}},
          {"tools",
           {{{"type", "mcp_toolset"},
             {"mcp_server_name", "slack"},
             {"default_config", {{"permission_policy", {{"type", "never"}}}}}}}}},
         "tools[0].default_config.permission_policy.type: must be one of always_allow, always_ask, auto"},
        {{{"skills", {{{"type", "anthropic"}, {"skill_id", "xlsx"}}}}}, "skills: needs an agent loop"},
        {{{"multiagent", {{"type", "coordinator"}}}}, "multiagent: needs an agent loop"},
        {{{"execution_identity", {{"type", "user"}}}}, "execution_identity.type: must be service_account"},
        {{{"temperature", 1}}, "temperature: is not a known field here"},
    };
    for (const auto& row : rows) {
        json body{{"name", "a"}, {"model", "m"}};
        body.update(row.body);
        const auto reply = world.call("POST", "/v1/agents", body);
        INFO(row.message << " got " << reply.text);
        CHECK(reply.status == 400);
        CHECK(reply.message().starts_with(row.message));
    }
    CHECK(world.get("/v1/agents")["data"].empty());
}

TEST_CASE("Every real change of an agent is a version that stays readable", "[admin]") {
    ApiWorld world;
    const auto first = world.new_agent({{"description", "one"}});
    world.clock.advance(std::chrono::seconds(2));
    CHECK(world.post(path_of(first), {{"description", "one"}, {"model", "any-model"}}) == first);
    const auto second = world.post(path_of(first), {{"version", 1}, {"description", nullptr}});
    CHECK(second["version"] == 2);
    CHECK(second["description"].is_null());
    const auto stale = world.call("POST", path_of(first), {{"version", 1}, {"name", "x"}});
    CHECK(stale.status == 409);
    CHECK(stale.code() == "agent.version_conflict");
    CHECK(stale.headers.at("x-should-retry") == "false");
    const auto third = world.post(path_of(first), {{"mcp_servers", nullptr}, {"tools", json::array()}});
    CHECK(third["version"] == 3);
    CHECK(third["mcp_servers"] == json::array());

    CHECK(world.get(path_of(first)) == third);
    CHECK(world.get(path_of(first) + "?version=1")["description"] == "one");
    CHECK(world.get(path_of(first) + "?version=3") == third);
    CHECK(world.call("GET", path_of(first) + "?version=9").code() == "agent.version_not_found");
    CHECK(world.call("GET", path_of(first) + "?version=x").message().starts_with("version: "));

    const auto page = world.get(path_of(first) + "/versions?limit=2");
    CHECK(page["data"].size() == 2);
    CHECK(page["data"][0] == third);
    CHECK(page["data"][1]["version"] == 2);
    const auto rest =
        world.get(path_of(first) + "/versions?limit=2&page=" + page["next_page"].get<std::string>());
    CHECK(rest["data"].size() == 1);
    CHECK(rest["data"][0]["version"] == 1);
    CHECK(rest["next_page"].is_null());
}

TEST_CASE("An archived agent changes no more and starts no sessions", "[admin]") {
    ApiWorld world;
    const auto agent = world.new_agent();
    const auto archived = world.post(path_of(agent) + "/archive");
    CHECK(archived["archived_at"].is_string());
    CHECK(archived["version"] == 1);
    CHECK(world.post(path_of(agent) + "/archive") == archived);
    CHECK(world.call("POST", path_of(agent), {{"name", "x"}}).code() == "agent.archived");
    CHECK(world
              .call("POST", "/v1/sessions",
                    {{"agent", agent["id"]}, {"environment_id", world.new_environment()["id"]}})
              .code() == "agent.archived");
    CHECK(world.call("DELETE", path_of(agent)).status == 405);
    CHECK(world.get("/v1/agents")["data"].empty());
}

TEST_CASE("Agents are listed within bounds of time", "[admin]") {
    ApiWorld world;
    const auto old = world.new_agent();
    world.clock.advance(std::chrono::hours(1));
    const auto recent = world.new_agent();
    const std::string time = recent["created_at"];
    CHECK(world.get("/v1/agents?created_at%5Bgte%5D=" + time)["data"] == json::array({recent}));
    CHECK(world.get("/v1/agents?created_at[gt]=" + time)["data"].empty());
    CHECK(world.get("/v1/agents?created_at[lt]=" + time)["data"] == json::array({old}));
    CHECK(world.get("/v1/agents?created_at[lte]=" + time)["data"].size() == 2);
    CHECK(
        world.call("GET", "/v1/agents?created_at[gte]=yesterday").message().starts_with("created_at[gte]: "));
}
