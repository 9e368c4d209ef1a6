#include "admin/api/shreddings.h"

#include "admin/api/beside.h"
#include "admin/api/operations.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "vault/backup_room.h"
#include "vault/key_operations.h"
#include "vault/shredding.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::api {
namespace {

using Backups = std::vector<vault::FoundBackup>;
using vault::Shredding;

constexpr std::string_view kVaultGone =
    "The vault's key is erased, and nothing that is left in the store opens what it sealed. Tokens that are "
    "to be "
    "revoked at their issuer are kept aside until that is done.";
constexpr std::string_view kCredentialGone =
    "The credential's data keys are erased, and nothing that is left in the store opens its values. Tokens "
    "that are "
    "to be revoked at their issuer are kept aside until that is done.";
constexpr std::string_view kFilesClean =
    "No file of the store holds the erased rows, and the key of the vault that sealed them is gone: what a "
    "disk "
    "itself keeps of files that were rewritten opens with no key that is left.";
constexpr std::string_view kFilesNot =
    "Files of the store may still hold the erased rows, which the store's own keys open. Run `claviger "
    "purge`.";
constexpr std::string_view kKeyTurns =
    "No file of the store holds the erased rows. What a disk itself keeps of files that were rewritten opens "
    "with the "
    "vault's key until its rotation, which is under way, has ended.";
constexpr std::string_view kKeyStays =
    "No file of the store holds the erased rows. What a disk itself keeps of files that were rewritten opens "
    "with the "
    "vault's key until that is rotated: `claviger key rotate --vault`.";
constexpr std::string_view kBackupsHold =
    "Backups made before hold it, and open with what opened the store then: these, and every copy elsewhere. "
    "Delete "
    "them, or replace the secret at its issuer.";
constexpr std::string_view kKeyLives =
    "No backup in backup.dir holds it. Copies elsewhere that were made before do, and open with what opens "
    "the store "
    "now, until the root key of then is retired. Delete them, or replace the secret at its issuer.";
constexpr std::string_view kElsewhere =
    "No backup in backup.dir holds it, and the root key of then is retired. Copies elsewhere open only with "
    "key files, "
    "shares or passphrases of that time. Replace the secret at its issuer if you do not know them all "
    "destroyed.";

Json files_stage(const Call& call, const Shredding& shredding) {
    const bool key_gone = vault::vault_key_gone(call.catalog(), shredding);
    const auto rotation = vault::rotation_under_way(call.catalog(), shredding.vault);
    const auto meaning =
        !shredding.purged ? kFilesNot
        : key_gone        ? kFilesClean
        : rotation && rotation->from <= shredding.generation && rotation->to > shredding.generation
            ? kKeyTurns
            : kKeyStays;
    return {
        {"stage", 2},
        {"where", "files"},
        {"gone", shredding.purged && key_gone},
        {"purged_at", shown(shredding.purged)},
        {"vault_key",
         {{"gone", key_gone}, {"operation", rotation ? shown_operation(call, *rotation) : Json(nullptr)}}},
        {"meaning", meaning}};
}

/// Whether some root key of then still opens the store; so copies of the store from then open with it.
bool root_key_lives(const Call& call, const Shredding& shredding) {
    const auto summary = vault::KeyRing::summary(call.records.engine());
    if (!summary || !*summary) return true;
    return std::ranges::any_of((*summary)->epochs,
                               [&](const auto& root) { return root.epoch <= shredding.epoch; });
}

/// Copies elsewhere are known to nobody: where none is known and no live key opens one, `gone` is null.
Json backups_stage(const Call& call, const Shredding& shredding, const Backups& backups) {
    auto holding = Json::array();
    for (const auto& [name, header] : backups)
        if (header.instance == call.records.keys().instance() && vault::is_held_by(shredding, header))
            holding.push_back(name);
    const bool lives = root_key_lives(call, shredding);
    const auto meaning = !holding.empty() ? kBackupsHold : lives ? kKeyLives : kElsewhere;
    const Json gone = !holding.empty() || lives ? Json(false) : Json(nullptr);
    return {{"stage", 3},
            {"where", "backups"},
            {"gone", gone},
            {"backups", std::move(holding)},
            {"root_key", {{"epoch", shredding.epoch}, {"gone", !lives}}},
            {"meaning", meaning}};
}

Json shown_shredding(const Call& call, const Shredding& shredding, const Backups& backups) {
    const auto about =
        shredding.of_whole_vault() ? shredding.vault.text() : base::CredentialId{shredding.about}.text();
    return {{"id", shredding.id.text()},
            {"type", "shredding"},
            {"object_id", about},
            {"vault_id", shredding.vault.text()},
            {"created_at", shown(shredding.created)},
            {"stages", shown_stages(call, shredding, backups)}};
}

}  // namespace

base::Result<Backups> known_backups(const Call& call) {
    if (call.settings.backups == nullptr) return Backups{};
    return call.settings.backups->list();
}

Json shown_stages(const Call& call, const Shredding& shredding, const Backups& backups) {
    return Json::array({{{"stage", 1},
                         {"where", "store"},
                         {"gone", true},
                         {"meaning", shredding.of_whole_vault() ? kVaultGone : kCredentialGone}},
                        files_stage(call, shredding),
                        backups_stage(call, shredding, backups)});
}

net::awaitable<Answered> list_shreddings(Call& call) {
    const auto page = page_of<Shredding>(call, {.name = {"shreddings", call.workspace().raw}});
    if (!page) co_return std::unexpected(page.error());
    const auto backups = co_await beside<base::Result<Backups>>(call, [&] { return known_backups(call); });
    if (!backups) co_return std::unexpected(backups.error());
    auto data = Json::array();
    for (const auto& shredding : page->objects) data.push_back(shown_shredding(call, *shredding, *backups));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> retrieve_shredding(Call& call) {
    const auto id = base::ShreddingId::parse(call.ids[0]);
    const auto shredding = id ? call.catalog().find<Shredding>(*id) : nullptr;
    if (!shredding || shredding->workspace != call.workspace())
        co_return base::failure(base::ErrorKind::not_found, "shredding.not_found",
                                "Shredding not found: " + (id ? id->text() : policy::in_quotes(call.ids[0])),
                                "`claviger shredding list` shows those there are.");
    const auto backups = co_await beside<base::Result<Backups>>(call, [&] { return known_backups(call); });
    if (!backups) co_return std::unexpected(backups.error());
    co_return answer(shown_shredding(call, *shredding, *backups));
}

}  // namespace claviger::admin::api
