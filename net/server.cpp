#include "net/server.h"

#include "base/log.h"
#include "net/session.h"
#include "net/wire_answer.h"
#include "net/worker.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace claviger::net {
namespace {

using namespace std::chrono_literals;

constexpr int kBacklog = 4096;
constexpr int kAcceptsInARow = 64;
constexpr auto kLastAnswers = 5s;   // what drain() waits for those who still answer when its grace is over
constexpr auto kAfterClosing = 5s;  // what drain() waits for handlers whose connections it has closed
constexpr std::string_view kUnixPrefix = "unix:";

/// Owns a descriptor; -1 is none.
class Descriptor {
public:
    explicit Descriptor(int number) : number_(number) {}
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
    Descriptor& operator=(Descriptor&&) = delete;
    int get() const { return number_; }
    int release() { return std::exchange(number_, -1); }

private:
    int number_;
};

/// One bound socket on one worker. Shared by its accept loop and the server that closes it.
struct Listener {
    Listener(std::shared_ptr<Shard> on, Descriptor socket, std::shared_ptr<TlsServer> how)
        : shard(std::move(on)),
          tls(std::move(how)),
          bound(std::move(socket)),
          descriptor(shard->worker.context()) {}

    std::shared_ptr<Shard> shard;
    std::vector<std::shared_ptr<Shard>> others;  // for a local socket: the shards that take turns
    std::size_t turn = 0;
    std::shared_ptr<TlsServer> tls;
    Descriptor bound;  // until the worker takes it: what is open in its context is its thread's alone
    asio::posix::basic_stream_descriptor<Executor> descriptor;
};

std::string text_of(const sockaddr_storage& peer) {
    char text[INET6_ADDRSTRLEN] = "";
    if (peer.ss_family == AF_UNIX) return "unix";
    if (peer.ss_family == AF_INET) {
        ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof text);
    } else if (peer.ss_family == AF_INET6) {
        const auto& address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
        const bool mapped = IN6_IS_ADDR_V4MAPPED(&address);
        ::inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? &address.s6_addr[12] : address.s6_addr, text,
                    sizeof text);
    }
    return text;
}

/// Beyond the limit: says so if that costs nothing, and closes.
void turn_away(Shard& shard, int socket, bool tls) {
    Shard::add(shard.counters.refused);
    const Descriptor closing(socket);
    if (tls) return;
    std::string out;
    const auto error =
        shard.common->own_error(503, "api_error", "The server has too many connections. Try again later.");
    append_error(out, error, shard.date(), true);
    ::send(socket, out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    ::shutdown(socket, SHUT_WR);
    char unread[4096];  // what has come is read, or closing would reset the connection before the answer is
                        // seen
    for (int i = 0; i < 16 && ::recv(socket, unread, sizeof unread, MSG_DONTWAIT) > 0; ++i) {
    }
}

void admit(Listener& listener, int socket, const sockaddr_storage& peer) {
    ServerCommon& common = *listener.shard->common;
    Shard::add(listener.shard->counters.accepted);
    if (common.connections.load(std::memory_order_relaxed) >= common.limits.connections)
        return turn_away(*listener.shard, socket, listener.tls != nullptr);
    common.connections.fetch_add(1, std::memory_order_relaxed);

    auto& shard =
        listener.others.empty() ? listener.shard : listener.others[listener.turn++ % listener.others.size()];
    if (shard == listener.shard) return Shard::begin_session(shard, socket, text_of(peer), listener.tls);
    auto passed_on = std::make_shared<Descriptor>(socket);
    shard->worker.deliver([shard, passed_on, address = text_of(peer), tls = listener.tls] {
        Shard::begin_session(shard, passed_on->release(), address, tls);
    });
}

awaitable<void> accept_all(std::shared_ptr<Listener> listener) {
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                               Executor>
        pause(listener->shard->worker.context());
    boost::system::error_code refused;
    listener->descriptor.assign(listener->bound.get(), refused);
    if (refused) {
        base::log(base::LogLevel::error, "listener.failed", {{"why", refused.message()}});
        const Descriptor closed(std::move(listener->bound));  // who connects is refused, and does not wait
        co_return;
    }
    listener->bound.release();
    while (listener->descriptor.is_open()) {
        const auto [error] = co_await listener->descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                                                                      asio::as_tuple(asio::deferred));
        if (error || !listener->descriptor.is_open()) co_return;
        for (int i = 0; i < kAcceptsInARow; ++i) {
            sockaddr_storage peer{};
            socklen_t bytes = sizeof peer;
            const int socket =
                ::accept4(listener->descriptor.native_handle(), reinterpret_cast<sockaddr*>(&peer), &bytes,
                          SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (socket >= 0) {
                admit(*listener, socket, peer);
            } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
                break;
            } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                base::log(base::LogLevel::error, "listener.exhausted",
                          {{"why", std::strerror(errno)},
                           {"hint", "Raise LimitNOFILE or lower the connection limit."}});
                pause.expires_after(1s);
                const auto [stopped] = co_await pause.async_wait(asio::as_tuple(asio::deferred));
                if (stopped) co_return;
                break;
            }  // else the connection died in the queue: the next one
        }
    }
}

struct Address {
    sockaddr_storage storage{};
    socklen_t bytes = 0;
    std::string path;  // of a local socket

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    int family() const { return storage.ss_family; }
    bool local() const { return family() == AF_UNIX; }
};

base::Result<Address> parse_address(const std::string& text, std::uint16_t port) {
    Address address;
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    auto& local = reinterpret_cast<sockaddr_un&>(address.storage);
    if (text.starts_with(kUnixPrefix)) {
        address.path = text.substr(kUnixPrefix.size());
        if (address.path.empty() || address.path.size() >= sizeof local.sun_path)
            return base::failure(
                base::ErrorKind::invalid_request, "listener.address",
                "'" + text + "' is not a usable socket path.",
                "A socket path has 1 to " + std::to_string(sizeof local.sun_path - 1) + " characters.");
        local.sun_family = AF_UNIX;
        std::memcpy(local.sun_path, address.path.c_str(), address.path.size() + 1);
        address.bytes = sizeof local;
    } else if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        address.bytes = sizeof v4;
    } else if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        address.bytes = sizeof v6;
    } else {
        return base::failure(
            base::ErrorKind::invalid_request, "listener.address",
            "'" + text + "' is not an address to listen on.",
            "Give an IPv4 or IPv6 address such as 127.0.0.1 or ::1, or unix:/path/to/socket.");
    }
    return address;
}

std::unexpected<base::Error> listen_failure(const char* step, int error_number) {
    if (error_number == EADDRINUSE)
        return base::failure(base::ErrorKind::conflict, "listener.in_use",
                             "Another program already listens on this address.",
                             "Stop it or choose another port or path.");
    return base::failure(
        base::ErrorKind::unavailable, "listener.failed",
        std::string("Listening failed: ") + std::strerror(error_number) + ".",
        "Check that the address belongs to this machine and that this user may use the port or directory.",
        step);
}

/// Removes a socket that nobody listens on any more. Anything else at that path is somebody's and stays.
base::Status clear_stale_path(const Address& address) {
    struct stat found{};
    if (::lstat(address.path.c_str(), &found) != 0) return {};
    if (!S_ISSOCK(found.st_mode))
        return base::failure(base::ErrorKind::conflict, "listener.in_use",
                             "The socket path is taken by something that is not a socket.",
                             "Move it away or choose another path.");
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (::connect(probe.get(), address.get(), address.bytes) == 0 || errno == EAGAIN)
        return listen_failure("probe", EADDRINUSE);
    if (::unlink(address.path.c_str()) != 0 && errno != ENOENT) return listen_failure("unlink", errno);
    return {};
}

enum class Sharing { alone, among_workers };

base::Result<Descriptor> bind_to(const Address& address, Sharing sharing) {
    Descriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket.get() < 0) return listen_failure("socket", errno);
    const int on = 1;
    if (address.local()) {
        // The mode is taken over by the path when it is bound, so there is no moment in which others could
        // connect.
        if (::fchmod(socket.get(), 0600) != 0) return listen_failure("fchmod", errno);
    } else {
        ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (sharing == Sharing::among_workers)
            ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    }
    if (::bind(socket.get(), address.get(), address.bytes) != 0) return listen_failure("bind", errno);
    return socket;
}

std::uint16_t port_of(int socket) {
    sockaddr_storage bound{};
    socklen_t bytes = sizeof bound;
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &bytes) != 0) return 0;
    if (bound.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(bound).sin_port);
    if (bound.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(bound).sin6_port);
    return 0;
}

void set_port(Address& address, std::uint16_t port) {
    if (address.family() == AF_INET) reinterpret_cast<sockaddr_in&>(address.storage).sin_port = htons(port);
    if (address.family() == AF_INET6)
        reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = htons(port);
}

}  // namespace

std::string_view to_text(BadRequest reason) {
    switch (reason) {
        case BadRequest::syntax:
            return "syntax";
        case BadRequest::framing:
            return "framing";
        case BadRequest::head_too_large:
            return "head_too_large";
        case BadRequest::target_too_long:
            return "target_too_long";
        case BadRequest::body_too_large:
            return "body_too_large";
        case BadRequest::too_slow:
            return "too_slow";
        case BadRequest::version:
            return "version";
        case BadRequest::method:
            return "method";
        case BadRequest::expectation:
            return "expectation";
    }
    return "unknown";
}

struct Server::State {
    struct BoundPath {
        std::string path;
        dev_t device;
        ino_t number;
    };

    std::shared_ptr<ServerCommon> common = std::make_shared<ServerCommon>();
    std::vector<std::shared_ptr<Shard>> shards;  // one per worker
    std::vector<std::shared_ptr<Listener>> listeners;
    std::vector<BoundPath> paths;
    std::uint16_t port = 0;

    base::Status listen_on(Descriptor socket, const std::shared_ptr<Shard>& shard, bool passes_on,
                           const std::shared_ptr<TlsServer>& tls);
    void stop_accepting();
    /// True when every session has ended in time. Workers that do not run end nothing, so nobody waits for
    /// them.
    bool wait_for_sessions(std::optional<std::chrono::milliseconds> limit);
    void close_all();
};

Server::Server(std::vector<Worker*> workers, ServerLimits limits, Handler handler, Knows knows,
               NewRequestId new_id)
    : state_(std::make_unique<State>()) {
    state_->common->limits = limits;
    state_->common->handler = std::move(handler);
    state_->common->knows = std::move(knows);
    state_->common->new_id = std::move(new_id);
    for (Worker* worker : workers) state_->shards.push_back(std::make_shared<Shard>(*worker, state_->common));
}

Server::~Server() {
    state_->stop_accepting();
    state_->close_all();
    state_->wait_for_sessions(std::nullopt);
}

base::Status Server::State::listen_on(Descriptor socket, const std::shared_ptr<Shard>& shard, bool passes_on,
                                      const std::shared_ptr<TlsServer>& tls) {
    if (::listen(socket.get(), kBacklog) != 0) return listen_failure("listen", errno);
    auto listener = std::make_shared<Listener>(shard, std::move(socket), tls);
    if (passes_on) listener->others = shards;
    listeners.push_back(listener);
    shard->worker.deliver([listener] {
        const auto report = [](std::exception_ptr escaped) {
            try {
                if (escaped) std::rethrow_exception(escaped);
            } catch (const std::exception& what) {
                base::log(base::LogLevel::error, "listener.exception", {{"what", what.what()}});
            }
        };
        asio::co_spawn(listener->shard->worker.context().get_executor(), accept_all(listener), report);
    });
    return {};
}

base::Status Server::listen(const std::string& text, std::uint16_t port, std::shared_ptr<TlsServer> tls) {
    auto parsed = parse_address(text, port);
    if (!parsed) return std::unexpected(std::move(parsed).error());
    Address& address = *parsed;

    if (address.local()) {
        if (auto cleared = clear_stale_path(address); !cleared) return cleared;
        auto bound = bind_to(address, Sharing::alone);
        if (!bound) return std::unexpected(std::move(bound).error());
        struct stat made{};
        if (::lstat(address.path.c_str(), &made) == 0)
            state_->paths.push_back({address.path, made.st_dev, made.st_ino});
        return state_->listen_on(std::move(*bound), state_->shards.front(), state_->shards.size() > 1, tls);
    }

    // Bound alone first: SO_REUSEPORT would silently share the port with a second instance of this program.
    auto probe = bind_to(address, Sharing::alone);
    if (!probe) return std::unexpected(std::move(probe).error());
    state_->port = port_of(probe->get());
    set_port(address, state_->port);
    if (state_->shards.size() == 1)
        return state_->listen_on(std::move(*probe), state_->shards.front(), false, tls);
    ::close(probe->release());
    for (const auto& shard : state_->shards) {
        auto bound = bind_to(address, Sharing::among_workers);
        if (!bound) return std::unexpected(std::move(bound).error());
        if (auto listening = state_->listen_on(std::move(*bound), shard, false, tls); !listening)
            return listening;
    }
    return {};
}

std::uint16_t Server::port() const { return state_->port; }

void Server::State::stop_accepting() {
    for (auto& listener : std::exchange(listeners, {})) {
        auto& worker = listener->shard->worker;
        worker.deliver([listener] {
            boost::system::error_code ignored;
            listener->descriptor.close(ignored);
        });
    }
    for (const auto& [path, device, number] : std::exchange(paths, {})) {
        struct stat found{};
        if (::lstat(path.c_str(), &found) == 0 && found.st_dev == device && found.st_ino == number)
            ::unlink(path.c_str());
    }
}

bool Server::State::wait_for_sessions(std::optional<std::chrono::milliseconds> limit) {
    const auto until = std::chrono::steady_clock::now() + limit.value_or(0ms);
    const auto running = [](const auto& shard) { return shard->worker.running(); };
    std::unique_lock hold(common->guard);
    while (common->connections.load(std::memory_order_relaxed) > 0) {
        if (std::none_of(shards.begin(), shards.end(), running)) return false;
        if (limit && std::chrono::steady_clock::now() >= until) return false;
        common->ended.wait_for(hold, 50ms);
    }
    return true;
}

void Server::State::close_all() {
    for (const auto& shard : shards) shard->worker.deliver([shard] { shard->close_all(); });
}

void Server::drain(std::chrono::milliseconds grace, const std::function<void()>& overdue) {
    state_->stop_accepting();
    for (const auto& shard : state_->shards) shard->worker.deliver([shard] { shard->drain(); });
    if (state_->wait_for_sessions(grace)) return;
    if (overdue) {
        overdue();
        if (state_->wait_for_sessions(kLastAnswers)) return;
    }
    state_->close_all();
    if (!state_->wait_for_sessions(kAfterClosing))
        base::log(base::LogLevel::warning, "server.drain_incomplete",
                  {{"connections", state_->common->connections.load()}});
}

ServerCounters Server::counters() const {
    ServerCounters sum;
    sum.connections = state_->common->connections.load(std::memory_order_relaxed);
    for (const auto& shard : state_->shards) {
        const auto& part = shard->counters;
        sum.accepted += part.accepted.load(std::memory_order_relaxed);
        sum.refused += part.refused.load(std::memory_order_relaxed);
        sum.tls_failures += part.tls_failures.load(std::memory_order_relaxed);
        sum.requests += part.requests.load(std::memory_order_relaxed);
        sum.slow_readers += part.slow_readers.load(std::memory_order_relaxed);
        sum.bytes_in += part.bytes_in.load(std::memory_order_relaxed);
        sum.bytes_out += part.bytes_out.load(std::memory_order_relaxed);
        for (std::size_t i = 0; i < kBadRequestReasons; ++i)
            sum.bad_requests[i] += part.bad_requests[i].load(std::memory_order_relaxed);
    }
    return sum;
}

}  // namespace claviger::net
