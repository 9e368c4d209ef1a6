// A blocking socket that says exactly the bytes a test wants, and the simplest reader of answers.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace claviger::test {

class RawClient {
public:
    explicit RawClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    }
    explicit RawClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un to{};
        to.sun_family = AF_UNIX;
        path.copy(to.sun_path, sizeof to.sun_path - 1);
        connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    }
    RawClient(RawClient&& other) noexcept
        : socket_(std::exchange(other.socket_, -1)),
          connected_(other.connected_),
          unread_(std::move(other.unread_)) {}
    RawClient& operator=(RawClient&&) = delete;
    ~RawClient() { close(); }

    bool connected() const { return connected_; }
    int descriptor() const { return socket_; }
    void close() {
        if (socket_ >= 0) ::close(std::exchange(socket_, -1));
    }
    void finish_writing() { ::shutdown(socket_, SHUT_WR); }

    /// False when the other side does not take it within five seconds.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            pollfd ready{socket_, POLLOUT, 0};
            if (::poll(&ready, 1, 5000) <= 0) return false;
            const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }

    /// More bytes of the answer, at most waiting that long. Empty: nothing came; ended() tells why.
    std::string receive(std::chrono::milliseconds wait = std::chrono::seconds(5)) {
        pollfd ready{socket_, POLLIN, 0};
        if (::poll(&ready, 1, static_cast<int>(wait.count())) <= 0) return {};
        char bytes[64 * 1024];
        const auto got = ::recv(socket_, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got > 0) return {bytes, static_cast<std::size_t>(got)};
        ended_ = true;
        reset_ = got < 0;
        return {};
    }
    bool ended() const { return ended_; }
    bool was_reset() const { return reset_; }

    /// Everything until the other side closes, five seconds at most between two pieces.
    std::string rest() {
        std::string all = std::exchange(unread_, {});
        while (!ended_) {
            const std::string piece = receive();
            if (piece.empty() && !ended_) break;
            all += piece;
        }
        return all;
    }

    /// Bytes up to and including `mark`.
    std::string until(std::string_view mark) {
        for (;;) {
            if (const auto at = unread_.find(mark); at != std::string::npos) {
                std::string part = unread_.substr(0, at + mark.size());
                unread_.erase(0, part.size());
                return part;
            }
            const std::string piece = receive();
            if (piece.empty()) return std::exchange(unread_, {});
            unread_ += piece;
        }
    }

    /// One answer with Content-Length: its head and body together.
    std::string answer() {
        std::string whole = until("\r\n\r\n");
        const auto at = whole.find("Content-Length: ");
        if (at == std::string::npos) return whole;
        const std::size_t bytes = std::stoul(whole.substr(at + 16));
        while (unread_.size() < bytes) {
            const std::string piece = receive();
            if (piece.empty()) break;
            unread_ += piece;
        }
        whole += unread_.substr(0, bytes);
        unread_.erase(0, bytes);
        return whole;
    }

private:
    int socket_ = -1;
    bool connected_ = false, ended_ = false, reset_ = false;
    std::string unread_;
};

inline unsigned status_of(std::string_view answer) {
    if (!answer.starts_with("HTTP/1.1 ") || answer.size() < 12) return 0;
    return static_cast<unsigned>(std::stoul(std::string(answer.substr(9, 3))));
}
inline std::string body_of(std::string_view answer) {
    const auto at = answer.find("\r\n\r\n");
    return at == std::string_view::npos ? std::string() : std::string(answer.substr(at + 4));
}

}  // namespace claviger::test
