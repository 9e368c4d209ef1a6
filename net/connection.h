// One byte stream, plain or TLS, TCP or local socket, with one coarse deadline. Everything of a connection happens on
// the thread of its io_context; nothing here is thread safe.
#pragma once

#include "base/result.h"
#include "net/awaitable.h"

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

namespace claviger::net {

class Worker;

/// How a read or write ended.
enum class Io { ok, closed, timed_out, failed };

struct ReadOutcome {
    Io io = Io::ok;
    std::size_t bytes = 0;  // ok with 0 bytes never happens: an orderly end is `closed`
};

class Connection {
public:
    using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;

    Connection(Worker& worker, Socket socket);
    ~Connection();  // closes
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// TLS on this stream from now on. The server name and verification are set on `ssl` by the caller (net/tls.h).
    /// Drives OpenSSL on the socket itself with released buffers, so an idle TLS connection stays small.
    awaitable<base::Status> handshake(std::unique_ptr<SSL, void (*)(SSL*)> ssl);

    awaitable<ReadOutcome> read_some(std::span<char> into);
    /// Writes all of it; one system call when the socket takes it.
    awaitable<Io> write_all(std::string_view bytes);
    /// Waits until there is something to read, holding no buffer. `ok` also when the peer has closed.
    awaitable<Io> wait_readable();
    /// True when the peer has closed or sent unexpected bytes; one non-blocking peek, no waiting.
    bool looks_stale();

    /// The deadline is one number, looked at by the worker's tick (every 250 ms); setting it costs nothing.
    void expires_after(std::chrono::milliseconds duration);
    void expires_never();
    /// Asks the worker's next ticks to call `action` when the peer closes while nobody reads (client-gone watch).
    void watch_for_close(std::function<void()> action);

    void close();
    bool open() const;
    bool secure() const { return ssl_ != nullptr; }
    std::string peer_address() const;
    Worker& worker() { return worker_; }

private:
    friend class Worker;
    Worker& worker_;
    Socket socket_;
    std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
    std::chrono::steady_clock::time_point deadline_;
    bool timed_out_ = false;
    std::function<void()> on_close_;
    Connection* previous_ = nullptr;  // the worker's intrusive list
    Connection* next_ = nullptr;
};

}  // namespace claviger::net
