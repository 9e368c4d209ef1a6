#include "admin/api/agent_fields.h"

#include "policy/rule_check.h"
#include "policy/server_url.h"

#include <nlohmann/json.hpp>

#include <array>

namespace claviger::admin::api {
namespace {

using base::ToolPolicy;

constexpr std::size_t kServers = 20, kTools = 256;

ToolPolicy read_policy(Fields& in, ToolPolicy otherwise) {
    if (!in.has_value("permission_policy")) return otherwise;
    auto policy = in.object("permission_policy");
    constexpr std::array policies{ToolPolicy::always_allow, ToolPolicy::always_ask, ToolPolicy::automatic};
    return policies[policy.word("type", {"always_allow", "always_ask", "auto"})];
}

base::Toolset read_toolset(Fields& in) {
    if (in.is_text("type")) {
        const auto type = in.text("type", {1, 255});
        if (type.starts_with("agent_toolset") || type == "custom")
            in.refuse("type", "'" + type +
                                  "' needs an agent loop, which Claviger has not; only mcp_toolset is "
                                  "accepted");
    }
    in.word("type", {"mcp_toolset"});
    base::Toolset toolset;
    toolset.server = in.text("mcp_server_name", {1, 255});
    if (in.has("default_config")) {
        auto defaults = in.object("default_config");
        toolset.enabled_by_default = defaults.flag("enabled", true);
        toolset.default_policy = read_policy(defaults, ToolPolicy::always_ask);
    }
    for (auto& entry : in.objects("configs", kTools)) {
        base::ToolConfig config;
        config.name = entry.text("name", {1, 128});
        config.enabled = entry.flag("enabled", toolset.enabled_by_default);
        config.policy = read_policy(entry, toolset.default_policy);
        toolset.configs.push_back(std::move(config));
    }
    return toolset;
}

}  // namespace

void update_servers(Fields& in, std::vector<base::McpServer>& servers) {
    if (!in.has("mcp_servers")) return;
    servers.clear();
    for (auto& entry : in.objects("mcp_servers", kServers)) {
        base::McpServer server;
        entry.word("type", {"url"});
        server.name = entry.text("name", {1, 255});
        server.url = entry.text("url", {1, 2048});
        if (auto normal = policy::normalise_server_url(server.url))
            server.normal_url = std::move(*normal);
        else
            entry.refuse("url", normal.error());
        servers.push_back(std::move(server));
    }
}

void update_toolsets(Fields& in, std::vector<base::Toolset>& toolsets) {
    if (!in.has("tools")) return;
    toolsets.clear();
    for (auto& entry : in.objects("tools", kTools)) toolsets.push_back(read_toolset(entry));
}

void update_model(Fields& in, std::string& model) {
    if (!in.has_value("model")) return;
    auto kept = nlohmann::ordered_json::object();
    if (!in.is_object("model")) {
        kept["id"] = in.text("model", {1, 255});
        model = kept.dump();
        return;
    }
    auto given = in.object("model");
    kept["id"] = given.text("id", {1, 255});
    if (given.is_object("effort")) {
        kept["effort"] = {{"type", given.object("effort").text("type", {1, 64})}};
    } else if (const auto effort = given.text_if_any("effort", {1, 64})) {
        kept["effort"] = {{"type", *effort}};
    }
    for (const auto* name : {"inference_geo", "speed"})
        if (const auto text = given.text_if_any(name, {1, 64})) kept[name] = *text;
    model = kept.dump();
}

void check_servers_and_toolsets(Fields& in, std::string_view name, const vault::Agent& agent) {
    if (const auto fine = policy::check_toolsets(agent.mcp_servers, agent.toolsets); !fine)
        in.refuse(name, fine.error());
}

void refuse_loop_fields(Fields& in) {
    constexpr std::string_view why = "needs an agent loop, which Claviger has not; leave it out";
    in.must_be_empty("skills", why);
    in.must_be_empty("multiagent", why);
}

}  // namespace claviger::admin::api
