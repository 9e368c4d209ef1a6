#include "policy/policy.h"

#include "policy/mcp_method.h"
#include "policy/network_rules.h"
#include "policy/quote.h"
#include "policy/tool_permission.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

namespace claviger::policy {
namespace {

std::string toolset_rule(std::string_view server) { return "toolset " + in_quotes(server); }

std::string environment_rule(const Question& question, const base::ToolRule& rule) {
    return "environment " + in_quotes(question.environment.name) + " rule " + in_quotes(rule.name);
}

const char* words_of(ToolAccess access) {
    switch (access) {
        case ToolAccess::no_toolset:
            return "the agent has no toolset for the server";
        case ToolAccess::disabled:
            return "the tool is not enabled";
        case ToolAccess::ask:
            return "a person is asked";
        case ToolAccess::allow:
            return "the tool is allowed";
    }
    return "";
}

Decision weigh(const Question& question, ToolAccess access, const RuleVerdict& verdict) {
    const auto tool = "tool " + in_quotes(question.tool) + " on server " + in_quotes(question.server);
    if (access <= ToolAccess::disabled)
        return Decision::hidden_by("policy.tool_not_enabled", toolset_rule(question.server),
                                   tool + " is not enabled for this agent");
    if (verdict.always_deny != nullptr)
        return Decision::hidden_by("policy.denied", environment_rule(question, *verdict.always_deny),
                                   tool + " is denied in this environment");
    if (verdict.deny != nullptr)
        return Decision::denied_by("policy.denied", environment_rule(question, *verdict.deny),
                                   tool + " is denied in this environment with these arguments");
    if (!verdict.bad_arguments.empty())
        return Decision::denied_by("policy.arguments_invalid",
                                   "environment " + in_quotes(question.environment.name),
                                   tool + ": " + verdict.bad_arguments);
    if (verdict.ask != nullptr)
        return Decision::needs_human(environment_rule(question, *verdict.ask),
                                     tool + " needs the approval of a person");
    if (access == ToolAccess::allow)
        return Decision::allowed_by(toolset_rule(question.server), tool + " is allowed");
    if (verdict.allow != nullptr)
        return Decision::allowed_by(environment_rule(question, *verdict.allow),
                                    tool + " is allowed in this environment");
    return Decision::needs_human(toolset_rule(question.server), tool + " needs the approval of a person");
}

Decision decide_tool_call(const Question& question, const Policy& policy,
                          std::vector<Considered> considered) {
    if (question.tool.empty())
        return Decision::denied_by("policy.arguments_invalid", {}, "the call names no tool")
            .considering(std::move(considered));
    const auto access = agent_access(policy.toolsets, question.server, question.tool);
    considered.push_back({toolset_rule(question.server), access > ToolAccess::disabled, words_of(access)});
    auto verdict =
        apply_rules(policy.rules, question.agent.id, question.server, question.tool, question.arguments);
    std::ranges::move(verdict.considered, std::back_inserter(considered));
    return weigh(question, access, verdict).considering(std::move(considered));
}

bool has_toolset(const Policy& policy, std::string_view server) {
    return std::ranges::any_of(policy.toolsets,
                               [&](const auto& toolset) { return toolset.server == server; });
}

}  // namespace

Decision decide(const Question& question, const Policy& policy) {
    if (!has_toolset(policy, question.server))
        return Decision::no_rule_matched("server " + in_quotes(question.server) +
                                         " is not among the servers of this agent");

    const auto reach = may_reach(policy.network, question.server_url.host, HostIs::declared_mcp_server);
    std::vector<Considered> considered{{"environment " + in_quotes(question.environment.name) + " networking",
                                        reach.reachable, reach.because}};
    if (!reach.reachable) {
        auto rule = considered.front().rule;
        auto reason = "server " + in_quotes(question.server) + " cannot be reached from this environment";
        return Decision::denied_by("policy.host_blocked", std::move(rule), std::move(reason))
            .considering(std::move(considered));
    }

    switch (classify(question.method)) {
        case McpMethod::tool_call:
            return decide_tool_call(question, policy, std::move(considered));
        case McpMethod::protocol:
            return Decision::allowed_by(
                       toolset_rule(question.server),
                       "method " + in_quotes(question.method) + " follows from the server being permitted")
                .considering(std::move(considered));
        case McpMethod::unknown:
            break;
    }
    return Decision::denied_by("policy.method_not_allowed", {},
                               "method " + in_quotes(question.method) + " is not a known MCP method")
        .considering(std::move(considered));
}

bool tool_visible(const Policy& policy, std::string_view agent_id, std::string_view server,
                  std::string_view tool) {
    if (agent_access(policy.toolsets, server, tool) <= ToolAccess::disabled) return false;
    return std::ranges::none_of(policy.rules, [&](const auto& rule) {
        return rule.effect == base::RuleEffect::deny && rule.when.empty() &&
               rule_concerns(rule, agent_id, server, tool);
    });
}

bool filters_anything(const Policy& policy, std::string_view agent_id, std::string_view server) {
    if (!has_toolset(policy, server)) return true;
    const bool toolset_hides = std::ranges::any_of(policy.toolsets, [&](const auto& toolset) {
        return toolset.server == server &&
               (!toolset.enabled_by_default ||
                std::ranges::any_of(toolset.configs, [](const auto& config) { return !config.enabled; }));
    });
    return toolset_hides || std::ranges::any_of(policy.rules, [&](const auto& rule) {
               return rule.effect == base::RuleEffect::deny && rule.when.empty() &&
                      rule_concerns_server(rule, agent_id, server);
           });
}

}  // namespace claviger::policy
