// /mcp/{server} on the agents' listener: who is asking, is the message well-formed, and off it goes.
#pragma once

#include "net/http.h"
#include "proxy/lane.h"

#include <memory>
#include <vector>

namespace claviger::proxy {

/// Handles every request of the agents' listener. `lanes` has one lane per worker and outlives the endpoint.
class McpEndpoint {
public:
    McpEndpoint(const std::vector<std::unique_ptr<Lane>>& lanes, const ProxySettings& settings,
                ProxyCounters& counters);

    net::awaitable<void> handle(const net::Request& request, net::ResponseWriter& writer) const;
    /// Whether the request bears a session token that is good now. On that worker.
    bool knows(const net::Request& head, const net::Worker& worker) const;
    /// Ends the streams that no call waits for, and refuses new ones, so that a server that stops need not
    /// wait for them. Any thread, while the workers exist; does not block.
    void end_streams() const;

private:
    net::awaitable<void> message(Lane& lane, const net::Request& request, net::ResponseWriter& writer,
                                 std::shared_ptr<const SessionContext> context,
                                 const ServerContext& server) const;
    const std::vector<std::unique_ptr<Lane>>& lanes_;
    const ProxySettings& settings_;
    ProxyCounters& counters_;
};

}  // namespace claviger::proxy
