// Rotating a credential's value: staged, tried at its server, promoted, and taken back as long as the one
// before is kept.
#pragma once

#include "admin/api/call.h"

#include <vector>

namespace claviger::admin::api {

net::awaitable<Answered> rotate_credential(Call& call);
net::awaitable<Answered> promote_credential(Call& call);
net::awaitable<Answered> roll_credential_back(Call& call);
net::awaitable<Answered> retire_credential(Call& call);

/// Where the credential's rotation stands: its deadline, what is staged and what is kept. null when there is
/// none.
Json shown_rotation(const vault::Catalog& catalog, const vault::Credential& credential);

/// Closes the upstream connections of the versions that the credentials name, on every worker: idle ones now,
/// busy ones when their call has ended. Never waits.
void close_connections(const Call& call, const std::vector<vault::Credential>& credentials);

}  // namespace claviger::admin::api
