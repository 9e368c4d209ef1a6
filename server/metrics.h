// The counters of all parts as Prometheus text (exposition format 0.0.4).
#pragma once

#include "net/server.h"
#include "proxy/lane.h"
#include "vault/records.h"

#include <string>

namespace claviger::server {

/// `records` is null while sealed. Any thread.
std::string metrics_text(const net::Server& agents, const net::Server& admin,
                         const proxy::ProxyCounters& proxy, vault::Records* records);

}  // namespace claviger::server
