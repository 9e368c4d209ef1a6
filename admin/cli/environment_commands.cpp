#include "admin/cli/objects.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

/// SERVER/TOOL, or TOOL alone for every server; '*' matches any run of characters.
json denying_rule(const std::string& text) {
    const auto slash = text.find('/');
    const bool has_server = slash != std::string::npos;
    return {{"name", "deny " + text},
            {"effect", "deny"},
            {"server", has_server ? text.substr(0, slash) : "*"},
            {"tool", has_server ? text.substr(slash + 1) : text}};
}

base::Result<json> rules_from(const Arguments& arguments) {
    json rules = json::array();
    if (const auto file = arguments.value("--rules-file")) {
        std::ifstream in(*file);
        rules = json::parse(in, nullptr, false, true);
        if (!in.is_open() || !rules.is_array())
            return usage(
                "The rules file " + *file + " cannot be read as a JSON list of rules.",
                R"(For example: [{"name":"no deletes","effect":"deny","server":"*","tool":"delete_*"}])");
    }
    for (const auto& text : arguments.values("--deny-tool")) rules.push_back(denying_rule(text));
    return rules;
}

base::Result<json> body_from(Context& context) {
    const auto& arguments = context.arguments;
    json body = json::object();
    if (const auto name = arguments.value("--name")) body["name"] = *name;
    if (const auto text = arguments.value("--description")) body["description"] = *text;
    auto metadata = metadata_patch(arguments);
    if (!metadata) return metadata;
    if (!metadata->is_null()) body["metadata"] = *std::move(metadata);
    json network;
    if (arguments.has("--any-host")) network["type"] = "unrestricted";
    if (arguments.has("--allow-host") || arguments.has("--allow-mcp-servers") || arguments.has("--limited"))
        network["type"] = "limited";
    if (arguments.has("--allow-host")) network["allowed_hosts"] = arguments.values("--allow-host");
    if (arguments.has("--allow-mcp-servers")) network["allow_mcp_servers"] = true;
    if (!network.is_null()) body["config"] = {{"type", "cloud"}, {"networking", std::move(network)}};
    if (arguments.has("--rules-file") || arguments.has("--deny-tool")) {
        auto rules = rules_from(arguments);
        if (!rules) return rules;
        body["tool_rules"] = *std::move(rules);
    }
    if (arguments.has("--any-host") && arguments.has("--allow-host"))
        return usage("--any-host and --allow-host exclude each other.");
    return body;
}

base::Status create(Context& context) {
    const auto& name = context.arguments.operands()[0];
    auto body = body_from(context);
    if (!body) return std::unexpected(body.error());
    (*body)["name"] = name;
    const auto vaults = ids_of(context.api, kVaults, context.arguments.values("--vault"));
    if (!vaults) return std::unexpected(vaults.error());
    if (!vaults->empty()) (*body)["vault_bindings"] = *vaults;
    const auto made = context.api.post("/v1/environments", *body);
    if (!made) return std::unexpected(made.error());
    context.screen.done(*made, "Created environment '" + name + "' (" + made->value("id", "") + ").");
    return {};
}

base::Status list(Context& context) {
    const auto page = list_as_asked(context, "/v1/environments");
    if (!page) return std::unexpected(page.error());
    context.screen.list(*page,
                        {{"ID", "/id"},
                         {"NAME", "/name"},
                         {"NETWORK", "/config/networking/type"},
                         {"VAULTS", "/vault_bindings"},
                         {"ARCHIVED", "/archived_at"}},
                        "No environments yet. `claviger environment create NAME --vault VAULT` makes one.");
    return {};
}

base::Status get(Context& context) { return get_object(context, kEnvironments); }
base::Status archive(Context& context) { return archive_object(context, kEnvironments); }
base::Status erase(Context& context) { return delete_object(context, kEnvironments); }

base::Status change(Context& context, const json& body) {
    const auto path = path_of(context.api, kEnvironments, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto changed = context.api.post(*path, body);
    if (!changed) return std::unexpected(changed.error());
    context.screen.done(*changed, "Changed environment " + changed->value("id", "") + "; it may use " +
                                      std::to_string(changed->value("vault_bindings", json::array()).size()) +
                                      " vault(s).");
    return {};
}

base::Status update(Context& context) {
    const auto body = body_from(context);
    if (!body) return std::unexpected(body.error());
    if (body->empty())
        return usage("There is nothing to change.",
                     "See `claviger help environment update` for what can be.");
    return change(context, *body);
}

/// The environment's bindings, and the vaults that the operands after the first name.
struct Bindings {
    std::vector<std::string> now, named;
};
base::Result<Bindings> bindings(Context& context) {
    const auto& words = context.arguments.operands();
    const auto path = path_of(context.api, kEnvironments, words[0]);
    if (!path) return std::unexpected(path.error());
    auto named = ids_of(context.api, kVaults, {words.begin() + 1, words.end()});
    if (!named) return std::unexpected(named.error());
    const auto environment = context.api.get(*path);
    if (!environment) return std::unexpected(environment.error());
    return Bindings{environment->value("vault_bindings", std::vector<std::string>{}), *std::move(named)};
}

base::Status bind(Context& context) {
    auto both = bindings(context);
    if (!both) return std::unexpected(both.error());
    for (const auto& vault : both->named)
        if (std::ranges::find(both->now, vault) == both->now.end()) both->now.push_back(vault);
    return change(context, {{"vault_bindings", both->now}});
}

base::Status unbind(Context& context) {
    auto both = bindings(context);
    if (!both) return std::unexpected(both.error());
    for (const auto& vault : both->named)
        if (std::erase(both->now, vault) == 0)
            return base::failure(base::ErrorKind::not_found, "cli.not_bound",
                                 "Vault " + vault + " is not bound to this environment.",
                                 "See `claviger environment get " + context.arguments.operands()[0] + "`.");
    return change(context, {{"vault_bindings", both->now}});
}

base::Status duplicate(Context& context) {
    const auto& words = context.arguments.operands();
    const auto path = path_of(context.api, kEnvironments, words[0]);
    if (!path) return std::unexpected(path.error());
    const auto made = context.api.post(*path + "/duplicate", {{"name", words[1]}});
    if (!made) return std::unexpected(made.error());
    context.screen.done(*made,
                        "Created environment '" + words[1] + "' (" + made->value("id", "") + ") as a copy.");
    return {};
}

std::vector<Flag> setting_flags() {
    return {
        {"--description", "TEXT", "what it is for"},
        {"--any-host", "", "reach every public host (default)"},
        {"--allow-host", "HOST", "reach this host only, also a private one; *.example.com for its subdomains",
         true},
        {"--limited", "", "reach nothing but what is allowed"},
        {"--allow-mcp-servers", "", "besides, reach the MCP servers that the agent declares"},
        {"--deny-tool", "TOOL", "deny SERVER/TOOL, or TOOL on every server; '*' matches any characters",
         true},
        {"--rules-file", "FILE", "JSON list of tool rules, see docs/admin_api.md"},
        metadata_flag(),
    };
}

std::vector<Flag> with(std::vector<Flag> first, std::vector<Flag> rest) {
    std::ranges::move(rest, std::back_inserter(first));
    return first;
}

}  // namespace

std::vector<Command> environment_commands() {
    const Operand environment{"ENVIRONMENT", "id or name of the environment"};
    const Operand vaults{"VAULT", "ids or names of vaults", Operand::Count::some};
    return {
        {"environment create",
         "Create an environment: which vaults may be used, which hosts and tools be reached.",
         {{"NAME", "such as dev, staging or prod"}},
         with({{"--vault", "VAULT", "bind this vault", true}}, setting_flags()),
         "claviger environment create prod --vault alice --deny-tool 'github/delete_*'",
         create},
        {"environment list",
         "List environments, newest first.",
         {},
         {limit_flag(), archived_flag()},
         "claviger environment list",
         list},
        {"environment get", "Show one environment.", {environment}, {}, "claviger environment get prod", get},
        {"environment update",
         "Change an environment; hosts and rules that are given replace all earlier ones.",
         {environment},
         with({name_flag()}, with(setting_flags(), {remove_metadata_flag()})),
         "claviger environment update prod --allow-host api.example.com --allow-mcp-servers",
         update},
        {"environment bind",
         "Let sessions of the environment use vaults.",
         {environment, vaults},
         {},
         "claviger environment bind prod alice",
         bind},
        {"environment unbind",
         "Stop sessions of the environment from using vaults, at once.",
         {environment, vaults},
         {},
         "claviger environment unbind prod alice",
         unbind},
        {"environment duplicate",
         "Copy an environment with its bindings and rules.",
         {environment, {"NAME", "name of the copy"}},
         {},
         "claviger environment duplicate prod staging",
         duplicate},
        {"environment archive",
         "Archive an environment: no new sessions, running ones go on.",
         {environment},
         {},
         "claviger environment archive prod",
         archive},
        {"environment delete",
         "Delete an environment that no session refers to.",
         {environment},
         {yes_flag()},
         "claviger environment delete prod --yes",
         erase},
    };
}

}  // namespace claviger::admin::cli
