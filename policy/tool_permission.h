// What the agent's toolset and the environment's rules say about one tool.
#pragma once

#include "base/rules.h"
#include "policy/decision.h"

#include <string>
#include <string_view>
#include <vector>

namespace claviger::policy {

enum class ToolAccess { no_toolset, disabled, ask, allow };  // from the strictest on

/// The agent's own permission. Should two toolsets or configs speak of the same tool, the stricter one
/// counts.
ToolAccess agent_access(const std::vector<base::Toolset>& toolsets, std::string_view server,
                        std::string_view tool);

/// True when the rule speaks of this agent, server and tool, whatever the arguments.
bool rule_concerns(const base::ToolRule& rule, std::string_view agent, std::string_view server,
                   std::string_view tool);
/// The same for any tool of the server.
bool rule_concerns_server(const base::ToolRule& rule, std::string_view agent, std::string_view server);

/// What all rules together say. Of several rules with the same effect the first by name is named.
struct RuleVerdict {
    const base::ToolRule* always_deny = nullptr;  // without a condition: the tool is out of sight
    const base::ToolRule* deny = nullptr;
    const base::ToolRule* ask = nullptr;
    const base::ToolRule* allow = nullptr;
    std::string bad_arguments;  // why a condition could not be judged; empty when all could
    std::vector<Considered> considered;
};

/// `arguments` is raw JSON; it is parsed only when a concerned rule has a condition. The verdict points into
/// `rules`.
RuleVerdict apply_rules(const std::vector<base::ToolRule>& rules, std::string_view agent,
                        std::string_view server, std::string_view tool, std::string_view arguments);

}  // namespace claviger::policy
