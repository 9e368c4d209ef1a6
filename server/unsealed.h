// Everything that exists only while the store is unsealed: the records, and a lane of the proxy on every
// worker.
#pragma once

#include "base/clock.h"
#include "net/worker.h"
#include "proxy/mcp_endpoint.h"
#include "server/config.h"
#include "vault/records.h"

#include <memory>
#include <vector>

namespace claviger::server {

class Unsealed {
public:
    /// Opens the slot, verifies and loads the store, prepares the lanes. Blocks and burns CPU: never on a
    /// worker.
    static base::Result<std::unique_ptr<Unsealed>> open(
        vault::StorageEngine& engine, const vault::SealInput& input, const Config& config,
        const std::vector<std::unique_ptr<net::Worker>>& workers, const base::Clock& clock,
        proxy::ProxyCounters& counters);

    vault::Records& records() { return *records_; }
    const proxy::McpEndpoint& endpoint() const { return *endpoint_; }
    /// The upstream connections of a worker, for probes by the admin API.
    net::ClientPool& pool_of(const net::Worker& worker);
    /// Puts an event of the process itself on record.
    void note(vault::Action action);

private:
    Unsealed() = default;
    proxy::ProxySettings settings_;
    std::unique_ptr<vault::Records> records_;
    std::vector<std::unique_ptr<proxy::Lane>> lanes_;
    std::unique_ptr<proxy::McpEndpoint> endpoint_;
};

}  // namespace claviger::server
