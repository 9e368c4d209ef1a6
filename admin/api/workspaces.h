// Workspaces: stores within the store, each with its own key and its own API keys.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

/// Only admins of the first workspace may; the answer shows the new workspace's first admin key, once.
net::awaitable<Answered> create_workspace(Call& call);
/// Admins of the first workspace see all, everybody else sees the one the key belongs to.
net::awaitable<Answered> list_workspaces(Call& call);

}  // namespace claviger::admin::api
