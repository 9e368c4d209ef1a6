// Environments: what sessions in them may reach, which vaults they may use, and rules for their tools.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> create_environment(Call& call);
net::awaitable<Answered> list_environments(Call& call);
net::awaitable<Answered> retrieve_environment(Call& call);
net::awaitable<Answered> update_environment(Call& call);
net::awaitable<Answered> archive_environment(Call& call);
/// Conflict "environment.in_use" while a session, archived or not, belongs to it.
net::awaitable<Answered> delete_environment(Call& call);
net::awaitable<Answered> duplicate_environment(Call& call);

}  // namespace claviger::admin::api
