// Credentials of a vault: create, list, retrieve, update, archive, delete. Their secrets go in and never out.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> create_credential(Call& call);
net::awaitable<Answered> list_credentials(Call& call);
net::awaitable<Answered> retrieve_credential(Call& call);
net::awaitable<Answered> update_credential(Call& call);
net::awaitable<Answered> archive_credential(Call& call);
net::awaitable<Answered> delete_credential(Call& call);

/// Erases the credential with every value and its grant, which is revoked; noted and announced.
base::Status erase_credential(vault::Change& change, const vault::Credential& credential);

/// Room for one more, and its key free, among the vault's active credentials.
base::Status check_room(const vault::Catalog& catalog, const vault::Credential& made);

/// The credential named by the route, in the vault named by it.
base::Result<vault::Ref<vault::Credential>> find_credential(const Call& call, const vault::Catalog& catalog);

}  // namespace claviger::admin::api
