// What a person's browser sees of a connect link: three plain pages and a redirect, without scripts and
// without an API key.
#pragma once

#include "admin/api/api.h"
#include "oauth/connect_flow.h"

#include <optional>
#include <string_view>

namespace claviger::admin::api {

struct Visit {
    const net::Request& request;
    const oauth::ConnectWorld* world;  // null: the store is sealed
    net::Worker& worker;
    const PoolOf& pool_of;
};

/// True for /connect/… and /oauth/…, below the path of the public URL or not.
bool is_for_people(std::string_view path);

/// Never shows, logs or keeps a code, a state or a token. Every answer forbids caching, framing, scripts and
/// referrers.
net::awaitable<net::Response> visit(const Visit& visit);

}  // namespace claviger::admin::api
