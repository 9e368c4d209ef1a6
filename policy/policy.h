// May this agent, in this environment, send this message to this server? Pure: the same question and policy
// always get the same decision, so that "why?" in the console asks the very function that guards the calls.
#pragma once

#include "base/rules.h"
#include "policy/decision.h"
#include "policy/server_url.h"

#include <string_view>
#include <vector>

namespace claviger::policy {

struct Named {
    std::string_view id;
    std::string_view name;
};

/// One MCP message from an agent, taken from the parsed body and never from a header. Borrows everything.
struct Question {
    Named environment;
    Named agent;
    std::string_view server;      // the name under which the agent declared it
    const ServerUrl& server_url;  // of that declaration
    std::string_view method;      // "tools/call"
    std::string_view tool;        // params.name of tools/call, empty for every other method
    std::string_view arguments;   // raw JSON text of params.arguments, empty when there are none
};

/// Borrows what the session's snapshot holds.
struct Policy {
    const std::vector<base::Toolset>& toolsets;  // of the agent
    const base::NetworkRules& network;           // of the environment
    const std::vector<base::ToolRule>& rules;    // of the environment
};

/// Denies unless the agent has a toolset for the server, the environment reaches its host, the method is
/// known, and for tools/call the toolset and the rules permit the tool. Deny beats ask, ask beats allow,
/// order never matters. Codes: "policy.allowed", "policy.needs_approval", "policy.no_rule" (hidden),
/// "policy.host_blocked", "policy.method_not_allowed", "policy.tool_not_enabled" (hidden), "policy.denied"
/// (hidden when no argument could change it), "policy.arguments_invalid".
Decision decide(const Question& question, const Policy& policy);

/// Whether tools/list may show the tool: false exactly when decide() would hide it, whatever the arguments.
bool tool_visible(const Policy& policy, std::string_view agent_id, std::string_view server,
                  std::string_view tool);

/// False when every tool of the server is visible, so that tools/list can pass as it comes.
bool filters_anything(const Policy& policy, std::string_view agent_id, std::string_view server);

}  // namespace claviger::policy
