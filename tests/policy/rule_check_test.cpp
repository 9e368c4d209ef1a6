// What may be stored: nothing that could never take effect.
#include "policy/rule_check.h"

#include "base/id.h"
#include "tests/support/spec.h"

#include <functional>
#include <string>
#include <vector>

using namespace claviger;
using Test = base::ArgumentCondition::Test;

namespace {

const auto kAgent = base::AgentId{{1}}.text();

base::ToolRule good_rule() {
    return {.name = "only acme",
            .effect = base::RuleEffect::deny,
            .server = "git*",
            .tool = "*",
            .agents = {kAgent},
            .when = {{"/owner", Test::not_equals, "acme"},
                     {"/owner", Test::not_equals, "acme-dev"},
                     {"", Test::matches, "*"}}};
}

struct Declared {
    std::vector<base::McpServer> servers{
        {"github", "https://MCP.github.example/mcp/", "https://mcp.github.example/mcp"},
        {"slack", "https://mcp.slack.example/mcp", "https://mcp.slack.example/mcp"}};
    std::vector<base::Toolset> toolsets{{.server = "slack"},
                                        {.server = "github", .configs = {{"read_file"}, {"delete_repo"}}}};

    base::Status check() const { return policy::check_toolsets(servers, toolsets); }
};

}  // namespace

TEST_CASE("A rule that can take effect may be stored", "[policy][rule_check]") {
    CHECK(policy::check_rule(good_rule()));
    CHECK(policy::check_rule({.name = "all"}));
    CHECK(policy::check_rules({}));
}

TEST_CASE("A rule that can never match is refused when it is written", "[policy][rule_check]") {
    const struct {
        const char* what;
        std::function<void(base::ToolRule&)> spoil;
        const char* because;
    } table[] = {
        {"no name", [](auto& rule) { rule.name = ""; }, "name of a tool rule"},
        {"a long name", [](auto& rule) { rule.name = std::string(256, 'x'); }, "name of a tool rule"},
        {"a newline in the name", [](auto& rule) { rule.name = "a\nb"; }, "name of a tool rule"},
        {"no server", [](auto& rule) { rule.server = ""; }, "the server must be"},
        {"a long server", [](auto& rule) { rule.server = std::string(256, 'x'); }, "the server must be"},
        {"no tool", [](auto& rule) { rule.tool = ""; }, "the tool must be"},
        {"a tool longer than any tool's name", [](auto& rule) { rule.tool = std::string(129, 'x'); },
         "the tool must be"},
        {"an agent's name for its id", [](auto& rule) { rule.agents = {"ci-bot"}; }, "not an agent id"},
        {"another object's id", [](auto& rule) { rule.agents = {base::VaultId{}.text()}; },
         "not an agent id"},
        {"an agent twice", [](auto& rule) { rule.agents = {kAgent, kAgent}; }, "named twice"},
        {"too many agents", [](auto& rule) { rule.agents.assign(101, kAgent); }, "more than 100"},
        {"a pointer without its slash", [](auto& rule) { rule.when[0].pointer = "owner"; },
         "not a JSON pointer"},
        {"a dotted path", [](auto& rule) { rule.when[0].pointer = "$.owner"; }, "not a JSON pointer"},
        {"a bare tilde", [](auto& rule) { rule.when[0].pointer = "/a~"; }, "not a JSON pointer"},
        {"an unknown escape", [](auto& rule) { rule.when[0].pointer = "/a~2"; }, "not a JSON pointer"},
        {"an endless pointer", [](auto& rule) { rule.when[0].pointer = std::string(1025, '/'); },
         "not a JSON pointer"},
        {"an endless value", [](auto& rule) { rule.when[0].value = std::string(1025, 'x'); },
         "longer than 1024"},
        {"an empty pattern", [](auto& rule) { rule.when[2].value = ""; }, "pattern of a condition is empty"},
        {"two values at once",
         [](auto& rule) { rule.when = {{"/a", Test::equals, "1"}, {"/a", Test::equals, "2"}}; },
         "can never match"},
        {"a value and not",
         [](auto& rule) { rule.when = {{"/a", Test::not_equals, "1.0"}, {"/a", Test::equals, "1"}}; },
         "can never match"},
        {"too many conditions", [](auto& rule) { rule.when.resize(33); }, "more than 32"},
    };
    for (const auto& row : table) {
        INFO(row.what);
        auto rule = good_rule();
        row.spoil(rule);
        const auto checked = policy::check_rule(rule);
        REQUIRE_FALSE(checked);
        CHECK(checked.error().kind == base::ErrorKind::invalid_request);
        CHECK(checked.error().code == "tool_rule.invalid");
        CHECK_THAT(checked.error().message, Catch::Contains(row.because));
        CHECK_FALSE(policy::check_rules(std::vector{rule}));
    }
    auto same_twice = good_rule();
    same_twice.when = {{"/a", Test::equals, "1"}, {"/a", Test::equals, "1e0"}};
    CHECK(policy::check_rule(same_twice));
}

TEST_CASE("Rules of one environment have names of their own and are not endless", "[policy][rule_check]") {
    const auto twice = policy::check_rules(std::vector{good_rule(), good_rule()});
    REQUIRE_FALSE(twice);
    CHECK_THAT(twice.error().message, Catch::Contains("same name"));

    std::vector<base::ToolRule> many;
    for (int i = 0; i < 200; ++i) many.push_back({.name = "rule " + std::to_string(i)});
    CHECK(policy::check_rules(many));
    many.push_back({.name = "one more"});
    CHECK_FALSE(policy::check_rules(many));
}

TEST_CASE("Servers and toolsets belong together, one to one", "[policy][rule_check]") {
    CHECK(Declared{}.check());
    CHECK(policy::check_toolsets({}, {}));

    const struct {
        const char* what;
        std::function<void(Declared&)> spoil;
        const char* code;
        const char* because;
    } table[] = {
        {"a server without a toolset", [](auto& d) { d.toolsets.pop_back(); }, "toolset.invalid",
         "no toolset names"},
        {"a toolset without a server", [](auto& d) { d.servers.pop_back(); }, "toolset.invalid",
         "does not declare"},
        {"a toolset twice", [](auto& d) { d.toolsets.push_back({.server = "slack"}); }, "toolset.invalid",
         "two toolsets"},
        {"a server twice", [](auto& d) { d.servers.push_back(d.servers[0]); }, "toolset.invalid",
         "declared twice"},
        {"a server without a name", [](auto& d) { d.servers[0].name = ""; }, "toolset.invalid", "1 to 255"},
        {"a server with a long name", [](auto& d) { d.servers[0].name = std::string(256, 'x'); },
         "toolset.invalid", "1 to 255"},
        {"a server with a bad URL", [](auto& d) { d.servers[0].url = "ftp://x"; }, "server_url.invalid",
         "must begin"},
        {"a normal URL of another server", [](auto& d) { d.servers[0].normal_url = "https://x.example"; },
         "toolset.invalid", "does not belong"},
        {"a tool without a name", [](auto& d) { d.toolsets[1].configs[0].name = ""; }, "toolset.invalid",
         "1 to 128"},
        {"a tool with a long name", [](auto& d) { d.toolsets[1].configs[0].name = std::string(129, 'x'); },
         "toolset.invalid", "1 to 128"},
        {"a tool twice", [](auto& d) { d.toolsets[1].configs.push_back({"read_file"}); }, "toolset.invalid",
         "'read_file' twice"},
        {"too many servers",
         [](auto& d) {
             for (int i = 0; i < 19; ++i)
                 d.servers.push_back({"s" + std::to_string(i), "https://x.example", "https://x.example"});
         },
         "toolset.invalid", "at most 20"},
        {"too many tools",
         [](auto& d) {
             for (int i = 0; i < 255; ++i) d.toolsets[0].configs.push_back({"t" + std::to_string(i)});
         },
         "toolset.invalid", "at most 256"},
    };
    for (const auto& row : table) {
        INFO(row.what);
        Declared declared;
        row.spoil(declared);
        const auto checked = declared.check();
        REQUIRE_FALSE(checked);
        CHECK(checked.error().kind == base::ErrorKind::invalid_request);
        CHECK(checked.error().code == row.code);
        CHECK_THAT(checked.error().message, Catch::Contains(row.because));
    }
}
