// The words in which an operator says what may happen: toolsets of an agent, rules of an environment.
// Plain data, shared by who stores it (vault), who decides on it (policy) and who shows it (admin).
#pragma once

#include <string>
#include <vector>

namespace claviger::base {

enum class ToolPolicy { always_allow, always_ask, automatic };  // automatic: "auto", decides as ask

struct ToolConfig {
    std::string name;
    bool enabled = true;
    ToolPolicy policy = ToolPolicy::always_ask;
};

/// An agent's permissions on one declared MCP server ("mcp_toolset" on the wire), fully resolved.
struct Toolset {
    std::string server;  // the name the agent declared
    bool enabled_by_default = true;
    ToolPolicy default_policy = ToolPolicy::always_ask;
    std::vector<ToolConfig> configs = {};
};

/// An agent's declared MCP server.
struct McpServer {
    std::string name;
    std::string url;         // as given
    std::string normal_url;  // policy::normalise_server_url(url), what is compared
};

/// What an environment may reach.
struct NetworkRules {
    bool limited = false;            // false: every public host
    bool allow_mcp_servers = false;  // limited: declared servers are reachable although not listed
    bool allow_package_managers = false;
    /// Bare host, IPv4 or "*.example.com"; also lifts the private-range guard for that host.
    std::vector<std::string> allowed_hosts = {};
};

enum class RuleEffect { allow, deny, ask };

/// One condition on an argument of the call.
struct ArgumentCondition {
    enum class Test { equals, not_equals, matches };  // matches: '*' stands for any run of characters
    std::string pointer;                              // RFC 6901, into params.arguments
    Test test = Test::equals;
    std::string value;  // compared with the JSON string, or with the compact text of any other value
};

/// A rule of an environment. Deny beats ask, ask beats allow; their order never matters.
struct ToolRule {
    std::string name;
    RuleEffect effect = RuleEffect::deny;
    std::string server = "*";                  // declared server name, '*' matches any run of characters
    std::string tool = "*";                    // tool name, same wildcard
    std::vector<std::string> agents = {};      // agent ids; empty: every agent
    std::vector<ArgumentCondition> when = {};  // all must hold
};

}  // namespace claviger::base
