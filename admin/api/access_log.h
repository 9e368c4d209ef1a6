// Questions to the access log over HTTP.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> read_access_log(Call& call);

}  // namespace claviger::admin::api
