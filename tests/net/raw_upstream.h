// An upstream that does exactly what a test says, byte by byte: plain sockets, one thread per connection, TLS
// on demand.
#pragma once

#include "tests/support/net_loop.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace claviger::test {

/// One accepted connection, seen from the upstream.
class Peer {
public:
    Peer(int socket, std::size_t number, SSL_CTX* tls) : number(number), socket_(socket), tls_(tls) {}
    ~Peer() {
        if (ssl_) SSL_free(ssl_);
        ::close(socket_);
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    /// Head and body of the next request; empty when the client has gone (or ten seconds have passed).
    std::string request() {
        for (;;) {
            const auto head_end = pending_.find("\r\n\r\n");
            if (head_end != pending_.npos) {
                std::size_t body = 0;
                const auto length = pending_.find("Content-Length: ");
                if (length < head_end) body = std::strtoull(pending_.c_str() + length + 16, nullptr, 10);
                const auto whole = head_end + 4 + body;
                if (pending_.size() >= whole) {
                    auto taken = pending_.substr(0, whole);
                    pending_.erase(0, whole);
                    return taken;
                }
            }
            if (!more()) return {};
        }
    }
    bool more() {
        char bytes[16384];
        long got = 0;
        if (ssl_) {
            got = SSL_read(ssl_, bytes, sizeof bytes);
        } else {
            pollfd ready{socket_, POLLIN, 0};
            if (::poll(&ready, 1, 10'000) == 1) got = ::recv(socket_, bytes, sizeof bytes, 0);
        }
        if (got <= 0) return false;
        pending_.append(bytes, static_cast<std::size_t>(got));
        return true;
    }
    bool client_closed() {
        while (more()) {
        }
        return true;
    }
    void write(std::string_view bytes) {
        while (!bytes.empty()) {
            const long sent = ssl_ ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                                   : ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    void write_slowly(std::string_view bytes) {
        for (const char byte : bytes) {
            write({&byte, 1});
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }
    /// An end with TCP RST.
    void reset() {
        const linger at_once{1, 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    /// TLS: the farewell that makes an end an orderly one.
    void farewell() {
        if (ssl_) SSL_shutdown(ssl_);
    }
    bool greet() {
        const int on = 1;
        ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (!tls_) return true;
        ssl_ = SSL_new(tls_);
        SSL_set_fd(ssl_, socket_);
        return SSL_accept(ssl_) == 1;
    }
    void interrupt() { ::shutdown(socket_, SHUT_RDWR); }

    const std::size_t number;  // of this connection: 0, 1, …

private:
    int socket_;
    SSL_CTX* tls_;
    SSL* ssl_ = nullptr;
    std::string pending_;
};

class RawUpstream {
public:
    using Script = std::function<void(Peer&)>;

    explicit RawUpstream(Script script, SSL_CTX* tls = nullptr) : script_(std::move(script)), tls_(tls) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t bytes = sizeof address;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
            ::listen(listener_, 64) != 0)
            std::abort();
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &bytes);
        port_ = ntohs(address.sin_port);
        accepting_ = std::thread([this] { accept_all(); });
    }
    ~RawUpstream() {
        ::shutdown(listener_, SHUT_RDWR);
        accepting_.join();
        {
            const std::lock_guard hold(guard_);
            for (auto& peer : peers_)
                if (peer) peer->interrupt();
        }
        for (auto& thread : threads_) thread.join();
        ::close(listener_);
    }
    RawUpstream(const RawUpstream&) = delete;
    RawUpstream& operator=(const RawUpstream&) = delete;

    std::uint16_t port() const { return port_; }
    std::size_t connections() const { return connections_; }
    /// How many of them have been closed here, because the script had come to its end.
    std::size_t closed() const { return closed_; }

private:
    void accept_all() {
        for (;;) {
            const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (socket < 0) return;
            const std::lock_guard hold(guard_);
            const auto number = connections_++;
            peers_.push_back(std::make_unique<Peer>(socket, number, tls_));
            threads_.emplace_back([this, number, peer = peers_.back().get()] {
                if (peer->greet()) script_(*peer);
                std::unique_ptr<Peer> ended;
                const std::lock_guard hold_for_end(guard_);
                ended = std::move(peers_[number]);
                ended.reset();
                ++closed_;
            });
        }
    }

    Script script_;
    SSL_CTX* tls_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::atomic<std::size_t> connections_{0}, closed_{0};
    std::mutex guard_;
    std::vector<std::unique_ptr<Peer>> peers_;
    std::vector<std::thread> threads_;
    std::thread accepting_;
};

inline const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What an upstream was asked, in order; filled by its threads.
class Echo {
public:
    /// A script that notes every request and answers it with the same bytes.
    RawUpstream::Script always(std::string answer) {
        return [this, answer](Peer& peer) {
            for (;;) {
                auto request = peer.request();
                if (request.empty()) return;
                note(peer.number, std::move(request));
                peer.write(answer);
            }
        };
    }
    void note(std::size_t connection, std::string request) {
        const std::lock_guard hold(guard_);
        requests_.emplace_back(connection, std::move(request));
    }
    std::size_t count() const {
        const std::lock_guard hold(guard_);
        return requests_.size();
    }
    std::string text(std::size_t index) const {
        const std::lock_guard hold(guard_);
        return requests_.at(index).second;
    }
    std::size_t connection(std::size_t index) const {
        const std::lock_guard hold(guard_);
        return requests_.at(index).first;
    }
    std::string last() const { return text(count() - 1); }

private:
    mutable std::mutex guard_;
    std::vector<std::pair<std::size_t, std::string>> requests_;  // connection; head and body
};

}  // namespace claviger::test
