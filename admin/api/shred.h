// Erasing that says what is gone and what is not: now, in the files of the store, and in backups.
#pragma once

#include "admin/api/call.h"
#include "net/http.h"

namespace claviger::admin::api {

net::awaitable<Answered> shred_vault(Call& call);
net::awaitable<Answered> shred_credential(Call& call);
/// Rids the files of the store of everything that was ever erased.
net::awaitable<Answered> purge_store(Call& call);

}  // namespace claviger::admin::api
