// Which credentials want somebody's attention, and why.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> list_stale_credentials(Call& call);

}  // namespace claviger::admin::api
