#include "policy/rule_check.h"

#include "base/id.h"
#include "policy/arguments.h"
#include "policy/quote.h"
#include "policy/server_url.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace claviger::policy {
namespace {

constexpr std::size_t kServers = 20;
constexpr std::size_t kTools = 256;
constexpr std::size_t kRules = 200;
constexpr std::size_t kAgents = 100;
constexpr std::size_t kConditions = 32;
constexpr std::size_t kNameLength = 255;
constexpr std::size_t kToolNameLength = 128;
constexpr std::size_t kPointerLength = 1024;
constexpr std::size_t kValueLength = 1024;

std::unexpected<base::Error> refuse_rule(const base::ToolRule& rule, std::string fault) {
    return base::failure(base::ErrorKind::invalid_request, "tool_rule.invalid",
                         "tool rule " + in_quotes(rule.name) + ": " + std::move(fault));
}

std::unexpected<base::Error> refuse_toolset(std::string fault, std::string hint = {}) {
    return base::failure(base::ErrorKind::invalid_request, "toolset.invalid", std::move(fault),
                         std::move(hint));
}

bool is_name(std::string_view text, std::size_t longest) {
    return !text.empty() && text.size() <= longest &&
           std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

bool is_pointer(std::string_view text) {
    if (text.empty()) return true;  // the whole arguments
    if (text.front() != '/' || text.size() > kPointerLength) return false;
    for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '~' && (i + 1 == text.size() || (text[i + 1] != '0' && text[i + 1] != '1')))
            return false;
    return true;
}

base::Status check_conditions(const base::ToolRule& rule) {
    using enum base::ArgumentCondition::Test;
    if (rule.when.size() > kConditions) return refuse_rule(rule, "it has more than 32 conditions");
    std::map<std::string_view, std::string> must_equal;
    for (const auto& condition : rule.when) {
        if (!is_pointer(condition.pointer))
            return refuse_rule(rule, "'" + condition.pointer +
                                         "' is not a JSON pointer; write it as /owner or /items/0/name");
        if (condition.value.size() > kValueLength)
            return refuse_rule(rule, "a condition's value is longer than 1024 characters");
        if (condition.test == matches && condition.value.empty())
            return refuse_rule(rule, "the pattern of a condition is empty; write * for anything");
        if (condition.test != equals) continue;
        const auto [at, fresh] = must_equal.emplace(condition.pointer, comparable_text(condition.value));
        if (!fresh && at->second != comparable_text(condition.value))
            return refuse_rule(rule, "it can never match: '" + condition.pointer +
                                         "' would have to equal two different values");
    }
    for (const auto& condition : rule.when) {
        const auto wanted = must_equal.find(condition.pointer);
        if (condition.test == not_equals && wanted != must_equal.end() &&
            wanted->second == comparable_text(condition.value))
            return refuse_rule(
                rule, "it can never match: '" + condition.pointer + "' would have to equal a value and not");
    }
    return {};
}

base::Status check_servers(std::span<const base::McpServer> servers) {
    if (servers.size() > kServers) return refuse_toolset("an agent may declare at most 20 MCP servers");
    std::set<std::string_view> names;
    for (const auto& server : servers) {
        if (!is_name(server.name, kNameLength))
            return refuse_toolset(
                "the name of an MCP server must have 1 to 255 characters and no control characters");
        if (!names.insert(server.name).second)
            return refuse_toolset("MCP server '" + server.name + "' is declared twice");
        const auto normal = normalise_server_url(server.url);
        if (!normal) return std::unexpected(normal.error());
        if (*normal != server.normal_url)
            return refuse_toolset("the normal URL of MCP server '" + server.name +
                                  "' does not belong to its URL");
    }
    return {};
}

base::Status check_toolset(const base::Toolset& toolset) {
    std::set<std::string_view> names;
    for (const auto& config : toolset.configs) {
        if (!is_name(config.name, kToolNameLength))
            return refuse_toolset("a tool name in the toolset of '" + toolset.server +
                                  "' must have 1 to 128 characters and no control characters");
        if (!names.insert(config.name).second)
            return refuse_toolset("the toolset of '" + toolset.server + "' configures tool '" + config.name +
                                  "' twice");
    }
    return {};
}

}  // namespace

base::Status check_rule(const base::ToolRule& rule) {
    if (!is_name(rule.name, kNameLength))
        return base::failure(
            base::ErrorKind::invalid_request, "tool_rule.invalid",
            "the name of a tool rule must have 1 to 255 characters and no control characters");
    if (!is_name(rule.server, kNameLength))
        return refuse_rule(rule,
                           "the server must be a declared server's name or a pattern of 1 to 255 characters; "
                           "write * for every server");
    if (!is_name(rule.tool, kToolNameLength))
        return refuse_rule(
            rule, "the tool must be a name or a pattern of 1 to 128 characters; write * for every tool");
    if (rule.agents.size() > kAgents) return refuse_rule(rule, "it names more than 100 agents");
    std::set<std::string_view> agents;
    for (const auto& agent : rule.agents) {
        if (!base::AgentId::parse(agent)) return refuse_rule(rule, "'" + agent + "' is not an agent id");
        if (!agents.insert(agent).second) return refuse_rule(rule, "agent '" + agent + "' is named twice");
    }
    return check_conditions(rule);
}

base::Status check_rules(std::span<const base::ToolRule> rules) {
    if (rules.size() > kRules)
        return base::failure(base::ErrorKind::invalid_request, "tool_rule.invalid",
                             "an environment may have at most 200 tool rules");
    std::set<std::string_view> names;
    for (const auto& rule : rules) {
        if (auto fine = check_rule(rule); !fine) return fine;
        if (!names.insert(rule.name).second) return refuse_rule(rule, "another rule has the same name");
    }
    return {};
}

base::Status check_toolsets(std::span<const base::McpServer> servers,
                            std::span<const base::Toolset> toolsets) {
    if (auto fine = check_servers(servers); !fine) return fine;
    std::set<std::string_view> missing;
    for (const auto& server : servers) missing.insert(server.name);
    const auto declared = missing;

    std::size_t tools = 0;
    for (const auto& toolset : toolsets) {
        if (!declared.contains(toolset.server))
            return refuse_toolset("a toolset names the MCP server '" + toolset.server +
                                  "', which the agent does not declare");
        if (missing.erase(toolset.server) == 0)
            return refuse_toolset("MCP server '" + toolset.server + "' has two toolsets");
        if (auto fine = check_toolset(toolset); !fine) return fine;
        tools += toolset.configs.size();
    }
    if (tools > kTools) return refuse_toolset("an agent may configure at most 256 tools over all toolsets");
    if (!missing.empty())
        return refuse_toolset("no toolset names the MCP server '" + std::string(*missing.begin()) + "'",
                              "Add an mcp_toolset whose mcp_server_name is that server.");
    return {};
}

}  // namespace claviger::policy
