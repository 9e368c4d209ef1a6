// Erasing for good: which rows have to leave the files of the store, and what may still hold or open what was
// in them.
#pragma once

#include "vault/backup_header.h"
#include "vault/catalog.h"
#include "vault/model.h"
#include "vault/records.h"
#include "vault/storage_engine.h"

#include <cstdint>
#include <vector>

namespace claviger::vault {

/// Rows that hold the credential's values, their keys, and what is known of it.
std::vector<StorageEngine::KeyPrefix> rows_of(const base::CredentialId& credential);
/// The vault's key and everything that it sealed.
std::vector<StorageEngine::KeyPrefix> rows_of(const Vault& vault, const Catalog& catalog);
/// Every row of the tables that hold secrets, keys or objects.
std::vector<StorageEngine::KeyPrefix> all_secret_rows();

/// The commit that made the object.
template <class Object>
std::uint64_t commit_of(const Object& object) {
    return object.created_seq >> 8;
}

/// Remembers that the same commit erases the credential, or the whole vault. Call it before that is done, and
/// before the vault's key is rotated for it. Errors: of Change::store and KeyRing::state.
base::Result<Shredding> record_shredding(Change& change, const Credential& credential);
base::Result<Shredding> record_shredding(Change& change, const Vault& vault);

/// Whether the store has no key any more that opens what is left of the rows anywhere on the disk.
bool vault_key_gone(const Catalog& catalog, const Shredding& shredding);
/// Whether a backup with that header holds what was erased.
bool is_held_by(const Shredding& shredding, const BackupHeader& backup);

}  // namespace claviger::vault
