// Random policies against a model of a few lines: deny beats ask, ask beats allow, and no order matters.
#include "policy/policy.h"

#include "tests/support/spec.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

using namespace claviger;
using policy::Effect;
using Test = base::ArgumentCondition::Test;

namespace {

const std::vector<std::string> kServers{"s", "t"};
const std::vector<std::string> kTools{"read", "write"};
const std::vector<std::string> kAgents{"agent_a", "agent_b"};
const std::vector<std::string> kArguments{R"({"x":"1"})", R"({"x":"2"})", "{}", R"({"x":"1","x":"1"})"};

struct World {
    std::vector<base::Toolset> toolsets;
    base::NetworkRules network;
    std::vector<base::ToolRule> rules;
    policy::Policy policy() const { return {toolsets, network, rules}; }
};

class Dice {
public:
    explicit Dice(unsigned seed) : engine_(seed) {}
    unsigned below(unsigned sides) { return static_cast<unsigned>(engine_() % sides); }
    bool coin() { return below(2) == 0; }
    template <class T>
    const T& one_of(const std::vector<T>& from) {
        return from[below(static_cast<unsigned>(from.size()))];
    }
    template <class T>
    void shuffle(std::vector<T>& what) {
        std::shuffle(what.begin(), what.end(), engine_);
    }

private:
    std::mt19937 engine_;
};

World random_world(Dice& dice) {
    World world;
    for (const auto& server : kServers) {
        if (dice.below(8) == 0) continue;
        base::Toolset toolset{server, dice.below(4) != 0, static_cast<base::ToolPolicy>(dice.below(3)), {}};
        for (const auto& tool : kTools)
            if (dice.coin())
                toolset.configs.push_back(
                    {tool, dice.below(4) != 0, static_cast<base::ToolPolicy>(dice.below(3))});
        world.toolsets.push_back(std::move(toolset));
    }
    world.network.limited = dice.below(8) == 0;
    world.network.allow_mcp_servers = dice.coin();
    for (unsigned i = dice.below(6); i > 0; --i) {
        base::ToolRule rule{.name = "rule" + std::to_string(i),
                            .effect = static_cast<base::RuleEffect>(dice.below(3))};
        if (dice.coin()) rule.server = dice.one_of(kServers);
        if (dice.coin()) rule.tool = dice.one_of(kTools);
        if (dice.below(4) == 0) rule.agents = {dice.one_of(kAgents)};
        if (dice.coin()) rule.when = {{"/x", static_cast<Test>(dice.below(3)), dice.coin() ? "1" : "2"}};
        world.rules.push_back(std::move(rule));
    }
    return world;
}

struct Call {
    std::string agent, server, tool, arguments;
};

/// The rules of the game once more, as short as they can be said; knows only the four kinds of arguments
/// above.
Effect model(const World& world, const Call& call) {
    const auto toolset = std::ranges::find(world.toolsets, call.server, &base::Toolset::server);
    if (toolset == world.toolsets.end()) return Effect::deny;
    if (world.network.limited && !world.network.allow_mcp_servers) return Effect::deny;
    const auto config = std::ranges::find(toolset->configs, call.tool, &base::ToolConfig::name);
    const bool own = config != toolset->configs.end();
    if (!(own ? config->enabled : toolset->enabled_by_default)) return Effect::deny;

    bool asked = false,
         granted = (own ? config->policy : toolset->default_policy) == base::ToolPolicy::always_allow;
    for (const auto& rule : world.rules) {
        if (rule.server != "*" && rule.server != call.server) continue;
        if (rule.tool != "*" && rule.tool != call.tool) continue;
        if (!rule.agents.empty() && rule.agents[0] != call.agent) continue;
        if (!rule.when.empty()) {
            if (call.arguments == kArguments[3]) return Effect::deny;
            const bool same = call.arguments == R"({"x":")" + rule.when[0].value + R"("})";
            if (same == (rule.when[0].test == Test::not_equals)) continue;
        }
        if (rule.effect == base::RuleEffect::deny) return Effect::deny;
        (rule.effect == base::RuleEffect::ask ? asked : granted) = true;
    }
    return asked || !granted ? Effect::ask_human : Effect::allow;
}

policy::Decision decide(const World& world, const Call& call) {
    static const auto url = *policy::parse_server_url("https://s.example/mcp");
    return policy::decide(
        {{"env_1", "prod"}, {call.agent, "agent"}, call.server, url, "tools/call", call.tool, call.arguments},
        world.policy());
}

template <class Check>
void for_each_call(const Check& check) {
    for (const auto& agent : kAgents)
        for (const auto& server : kServers)
            for (const auto& tool : kTools)
                for (const auto& arguments : kArguments) check(Call{agent, server, tool, arguments});
}

}  // namespace

TEST_CASE("Decisions agree with the model, and shuffling rules and toolsets changes nothing", "[policy]") {
    Dice dice(20261121);
    int seen[3] = {};
    for (int round = 0; round < 400; ++round) {
        const auto world = random_world(dice);
        auto shuffled = world;
        dice.shuffle(shuffled.rules);
        dice.shuffle(shuffled.toolsets);
        for (auto& toolset : shuffled.toolsets) dice.shuffle(toolset.configs);

        for_each_call([&](const Call& call) {
            const auto decision = decide(world, call);
            const auto again = decide(shuffled, call);
            CAPTURE(round, call.agent, call.server, call.tool, call.arguments);
            REQUIRE(decision.effect() == model(world, call));
            REQUIRE(again.code() == decision.code());
            REQUIRE(again.rule() == decision.rule());
            REQUIRE(again.reason() == decision.reason());
            REQUIRE(again.hidden() == decision.hidden());
            REQUIRE(again.considered() == decision.considered());
            REQUIRE_FALSE(decision.reason().empty());
            ++seen[static_cast<int>(decision.effect())];
        });
    }
    for (const int count : seen) CHECK(count > 1000);  // the dice reached every outcome
}

TEST_CASE("One more deny rule never allows more, and one more allow rule never lifts a denial", "[policy]") {
    Dice dice(7);
    for (int round = 0; round < 200; ++round) {
        const auto world = random_world(dice);
        auto stricter = world, looser = world;
        stricter.rules.push_back(
            {.name = "extra", .effect = base::RuleEffect::deny, .tool = dice.one_of(kTools)});
        looser.rules.push_back({.name = "extra", .effect = base::RuleEffect::allow});
        for_each_call([&](const Call& call) {
            CAPTURE(round, call.agent, call.server, call.tool, call.arguments);
            const auto before = decide(world, call).effect();
            REQUIRE((decide(stricter, call).effect() == before ||
                     decide(stricter, call).effect() == Effect::deny));
            if (before == Effect::deny) REQUIRE(decide(looser, call).effect() == Effect::deny);
        });
    }
}

TEST_CASE("A tool is listed exactly when calling it is not answered as unknown", "[policy]") {
    Dice dice(11);
    for (int round = 0; round < 300; ++round) {
        auto world = random_world(dice);
        world.network = {};
        for_each_call([&](const Call& call) {
            CAPTURE(round, call.agent, call.server, call.tool, call.arguments);
            const bool visible = policy::tool_visible(world.policy(), call.agent, call.server, call.tool);
            REQUIRE(visible == !decide(world, call).hidden());
            if (!policy::filters_anything(world.policy(), call.agent, call.server)) REQUIRE(visible);
        });
    }
}
