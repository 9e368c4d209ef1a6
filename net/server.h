// Listens, speaks HTTP/1.1 strictly, hands whole requests to a handler. Limits first, trust later.
#pragma once

#include "net/http.h"
#include "net/tls.h"
#include "net/worker.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace claviger::net {

struct ServerLimits {
    std::size_t header_bytes = 32 * 1024;   // 431 beyond
    std::size_t header_fields = 100;        // 431 beyond
    std::size_t target_bytes = 8 * 1024;    // 414 beyond
    std::size_t body_bytes = 4 * 1024 * 1024;  // 413 beyond
    std::size_t connections = 10'000;       // per server; beyond: accepted and closed with 503
    std::chrono::milliseconds idle{75'000};       // between requests
    std::chrono::milliseconds head{10'000};       // first byte to end of header: slow readers end here
    std::chrono::milliseconds body{60'000};       // whole request body
    std::chrono::milliseconds write{60'000};      // without any progress towards the client
};

struct ServerCounters;  // atomics: connections now, accepted, refused, requests, bad requests by reason, bytes in/out

class Server {
public:
    /// `workers` outlive the server. With one address several workers listen with SO_REUSEPORT.
    Server(std::vector<Worker*> workers, ServerLimits limits, Handler handler);
    ~Server();

    /// address "127.0.0.1", "::1" or "unix:/path" (mode 0600); port 0 lets the system choose. `tls` null: plain.
    base::Status listen(const std::string& address, std::uint16_t port, std::shared_ptr<TlsServer> tls);
    std::uint16_t port() const;
    /// Stops accepting, ends idle connections, lets running requests finish until `grace` is over, then closes all.
    /// Blocks the calling thread (not a worker).
    void drain(std::chrono::milliseconds grace);
    const ServerCounters& counters() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::net
