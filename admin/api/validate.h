// mcp_oauth_validate: a live probe with the stored access token, on record like every use.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> validate_credential(Call& call);

}  // namespace claviger::admin::api
