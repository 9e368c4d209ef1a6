// The least that any proxy does that waits for the disk before it forwards: a lower bound, not a product.
//
// A worker thread finds the end of a request, has a record of 300 bytes made durable, forwards the request
// with a fixed Authorization header, relays the answer, and leaves a second record that nobody waits for. A
// commit thread writes all records that came since its last write, in one synchronous write (O_DSYNC, which
// is write and fdatasync in one call). Nothing is checked, decided, encrypted or searched.
//
// Arguments: the upstream's port on 127.0.0.1, and the path of the log, which must not exist. The first line
// of standard input is the secret that the upstream wants; the port is printed as a JSON line.

#include "bench/loopback.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace claviger::bench {
namespace {

constexpr std::size_t kRecordBytes = 300;
// The log is written in full before the first call and then over and over: a write that neither grows the
// file nor allocates costs half of one that does (measured; fallocate alone saves a quarter).
constexpr std::size_t kLogRecords = 200'000;
constexpr std::size_t kLargestRequest = 8192;
constexpr std::size_t kLargestRead = 65536;
constexpr std::chrono::milliseconds kUnhurried{
    20};  // how long records that nobody waits for may stay in memory

[[noreturn]] void fail(const char* what) {
    std::perror((std::string("claviger_bench_floor: cannot ") + what).c_str());
    std::exit(1);
}

// ---- The log

struct Agent;

/// Records that become durable together, and who waits for them.
struct Group {
    std::vector<char> bytes;
    std::vector<Agent*> waiting;

    void clear() {
        bytes.clear();
        waiting.clear();
    }
    void take(Group& other) {
        if (bytes.empty()) return std::swap(*this, other);
        bytes.insert(bytes.end(), other.bytes.begin(), other.bytes.end());
        waiting.insert(waiting.end(), other.waiting.begin(), other.waiting.end());
        other.clear();
    }
};

/// Members belong to the worker, except where they say otherwise.
class Log {
public:
    explicit Log(const char* path);

    int wakes() const { return wakes_; }  // edge-triggered: there is something for take_durable()
    void add(Agent* waiting);             // nullptr: nobody waits
    void hand_over();                     // what was added since, once per turn of the event loop
    void take_durable(std::vector<Agent*>& into);

private:
    void run();  // the commit thread
    void write(const Group& group);

    const int wakes_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    std::uint64_t added_ = 0;
    Group gathered_;

    std::mutex mutex_;  // over the three below
    std::condition_variable work_;
    Group pending_;
    std::vector<Agent*> durable_;

    int file_ = -1;  // the commit thread's own, as is the next
    std::size_t slot_ = 0;
};

Log::Log(const char* path) {
    file_ = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file_ < 0) fail("create the log");
    const std::vector<char> blank(1000 * kRecordBytes);
    for (std::size_t slot = 0; slot < kLogRecords; slot += 1000) {
        const auto written = ::write(file_, blank.data(), blank.size());
        if (written != static_cast<ssize_t>(blank.size())) fail("fill the log");
    }
    if (fsync(file_) != 0 || close(file_) != 0) fail("sync the log");
    file_ = open(path, O_RDWR | O_DSYNC | O_CLOEXEC);
    if (file_ < 0) fail("open the log");
    std::thread([this] { run(); }).detach();
}

/// A record is its number from 1, eight bytes, little endian, and filling.
void Log::add(Agent* waiting) {
    std::array<char, kRecordBytes> record;
    record.fill('x');
    ++added_;
    std::memcpy(record.data(), &added_, sizeof added_);
    gathered_.bytes.insert(gathered_.bytes.end(), record.begin(), record.end());
    if (waiting != nullptr) gathered_.waiting.push_back(waiting);
}

void Log::hand_over() {
    if (gathered_.bytes.empty()) return;
    const bool hurried = !gathered_.waiting.empty();
    {
        const std::lock_guard lock(mutex_);
        pending_.take(gathered_);
    }
    if (hurried) work_.notify_one();  // no system call while the commit thread is busy
}

void Log::take_durable(std::vector<Agent*>& into) {
    const std::lock_guard lock(mutex_);
    std::swap(into, durable_);
}

void Log::run() {
    Group group;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            work_.wait_for(lock, kUnhurried, [this] { return !pending_.waiting.empty(); });
            std::swap(group, pending_);
        }
        if (group.bytes.empty()) continue;
        write(group);
        if (!group.waiting.empty()) {
            const std::lock_guard lock(mutex_);
            durable_.insert(durable_.end(), group.waiting.begin(), group.waiting.end());
        }
        if (!group.waiting.empty() && eventfd_write(wakes_, 1) != 0) fail("wake the worker");
        group.clear();
    }
}

void Log::write(const Group& group) {
    const auto records = group.bytes.size() / kRecordBytes;
    if (records > kLogRecords) fail("hold so many records");
    if (slot_ + records > kLogRecords) slot_ = 0;
    const auto at = static_cast<off_t>(slot_ * kRecordBytes);
    const auto written = pwrite(file_, group.bytes.data(), group.bytes.size(), at);
    if (written != static_cast<ssize_t>(group.bytes.size())) fail("write the log");
    slot_ += records;
}

// ---- HTTP: the end of a message, and where its Authorization header stands

struct Message {
    std::size_t size = 0;            // 0: the head has not come in full
    bool chunked = false;            // ends with the last chunk; `size` is that of the head
    std::string_view authorization;  // the whole line with its end
};

bool is_header(std::string_view line, std::string_view name) {
    return line.size() >= name.size() && strncasecmp(line.data(), name.data(), name.size()) == 0;
}

Message measure(std::string_view bytes) {
    Message message;
    const auto end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) return message;
    message.size = end + 4;
    for (auto at = bytes.find('\n') + 1; at < end; at = bytes.find('\n', at) + 1) {
        const auto line = bytes.substr(at, bytes.find('\n', at) + 1 - at);
        if (is_header(line, "authorization:")) message.authorization = line;
        if (is_header(line, "transfer-encoding:")) message.chunked = true;
        if (is_header(line, "content-length: ")) {
            std::size_t body = 0;
            std::from_chars(line.data() + 16, line.data() + line.size(), body);
            message.size += body;
        }
    }
    return message;
}

// ---- The proxy

struct Server;

/// A connection of an agent's. It makes one call at a time, and it is closed when it sends more.
struct Agent {
    int fd = -1;
    bool waiting = false;  // for the disk: the log knows this object
    bool gone = false;     // hung up while it waited
    Server* server = nullptr;
    std::size_t filled = 0;
    Message request;
    std::array<char, kLargestRequest> in;
};

/// A connection to the upstream, idle without an agent.
struct Server {
    static constexpr std::string_view kLastChunk = "\r\n0\r\n\r\n";

    int fd = -1;
    Agent* agent = nullptr;
    bool begun = false;    // the answer's head has come, in one read
    bool chunked = false;  // the answer's end is seen in `tail`, else in `left`
    std::size_t left = 0;
    std::string tail;  // last bytes of a chunked answer, as many as kLastChunk has

    /// Whether the answer ends with these bytes.
    bool ends_with(std::string_view bytes) {
        if (!chunked) return (left -= std::min(left, bytes.size())) == 0;
        tail.append(bytes.substr(bytes.size() - std::min(bytes.size(), kLastChunk.size())));
        tail.erase(0, tail.size() - std::min(tail.size(), kLastChunk.size()));
        return tail == kLastChunk;
    }
};

class Floor {
public:
    Floor(int listener, sockaddr_in upstream, const std::string& secret, Log& log)
        : listener_(listener),
          upstream_(upstream),
          log_(log),
          authorization_("Authorization: Bearer " + secret + "\r\n") {
        watch(listener_, EPOLLIN);
        watch(log_.wakes(), EPOLLIN | EPOLLET);
    }
    [[noreturn]] void run();

private:
    struct Connection {  // one of them
        std::unique_ptr<Agent> agent;
        std::unique_ptr<Server> server;
    };

    void watch(int fd, std::uint32_t events) const {
        epoll_event event{};
        event.events = events;
        event.data.fd = fd;
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) fail("watch a connection");
    }
    Connection& opened(int fd);
    void accept_all();
    Server* idle_server();
    void read(Agent& agent);
    void forward(Agent& agent);
    void read(Server& server);
    void answered(Server& server);
    void hang_up(Agent& agent);
    void forget(int fd);

    const int listener_;
    const sockaddr_in upstream_;
    Log& log_;
    std::string authorization_;
    const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
    std::vector<Connection> connections_;  // by file descriptor
    std::vector<Server*> idle_;
    std::vector<Agent*> durable_;
    std::array<char, kLargestRead> bytes_;
};

Floor::Connection& Floor::opened(int fd) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connections_.size() <= static_cast<std::size_t>(fd)) connections_.resize(fd + 1);
    watch(fd, EPOLLIN);
    return connections_[fd];
}

void Floor::forget(int fd) {
    connections_[fd] = {};
    close(fd);
}

void Floor::accept_all() {
    for (;;) {
        const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        auto& connection = opened(fd);
        connection.agent.reset(new Agent);  // not make_unique: its buffer needs no zeros
        connection.agent->fd = fd;
    }
}

Server* Floor::idle_server() {
    if (!idle_.empty()) {
        auto* const server = idle_.back();
        idle_.pop_back();
        return server;
    }
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&upstream_), sizeof upstream_) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        fail("connect to the upstream");
    auto& connection = opened(fd);
    connection.server = std::make_unique<Server>();
    connection.server->fd = fd;
    return connection.server.get();
}

/// The intent is recorded when the request has come in full.
void Floor::read(Agent& agent) {
    const auto room = agent.in.size() - agent.filled;
    const auto received = recv(agent.fd, agent.in.data() + agent.filled, room, 0);
    if (received < 0 && errno == EAGAIN) return;
    if (received <= 0 || agent.waiting || agent.server != nullptr) return hang_up(agent);
    agent.filled += static_cast<std::size_t>(received);
    agent.request = measure({agent.in.data(), agent.filled});
    const auto& request = agent.request;
    if (request.chunked || std::max(request.size, agent.filled + 1) > agent.in.size()) return hang_up(agent);
    if (request.size == 0 || agent.filled < request.size) return;
    if (request.authorization.empty() || agent.filled > request.size) return hang_up(agent);
    agent.waiting = true;
    log_.add(&agent);
}

void Floor::forward(Agent& agent) {
    agent.waiting = false;
    if (agent.gone) return forget(agent.fd);
    const auto replaced = agent.request.authorization;
    const auto before = static_cast<std::size_t>(replaced.data() - agent.in.data());
    const auto after = before + replaced.size();
    const std::array<iovec, 3> parts{{{agent.in.data(), before},
                                      {authorization_.data(), authorization_.size()},
                                      {agent.in.data() + after, agent.filled - after}}};
    auto* const server = idle_server();
    server->agent = &agent;
    server->begun = false;
    agent.server = server;
    const auto size = before + authorization_.size() + agent.filled - after;
    agent.filled = 0;
    if (writev(server->fd, parts.data(), parts.size()) != static_cast<ssize_t>(size)) hang_up(agent);
}

/// What has come goes on at once. An agent that lets its socket fill up loses it.
void Floor::read(Server& server) {
    const auto received = recv(server.fd, bytes_.data(), bytes_.size(), 0);
    if (received < 0 && errno == EAGAIN) return;
    auto* const agent = server.agent;
    if (agent == nullptr) {  // closed while idle
        std::erase(idle_, &server);
        return forget(server.fd);
    }
    if (received <= 0) return hang_up(*agent);
    const std::string_view bytes(bytes_.data(), static_cast<std::size_t>(received));
    if (!server.begun) {
        const auto answer = measure(bytes);
        if (answer.size == 0) return hang_up(*agent);
        server.begun = true;
        server.chunked = answer.chunked;
        server.left = answer.size;
        server.tail.clear();
    }
    if (send(agent->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != received) return hang_up(*agent);
    if (server.ends_with(bytes)) answered(server);
}

/// The outcome is recorded.
void Floor::answered(Server& server) {
    server.agent->server = nullptr;
    server.agent = nullptr;
    idle_.push_back(&server);
    log_.add(nullptr);
}

/// A call that the upstream has seen is given up, with an outcome.
void Floor::hang_up(Agent& agent) {
    if (agent.waiting) {
        agent.gone = true;
        epoll_ctl(epoll_, EPOLL_CTL_DEL, agent.fd, nullptr);
        log_.add(nullptr);
        return;
    }
    if (agent.server != nullptr) {
        forget(agent.server->fd);
        log_.add(nullptr);
    }
    forget(agent.fd);
}

void Floor::run() {
    std::array<epoll_event, 512> events;
    for (;;) {
        const int ready = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < ready; ++i) {
            const int fd = events[i].data.fd;
            if (fd == listener_) {
                accept_all();
            } else if (fd == log_.wakes()) {
                log_.take_durable(durable_);
                for (auto* agent : durable_) forward(*agent);
                durable_.clear();
            } else if (connections_[fd].agent) {
                read(*connections_[fd].agent);
            } else if (connections_[fd].server) {
                read(*connections_[fd].server);
            }  // else it was closed with its partner, earlier in this turn
        }
        log_.hand_over();
    }
}

}  // namespace
}  // namespace claviger::bench

int main(int count, char** arguments) {
    using namespace claviger::bench;
    std::signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // no benchmark, no proxy
    std::string secret;
    if (count != 3 || !std::getline(std::cin, secret) || secret.empty()) {
        std::fputs("claviger_bench_floor PORT LOG: write the upstream's secret as the first input line\n",
                   stderr);
        return 2;
    }
    sockaddr_in upstream{};
    upstream.sin_family = AF_INET;
    upstream.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    upstream.sin_port = htons(static_cast<std::uint16_t>(std::atoi(arguments[1])));
    const auto listener = listen_on_loopback();
    if (!listener) fail("listen on 127.0.0.1");
    Log log(arguments[2]);
    const auto floor = std::make_unique<Floor>(*listener, upstream, secret, log);  // large
    floor->run();
}
