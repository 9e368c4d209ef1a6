// The MCP server behind every proxy of the benchmark: one thread, epoll, nothing but libc.
//
// The secret every request must carry comes as the first line of standard input; the port is printed as a
// JSON line. POST answers JSON-RPC. Tools: echo (1 KB of JSON), stream (20 events, each its own write), ticks
// (40 events, 50 ms apart, each with its time of sending), leak (says the secret aloud). GET /stats counts
// what arrived.

#include "bench/loopback.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::bench {
namespace {
constexpr std::size_t kAnswerSize = 1024;
constexpr std::size_t kEventSize = 300;
constexpr int kStreamEvents = 20;
constexpr int kTicks = 40;
constexpr std::int64_t kTickNs = 50'000'000;
constexpr std::size_t kLargestRequest = 4 << 20;

std::int64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
    timespec now{};
    clock_gettime(clock, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// ---- JSON: finds members without building a tree. Malformed text yields an empty member, never a read past
// the end.

std::size_t after_string(std::string_view text, std::size_t at) {
    for (++at; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '\\') ++at;
    }
    return std::min(at + 1, text.size());
}

std::size_t after_value(std::string_view text, std::size_t at) {
    int depth = 0;
    while (at < text.size()) {
        const char c = text[at];
        if (c == '"') {
            at = after_string(text, at);
            if (depth == 0) return at;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\r')) return at;
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
        ++at;
        if (depth == 0 && (c == '}' || c == ']')) return at;
    }
    return at;
}

/// The raw text of one member of an object; empty when there is none.
std::string_view member(std::string_view object, std::string_view name) {
    constexpr std::string_view kBetween = " \t\r\n,:";
    auto at = object.find('{');
    while (at != std::string_view::npos) {
        at = object.find_first_not_of(kBetween, at + 1);
        if (at == std::string_view::npos || object[at] != '"') return {};
        const auto key_end = after_string(object, at);
        const auto value = object.find_first_not_of(kBetween, key_end);
        if (value == std::string_view::npos) return {};
        const auto value_end = after_value(object, value);
        if (key_end - at == name.size() + 2 && object.substr(at + 1, name.size()) == name) {
            return object.substr(value, value_end - value);
        }
        at = object.find(',', value_end);
    }
    return {};
}

std::string_view unquoted(std::string_view value) {
    return value.size() >= 2 && value.front() == '"' ? value.substr(1, value.size() - 2) : std::string_view{};
}

// ---- HTTP in

struct Request {
    std::string_view line;
    std::string_view authorization;
    std::string_view body;
    std::size_t size = 0;  // of the whole request on the wire
};

enum class Reading { complete, unfinished, malformed };

bool is_header(std::string_view line, std::string_view lower_case_name) {
    return line.size() > lower_case_name.size() && line[lower_case_name.size()] == ':' &&
           strncasecmp(line.data(), lower_case_name.data(), lower_case_name.size()) == 0;
}

std::string_view header_value(std::string_view line) {
    const auto start = line.find_first_not_of(" \t", line.find(':') + 1);
    return start == std::string_view::npos ? std::string_view{} : line.substr(start);
}

Reading read_request(std::string_view bytes, Request& request) {
    const auto head_end = bytes.find("\r\n\r\n");
    if (head_end == std::string_view::npos) {
        return bytes.size() > kLargestRequest ? Reading::malformed : Reading::unfinished;
    }
    const auto head = bytes.substr(0, head_end);
    std::size_t body_size = 0;
    auto end = head.find("\r\n");
    request.line = head.substr(0, end);
    while (end != std::string_view::npos) {
        const auto start = end + 2;
        end = head.find("\r\n", start);
        const auto line = head.substr(start, end == std::string_view::npos ? end : end - start);
        if (is_header(line, "transfer-encoding"))
            return Reading::malformed;  // no proxy here needs to chunk 350 bytes
        if (is_header(line, "authorization")) request.authorization = header_value(line);
        if (is_header(line, "content-length")) {
            const auto value = header_value(line);
            const auto parsed = std::from_chars(value.data(), value.data() + value.size(), body_size);
            if (parsed.ec != std::errc{} || body_size > kLargestRequest) return Reading::malformed;
        }
    }
    request.size = head_end + 4 + body_size;
    if (bytes.size() < request.size) return Reading::unfinished;
    request.body = bytes.substr(head_end + 4, body_size);
    return Reading::complete;
}

// ---- HTTP out

std::string http_answer(std::string_view status, std::string_view body) {
    std::string answer = "HTTP/1.1 ";
    answer.append(status).append("\r\nContent-Type: application/json\r\nContent-Length: ");
    answer.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
    return answer;
}

std::string json_rpc(std::string_view id, std::string_view what, std::string_view value) {
    std::string text = R"({"jsonrpc":"2.0","id":)";
    text.append(id).append(",\"").append(what).append("\":").append(value).append("}");
    return text;
}

/// A tool result whose text pads the whole JSON-RPC answer to `size` bytes.
std::string padded_result(std::string_view id, std::string_view text, std::size_t size) {
    const std::string opening = R"({"content":[{"type":"text","text":")" + std::string(text);
    constexpr std::string_view kClosing = R"("}],"isError":false})";
    const auto bare = json_rpc(id, "result", opening + std::string(kClosing)).size();
    std::string result = opening;
    result.append(size > bare ? size - bare : 0, 'x').append(kClosing);
    return json_rpc(id, "result", result);
}

std::string log_message(std::string_view data) {
    std::string text =
        R"({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":)";
    return text.append(data).append("}}");
}

std::string chunk_of_event(std::string_view json) {
    std::array<char, 16> size{};
    const std::size_t event_size = std::string_view("event: message\ndata: \n\n").size() + json.size();
    const auto end = std::to_chars(size.data(), size.data() + size.size(), event_size, 16).ptr;
    std::string chunk(size.data(), end);
    return chunk.append("\r\nevent: message\ndata: ").append(json).append("\n\n\r\n");
}

constexpr std::string_view kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: "
    "chunked\r\n\r\n";
constexpr std::string_view kLastChunk = "0\r\n\r\n";

// ---- The server

struct Connection {
    int fd = -1;
    std::string in;
    std::string out;     // what the socket did not take yet
    int ticks_left = 0;  // while positive, no further request is looked at
    std::int64_t next_tick = 0;
    std::string stream_id;  // the JSON-RPC id that the last tick answers
    bool closing = false;
};

struct Counts {
    std::uint64_t requests = 0;
    std::uint64_t wrong_secret = 0;
    std::uint64_t malformed = 0;
};

class Upstream {
public:
    Upstream(int listener, std::string secret)
        : listener_(listener),
          epoll_(epoll_create1(EPOLL_CLOEXEC)),
          expected_("Bearer " + std::move(secret)) {
        watch(listener_, EPOLL_CTL_ADD, EPOLLIN);
    }

    [[noreturn]] void run();

private:
    void watch(int fd, int operation, std::uint32_t events) const {
        epoll_event event{};
        event.events = events;
        event.data.fd = fd;
        epoll_ctl(epoll_, operation, fd, &event);
    }
    void accept_all();
    void readable(Connection& connection);
    void answer_pending(Connection& connection);
    void answer(Connection& connection, const Request& request);
    void call_tool(Connection& connection, std::string_view tool, std::string_view id);
    void send(Connection& connection, std::string_view bytes);
    void flush(Connection& connection);
    void send_due_ticks();
    int wait_ms() const;
    void drop_if_closing(int fd);
    std::string stats() const;

    int listener_;
    int epoll_;
    std::string expected_;
    Counts counts_;
    std::vector<std::unique_ptr<Connection>> connections_;  // by file descriptor
    std::vector<int> ticking_;
};

void Upstream::accept_all() {
    for (;;) {
        const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connections_.size() <= static_cast<std::size_t>(fd)) connections_.resize(fd + 1);
        connections_[fd] = std::make_unique<Connection>();
        connections_[fd]->fd = fd;
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

void Upstream::send(Connection& connection, std::string_view bytes) {
    if (connection.out.empty()) {
        const auto sent = ::send(connection.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            connection.closing = true;
            return;
        }
        if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
        if (bytes.empty()) return;
        watch(connection.fd, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    connection.out.append(bytes);
}

void Upstream::flush(Connection& connection) {
    const auto sent = ::send(connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (sent < 0) {
        connection.closing = errno != EAGAIN;
        return;
    }
    connection.out.erase(0, static_cast<std::size_t>(sent));
    if (connection.out.empty()) watch(connection.fd, EPOLL_CTL_MOD, EPOLLIN);
}

void Upstream::readable(Connection& connection) {
    std::array<char, 65536> bytes;
    const auto received = recv(connection.fd, bytes.data(), bytes.size(), 0);
    if (received == 0 || (received < 0 && errno != EAGAIN)) {
        connection.closing = true;
        return;
    }
    if (received > 0) connection.in.append(bytes.data(), static_cast<std::size_t>(received));
    answer_pending(connection);
}

void Upstream::answer_pending(Connection& connection) {
    std::size_t consumed = 0;
    while (!connection.closing && connection.ticks_left == 0) {
        Request request;
        const auto reading = read_request(std::string_view(connection.in).substr(consumed), request);
        if (reading == Reading::unfinished) break;
        if (reading == Reading::malformed) {
            ++counts_.malformed;
            send(connection,
                 http_answer("400 Bad Request", R"({"error":"send Content-Length and at most 4 MB"})"));
            connection.closing = true;
            break;
        }
        answer(connection, request);
        consumed += request.size;
    }
    connection.in.erase(0, consumed);
}

void Upstream::answer(Connection& connection, const Request& request) {
    if (request.line.starts_with("GET /stats ")) return send(connection, http_answer("200 OK", stats()));
    if (!request.line.starts_with("POST "))
        return send(connection, http_answer("405 Method Not Allowed", "{}"));
    ++counts_.requests;
    if (request.authorization != expected_) {
        ++counts_.wrong_secret;
        return send(connection, http_answer("401 Unauthorized", R"({"error":"wrong or missing secret"})"));
    }
    const auto id = member(request.body, "id");
    const auto method = unquoted(member(request.body, "method"));
    const auto params = member(request.body, "params");
    if (id.empty()) return send(connection, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    if (method == "tools/call") return call_tool(connection, unquoted(member(params, "name")), id);
    if (method == "ping") return send(connection, http_answer("200 OK", json_rpc(id, "result", "{}")));
    if (method == "tools/list") {
        constexpr std::string_view kTools =
            R"({"tools":[{"name":"echo","inputSchema":{"type":"object"}},{"name":"stream","inputSchema":{"type":"object"}},)"
            R"({"name":"ticks","inputSchema":{"type":"object"}},{"name":"leak","inputSchema":{"type":"object"}}]})";
        return send(connection, http_answer("200 OK", json_rpc(id, "result", kTools)));
    }
    if (method == "initialize") {
        const auto asked = member(params, "protocolVersion");
        std::string result = R"({"protocolVersion":)";
        result.append(asked.empty() ? R"("2025-11-25")" : asked)
            .append(R"(,"capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}})");
        return send(connection, http_answer("200 OK", json_rpc(id, "result", result)));
    }
    send(connection,
         http_answer("200 OK", json_rpc(id, "error", R"({"code":-32601,"message":"unknown method"})")));
}

void Upstream::call_tool(Connection& connection, std::string_view tool, std::string_view id) {
    if (tool == "stream") {
        static const std::string event = [] {
            const auto bare = chunk_of_event(log_message("\"\"")).size();
            return chunk_of_event(log_message('"' + std::string(kEventSize - bare, 'x') + '"'));
        }();
        send(connection, kStreamHead);
        for (int sent = 0; sent + 1 < kStreamEvents; ++sent) send(connection, event);
        return send(connection, chunk_of_event(padded_result(id, "", kEventSize)).append(kLastChunk));
    }
    if (tool == "ticks") {
        send(connection, kStreamHead);
        connection.ticks_left = kTicks;
        connection.next_tick = now_ns() + kTickNs;
        connection.stream_id = id;
        ticking_.push_back(connection.fd);
        return;
    }
    const std::string_view text = tool == "leak" ? std::string_view(expected_) : "hello ";
    send(connection, http_answer("200 OK", padded_result(id, text, kAnswerSize)));
}

void Upstream::send_due_ticks() {
    const auto due = [this](int fd) {
        auto& connection = *connections_[fd];
        if (now_ns() < connection.next_tick) return false;
        connection.next_tick += kTickNs;
        const bool last = --connection.ticks_left == 0;
        const auto sent = R"({"sent_ns":)" + std::to_string(now_ns(CLOCK_REALTIME)) + "}";
        send(connection, chunk_of_event(log_message(sent)));
        if (!last) return connection.closing;
        send(connection,
             chunk_of_event(padded_result(connection.stream_id, "", kEventSize)).append(kLastChunk));
        return true;
    };
    std::vector<int> done;
    for (const int fd : ticking_) {
        if (due(fd)) done.push_back(fd);
    }
    for (const int fd : done) {
        std::erase(ticking_, fd);
        if (!connections_[fd]->closing) answer_pending(*connections_[fd]);
        drop_if_closing(fd);
    }
}

int Upstream::wait_ms() const {
    if (ticking_.empty()) return -1;
    auto next = connections_[ticking_.front()]->next_tick;
    for (const int fd : ticking_) next = std::min(next, connections_[fd]->next_tick);
    return static_cast<int>(std::max<std::int64_t>(0, next - now_ns()) / 1'000'000) + 1;
}

void Upstream::drop_if_closing(int fd) {
    if (!connections_[fd]->closing) return;
    std::erase(ticking_, fd);
    connections_[fd].reset();
    close(fd);
}

std::string Upstream::stats() const {
    return R"({"requests":)" + std::to_string(counts_.requests) + R"(,"wrong_secret":)" +
           std::to_string(counts_.wrong_secret) + R"(,"malformed":)" + std::to_string(counts_.malformed) +
           "}";
}

void Upstream::run() {
    std::array<epoll_event, 256> events;
    for (;;) {
        const int ready = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait_ms());
        for (int i = 0; i < ready; ++i) {
            const int fd = events[i].data.fd;
            if (fd == listener_) {
                accept_all();
                continue;
            }
            auto& connection = *connections_[fd];
            if (events[i].events & EPOLLOUT) flush(connection);
            if (events[i].events & ~static_cast<std::uint32_t>(EPOLLOUT)) readable(connection);
            drop_if_closing(fd);
        }
        send_due_ticks();
    }
}

}  // namespace
}  // namespace claviger::bench

int main() {
    std::signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // no benchmark, no upstream
    std::string secret;
    if (!std::getline(std::cin, secret) || secret.empty()) {
        std::fputs(
            "claviger_bench_upstream: write the secret that requests must carry as the first input line\n",
            stderr);
        return 2;
    }
    const auto listener = claviger::bench::listen_on_loopback();
    if (!listener) {
        std::perror("claviger_bench_upstream: cannot listen on 127.0.0.1");
        return 1;
    }
    claviger::bench::Upstream(*listener, std::move(secret)).run();
}
