// /v1/backups: copies of the whole store, made while it serves. /v1/fence: a restored store, and its release.
#pragma once

#include "admin/api/call.h"
#include "net/http.h"

namespace claviger::admin::api {

net::awaitable<Answered> create_backup(Call& call);
net::awaitable<Answered> list_backups(Call& call);
net::awaitable<Answered> retrieve_fence(Call& call);
net::awaitable<Answered> lift_fence(Call& call);

}  // namespace claviger::admin::api
