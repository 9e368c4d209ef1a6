#include "admin/cli/local_socket.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace claviger::admin::cli {
namespace {

constexpr std::size_t kMostReplyBytes = 64 * 1024;
constexpr timeval kAnswerWithin{60, 0};

class Socket {
public:
    Socket() : descriptor_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
    ~Socket() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    bool connect(const std::string& path) const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof address.sun_path) {
            errno = ENAMETOOLONG;
            return false;
        }
        std::memcpy(address.sun_path, path.data(), path.size());
        setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
        return ::connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }
    bool write(std::span<const std::byte> bytes) const {
        while (!bytes.empty()) {
            const auto sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;
            if (sent <= 0) return false;
            bytes = bytes.subspan(std::size_t(sent));
        }
        return true;
    }
    /// What comes until the other side closes.
    std::string read() const {
        std::string all;
        std::array<char, 4096> piece;
        while (all.size() < kMostReplyBytes) {
            const auto got = ::recv(descriptor_, piece.data(), piece.size(), 0);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) break;
            all.append(piece.data(), std::size_t(got));
        }
        return all;
    }

private:
    int descriptor_;
};

std::unexpected<base::Error> unreachable(const std::filesystem::path& socket, std::string why) {
    return base::failure(
        base::ErrorKind::unavailable, kUnreachableCode,
        "The server's local socket " + socket.string() + " did not answer: " + std::move(why) + ".",
        "Is `claviger serve` running with this data folder, and are you its user?");
}

struct LocalRequest {
    std::string_view method, path;
    std::string headers = {};
};

base::Result<LocalReply> exchange(const std::filesystem::path& socket, const LocalRequest& request,
                                  const crypto::Secret& body) {
    const Socket door;
    if (!door.connect(socket.string())) return unreachable(socket, std::strerror(errno));
    const auto head = std::string(request.method) + " " + std::string(request.path) +
                      " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + request.headers +
                      "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    const bool sent = door.write(std::as_bytes(std::span(head))) &&
                      body.expose([&door](std::span<const std::byte> bytes) { return door.write(bytes); });
    if (!sent) return unreachable(socket, std::strerror(errno));

    const auto text = door.read();
    LocalReply reply;
    constexpr std::string_view kStart = "HTTP/1.1 ";
    const auto end = text.find("\r\n\r\n");
    if (!text.starts_with(kStart) || end == std::string::npos)
        return unreachable(socket, "no valid answer came back");
    std::from_chars(text.data() + kStart.size(), text.data() + text.size(), reply.status);
    reply.body = text.substr(end + 4);
    return reply;
}

base::Result<nlohmann::json> ask(const std::filesystem::path& socket, const LocalRequest& request) {
    const auto reply = exchange(socket, request, crypto::Secret::copy_of(std::string_view()));
    if (!reply) return std::unexpected(reply.error());
    return document_of(*reply);
}

}  // namespace

base::Result<LocalReply> post_unseal(const std::filesystem::path& socket, std::string_view slot,
                                     std::string_view slot_id, const crypto::Secret& secret) {
    auto headers = "Content-Type: application/octet-stream\r\nX-Claviger-Slot: " + std::string(slot) + "\r\n";
    if (!slot_id.empty()) headers += "X-Claviger-Slot-Id: " + std::string(slot_id) + "\r\n";
    return exchange(socket, {"POST", "/v1/unseal", std::move(headers)}, secret);
}

base::Result<nlohmann::json> seal_at(const std::filesystem::path& socket) {
    return ask(socket, {"GET", "/v1/seal"});
}

base::Result<nlohmann::json> forget_shares(const std::filesystem::path& socket) {
    return ask(socket, {"DELETE", "/v1/unseal"});
}

base::Result<nlohmann::json> document_of(const LocalReply& reply) {
    auto document = nlohmann::json::parse(reply.body, nullptr, false);
    if (reply.status == 200 && document.is_object()) return document;
    const auto error =
        document.is_object() ? document.value("error", nlohmann::json::object()) : nlohmann::json::object();
    return base::failure(base::ErrorKind::denied, "api.refused",
                         error.value("message", "The server refused, without a reason."),
                         error.value("hint", ""), reply.body);
}

base::Result<std::optional<std::filesystem::path>> socket_of(const Arguments& arguments) {
    if (arguments.has("--data") && arguments.has("--socket"))
        return usage("--data and --socket both say where the server's local socket is.", "Give one of them.");
    std::optional<std::filesystem::path> socket;
    if (arguments.has("--socket")) socket = *arguments.value("--socket");
    if (arguments.has("--data")) socket = std::filesystem::path(*arguments.value("--data")) / "unseal.sock";
    return socket;
}

}  // namespace claviger::admin::cli
