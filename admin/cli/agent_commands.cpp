#include "admin/cli/objects.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <map>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

json permission(std::string_view word) {
    if (word == "off") return {{"enabled", false}};
    return {{"enabled", true},
            {"permission_policy", {{"type", word == "allow" ? "always_allow" : "always_ask"}}}};
}

base::Result<json> default_permission(const Arguments& arguments) {
    const auto word = arguments.value_or("--default", "off");
    if (word == "allow" || word == "ask" || word == "off") return permission(word);
    return usage("--default must be allow, ask or off, but is '" + word + "'.");
}

/// --server NAME=URL with --allow, --ask and --off SERVER/TOOL as "mcp_servers" and "tools".
base::Status add_servers(const Arguments& arguments, json& body) {
    const auto by_default = default_permission(arguments);
    if (!by_default) return std::unexpected(by_default.error());
    std::map<std::string, json> toolsets;
    body["mcp_servers"] = json::array();
    for (const auto& text : arguments.values("--server")) {
        const auto pair = cut_pair("--server", text);
        if (!pair) return std::unexpected(pair.error());
        const auto& [name, url] = *pair;
        body["mcp_servers"].push_back({{"type", "url"}, {"name", name}, {"url", url}});
        toolsets[name] = {{"type", "mcp_toolset"},
                          {"mcp_server_name", name},
                          {"default_config", *by_default},
                          {"configs", json::array()}};
    }
    for (const std::string_view word : {"allow", "ask", "off"}) {
        const auto flag = "--" + std::string(word);
        for (const auto& text : arguments.values(flag)) {
            const auto slash = text.find('/');
            const auto server = text.substr(0, slash);
            if (slash == std::string::npos || !toolsets.contains(server))
                return usage(flag + " must be SERVER/TOOL with a server that --server declares, but is '" +
                             text + "'.");
            auto config = permission(word);
            config["name"] = text.substr(slash + 1);
            toolsets[server]["configs"].push_back(std::move(config));
        }
    }
    body["tools"] = json::array();
    for (auto& [name, toolset] : toolsets) body["tools"].push_back(std::move(toolset));
    return {};
}

base::Result<json> body_from(const Arguments& arguments) {
    json body = json::object();
    if (const auto file = arguments.value("--file")) {
        std::ifstream in(*file);
        body = json::parse(in, nullptr, false, true);
        if (!in.is_open() || !body.is_object())
            return usage("The file " + *file + " cannot be read as the JSON of an agent.",
                         "Its fields are those of POST /v1/agents, see docs/admin_api.md.");
    }
    for (const auto& [flag, field] : {std::pair{"--name", "name"},
                                      {"--model", "model"},
                                      {"--description", "description"},
                                      {"--system", "system"}})
        if (const auto value = arguments.value(flag)) body[field] = *value;
    auto metadata = metadata_patch(arguments);
    if (!metadata) return metadata;
    if (!metadata->is_null()) body["metadata"] = *std::move(metadata);
    if (arguments.has("--server")) {
        if (auto added = add_servers(arguments, body); !added)
            return std::unexpected(std::move(added).error());
    } else {
        for (const auto flag : {"--allow", "--ask", "--off", "--default"})
            if (arguments.has(flag))
                return usage(std::string(flag) + " needs --server NAME=URL in the same command.",
                             "Servers and permissions are replaced together.");
    }
    return body;
}

base::Status create(Context& context) {
    const auto& name = context.arguments.operands()[0];
    auto body = body_from(context.arguments);
    if (!body) return std::unexpected(body.error());
    (*body)["name"] = name;
    if (!body->contains("model")) (*body)["model"] = "any";
    const auto made = context.api.post("/v1/agents", *body);
    if (!made) return std::unexpected(made.error());
    std::string sentence = "Created agent '" + name + "' (" + made->value("id", "") + ").";
    if (context.arguments.value_or("--default", "off") == "off" && !context.arguments.has("--allow") &&
        !context.arguments.has("--file"))
        sentence +=
            "\nIt may call no tool yet: name tools with --allow SERVER/TOOL, or all with --default allow.";
    context.screen.done(*made, sentence);
    return {};
}

base::Status update(Context& context) {
    const auto body = body_from(context.arguments);
    if (!body) return std::unexpected(body.error());
    if (body->empty()) return usage("There is nothing to change.", "See `claviger help agent update`.");
    const auto path = path_of(context.api, kAgents, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto changed = context.api.post(*path, *body);
    if (!changed) return std::unexpected(changed.error());
    context.screen.done(*changed, "Agent " + changed->value("id", "") + " is now at version " +
                                      cell_text(changed->value("version", json(1))) +
                                      "; running sessions keep the version they began with.");
    return {};
}

const std::vector<Column>& columns() {
    static const std::vector<Column> all = {
        {"ID", "/id"},           {"VERSION", "/version"},    {"NAME", "/name"},
        {"SERVERS", "/servers"}, {"UPDATED", "/updated_at"}, {"ARCHIVED", "/archived_at"}};
    return all;
}

void show(Context& context, json page, std::string_view when_empty) {
    if (!context.screen.json())
        for (auto& each : page["data"])
            for (const auto& server : each.value("mcp_servers", json::array()))
                each["servers"].push_back(server.value("name", "?"));
    context.screen.list(page, columns(), when_empty);
}

base::Status list(Context& context) {
    const auto page = list_as_asked(context, "/v1/agents");
    if (!page) return std::unexpected(page.error());
    show(context, *page, "No agents yet. `claviger help agent create` shows how to define one.");
    return {};
}

base::Status versions(Context& context) {
    const auto path = path_of(context.api, kAgents, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto page = list_as_asked(context, *path + "/versions");
    if (!page) return std::unexpected(page.error());
    show(context, *page, "No versions.");
    return {};
}

base::Status get(Context& context) {
    const auto path = path_of(context.api, kAgents, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    Query query;
    query.add("version", context.arguments.value("--version"));
    const auto agent = context.api.get(*path + query.text());
    if (!agent) return std::unexpected(agent.error());
    context.screen.object(*agent);
    return {};
}

base::Status archive(Context& context) { return archive_object(context, kAgents); }

std::vector<Flag> setting_flags() {
    return {
        {"--server", "NAME=URL", "MCP server it may speak to; NAME is the last part of /mcp/NAME", true},
        {"--allow", "SERVER/TOOL", "tool it may call", true},
        {"--ask", "SERVER/TOOL", "tool that a person must approve; denied as long as there are no approvals",
         true},
        {"--off", "SERVER/TOOL", "tool it does not even see", true},
        {"--default", "WORD", "allow, ask or off: every tool that is not named (default: off)"},
        {"--model", "MODEL", "stored and shown, never used (default on create: any)"},
        {"--description", "TEXT", "what it is for"},
        {"--system", "TEXT", "system prompt; stored and shown, never used"},
        {"--file", "FILE", "JSON as for POST /v1/agents, for all that no flag says"},
        metadata_flag(),
    };
}

}  // namespace

std::vector<Command> agent_commands() {
    const Operand agent{"AGENT", "id or name of the agent"};
    auto update_flags = setting_flags();
    update_flags.insert(update_flags.begin(), name_flag());
    update_flags.push_back(remove_metadata_flag());
    return {
        {"agent create",
         "Define an agent: which MCP servers it may speak to, and which tools it may call there.",
         {{"NAME", "what people call it"}},
         setting_flags(),
         "claviger agent create triage --server github=https://api.githubcopilot.com/mcp --allow "
         "github/get_issue",
         create},
        {"agent list",
         "List agents, newest first.",
         {},
         {limit_flag(), archived_flag()},
         "claviger agent list",
         list},
        {"agent get",
         "Show one agent, as it is or as it was.",
         {agent},
         {{"--version", "N", "show this version (default: the newest)"}},
         "claviger agent get triage --version 1",
         get},
        {"agent update",
         "Change an agent; servers and tools that are given replace all earlier ones.",
         {agent},
         update_flags,
         "claviger agent update triage --description 'Reads issues'",
         update},
        {"agent archive",
         "Archive an agent: no new sessions.",
         {agent},
         {},
         "claviger agent archive triage",
         archive},
        {"agent versions",
         "List an agent's versions, newest first.",
         {agent},
         {limit_flag()},
         "claviger agent versions triage",
         versions},
    };
}

}  // namespace claviger::admin::cli
