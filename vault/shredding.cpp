#include "vault/shredding.h"

#include "crypto/random.h"
#include "vault/key_operations.h"
#include "vault/log_rows.h"
#include "vault/sealed_rows.h"

#include <algorithm>
#include <iterator>

namespace claviger::vault {
namespace {

using Prefixes = std::vector<StorageEngine::KeyPrefix>;

constexpr std::size_t kSingly = 100;  // beyond this many credentials whole tables are gone through once

base::Result<Shredding> stored(Change& change, Shredding shredding, const Vault& vault) {
    const auto record = change.keys().state(change.transaction().engine());
    if (!record) return std::unexpected(record.error());
    for (const auto& root : record->epochs) shredding.epoch = std::max(shredding.epoch, root.epoch);
    shredding.generation = std::max(vault.generation(), vault.last_generation.value_or(kFirstGeneration));
    shredding.id = crypto::random_id<base::ShreddingId>();
    shredding.workspace = vault.workspace;
    shredding.vault = vault.id;
    shredding.created = shredding.updated = change.now();
    if (auto kept = change.store(shredding); !kept) return std::unexpected(std::move(kept).error());
    return shredding;
}

}  // namespace

Prefixes rows_of(const base::CredentialId& credential) {
    const Bytes id(credential.key());
    return {{Table::data_key, id},
            {Table::value, id},
            {Table::usage, id},
            {Table::meta, meta_key(MetaKind::grant, credential.raw)},
            {Table::meta, meta_key(MetaKind::rotation, credential.raw)},
            {Table::meta, meta_key(MetaKind::credential, credential.raw)}};
}

Prefixes rows_of(const Vault& vault, const Catalog& catalog) {
    Prefixes prefixes = {{Table::owner_key, Bytes(id_view(vault.id.raw))},
                         {Table::meta, meta_key(MetaKind::vault, vault.id.raw)}};
    const auto credentials = catalog.ids_of<Credential>(vault.id.raw);
    if (credentials.size() > kSingly) return all_secret_rows();
    for (const auto& credential : credentials)
        std::ranges::move(rows_of(credential), std::back_inserter(prefixes));
    for (const auto& flow : catalog.ids_of<ConnectFlow>(vault.id.raw))
        prefixes.push_back({Table::meta, meta_key(MetaKind::connect_flow, flow.raw)});
    return prefixes;
}

Prefixes all_secret_rows() {
    return {{Table::owner_key, {}},
            {Table::data_key, {}},
            {Table::value, {}},
            {Table::meta, {}},
            {Table::usage, {}}};
}

base::Result<Shredding> record_shredding(Change& change, const Credential& credential) {
    const auto vault = change.catalog().find<Vault>(credential.vault);
    if (!vault)
        return base::failure(base::ErrorKind::not_found, "vault.not_found",
                             "The vault of the credential is not there.");
    Shredding shredding;
    shredding.about = credential.id.raw;
    shredding.made = commit_of(credential);
    return stored(change, std::move(shredding), *vault);
}

base::Result<Shredding> record_shredding(Change& change, const Vault& vault) {
    Shredding shredding;
    shredding.about = vault.id.raw;
    shredding.made = commit_of(vault);
    return stored(change, std::move(shredding), vault);
}

bool vault_key_gone(const Catalog& catalog, const Shredding& shredding) {
    const auto vault = catalog.find<Vault>(shredding.vault);
    if (!vault) return true;
    if (vault->generation() <= shredding.generation) return false;
    const auto rotation = rotation_under_way(catalog, vault->id);
    return !rotation || std::min(rotation->from, rotation->to) > shredding.generation;
}

bool is_held_by(const Shredding& shredding, const BackupHeader& backup) {
    return backup.head.commit_seq >= shredding.made && backup.head.commit_seq < commit_of(shredding);
}

}  // namespace claviger::vault
