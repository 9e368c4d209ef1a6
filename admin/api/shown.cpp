#include "admin/api/shown.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

Json shown(base::ToolPolicy policy) {
    switch (policy) {
        case base::ToolPolicy::always_allow:
            return {{"type", "always_allow"}};
        case base::ToolPolicy::always_ask:
            return {{"type", "always_ask"}};
        case base::ToolPolicy::automatic:
            return {{"type", "auto"}};
    }
    return {{"type", "always_ask"}};
}

std::string_view name_of(base::RuleEffect effect) {
    switch (effect) {
        case base::RuleEffect::allow:
            return "allow";
        case base::RuleEffect::deny:
            return "deny";
        case base::RuleEffect::ask:
            return "ask";
    }
    return "deny";
}

std::string_view name_of(base::ArgumentCondition::Test test) {
    switch (test) {
        case base::ArgumentCondition::Test::equals:
            return "equals";
        case base::ArgumentCondition::Test::not_equals:
            return "not_equals";
        case base::ArgumentCondition::Test::matches:
            return "matches";
    }
    return "equals";
}

}  // namespace

Json shown(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }
Json shown(base::Time time) { return base::to_rfc3339(time); }
Json shown(const std::optional<base::Time>& time) { return time ? shown(*time) : Json(nullptr); }

Json shown(const vault::Metadata& metadata) {
    auto object = Json::object();
    for (const auto& [key, value] : metadata) object[key] = value;
    return object;
}

Json shown(const std::vector<base::McpServer>& servers) {
    auto list = Json::array();
    for (const auto& server : servers)
        list.push_back({{"type", "url"}, {"name", server.name}, {"url", server.url}});
    return list;
}

Json shown(const std::vector<base::Toolset>& toolsets) {
    auto list = Json::array();
    for (const auto& toolset : toolsets) {
        auto configs = Json::array();
        for (const auto& config : toolset.configs)
            configs.push_back({{"name", config.name},
                               {"enabled", config.enabled},
                               {"permission_policy", shown(config.policy)}});
        list.push_back({{"type", "mcp_toolset"},
                        {"mcp_server_name", toolset.server},
                        {"default_config",
                         {{"enabled", toolset.enabled_by_default},
                          {"permission_policy", shown(toolset.default_policy)}}},
                        {"configs", std::move(configs)}});
    }
    return list;
}

Json shown(const base::ToolRule& rule) {
    auto when = Json::array();
    for (const auto& condition : rule.when)
        when.push_back(
            {{"argument", condition.pointer}, {std::string(name_of(condition.test)), condition.value}});
    return {{"name", rule.name}, {"effect", name_of(rule.effect)}, {"server", rule.server},
            {"tool", rule.tool}, {"agents", rule.agents},          {"when", std::move(when)}};
}

Json shown_definition(const vault::Agent& agent) {
    return {{"id", agent.id.text()},
            {"type", "agent"},
            {"version", agent.version},
            {"name", agent.name},
            {"description", shown(agent.description)},
            {"system", shown(agent.system)},
            {"model", Json::parse(agent.model)},
            {"execution_identity", {{"type", "service_account"}}},
            {"multiagent", nullptr},
            {"skills", Json::array()},
            {"mcp_servers", shown(agent.mcp_servers)},
            {"tools", shown(agent.toolsets)}};
}

}  // namespace claviger::admin::api
