// Which rows of the store have to leave its files for something to be gone from the disk.
#pragma once

#include "vault/catalog.h"
#include "vault/model.h"
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

}  // namespace claviger::vault
