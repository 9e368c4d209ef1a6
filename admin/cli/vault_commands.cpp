#include "admin/cli/objects.h"
#include "admin/cli/shred_report.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

base::Status create(Context& context) {
    const auto& name = context.arguments.operands()[0];
    json body = {{"display_name", name}};
    const auto metadata = metadata_patch(context.arguments);
    if (!metadata) return std::unexpected(metadata.error());
    if (!metadata->is_null()) body["metadata"] = *metadata;
    const auto vault = context.api.post("/v1/vaults", body);
    if (!vault) return std::unexpected(vault.error());
    context.screen.done(*vault, "Created vault '" + name + "' (" + vault->value("id", "") + ").");
    return {};
}

base::Status list(Context& context) {
    const auto page = list_as_asked(context, "/v1/vaults");
    if (!page) return std::unexpected(page.error());
    context.screen.list(
        *page,
        {{"ID", "/id"}, {"NAME", "/display_name"}, {"CREATED", "/created_at"}, {"ARCHIVED", "/archived_at"}},
        "No vaults yet. `claviger vault create NAME` makes one.");
    return {};
}

base::Status get(Context& context) { return get_object(context, kVaults); }
base::Status archive(Context& context) { return archive_object(context, kVaults); }
base::Status erase(Context& context) { return delete_object(context, kVaults); }

base::Status shred_vault(Context& context) {
    const auto& name = context.arguments.operands()[0];
    if (auto sure = confirm_delete(context, "vault '" + name + "'"); !sure) return sure;
    const auto path = path_of(context.api, kVaults, name);
    if (!path) return std::unexpected(path.error());
    return shred(context, *path, "vault '" + name + "'", json::object());
}

base::Status update(Context& context) {
    json body = json::object();
    if (const auto name = context.arguments.value("--name")) body["display_name"] = *name;
    const auto metadata = metadata_patch(context.arguments);
    if (!metadata) return std::unexpected(metadata.error());
    if (!metadata->is_null()) body["metadata"] = *metadata;
    if (body.empty())
        return usage("There is nothing to change.", "Give --name, --metadata or --remove-metadata.");
    const auto path = path_of(context.api, kVaults, context.arguments.operands()[0]);
    if (!path) return std::unexpected(path.error());
    const auto vault = context.api.post(*path, body);
    if (!vault) return std::unexpected(vault.error());
    context.screen.done(*vault, "Changed vault " + vault->value("id", "") + ".");
    return {};
}

}  // namespace

std::vector<Command> vault_commands() {
    const Operand vault{"VAULT", "id or name of the vault"};
    return {
        {"vault create",
         "Create a vault: a named set of credentials, usually those of one person or team.",
         {{"NAME", "what people call it"}},
         {metadata_flag()},
         "claviger vault create alice",
         create},
        {"vault list",
         "List vaults, newest first.",
         {},
         {limit_flag(), archived_flag()},
         "claviger vault list",
         list},
        {"vault get", "Show one vault.", {vault}, {}, "claviger vault get alice", get},
        {"vault update",
         "Rename a vault or change its notes.",
         {vault},
         {name_flag(), metadata_flag(), remove_metadata_flag()},
         "claviger vault update alice --name 'Alice B.'",
         update},
        {"vault archive",
         "Archive a vault and purge every secret in it; its record stays.",
         {vault},
         {},
         "claviger vault archive alice",
         archive},
        {"vault delete",
         "Delete a vault with all its credentials, for good.",
         {vault},
         {yes_flag()},
         "claviger vault delete alice --yes",
         erase},
        {"vault shred",
         "Delete a vault, rid the store's files of it, and say where it still is.",
         {vault},
         {yes_flag()},
         "claviger vault shred alice --yes",
         shred_vault},
    };
}

}  // namespace claviger::admin::cli
