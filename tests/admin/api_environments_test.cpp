#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

using namespace claviger;
using test::ApiWorld;
using test::json;

namespace {

std::string path_of(const json& environment) {
    return "/v1/environments/" + environment["id"].get<std::string>();
}

json limited(const json& more) {
    json networking{{"type", "limited"}};
    networking.update(more);
    return {{"type", "cloud"}, {"networking", networking}};
}

}  // namespace

TEST_CASE("An environment answers in the shape of the hosted ones, with its bindings and rules", "[admin]") {
    ApiWorld world;
    const auto bare = world.post("/v1/environments", {{"name", "dev"}});
    CHECK(bare["id"].get<std::string>().starts_with("env_01"));
    CHECK(bare["type"] == "environment");
    CHECK(bare["scope"] == "organization");
    CHECK(bare["description"].is_null());
    CHECK(bare["config"]["type"] == "cloud");
    CHECK(bare["config"]["networking"] == json{{"type", "unrestricted"}});
    CHECK(bare["config"]["packages"]["type"] == "packages");
    for (const auto* manager : {"apt", "cargo", "gem", "go", "npm", "pip"})
        CHECK(bare["config"]["packages"][manager] == json::array());
    CHECK(bare["vault_bindings"] == json::array());
    CHECK(bare["tool_rules"] == json::array());

    const auto vault = world.new_vault();
    const auto agent = world.new_agent();
    const auto full = world.post(
        "/v1/environments", {{"name", "prod"},
                             {"description", "Only CRM\nand MCP"},
                             {"metadata", {{"team", "ops"}}},
                             {"scope", "organization"},
                             {"config", limited({{"allowed_hosts", {"API.example.com", "*.crm.example.com"}},
                                                 {"allow_mcp_servers", true}})},
                             {"vault_bindings", {vault["id"]}},
                             {"tool_rules",
                              {{{"name", "no deletes"}, {"effect", "deny"}, {"tool", "delete_*"}},
                               {{"name", "own repo"},
                                {"effect", "allow"},
                                {"server", "github"},
                                {"tool", "push"},
                                {"agents", {agent["id"]}},
                                {"when",
                                 {{{"argument", "/owner"}, {"equals", "acme"}},
                                  {{"argument", "/force"}, {"not_equals", true}},
                                  {{"argument", "/branch"}, {"matches", "release/*"}}}}}}}});
    CHECK(full["config"]["networking"] == json{{"type", "limited"},
                                               {"allowed_hosts", {"api.example.com", "*.crm.example.com"}},
                                               {"allow_mcp_servers", true},
                                               {"allow_package_managers", false}});
    CHECK(full["vault_bindings"] == json::array({vault["id"]}));
    CHECK(full["tool_rules"][0] == json{{"name", "no deletes"},
                                        {"effect", "deny"},
                                        {"server", "*"},
                                        {"tool", "delete_*"},
                                        {"agents", json::array()},
                                        {"when", json::array()}});
    CHECK(full["tool_rules"][1]["when"][1] == json{{"argument", "/force"}, {"not_equals", "true"}});
    CHECK(world.get(path_of(full)) == full);

    const auto own = world.post("/v1/environments", {{"name", "own"}, {"config", {{"type", "self_hosted"}}}});
    CHECK(own["config"] == json{{"type", "self_hosted"}});
}

TEST_CASE("Bad input for an environment names its field and stores nothing", "[admin]") {
    ApiWorld world;
    const auto archived = world.new_vault("old");
    world.post("/v1/vaults/" + archived["id"].get<std::string>() + "/archive");
    const std::string vault = world.new_vault()["id"];
    const auto rule = [](const json& more) {
        json given{{"name", "r"}, {"effect", "deny"}};
        given.update(more);
        return json{{"tool_rules", {given}}};
    };
    struct Row {
        json body;
        const char* message;
    };
    const std::vector<Row> rows{
        {{{"name", nullptr}}, "name: is required"},
        {{{"name", ""}}, "name: must have 1 to 255 characters"},
        {{{"description", 1}}, "description: must be a string"},
        {{{"scope", "account"}}, "scope: must be organization"},
        {{{"config", "cloud"}}, "config: must be an object"},
        {{{"config", {{"type", "other"}}}}, "config.type: must be one of cloud, self_hosted"},
        {{{"config", {{"type", "self_hosted"}, {"networking", {{"type", "unrestricted"}}}}}},
         "config.networking: is not a known field here"},
        {{{"config", {{"type", "cloud"}, {"networking", {{"type", "some"}}}}}},
         "config.networking.type: must be"},
        {{{"config", limited({{"allowed_hosts", {"https://a.example"}}})}},
         "config.networking.allowed_hosts[0]: allowed host refused: it has a scheme"},
        {{{"config", limited({{"allow_mcp_servers", "yes"}})}},
         "config.networking.allow_mcp_servers: must be true or false"},
        {{{"config", {{"type", "cloud"}, {"packages", {{"pip", {"requests"}}}}}}},
         "config.packages.pip: Claviger installs no packages"},
        {{{"vault_bindings", "all"}}, "vault_bindings: must be a list of strings"},
        {{{"vault_bindings", {"x"}}}, "vault_bindings[0]: is not a vault id"},
        {{{"vault_bindings", {vault, vault}}}, "vault_bindings[1]: names the same vault twice"},
        {{{"vault_bindings", {archived["id"]}}}, "vault_bindings: vault "},
        {{{"tool_rules", {1}}}, "tool_rules[0]: must be an object"},
        {rule({{"name", nullptr}}), "tool_rules[0].name: is required"},
        {rule({{"effect", "maybe"}}), "tool_rules[0].effect: must be one of allow, deny, ask"},
        {rule({{"agents", {"x"}}}), "tool_rules: tool rule 'r': 'x' is not an agent id"},
        {rule({{"agents", {"agent_011CZkYpogX7uDKUyvBTophP"}}}), "tool_rules: rule 'r' names agent"},
        {rule({{"when", {{{"argument", "/a"}}}}}), "tool_rules[0].when[0]: needs exactly one of"},
        {rule({{"when", {{{"argument", "/a"}, {"equals", "1"}, {"matches", "1"}}}}}),
         "tool_rules[0].when[0]: needs exactly one of"},
        {rule({{"when", {{{"argument", "a"}, {"equals", "1"}}}}}),
         "tool_rules: tool rule 'r': 'a' is not a JSON"},
        {rule({{"tools", "x"}}), "tool_rules[0].tools: is not a known field here"},
        {{{"limits", json::object()}}, "limits: is not a known field here"},
    };
    for (const auto& row : rows) {
        json body{{"name", "e"}};
        body.update(row.body);
        const auto reply = world.call("POST", "/v1/environments", body);
        INFO(row.message << " got " << reply.text);
        CHECK(reply.status == 400);
        CHECK(reply.message().starts_with(row.message));
    }
    const auto missing = world.call("POST", "/v1/environments",
                                    {{"name", "e"}, {"vault_bindings", {"vlt_011CZkZDLs7fYzm1hXNPeRjv"}}});
    CHECK(missing.status == 404);
    CHECK(missing.message().starts_with("vault_bindings: Vault not found"));
    CHECK(world.get("/v1/environments")["data"].empty());
}

TEST_CASE("An update of an environment keeps what it does not name", "[admin]") {
    ApiWorld world;
    const auto made =
        world.post("/v1/environments",
                   {{"name", "e"},
                    {"description", "d"},
                    {"metadata", {{"a", "1"}, {"b", "2"}}},
                    {"config", limited({{"allowed_hosts", {"a.example"}}, {"allow_mcp_servers", true}})}});
    world.clock.advance(std::chrono::seconds(2));
    CHECK(world.post(path_of(made), json::object()) == made);
    CHECK(world.post(path_of(made), {{"config", limited(json::object())}}) == made);

    const auto changed = world.post(path_of(made), {{"description", nullptr},
                                                    {"metadata", {{"a", ""}, {"b", nullptr}, {"c", "3"}}},
                                                    {"config", limited({{"allow_mcp_servers", false}})}});
    CHECK(changed["description"].is_null());
    CHECK(changed["metadata"] == json{{"c", "3"}});  // here an empty value deletes
    CHECK(changed["config"]["networking"]["allowed_hosts"] == json({"a.example"}));
    CHECK(changed["config"]["networking"]["allow_mcp_servers"] == false);
    CHECK(changed["updated_at"] != made["updated_at"]);
    CHECK(world.post(path_of(made), {{"description", ""}})["description"] == "");

    const auto other = world.call("POST", path_of(made), {{"config", {{"type", "self_hosted"}}}});
    CHECK(other.status == 400);
    CHECK(other.code() == "invalid_config_type_change");
}

TEST_CASE("A binding to a vault that was archived since may stay, a new one may not come", "[admin]") {
    ApiWorld world;
    const std::string a = world.new_vault("a")["id"], b = world.new_vault("b")["id"];
    const auto made = world.new_environment({{"vault_bindings", {a}}});
    world.post("/v1/vaults/" + a + "/archive");
    CHECK(world.post(path_of(made), {{"vault_bindings", {b, a}}})["vault_bindings"] == json({b, a}));
    CHECK(world.post(path_of(made), {{"vault_bindings", {b}}})["vault_bindings"] == json({b}));
    CHECK(world.call("POST", path_of(made), {{"vault_bindings", {b, a}}}).code() == "vault.archived");
    CHECK(world.post(path_of(made), {{"vault_bindings", json::array()}})["vault_bindings"].empty());
}

TEST_CASE("An archived environment stays as it is, and one with sessions cannot be deleted", "[admin]") {
    ApiWorld world;
    const auto made = world.new_environment();
    const auto session = world.new_session({{"environment_id", made["id"]}});
    const auto used = world.call("DELETE", path_of(made));
    CHECK(used.status == 409);
    CHECK(used.code() == "environment.in_use");
    CHECK(used.headers.at("x-should-retry") == "false");
    CHECK(used.message().find(session["id"].get<std::string>()) != std::string::npos);

    const auto archived = world.post(path_of(made) + "/archive");
    CHECK(archived["archived_at"].is_string());
    CHECK(world.post(path_of(made) + "/archive") == archived);
    CHECK(world.call("POST", path_of(made), {{"name", "x"}}).code() == "environment_archived");
    CHECK(world
              .call("POST", "/v1/sessions",
                    {{"agent", world.new_agent()["id"]}, {"environment_id", made["id"]}})
              .code() == "environment_archived");
    CHECK(world.get("/v1/environments")["data"].empty());
    CHECK(world.get("/v1/environments?include_archived=true")["data"].size() == 1);

    world.remove("/v1/sessions/" + session["id"].get<std::string>());
    CHECK(world.remove(path_of(made)) == json{{"id", made["id"]}, {"type", "environment_deleted"}});
    CHECK(world.call("GET", path_of(made)).code() == "environment_not_found");
}

TEST_CASE("A duplicate has everything of the original but its name and its past", "[admin]") {
    ApiWorld world;
    const auto vault = world.new_vault();
    const auto made = world.new_environment({{"vault_bindings", {vault["id"]}},
                                             {"tool_rules", {{{"name", "r"}, {"effect", "ask"}}}},
                                             {"config", limited({{"allowed_hosts", {"a.example"}}})}});
    world.post(path_of(made) + "/archive");
    world.clock.advance(std::chrono::seconds(2));
    const auto copy = world.post(path_of(made) + "/duplicate", {{"name", "staging"}});
    CHECK(copy["name"] == "staging");
    CHECK(copy["id"] != made["id"]);
    CHECK(copy["archived_at"].is_null());
    CHECK(copy["created_at"] == base::to_rfc3339(world.clock.now()));
    for (const auto* same : {"config", "vault_bindings", "tool_rules", "metadata", "description"})
        CHECK(copy[same] == made[same]);
    CHECK(world.call("POST", path_of(made) + "/duplicate").message().starts_with("name: is required"));
    CHECK(world.get("/v1/environments")["data"].size() == 1);
}
