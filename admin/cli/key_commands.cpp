#include "admin/cli/objects.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

/// Shows a key once, or puts it into the file that --save-key names.
base::Status hand_over(Context& context, std::optional<PrivateFile>& file, json answer, const char* field,
                       std::string sentence) {
    const auto key = answer.value(field, std::string());
    if (file) {
        if (auto saved = file->write_line(key); !saved) return saved;
        answer.erase(field);
        sentence += " is in " + file->path() + ".";
    } else {
        sentence += ", shown only now: " + key;
    }
    context.screen.done(answer, sentence);
    return {};
}

base::Status create_key(Context& context) {
    const auto& name = context.arguments.operands()[0];
    auto file = PrivateFile::named_by(context.arguments, "--save-key");
    if (!file) return std::unexpected(std::move(file).error());
    auto made = context.api.post("/v1/api_keys",
                                 {{"name", name}, {"role", context.arguments.value_or("--role", "admin")}});
    if (!made) return std::unexpected(made.error());
    const auto id = made->value("id", "");
    return hand_over(context, *file, *std::move(made), "key",
                     "Created API key '" + name + "' (" + id + ").\nThe key");
}

base::Status list_keys(Context& context) {
    const auto page = list_as_asked(context, "/v1/api_keys");
    if (!page) return std::unexpected(page.error());
    context.screen.list(*page,
                        {{"ID", "/id"},
                         {"NAME", "/name"},
                         {"ROLE", "/role"},
                         {"CREATED", "/created_at"},
                         {"REVOKED", "/revoked_at"}},
                        "No API keys.");
    return {};
}

base::Status revoke_key(Context& context) {
    const auto path = path_of(context.api, kApiKeys, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto answer = context.api.erase(*path);
    if (!answer) return std::unexpected(answer.error());
    context.screen.done(*answer, "Revoked API key " + answer->value("id", "") + ".");
    return {};
}

base::Status create_workspace(Context& context) {
    const auto& name = context.arguments.operands()[0];
    auto file = PrivateFile::named_by(context.arguments, "--save-key");
    if (!file) return std::unexpected(std::move(file).error());
    auto made = context.api.post("/v1/workspaces", {{"name", name}});
    if (!made) return std::unexpected(made.error());
    const auto id = made->value("id", "");
    return hand_over(context, *file, *std::move(made), "admin_api_key",
                     "Created workspace '" + name + "' (" + id + ").\nIts first admin key");
}

base::Status list_workspaces(Context& context) {
    const auto page = list_as_asked(context, "/v1/workspaces");
    if (!page) return std::unexpected(page.error());
    context.screen.list(*page, {{"ID", "/id"}, {"NAME", "/name"}, {"CREATED", "/created_at"}},
                        "No workspaces.");
    return {};
}

}  // namespace

std::vector<Command> key_commands() {
    const Operand key{"KEY", "id or name of the API key"};
    const Flag save_key{"--save-key", "FILE",
                        "write the key into this new file (mode 600) and not on the screen"};
    return {
        {"key create",
         "Make an API key for a person or a program.",
         {{"NAME", "who or what will use it"}},
         {{"--role", "ROLE", "admin, operator, auditor or agent-runner (default: admin)"}, save_key},
         "claviger key create ci --role agent-runner --save-key ci.key",
         create_key},
        {"key list",
         "List API keys, without their text.",
         {},
         {limit_flag()},
         "claviger key list",
         list_keys},
        {"key revoke", "Revoke an API key, at once.", {key}, {}, "claviger key revoke ci", revoke_key},
        {"workspace create",
         "Create a workspace: a separate set of vaults, environments, agents and keys.",
         {{"NAME", "what people call it"}},
         {save_key},
         "claviger workspace create payments --save-key payments.key",
         create_workspace},
        {"workspace list",
         "List the workspaces that the key may see.",
         {},
         {limit_flag()},
         "claviger workspace list",
         list_workspaces},
    };
}

}  // namespace claviger::admin::cli
