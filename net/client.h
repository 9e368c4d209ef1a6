// Outbound HTTP/1.1: pooled connections per origin and identity, one write, the answer streamed as it comes.
#pragma once

#include "base/result.h"
#include "net/address.h"
#include "net/http.h"
#include "net/tls.h"
#include "net/worker.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::net {

struct Origin {
    bool tls = true;
    std::string host;  // lower case name, IPv4, or IPv6 without brackets
    std::uint16_t port = 443;

    std::string authority() const;  // what belongs into Host: default ports left out, IPv6 in brackets
    bool operator==(const Origin&) const = default;
};

/// Which addresses may be connected to. Checked on the address that is really used, after resolution (no
/// rebinding).
enum class PrivateAddresses { refuse, allow };

struct ClientLimits {
    std::size_t header_bytes = 64 * 1024;
    std::size_t header_fields = 200;
    std::size_t connections_per_origin = 512;
    std::size_t idle_per_origin = 256;
    std::chrono::milliseconds connect{10'000};  // resolve, connect and TLS handshake together
    std::chrono::milliseconds idle_keep{
        4'000};  // below Node's 5 s; a Keep-Alive: timeout answer lowers it further
};

/// The bytes of one outbound request head, built by hand. May hold a secret: wiped when destroyed and after
/// sending.
class OutboundHead {
public:
    explicit OutboundHead(Worker& worker);
    ~OutboundHead();
    OutboundHead(const OutboundHead&) = delete;
    OutboundHead& operator=(const OutboundHead&) = delete;

    /// Starts anew: "POST /mcp HTTP/1.1\r\nHost: …\r\n". `target` is the path and query to send. A method,
    /// target or host that would not stay on its line makes send() refuse the request.
    void begin(std::string_view method, std::string_view target, const Origin& origin);
    /// Refuses (returns false) names that are not tokens, values with CR, LF, NUL or other control bytes, and
    /// the fields that are ours to write: Host, Content-Length, Transfer-Encoding and Connection.
    [[nodiscard]] bool add(std::string_view name, std::string_view value);
    /// One header made of pieces, so that no joined copy of a secret is ever made: "Authorization", "Bearer
    /// ", token.
    [[nodiscard]] bool add(std::string_view name, std::string_view scheme, std::string_view value);
    /// What is to be sent; only zeros once it was.
    std::string_view bytes() const { return bytes_; }

private:
    friend class ClientPool;
    bool is_for(std::string_view method) const;
    void finish(std::size_t body_bytes);
    void wipe();

    Worker& worker_;
    std::string bytes_;
    bool usable_ = false;
};

struct ResponseHead {
    unsigned status = 0;
    Headers headers;
};

/// One answer being received. Destroying it before the end of the body closes its connection; after the end
/// the connection goes back to its pool.
class Answer {
public:
    virtual ~Answer() = default;
    virtual const ResponseHead& head() const = 0;
    /// The next decoded body bytes as soon as there are any; an empty view is the end of a complete body.
    /// Errors: unavailable "upstream.closed" (body cut short), "upstream.timeout", "upstream.invalid" (bad
    /// framing). The view lives until the next call.
    virtual awaitable<base::Result<std::string_view>> next() = 0;
    /// What next() may still take, from now, each call; set longer for event streams. Zero: no limit.
    virtual void idle_limit(std::chrono::milliseconds limit) = 0;
    /// Content-Length when the upstream declared one.
    virtual std::optional<std::uint64_t> declared_length() const = 0;
    /// The next next() gives something, if only the end or an error, without waiting.
    virtual bool ready() const = 0;
    /// All of a complete body was given out: the next next() gives the end, without waiting.
    virtual bool ended() const = 0;
    /// Same thread: makes a pending next() fail with "upstream.cancelled" and closes the connection.
    virtual void cancel() = 0;
};

struct SendOptions {
    std::string partition;  // connections are shared only inside one partition (credential id and version)
    PrivateAddresses private_addresses = PrivateAddresses::refuse;
    /// Shown to a server that asks for a certificate. Part of who we are: the partition must tell identities
    /// apart, because connections are shared inside it.
    const TlsIdentity* identity = nullptr;
    std::chrono::milliseconds head_timeout{60'000};  // from the write to the end of the answer's head
    /// Is handed, before anything is waited for, a function that ends what is going on with
    /// "upstream.cancelled". Same thread; later it cancels the answer, and does nothing when that is gone.
    std::function<void(std::function<void()>)> on_cancellable;
};

/// One per worker; not thread safe. Redirects are never followed: a 3xx is an answer like any other.
class ClientPool {
public:
    ClientPool(Worker& worker, ClientLimits limits, std::shared_ptr<TlsClient> tls);
    ~ClientPool();

    /// One write of head and body, then the answer's head. A request is sent again on a fresh connection only
    /// when the pooled one turned out closed before a single byte of this request was accepted. `head` is
    /// wiped as soon as it is written, and in any case before this returns. `origin`, `head`, `body` and
    /// `options` must live until then. Errors: unavailable "upstream.unreachable" (nothing was sent),
    /// "upstream.tls", "upstream.timeout", "upstream.closed", "upstream.invalid", "upstream.cancelled",
    /// "upstream.busy" (connection limit); denied "network.private_address"; invalid_request
    /// "upstream.request_invalid" (begin() was not called, or with text that does not fit on its line).
    awaitable<base::Result<std::unique_ptr<Answer>>> send(const Origin& origin, OutboundHead& head,
                                                          std::string_view body, const SendOptions& options);
    /// Closes idle connections of a partition (a rotated or archived credential). Busy ones close when they
    /// end.
    void retire(std::string_view partition);
    std::size_t idle_connections() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::net
