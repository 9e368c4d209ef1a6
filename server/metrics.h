// The counters of all parts as Prometheus text (exposition format 0.0.4).
#pragma once

#include "net/server.h"
#include "oauth/refresher.h"
#include "proxy/lane.h"
#include "vault/log_pin.h"
#include "vault/records.h"

#include <string>

namespace claviger::server {

/// `records` and `grants` are null while sealed, `pin` also when there is none. Any thread. The labels say
/// nothing that whoever can reach the listener may not know: this needs no API key.
std::string metrics_text(const net::Server& agents, const net::Server& admin,
                         const proxy::ProxyCounters& proxy, vault::Records* records,
                         const oauth::RefreshCounters* grants, const vault::LogPin* pin);

}  // namespace claviger::server
