// The clients that Claviger is at authorization servers: registered by an operator, or by itself.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> create_oauth_client(Call& call);
net::awaitable<Answered> list_oauth_clients(Call& call);
net::awaitable<Answered> delete_oauth_client(Call& call);

}  // namespace claviger::admin::api
