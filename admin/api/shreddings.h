// How far the traces of what was shredded are gone: from the store, from its files, from backups.
#pragma once

#include "admin/api/call.h"
#include "vault/backup.h"

#include <vector>

namespace claviger::admin::api {

/// The backups in the folder of the config, as they are now; none without one. Blocks on the disk: for
/// beside(). Errors: of BackupRoom::list.
base::Result<std::vector<vault::FoundBackup>> known_backups(const Call& call);

/// What is gone, in three stages: what Claviger can open, what its files hold, what backups hold.
Json shown_stages(const Call& call, const vault::Shredding& shredding,
                  const std::vector<vault::FoundBackup>& backups);

net::awaitable<Answered> list_shreddings(Call& call);
net::awaitable<Answered> retrieve_shredding(Call& call);

}  // namespace claviger::admin::api
