#include "net/connection.h"

#include "net/tls.h"
#include "net/worker.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>

#include <algorithm>
#include <climits>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

namespace claviger::net {
namespace {

constexpr int kProbeAfterSeconds = 60, kProbeEverySeconds = 15,
              kProbes = 4;  // two minutes until it is given up
constexpr auto kNever = std::chrono::steady_clock::time_point::max();

auto readiness(Connection::Socket& socket, Connection::Socket::wait_type what) {
    return socket.async_wait(what,
                             asio::as_tuple(asio::deferred));  // deferred: no coroutine frame of its own
}

int clamped(std::size_t bytes) { return static_cast<int>(std::min<std::size_t>(bytes, INT_MAX)); }

bool is_full_or_empty(int error_number) { return error_number == EAGAIN || error_number == EWOULDBLOCK; }

base::Status handshake_failure(std::string_view code, std::string message, std::string detail = {}) {
    return base::failure(
        base::ErrorKind::unavailable, code, std::move(message),
        "Check the certificate, the accepted TLS versions and the address of the other side.",
        std::move(detail));
}

}  // namespace

Connection::Connection(Worker& worker, Socket socket)
    : worker_(worker), socket_(std::move(socket)), ssl_(nullptr, &::SSL_free), deadline_(kNever) {
    boost::system::error_code ignored;
    socket_.native_non_blocking(true, ignored);
    const int on = 1;
    // These fail on a local socket, which needs none. A peer that vanished without a word would hold the
    // other half of its call, and a silent stream for ever.
    ::setsockopt(native(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(native(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    ::setsockopt(native(), IPPROTO_TCP, TCP_KEEPIDLE, &kProbeAfterSeconds, sizeof kProbeAfterSeconds);
    ::setsockopt(native(), IPPROTO_TCP, TCP_KEEPINTVL, &kProbeEverySeconds, sizeof kProbeEverySeconds);
    ::setsockopt(native(), IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
    worker_.link(*this);
}

Connection::~Connection() {
    watch_for_close(nullptr);
    close();
    worker_.unlink(*this);
}

Io Connection::after_wait(const boost::system::error_code& error) const {
    if (timed_out_) return Io::timed_out;
    if (!socket_.is_open()) return Io::closed;
    return error ? Io::failed : Io::ok;
}

awaitable<Io> Connection::wait_readable() {
    if (timed_out_) co_return Io::timed_out;
    if (!socket_.is_open()) co_return Io::closed;
    if (ssl_ && ::SSL_pending(ssl_.get()) > 0) co_return Io::ok;
    const auto [error] = co_await readiness(socket_, Socket::wait_read);
    co_return after_wait(error);
}

awaitable<ReadOutcome> Connection::read_some(std::span<char> into) {
    if (!ssl_) {
        // Asio's own read instead of a wait and a recv: each wait would cost an epoll_ctl of its own.
        if (timed_out_) co_return ReadOutcome{Io::timed_out};
        if (!socket_.is_open()) co_return ReadOutcome{Io::closed};
        const auto [error, bytes] = co_await socket_.async_read_some(asio::buffer(into.data(), into.size()),
                                                                     asio::as_tuple(asio::deferred));
        if (!error) co_return ReadOutcome{Io::ok, bytes};
        co_return ReadOutcome{error == asio::error::eof ? Io::closed : after_wait(error)};
    }
    for (;;) {
        if (timed_out_) co_return ReadOutcome{Io::timed_out};
        if (const auto outcome = read_now(into)) co_return *outcome;
        const auto [error] = co_await readiness(socket_, read_needs_);
        if (const Io io = after_wait(error); io != Io::ok) co_return ReadOutcome{io};
    }
}

awaitable<Io> Connection::write_all(std::string_view bytes) {
    for (;;) {
        if (timed_out_) co_return Io::timed_out;
        if (const Io io = write_now(bytes); io != Io::ok) co_return io;
        if (bytes.empty()) co_return Io::ok;
        const auto [error] = co_await readiness(socket_, write_needs_);
        if (const Io io = after_wait(error); io != Io::ok) co_return io;
    }
}

std::optional<ReadOutcome> Connection::read_now(std::span<char> into) {
    if (!socket_.is_open()) return ReadOutcome{Io::closed};
    if (ssl_) return read_tls(into);
    for (;;) {
        const auto got = ::recv(native(), into.data(), into.size(), MSG_DONTWAIT);
        if (got > 0) return ReadOutcome{Io::ok, static_cast<std::size_t>(got)};
        if (got == 0) return ReadOutcome{Io::closed};
        if (is_full_or_empty(errno)) return std::nullopt;
        if (errno != EINTR) return ReadOutcome{Io::failed};
    }
}

Io Connection::write_now(std::string_view& rest) {
    if (!socket_.is_open()) return Io::closed;
    const std::size_t before = rest.size();
    Io io = Io::ok;
    if (ssl_) {
        io = write_tls(rest);
    } else {
        while (!rest.empty()) {
            const auto sent = ::send(native(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent >= 0) {
                rest.remove_prefix(static_cast<std::size_t>(sent));
            } else if (is_full_or_empty(errno)) {
                break;
            } else if (errno != EINTR) {
                io = errno == EPIPE || errno == ECONNRESET ? Io::closed : Io::failed;
                break;
            }
        }
    }
    if (renewal_.count() > 0 && rest.size() < before) deadline_ = worker_.now() + renewal_;
    return io;
}

bool Connection::looks_stale() {
    if (!socket_.is_open()) return true;
    if (ssl_ && ::SSL_pending(ssl_.get()) > 0) return true;
    char one = 0;
    const auto got = ::recv(native(), &one, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0) return !is_full_or_empty(errno);
    if (got == 0 || !ssl_) return true;
    // Something came over TLS: a session ticket is normal, data or a farewell is not.
    ::ERR_clear_error();
    const int peeked = ::SSL_peek(ssl_.get(), &one, 1);
    if (peeked > 0) return true;
    const int why = ::SSL_get_error(ssl_.get(), peeked);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return false;
    tls_usable_ = why == SSL_ERROR_ZERO_RETURN;
    return true;
}

awaitable<base::Status> Connection::handshake(std::unique_ptr<SSL, void (*)(SSL*)> ssl) {
    if (!ssl) co_return handshake_failure("tls.refused", "TLS cannot be set up for this name.");
    ssl_ = std::move(ssl);
    ::SSL_set_mode(ssl_.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
    if (!socket_.is_open() || ::SSL_set_fd(ssl_.get(), native()) != 1)
        co_return handshake_failure("tls.closed", "The connection was closed before TLS could begin.");

    for (;;) {
        ::ERR_clear_error();
        const int done = ::SSL_do_handshake(ssl_.get());
        if (done == 1) break;
        const int why = ::SSL_get_error(ssl_.get(), done);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            const bool by_peer = why == SSL_ERROR_SYSCALL || why == SSL_ERROR_ZERO_RETURN;
            if (by_peer)
                co_return handshake_failure("tls.closed",
                                            "The other side ended the connection during the TLS handshake.");
            co_return handshake_failure("tls.refused", tls_refusal(ssl_.get()), tls_error_text());
        }
        const auto need = why == SSL_ERROR_WANT_READ ? Socket::wait_read : Socket::wait_write;
        const auto [error] = co_await readiness(socket_, need);
        const Io io = after_wait(error);
        if (io == Io::timed_out)
            co_return handshake_failure("tls.timed_out", "The TLS handshake took too long.");
        if (io != Io::ok)
            co_return handshake_failure("tls.closed", "The connection was closed during the TLS handshake.");
    }
    tls_usable_ = true;
    co_return base::Status{};
}

std::optional<ReadOutcome> Connection::read_tls(std::span<char> into) {
    ::ERR_clear_error();
    const int got = ::SSL_read(ssl_.get(), into.data(), clamped(into.size()));
    if (got > 0) return ReadOutcome{Io::ok, static_cast<std::size_t>(got)};
    switch (::SSL_get_error(ssl_.get(), got)) {
        case SSL_ERROR_WANT_READ:
            read_needs_ = Socket::wait_read;
            return std::nullopt;
        case SSL_ERROR_WANT_WRITE:
            read_needs_ = Socket::wait_write;
            return std::nullopt;
        case SSL_ERROR_ZERO_RETURN:
            return ReadOutcome{Io::closed};
        default:
            tls_usable_ = false;
            return ReadOutcome{Io::failed};  // also an end without farewell: it may be cut short
    }
}

Io Connection::write_tls(std::string_view& rest) {
    while (!rest.empty()) {
        ::ERR_clear_error();
        const int sent = ::SSL_write(ssl_.get(), rest.data(), clamped(rest.size()));
        if (sent > 0) {
            rest.remove_prefix(static_cast<std::size_t>(sent));
            continue;
        }
        switch (::SSL_get_error(ssl_.get(), sent)) {
            case SSL_ERROR_WANT_WRITE:
                write_needs_ = Socket::wait_write;
                return Io::ok;
            case SSL_ERROR_WANT_READ:
                write_needs_ = Socket::wait_read;
                return Io::ok;
            case SSL_ERROR_ZERO_RETURN:
            case SSL_ERROR_SYSCALL:
                tls_usable_ = false;
                return Io::closed;
            default:
                tls_usable_ = false;
                return Io::failed;
        }
    }
    return Io::ok;
}

void Connection::expires_after(std::chrono::milliseconds duration) {
    deadline_ = worker_.now() + duration;
    renewal_ = std::chrono::milliseconds(0);
    timed_out_ = false;
}

void Connection::expires_without_progress(std::chrono::milliseconds duration) {
    expires_after(duration);
    renewal_ = duration;
}

void Connection::expires_never() {
    deadline_ = kNever;
    renewal_ = std::chrono::milliseconds(0);
    timed_out_ = false;
}

void Connection::tick(std::chrono::steady_clock::time_point now) {
    if (deadline_ <= now) {
        deadline_ = kNever;
        timed_out_ = true;
        boost::system::error_code ignored;
        socket_.cancel(ignored);
    }
    if (on_close_) look_for_close();  // last: the action may destroy *this
}

void Connection::watch_for_close(std::function<void()> action) {
    on_close_ = std::move(action);
    if (on_close_ || !awaited_) return;
    *awaited_ = nullptr;
    awaited_.reset();
}

void Connection::watch_at_once() {
    if (!on_close_ || awaited_ || !socket_.is_open()) return;
    awaited_ = std::make_shared<Connection*>(this);
    socket_.async_wait(Socket::wait_read, [awaited = awaited_](const boost::system::error_code&) {
        Connection* self = *awaited;
        if (!self) return;
        // Not renewed: bytes of a next request would make it readable for ever. From here on the tick looks.
        self->awaited_.reset();
        if (self->on_close_) self->look_for_close();
    });
}

void Connection::look_for_close() {
    bool gone = !socket_.is_open();
    if (!gone) {
        pollfd state{native(), POLLRDHUP, 0};
        gone = ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    }
    if (!gone) return;
    const auto action = std::exchange(on_close_, nullptr);
    action();
}

void Connection::finish_writing() {
    if (!socket_.is_open()) return;
    if (ssl_ && tls_usable_) {
        ::ERR_clear_error();
        ::SSL_shutdown(ssl_.get());
        ::ERR_clear_error();
    }
    ::shutdown(native(), SHUT_WR);
}

void Connection::close() {
    if (!socket_.is_open()) return;
    if (ssl_ && tls_usable_ && (::SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) == 0) {
        ::ERR_clear_error();
        ::SSL_shutdown(ssl_.get());
        ::ERR_clear_error();
    }
    boost::system::error_code ignored;
    socket_.close(ignored);
}

void Connection::reset() {
    if (!socket_.is_open()) return;
    tls_usable_ = false;
    const linger at_once{1, 0};
    ::setsockopt(native(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
}

std::string Connection::peer_address() const {
    sockaddr_storage peer{};
    socklen_t bytes = sizeof peer;
    auto& socket = const_cast<Socket&>(socket_);  // native_handle() is not const
    if (!socket_.is_open() ||
        ::getpeername(socket.native_handle(), reinterpret_cast<sockaddr*>(&peer), &bytes) != 0)
        return {};
    char text[INET6_ADDRSTRLEN] = "";
    if (peer.ss_family == AF_INET) {
        ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof text);
    } else if (peer.ss_family == AF_INET6) {
        const auto& address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&address))
            ::inet_ntop(AF_INET, &address.s6_addr[12], text, sizeof text);
        else
            ::inet_ntop(AF_INET6, &address, text, sizeof text);
    } else if (peer.ss_family == AF_UNIX) {
        return "unix";
    }
    return text;
}

}  // namespace claviger::net
