#include "policy/tool_permission.h"

#include "policy/arguments.h"
#include "policy/wildcard.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace claviger::policy {
namespace {

ToolAccess access_of(bool enabled, base::ToolPolicy policy) {
    if (!enabled) return ToolAccess::disabled;
    return policy == base::ToolPolicy::always_allow ? ToolAccess::allow : ToolAccess::ask;
}

ToolAccess toolset_access(const base::Toolset& toolset, std::string_view tool) {
    std::optional<ToolAccess> access;
    for (const auto& config : toolset.configs) {
        if (config.name != tool) continue;
        const auto own = access_of(config.enabled, config.policy);
        access = access ? std::min(*access, own) : own;
    }
    return access.value_or(access_of(toolset.enabled_by_default, toolset.default_policy));
}

bool speaks_of_agent(const base::ToolRule& rule, std::string_view agent) {
    return rule.agents.empty() || std::ranges::find(rule.agents, agent) != rule.agents.end();
}

void keep_first_by_name(const base::ToolRule*& kept, const base::ToolRule& rule) {
    if (kept == nullptr || rule.name < kept->name) kept = &rule;
}

/// Arguments are parsed once, and only when somebody asks.
class LazyArguments {
public:
    explicit LazyArguments(std::string_view json) : json_(json) {}

    base::Result<bool> fulfil(const std::vector<base::ArgumentCondition>& conditions) {
        if (!parsed_) parsed_ = Arguments::parse(json_);
        if (!*parsed_) return std::unexpected(parsed_->error());
        bool all = true;
        for (const auto& condition : conditions) {  // all of them, so that a fault is found in any order
            const auto fulfilled = (*parsed_)->fulfil(condition);
            if (!fulfilled) return fulfilled;
            all = all && *fulfilled;
        }
        return all;
    }

private:
    std::string_view json_;
    std::optional<base::Result<Arguments>> parsed_;
};

}  // namespace

ToolAccess agent_access(const std::vector<base::Toolset>& toolsets, std::string_view server,
                        std::string_view tool) {
    std::optional<ToolAccess> access;
    for (const auto& toolset : toolsets) {
        if (toolset.server != server) continue;
        const auto own = toolset_access(toolset, tool);
        access = access ? std::min(*access, own) : own;
    }
    return access.value_or(ToolAccess::no_toolset);
}

bool rule_concerns_server(const base::ToolRule& rule, std::string_view agent, std::string_view server) {
    return speaks_of_agent(rule, agent) && wildcard_matches(rule.server, server);
}

bool rule_concerns(const base::ToolRule& rule, std::string_view agent, std::string_view server,
                   std::string_view tool) {
    return rule_concerns_server(rule, agent, server) && wildcard_matches(rule.tool, tool);
}

RuleVerdict apply_rules(const std::vector<base::ToolRule>& rules, std::string_view agent,
                        std::string_view server, std::string_view tool, std::string_view arguments) {
    RuleVerdict verdict;
    LazyArguments lazy(arguments);
    for (const auto& rule : rules) {
        if (!rule_concerns(rule, agent, server, tool)) {
            const char* because = !speaks_of_agent(rule, agent)            ? "another agent"
                                  : !wildcard_matches(rule.server, server) ? "another server"
                                                                           : "another tool";
            verdict.considered.push_back({rule.name, false, because});
            continue;
        }
        if (!rule.when.empty()) {
            const auto fulfilled = lazy.fulfil(rule.when);
            if (!fulfilled) {
                const auto& fault = fulfilled.error().message;
                verdict.considered.push_back({rule.name, false, fault});
                if (verdict.bad_arguments.empty() || fault < verdict.bad_arguments)
                    verdict.bad_arguments = fault;
                continue;
            }
            if (!*fulfilled) {
                verdict.considered.push_back(
                    {rule.name, false, "its conditions on the arguments do not hold"});
                continue;
            }
        }
        switch (rule.effect) {
            case base::RuleEffect::deny:
                keep_first_by_name(rule.when.empty() ? verdict.always_deny : verdict.deny, rule);
                verdict.considered.push_back({rule.name, true, "denies"});
                break;
            case base::RuleEffect::ask:
                keep_first_by_name(verdict.ask, rule);
                verdict.considered.push_back({rule.name, true, "asks a person"});
                break;
            case base::RuleEffect::allow:
                keep_first_by_name(verdict.allow, rule);
                verdict.considered.push_back({rule.name, true, "allows"});
                break;
        }
    }
    return verdict;
}

}  // namespace claviger::policy
