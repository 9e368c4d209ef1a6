// What may be stored: rules and toolsets that can take effect. A rule that can never match is refused when it
// is written, not discovered in production.
#pragma once

#include "base/result.h"
#include "base/rules.h"

#include <span>

namespace claviger::policy {

/// Names 1-255 characters, patterns non-empty, agent ids well formed, pointers as in RFC 6901, conditions
/// that do not contradict each other. Errors: invalid_request "tool_rule.invalid".
base::Status check_rule(const base::ToolRule& rule);

/// check_rule for each, at most 200 of them, no name twice. Errors: invalid_request "tool_rule.invalid".
base::Status check_rules(std::span<const base::ToolRule> rules);

/// Every server has its toolset and every toolset its server; at most 20 servers and 256 configured tools; no
/// name twice. Errors: invalid_request "toolset.invalid", "server_url.invalid".
base::Status check_toolsets(std::span<const base::McpServer> servers,
                            std::span<const base::Toolset> toolsets);

}  // namespace claviger::policy
