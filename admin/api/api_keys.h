// API keys of the workspace, each with a role. Shown once, kept as a hash.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

/// A key's text and what is stored of it.
struct NewApiKey {
    vault::ApiKey stored;
    crypto::Secret text;
};
NewApiKey new_api_key(const base::WorkspaceId& workspace, std::string name, vault::Role role);

net::awaitable<Answered> create_api_key(Call& call);
net::awaitable<Answered> list_api_keys(Call& call);
/// Conflict "api_key.last_admin" for the last admin key of a workspace.
net::awaitable<Answered> revoke_api_key(Call& call);

}  // namespace claviger::admin::api
