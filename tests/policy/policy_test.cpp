// Who may send what: each outcome of the policy, with the code and the reason it gives.
#include "policy/policy.h"

#include "policy/mcp_method.h"
#include "tests/support/spec.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

using namespace claviger;
using policy::Decision;
using policy::Effect;
using Test = base::ArgumentCondition::Test;
using enum base::RuleEffect;

namespace {

const auto kGithub = *policy::parse_server_url("https://mcp.github.example/mcp");
constexpr std::string_view kBot = "agent_of_the_bot";

/// An agent with two servers in an environment with rules; each test changes what it speaks of.
struct Situation {
    std::vector<base::Toolset> toolsets{
        {.server = "github",
         .enabled_by_default = true,
         .default_policy = base::ToolPolicy::always_ask,
         .configs = {{"read_file", true, base::ToolPolicy::always_allow},
                     {"open_issue", true, base::ToolPolicy::automatic},
                     {"delete_repo", false, base::ToolPolicy::always_allow}}},
        {.server = "slack",
         .enabled_by_default = false,
         .default_policy = base::ToolPolicy::always_allow,
         .configs = {{"search", true, base::ToolPolicy::always_allow}}},
    };
    base::NetworkRules network;
    std::vector<base::ToolRule> rules;

    policy::Policy policy() const { return {toolsets, network, rules}; }

    Decision call(std::string_view tool, std::string_view arguments = "{}",
                  std::string_view server = "github") const {
        return ask(server, "tools/call", tool, arguments);
    }
    Decision ask(std::string_view server, std::string_view method, std::string_view tool = {},
                 std::string_view arguments = {}) const {
        return policy::decide({{"env_1", "prod"}, {kBot, "ci-bot"}, server, kGithub, method, tool, arguments},
                              policy());
    }
};

}  // namespace

TEST_CASE("A tool that the agent may always use is allowed", "[policy]") {
    const auto decision = Situation{}.call("read_file");
    CHECK(decision.effect() == Effect::allow);
    CHECK(decision.code() == "policy.allowed");
    CHECK(decision.rule() == "toolset 'github'");
    CHECK(decision.reason() == "tool 'read_file' on server 'github' is allowed");
    CHECK(decision.hint().empty());
}

TEST_CASE("A tool that is always asked for, or left to judgement, waits for a person", "[policy]") {
    for (const auto* tool : {"anything", "open_issue"}) {
        const auto decision = Situation{}.call(tool);
        CHECK(decision.effect() == Effect::ask_human);
        CHECK_FALSE(decision.allowed());
        CHECK_FALSE(decision.hidden());
        CHECK(decision.code() == "policy.needs_approval");
        CHECK_FALSE(decision.hint().empty());
    }
}

TEST_CASE("A tool that is not enabled is denied and out of sight", "[policy]") {
    const Situation situation;
    for (const auto& decision : {situation.call("delete_repo"), situation.call("post", "{}", "slack")}) {
        CHECK(decision.effect() == Effect::deny);
        CHECK(decision.code() == "policy.tool_not_enabled");
        CHECK(decision.hidden());
    }
    CHECK(situation.call("search", "{}", "slack").allowed());
    CHECK_FALSE(situation.call("Delete_Repo").allowed());
    CHECK_FALSE(situation.call("read_file ").allowed());
}

TEST_CASE("A server without a toolset is denied and out of sight, whatever is asked of it", "[policy]") {
    const Situation situation;
    for (const auto* method : {"tools/call", "tools/list", "initialize", "nonsense"}) {
        const auto decision = situation.ask("linear", method, "search");
        CHECK(decision.effect() == Effect::deny);
        CHECK(decision.code() == "policy.no_rule");
        CHECK(decision.hidden());
        CHECK(decision.rule().empty());
    }
    CHECK_FALSE(situation.ask("GitHub", "tools/list").allowed());
}

TEST_CASE("A server that the environment does not reach is denied for every method", "[policy]") {
    Situation situation;
    situation.network.limited = true;
    for (const auto* method : {"tools/call", "tools/list", "initialize"}) {
        const auto decision = situation.ask("github", method, "read_file");
        CHECK(decision.code() == "policy.host_blocked");
        CHECK_FALSE(decision.hidden());
        CHECK(decision.reason() == "server 'github' cannot be reached from this environment");
        REQUIRE(decision.considered().size() == 1);
        CHECK_THAT(decision.considered()[0].because, Catch::Contains("mcp.github.example"));
    }
    situation.network.allow_mcp_servers = true;
    CHECK(situation.call("read_file").allowed());
    situation.network.allow_mcp_servers = false;
    situation.network.allowed_hosts = {"*.github.example"};
    CHECK(situation.call("read_file").allowed());
}

TEST_CASE("Every method of both protocol eras but tasks/list is known, and nothing else is", "[policy]") {
    const Situation situation;
    for (const auto* method : {"initialize",
                               "ping",
                               "server/discover",
                               "tools/list",
                               "resources/list",
                               "resources/templates/list",
                               "resources/read",
                               "resources/subscribe",
                               "resources/unsubscribe",
                               "prompts/list",
                               "prompts/get",
                               "completion/complete",
                               "logging/setLevel",
                               "subscriptions/listen",
                               "tasks/get",
                               "tasks/result",
                               "tasks/update",
                               "tasks/cancel",
                               "notifications/initialized",
                               "notifications/cancelled",
                               "notifications/progress",
                               "notifications/roots/list_changed",
                               "notifications/tasks/status"}) {
        INFO(method);
        CHECK(policy::classify(method) == policy::McpMethod::protocol);
        CHECK(situation.ask("github", method).allowed());
    }
    CHECK(policy::classify("tools/call") == policy::McpMethod::tool_call);
    for (const auto* method :
         {"", "tools/Call", "tools/call ", "TOOLS/CALL", "tools", "resources/", "resources/write",
          "notifications/", "sampling/createMessage", "elicitation/create", "rpc.discover", "tasks/list"}) {
        INFO(method);
        const auto decision = situation.ask("github", method, "read_file");
        CHECK(decision.effect() == Effect::deny);
        CHECK(decision.code() == "policy.method_not_allowed");
    }
}

TEST_CASE("A rule that denies a tool outright hides it, even one the agent may always use", "[policy]") {
    Situation situation;
    situation.rules = {{.name = "no reading", .effect = deny, .server = "git*", .tool = "read_*"}};
    const auto decision = situation.call("read_file");
    CHECK(decision.code() == "policy.denied");
    CHECK(decision.hidden());
    CHECK(decision.rule() == "environment 'prod' rule 'no reading'");
    CHECK(decision.reason().find("no reading") == std::string::npos);  // the rule's name is for the operator
    CHECK(situation.ask("github", "tools/list").allowed());
    CHECK(situation.ask("github", "resources/read").allowed());
}

TEST_CASE("A rule with conditions denies only the calls that fulfil all of them", "[policy]") {
    Situation situation;
    situation.rules = {{.name = "only acme",
                        .effect = deny,
                        .tool = "read_file",
                        .when = {{"/owner", Test::not_equals, "acme"}}}};
    CHECK(situation.call("read_file", R"({"owner":"acme"})").allowed());
    for (const auto* arguments : {R"({"owner":"evil"})", "{}", ""}) {
        const auto decision = situation.call("read_file", arguments);
        CHECK(decision.code() == "policy.denied");
        CHECK_FALSE(decision.hidden());
    }
    situation.rules[0].when.push_back({"/branch", Test::matches, "release/*"});
    CHECK(situation.call("read_file", R"({"owner":"evil","branch":"main"})").allowed());
    CHECK_FALSE(situation.call("read_file", R"({"owner":"evil","branch":"release/1"})").allowed());
}

TEST_CASE("Arguments that cannot be judged are denied, but only when a rule looks at them", "[policy]") {
    Situation situation;
    const std::string_view twice = R"({"owner":"evil","owner":"acme"})";
    CHECK(situation.call("read_file", twice).allowed());
    situation.rules = {
        {.name = "elsewhere", .effect = deny, .tool = "other", .when = {{"/owner", Test::equals, "evil"}}},
        {.name = "without condition", .effect = allow}};
    CHECK(situation.call("read_file", twice).allowed());

    for (const auto effect : {deny, ask, allow}) {
        situation.rules = {{.name = "looks", .effect = effect, .when = {{"/owner", Test::equals, "evil"}}}};
        for (const auto arguments : {twice, std::string_view("[]"), std::string_view("{"),
                                     std::string_view(R"({"Owner":"evil"})")}) {
            const auto decision = situation.call("read_file", arguments);
            CHECK(decision.effect() == Effect::deny);
            CHECK(decision.code() == "policy.arguments_invalid");
            CHECK_FALSE(decision.hidden());
        }
    }
    CHECK(situation.call("", "{}").code() == "policy.arguments_invalid");
}

TEST_CASE("Arguments that cannot be judged are found in whatever order rules and conditions stand",
          "[policy]") {
    Situation situation;
    const auto* arguments = R"({"Owner":"evil","Branch":"main","path":"x"})";
    situation.rules = {{.name = "r1", .effect = deny, .when = {{"/branch", Test::equals, "main"}}},
                       {.name = "r2",
                        .effect = deny,
                        .when = {{"/path", Test::equals, "y"}, {"/owner", Test::equals, "acme"}}}};
    const auto decision = situation.call("read_file", arguments);
    CHECK(decision.code() == "policy.arguments_invalid");
    std::ranges::reverse(situation.rules);
    std::ranges::reverse(situation.rules[0].when);
    CHECK(situation.call("read_file", arguments).reason() == decision.reason());
    CHECK(situation.call("read_file", arguments).considered() == decision.considered());

    situation.rules.push_back({.name = "plain deny", .effect = deny, .when = {{"/path", Test::equals, "x"}}});
    CHECK(situation.call("read_file", arguments).code() == "policy.denied");
}

TEST_CASE("A rule can ask where the agent is allowed, and allow where the agent would ask", "[policy]") {
    Situation situation;
    situation.rules = {{.name = "ask first", .effect = ask, .tool = "read_*"},
                       {.name = "go ahead", .effect = allow, .tool = "*"}};
    CHECK(situation.call("read_file").code() == "policy.needs_approval");
    CHECK(situation.call("read_file").rule() == "environment 'prod' rule 'ask first'");
    CHECK(situation.call("anything").allowed());
    CHECK(situation.call("anything").rule() == "environment 'prod' rule 'go ahead'");
    CHECK(situation.call("delete_repo").code() == "policy.tool_not_enabled");  // allowing never enables
}

TEST_CASE("A rule that names agents concerns only them", "[policy]") {
    Situation situation;
    situation.rules = {{.name = "not the bot", .effect = deny, .agents = {"agent_other", std::string(kBot)}}};
    CHECK_FALSE(situation.call("read_file").allowed());
    situation.rules[0].agents = {"agent_other"};
    CHECK(situation.call("read_file").allowed());
}

TEST_CASE("What was considered is complete and in one order", "[policy]") {
    Situation situation;
    situation.rules = {{.name = "z", .effect = deny, .tool = "read_file"},
                       {.name = "a", .effect = deny, .tool = "read_file"},
                       {.name = "m", .effect = deny, .server = "slack"},
                       {.name = "n", .effect = deny, .agents = {"agent_other"}},
                       {.name = "o", .effect = ask, .tool = "other"},
                       {.name = "p", .effect = ask, .when = {{"/x", Test::equals, "1"}}}};
    const auto decision = situation.call("read_file");
    CHECK(decision.rule() == "environment 'prod' rule 'a'");
    const std::vector<policy::Considered> expected{
        {"a", true, "denies"},
        {"environment 'prod' networking", true,
         "networking is unrestricted: every public host may be reached"},
        {"m", false, "another server"},
        {"n", false, "another agent"},
        {"o", false, "another tool"},
        {"p", false, "its conditions on the arguments do not hold"},
        {"toolset 'github'", true, "the tool is allowed"},
        {"z", true, "denies"},
    };
    CHECK(decision.considered() == expected);
    const auto* in_brief =
        "a: denies; environment 'prod' networking: networking is unrestricted: every public host may be "
        "reached; toolset 'github': the tool is allowed; z: denies; m did not match: another server; "
        "n did not match: another agent; o did not match: another tool; "
        "p did not match: its conditions on the arguments do not hold";
    CHECK(policy::told(decision.considered()) == in_brief);
    situation.rules.push_back({.name = "q", .effect = deny, .server = "slack"});
    situation.rules.push_back({.name = "r", .effect = deny, .server = "slack"});
    CHECK(policy::told(situation.call("read_file").considered()) == std::string(in_brief) + "; and 2 more");
    CHECK(policy::told({}).empty());
}

TEST_CASE("tools/list shows what a call would not hide, and is left alone when nothing is hidden",
          "[policy]") {
    Situation situation;
    CHECK(policy::tool_visible(situation.policy(), kBot, "github", "read_file"));
    CHECK(policy::tool_visible(situation.policy(), kBot, "github", "anything"));  // asked for, but there
    CHECK_FALSE(policy::tool_visible(situation.policy(), kBot, "github", "delete_repo"));
    CHECK_FALSE(policy::tool_visible(situation.policy(), kBot, "slack", "post"));
    CHECK_FALSE(policy::tool_visible(situation.policy(), kBot, "linear", "search"));
    CHECK(policy::filters_anything(situation.policy(), kBot, "github"));
    CHECK(policy::filters_anything(situation.policy(), kBot, "slack"));
    CHECK(policy::filters_anything(situation.policy(), kBot, "linear"));

    situation.toolsets[0].configs.pop_back();
    CHECK_FALSE(policy::filters_anything(situation.policy(), kBot, "github"));
    situation.rules = {{.name = "conditional", .effect = deny, .when = {{"/x", Test::equals, "1"}}},
                       {.name = "asks", .effect = ask}};
    CHECK_FALSE(policy::filters_anything(situation.policy(), kBot, "github"));
    CHECK(policy::tool_visible(situation.policy(), kBot, "github", "read_file"));
    situation.rules.push_back({.name = "outright", .effect = deny, .server = "github", .tool = "read_*"});
    CHECK(policy::filters_anything(situation.policy(), kBot, "github"));
    CHECK_FALSE(policy::tool_visible(situation.policy(), kBot, "github", "read_file"));
    situation.rules.back().agents = {"agent_other"};
    CHECK_FALSE(policy::filters_anything(situation.policy(), kBot, "github"));
    CHECK(policy::filters_anything(situation.policy(), "agent_other", "github"));
}

TEST_CASE("Of two permissions for the same tool the stricter one counts", "[policy]") {
    Situation situation;
    situation.toolsets.push_back({.server = "github", .default_policy = base::ToolPolicy::always_allow});
    CHECK(situation.call("anything").effect() == Effect::ask_human);
    situation.toolsets[0].configs.push_back({"read_file", false, base::ToolPolicy::always_allow});
    CHECK(situation.call("read_file").hidden());
}

TEST_CASE("What the caller sent is shown short and without control characters", "[policy]") {
    const auto decision = Situation{}.call("x\n" + std::string(500, 'y'));
    CHECK(decision.reason().find('\n') == std::string::npos);
    CHECK(decision.reason().size() < 250);
}
