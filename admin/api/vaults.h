// Vaults: create, list, retrieve, update, archive, delete.
#pragma once

#include "admin/api/call.h"

#include <vector>

namespace claviger::admin::api {

net::awaitable<Answered> create_vault(Call& call);
net::awaitable<Answered> list_vaults(Call& call);
net::awaitable<Answered> retrieve_vault(Call& call);
net::awaitable<Answered> update_vault(Call& call);
/// Archives the vault's credentials with it and purges their secrets.
net::awaitable<Answered> archive_vault(Call& call);
/// Erases the vault, its credentials and its key, and takes it out of environments' bindings.
net::awaitable<Answered> delete_vault(Call& call);

/// Those that have a value: what is archived has none, and its connections were closed then.
std::vector<vault::Credential> credentials_in_use(const vault::Catalog& catalog, const base::VaultId& vault);

/// Erases the vault, everything in it and its key, and takes it out of the environments that use it; noted
/// and announced.
base::Status erase_vault(vault::Change& change, const vault::Vault& vault);

}  // namespace claviger::admin::api
