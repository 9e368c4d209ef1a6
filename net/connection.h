// One byte stream, plain or TLS, TCP or local socket, with one coarse deadline. Everything of a connection
// happens on the thread of its io_context; nothing here is thread safe.
#pragma once

#include "base/result.h"
#include "net/awaitable.h"

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
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
    std::size_t bytes =
        0;  // ok with 0 bytes never happens: an orderly end is `closed`, a torn TLS stream is `failed`
};

class Connection {
public:
    using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;

    /// The socket becomes non-blocking; TCP is told not to wait for more to send.
    Connection(Worker& worker, Socket socket);
    ~Connection();  // closes
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// TLS on this stream from now on. The server name and verification are set on `ssl` by the caller
    /// (net/tls.h). Drives OpenSSL on the socket itself with released buffers, so an idle TLS connection
    /// stays small. Errors: unavailable "tls.timed_out", "tls.closed", "tls.refused" (no common version,
    /// cipher or protocol, or a certificate that does not verify; `detail` has OpenSSL's words).
    awaitable<base::Status> handshake(std::unique_ptr<SSL, void (*)(SSL*)> ssl);

    awaitable<ReadOutcome> read_some(std::span<char> into);
    /// Writes all of it; one system call when the socket takes it.
    awaitable<Io> write_all(std::string_view bytes);
    /// Waits until there is something to read, holding no buffer. `ok` also when the peer has closed.
    awaitable<Io> wait_readable();
    /// The same without waiting: nothing when there is nothing to read, the unwritten rest when the socket is
    /// full.
    std::optional<ReadOutcome> read_now(std::span<char> into);
    Io write_now(std::string_view& rest);
    /// True when the peer has closed or sent unexpected bytes; one non-blocking peek, no waiting.
    bool looks_stale();

    /// The deadline is one number, looked at by the worker's tick (every 250 ms); setting it costs nothing.
    /// When it passes, what is pending or comes next ends with Io::timed_out, until a new deadline is set.
    void expires_after(std::chrono::milliseconds duration);
    /// The same, but every written byte starts it anew.
    void expires_without_progress(std::chrono::milliseconds duration);
    void expires_never();
    /// Asks the worker's next ticks to call `action`, once, when the peer closes while nobody reads
    /// (client-gone watch). nullptr ends the watch.
    void watch_for_close(std::function<void()> action);
    /// Has the kernel wake the watch, for connections that are going to be silent for long. Nothing without a
    /// watch.
    void watch_at_once();

    /// Says that nothing more will be written (TLS and TCP) and leaves the reading side open.
    void finish_writing();
    /// Ends with a best-effort farewell; pending operations end with Io::closed.
    void close();
    /// Ends so that the peer cannot mistake it for a complete stream (TCP reset, no TLS farewell).
    void reset();
    bool open() const { return socket_.is_open(); }
    bool secure() const { return ssl_ != nullptr; }
    /// Numeric, without port; "unix" for a local socket; empty when unknown.
    std::string peer_address() const;
    Worker& worker() { return worker_; }

private:
    friend class Worker;
    void tick(std::chrono::steady_clock::time_point now);
    void look_for_close();
    std::optional<ReadOutcome> read_tls(std::span<char> into);
    Io write_tls(std::string_view& rest);
    Io after_wait(const boost::system::error_code& error) const;
    int native() { return socket_.native_handle(); }

    Worker& worker_;
    Socket socket_;
    std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
    std::chrono::steady_clock::time_point deadline_;
    std::chrono::milliseconds renewal_{0};  // not zero: progress sets the deadline anew
    bool timed_out_ = false;
    bool tls_usable_ = false;                             // false after a fatal TLS error: no farewell then
    Socket::wait_type read_needs_ = Socket::wait_read;    // TLS may have to write before it can read,
    Socket::wait_type write_needs_ = Socket::wait_write;  // and the other way round
    std::function<void()> on_close_;
    std::shared_ptr<Connection*>
        awaited_;  // shared with the pending wait of watch_at_once(); emptied when we go first
    Connection* previous_ = nullptr;  // the worker's intrusive list
    Connection* next_ = nullptr;
};

}  // namespace claviger::net
