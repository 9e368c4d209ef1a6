// /mcp/{server} on the agents' listener: who is asking, is the message well-formed, and off it goes.
#pragma once

#include "net/http.h"
#include "proxy/lane.h"

#include <memory>
#include <optional>
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
    /// Claviger stops: ends the streams that no call waits for, or all that is with a server, each with its
    /// answer, and refuses new ones. Any thread, while the workers exist; does not block.
    void stop(CallsUnderWay::Stop what) const;

private:
    struct Destination {
        std::shared_ptr<const SessionContext> context;
        const ServerContext* server = nullptr;  // in the context
    };
    /// Who asks, as a browser says with the Origin.
    enum class Asking { no_page, allowed_page, foreign_page };
    /// Whom the request is for, or the answer to one that is for nobody. Counts what it refuses.
    std::optional<net::Response> find(Lane& lane, const net::Request& request, Asking asking,
                                      Destination& destination) const;
    net::awaitable<void> message(Lane& lane, const net::Request& request, net::ResponseWriter& writer,
                                 const Destination& to) const;
    net::awaitable<void> batch(Lane& lane, const net::Request& request, net::ResponseWriter& writer,
                               const Destination& to) const;

    const std::vector<std::unique_ptr<Lane>>& lanes_;
    const ProxySettings& settings_;
    ProxyCounters& counters_;
};

}  // namespace claviger::proxy
