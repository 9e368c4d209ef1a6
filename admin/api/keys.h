// The root key and the keys of vaults: what there is, and rotating it. Nothing here shows a key, or what
// opens one.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> retrieve_root_key(Call& call);
/// invalid_request "keys.slot_left_behind" when what opens a seal slot is missing; conflict
/// "keys.rotation_under_way".
net::awaitable<Answered> rotate_root_key(Call& call);
net::awaitable<Answered> rotate_vault_key(Call& call);

}  // namespace claviger::admin::api
