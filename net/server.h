// Listens, speaks HTTP/1.1 strictly, hands whole requests to a handler. Limits first, trust later.
#pragma once

#include "net/http.h"
#include "net/tls.h"
#include "net/worker.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::net {

struct ServerLimits {
    std::size_t header_bytes = 32 * 1024;      // 431 beyond
    std::size_t header_fields = 100;           // 431 beyond
    std::size_t target_bytes = 8 * 1024;       // 414 beyond
    std::size_t body_bytes = 4 * 1024 * 1024;  // 413 beyond
    std::size_t stranger_body_bytes = 64 * 1024;
    std::size_t connections = 10'000;         // per server; beyond: accepted and closed with 503
    std::chrono::milliseconds idle{75'000};   // between requests
    std::chrono::milliseconds head{10'000};   // first byte to end of header: slow readers end here
    std::chrono::milliseconds body{60'000};   // whole request body
    std::chrono::milliseconds write{60'000};  // without any progress towards the client
};

/// Why a request was answered before any handler saw it.
enum class BadRequest {
    syntax,
    framing,
    head_too_large,
    target_too_long,
    body_too_large,
    too_slow,
    version,
    method,
    expectation
};
constexpr std::size_t kBadRequestReasons = 9;
std::string_view to_text(BadRequest reason);

/// What has happened so far, summed over the workers.
struct ServerCounters {
    std::uint64_t connections = 0;  // open now
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;  // beyond the connection limit
    std::uint64_t tls_failures = 0;
    std::uint64_t requests = 0;                                    // handed to the handler
    std::uint64_t slow_readers = 0;                                // ended by the write limit
    std::uint64_t bytes_in = 0, bytes_out = 0;                     // above TLS
    std::array<std::uint64_t, kBadRequestReasons> bad_requests{};  // by reason
};

/// Whether the caller is somebody, as far as the head of the request says. On its worker.
using Knows = std::function<bool(const Request& head, const Worker& worker)>;

/// The id of a request that never reached the handler, or that it did not answer. Any worker.
using NewRequestId = std::function<std::string()>;

class Server {
public:
    /// `workers` outlive the server. With one address several workers listen with SO_REUSEPORT. Bodies that
    /// do not come with their head, and are longer than `stranger_body_bytes` or of unknown length, are only
    /// read for callers whom `knows` knows: for others the handler gets the request without its body, to
    /// refuse it. Without `knows` everybody is known. With `new_id` the answers that come from here and not
    /// from the handler carry a request-id, in the header and in the body.
    Server(std::vector<Worker*> workers, ServerLimits limits, Handler handler, Knows knows = {},
           NewRequestId new_id = {});
    /// Closes what is open. While its workers run it waits for running handlers to return, so not on a
    /// worker's thread.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// address "127.0.0.1", "::1" or "unix:/path" (mode 0600); port 0 lets the system choose. `tls` null:
    /// plain. A socket left behind at the path by a dead process is replaced; nothing else is, and no link is
    /// followed. Errors: invalid_request "listener.address"; conflict "listener.in_use"; unavailable
    /// "listener.failed".
    base::Status listen(const std::string& address, std::uint16_t port, std::shared_ptr<TlsServer> tls);
    std::uint16_t port() const;  // of the last listen() on an address
    /// Stops accepting, ends idle connections, lets running requests finish until `grace` is over, calls
    /// `overdue`, after which their handlers should answer at once, and closes all five seconds later. Blocks
    /// the calling thread (not a worker).
    void drain(std::chrono::milliseconds grace, const std::function<void()>& overdue = {});
    ServerCounters counters() const;  // any thread

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::net
