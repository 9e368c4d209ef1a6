#include "admin/api/shred.h"

#include "admin/api/beside.h"
#include "admin/api/credentials.h"
#include "admin/api/rotation.h"
#include "admin/api/shown.h"
#include "admin/api/vaults.h"
#include "vault/backup_room.h"
#include "vault/shredding.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::api {
namespace {

using vault::Action;
using vault::ObjectKind;
using Prefixes = std::vector<vault::StorageEngine::KeyPrefix>;

constexpr std::string_view kVaultGone =
    "The vault's key is erased, and nothing that is left in the store opens what it sealed. Tokens that are "
    "to be "
    "revoked at their issuer are kept aside until that is done.";
constexpr std::string_view kCredentialGone =
    "The credential's data keys are erased, and nothing that is left in the store opens its values. Tokens "
    "that are "
    "to be revoked at their issuer are kept aside until that is done.";
constexpr std::string_view kFilesClean =
    "No file of the store holds the erased rows. What a disk itself keeps of files that were rewritten is "
    "beyond "
    "Claviger: encrypt the disk.";
constexpr std::string_view kFilesNot =
    "Files of the store may still hold the erased rows, which the store's own keys open.";
constexpr std::string_view kBackupsHold =
    "Backups made before now hold it, and open with what opened the store then: these, and every copy "
    "elsewhere. "
    "Delete them, or replace the secret at its issuer.";

/// What is on its way out.
struct Shredded {
    ObjectKind kind = ObjectKind::none;
    base::RawId id{}, vault{};
    std::uint64_t made = 0;  // the commit that made it
    Prefixes prefixes;
};

Json files_stage(const base::Status& purged) {
    Json stage{{"stage", 2}, {"where", "files"}, {"gone", purged.has_value()}};
    stage["meaning"] = purged ? kFilesClean : kFilesNot;
    if (!purged)
        stage["error"] = {{"type", purged.error().code},
                          {"message", purged.error().message},
                          {"hint", "Repeat it with `claviger purge`."}};
    return stage;
}

/// The backups that hold what commit `made` made. Those elsewhere are known to nobody.
base::Result<Json> backups_stage(const Call& call, std::uint64_t made) {
    auto holding = Json::array();
    if (call.settings.backups != nullptr) {
        const auto found = call.settings.backups->list();
        if (!found) return std::unexpected(found.error());
        for (const auto& [name, header] : *found)
            if (header.instance == call.records.keys().instance() && header.head.commit_seq >= made)
                holding.push_back(name);
    }
    return Json{{"stage", 3},
                {"where", "backups"},
                {"gone", false},
                {"backups", std::move(holding)},
                {"meaning", kBackupsHold}};
}

/// A purge that worked is on record; the object's erasure was before.
net::awaitable<base::Status> purge(Call& call, const Shredded& shredded) {
    auto purged = co_await beside<base::Status>(
        call, [&] { return call.records.storage().purge_erased(shredded.prefixes); });
    if (!purged) co_return purged;
    co_return co_await change(call, [&](vault::Change& change) -> base::Status {
        change.note(vault::EntryKind::write, Action::shred, shredded.kind, shredded.id, shredded.vault);
        return {};
    });
}

net::awaitable<Answered> answer_with_stages(Call& call, Shredded shredded, std::string id,
                                            std::string_view gone) {
    const auto purged = co_await purge(call, shredded);
    const auto backups =
        co_await beside<base::Result<Json>>(call, [&] { return backups_stage(call, shredded.made); });
    if (!backups) co_return std::unexpected(backups.error());
    co_return answer(
        {{"id", std::move(id)},
         {"type", shredded.kind == ObjectKind::vault ? "vault_shredded" : "vault_credential_shredded"},
         {"stages",
          {{{"stage", 1}, {"where", "store"}, {"gone", true}, {"meaning", gone}},
           files_stage(purged),
           *backups}}});
}

}  // namespace

net::awaitable<Answered> shred_vault(Call& call) {
    Shredded shredded;
    shredded.kind = ObjectKind::vault;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Vault>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        shredded.id = shredded.vault = (*found)->id.raw;
        shredded.made = vault::commit_of(**found);
        shredded.prefixes = vault::rows_of(**found, change.catalog());
        return erase_vault(change, **found);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return co_await answer_with_stages(call, std::move(shredded), call.ids[0], kVaultGone);
}

net::awaitable<Answered> shred_credential(Call& call) {
    Shredded shredded;
    shredded.kind = ObjectKind::credential;
    vault::Credential gone;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_credential(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        gone = **found;
        shredded.id = gone.id.raw;
        shredded.vault = gone.vault.raw;
        shredded.made = vault::commit_of(gone);
        shredded.prefixes = vault::rows_of(gone.id);
        return erase_credential(change, gone);
    });
    if (!stored) co_return std::unexpected(stored.error());
    close_connections(call, gone);
    if (call.grants != nullptr) call.grants->touched(gone.id);
    co_return co_await answer_with_stages(call, std::move(shredded), call.ids[1], kCredentialGone);
}

net::awaitable<Answered> purge_store(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    Shredded everything;
    everything.kind = ObjectKind::instance;
    everything.id = call.records.keys().instance();
    everything.prefixes = vault::all_secret_rows();
    if (const auto purged = co_await purge(call, everything); !purged)
        co_return std::unexpected(purged.error());
    co_return answer({{"type", "purge"}, {"gone", true}, {"meaning", kFilesClean}});
}

}  // namespace claviger::admin::api
