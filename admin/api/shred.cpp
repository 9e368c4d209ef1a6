#include "admin/api/shred.h"

#include "admin/api/beside.h"
#include "admin/api/credentials.h"
#include "admin/api/fields.h"
#include "admin/api/rotation.h"
#include "admin/api/shreddings.h"
#include "admin/api/vaults.h"
#include "vault/key_rotations.h"
#include "vault/shredding.h"

#include <nlohmann/json.hpp>

#include <vector>

namespace claviger::admin::api {
namespace {

using vault::Action;
using vault::ObjectKind;
using Prefixes = std::vector<vault::StorageEngine::KeyPrefix>;

constexpr std::string_view kFilesClean =
    "No file of the store holds the erased rows. What a disk itself keeps of files that were rewritten is "
    "beyond "
    "Claviger: encrypt the disk.";

/// What is on its way out.
struct Shredded {
    ObjectKind kind = ObjectKind::none;
    base::RawId id{}, vault{};
    base::ShreddingId record = {};  // empty: everything that was ever erased
    Prefixes prefixes = {};
};

/// The records whose rows leave the files with it: its own; of the whole store all that wait for that.
std::vector<base::ShreddingId> records_of(const Call& call, const Shredded& shredded) {
    std::vector<base::ShreddingId> ids;
    for (const auto& each :
         call.catalog().all<vault::Shredding>([&](const vault::Shredding& record) { return !record.purged; }))
        if (shredded.kind == ObjectKind::instance || each->id == shredded.record) ids.push_back(each->id);
    return ids;
}

/// A purge that worked is on record; the object's erasure was before.
net::awaitable<base::Status> purge(Call& call, const Shredded& shredded) {
    const auto records = records_of(call, shredded);  // those that come meanwhile may still be in files
    auto purged = co_await beside<base::Status>(
        call, [&] { return call.records.storage().purge_erased(shredded.prefixes); });
    if (!purged) co_return purged;
    co_return co_await change(call, [&](vault::Change& change) -> base::Status {
        change.note(vault::EntryKind::write, Action::shred, shredded.kind, shredded.id, shredded.vault);
        for (const auto& id : records) {
            auto clean = *change.catalog().find<vault::Shredding>(id);
            clean.purged = clean.updated = change.now();
            if (auto stored = change.store(std::move(clean)); !stored) return stored;
        }
        return {};
    });
}

net::awaitable<Answered> answer_with_stages(Call& call, Shredded shredded, std::string id) {
    using Backups = std::vector<vault::FoundBackup>;
    const auto purged = co_await purge(call, shredded);
    const auto backups = co_await beside<base::Result<Backups>>(call, [&] { return known_backups(call); });
    if (!backups) co_return std::unexpected(backups.error());
    const auto record = call.catalog().find<vault::Shredding>(shredded.record);
    if (!record)
        co_return base::failure(base::ErrorKind::internal, "shredding.not_found",
                                "The shredding is not there.",
                                "This is a mistake in Claviger; please report it.");
    auto stages = shown_stages(call, *record, *backups);
    if (!purged)
        stages[1]["error"] = {{"type", purged.error().code},
                              {"message", purged.error().message},
                              {"hint", "Repeat it with `claviger purge`."}};
    co_return answer(
        {{"id", std::move(id)},
         {"type", shredded.kind == ObjectKind::vault ? "vault_shredded" : "vault_credential_shredded"},
         {"shredding_id", shredded.record.text()},
         {"stages", std::move(stages)}});
}

/// The vault's key is rotated for it, unless that is being done already.
base::Status rotate_key_of(vault::Change& change, const base::VaultId& id) {
    const auto vault = change.catalog().find<vault::Vault>(id);
    if (!vault || vault::rotation_under_way(change.catalog(), id)) return {};
    const auto begun = vault::begin_vault_rotation(change, *vault, {});
    return begun ? base::Status() : std::unexpected(begun.error());
}

}  // namespace

net::awaitable<Answered> shred_vault(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    Shredded shredded{.kind = ObjectKind::vault};
    std::vector<vault::Credential> in_use;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Vault>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        shredded.id = shredded.vault = (*found)->id.raw;
        shredded.prefixes = vault::rows_of(**found, change.catalog());
        const auto record = vault::record_shredding(change, **found);
        if (!record) return std::unexpected(record.error());
        shredded.record = record->id;
        in_use = credentials_in_use(change.catalog(), (*found)->id);
        return erase_vault(change, **found);
    });
    if (!stored) co_return std::unexpected(stored.error());
    close_connections(call, in_use);
    co_return co_await answer_with_stages(call, std::move(shredded), call.ids[0]);
}

net::awaitable<Answered> shred_credential(Call& call) {
    Fields in(call.body);
    const bool rotates = in.flag("rotate_vault", true);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    Shredded shredded{.kind = ObjectKind::credential};
    vault::Credential gone;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_credential(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        gone = **found;
        shredded.id = gone.id.raw;
        shredded.vault = gone.vault.raw;
        shredded.prefixes = vault::rows_of(gone.id);
        const auto record = vault::record_shredding(change, gone);
        if (!record) return std::unexpected(record.error());
        shredded.record = record->id;
        if (auto erased = erase_credential(change, gone); !erased) return erased;
        return rotates ? rotate_key_of(change, gone.vault) : base::Status();
    });
    if (!stored) co_return std::unexpected(stored.error());
    if (call.rotations != nullptr) call.rotations->wake();
    close_connections(call, {gone});
    if (call.grants != nullptr) call.grants->touched(gone.id);
    co_return co_await answer_with_stages(call, std::move(shredded), call.ids[1]);
}

net::awaitable<Answered> purge_store(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const Shredded everything{.kind = ObjectKind::instance,
                              .id = call.records.keys().instance(),
                              .prefixes = vault::all_secret_rows()};
    if (const auto purged = co_await purge(call, everything); !purged)
        co_return std::unexpected(purged.error());
    co_return answer({{"type", "purge"}, {"gone", true}, {"meaning", kFilesClean}});
}

}  // namespace claviger::admin::api
