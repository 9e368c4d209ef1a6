// Connect links: how a person is asked to give access, and how far they got.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> create_connect_link(Call& call);
net::awaitable<Answered> list_connect_links(Call& call);
net::awaitable<Answered> retrieve_connect_link(Call& call);
net::awaitable<Answered> delete_connect_link(Call& call);

}  // namespace claviger::admin::api
