// HTTP/1.1 as the rest of the program sees it: values, and one object to answer through. No Beast type
// appears here.
#pragma once

#include "base/result.h"
#include "net/awaitable.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::net {

/// Header fields in arrival order, in one allocation that is kept across requests. Names compare ignoring
/// case (RFC 9110 5.1).
class Headers {
public:
    struct Field {
        std::string_view name, value;
    };

    void add(std::string_view name, std::string_view value);
    void clear();  // and wipes, as they may hold tokens
    /// The first field of that name. The view lives until the next add or clear.
    std::optional<std::string_view> find(std::string_view name) const;
    /// The same, of a name that must stand once: nothing, too, when there are more.
    std::optional<std::string_view> find_only(std::string_view name) const;
    std::size_t count(std::string_view name) const;
    std::size_t size() const { return spans_.size(); }
    Field at(std::size_t index) const;

private:
    struct Span {
        std::uint32_t name_at, name_bytes, value_at, value_bytes;
    };
    bool is_named(const Span& span, std::string_view name) const;

    std::string text_;
    std::vector<Span> spans_;
};

/// Whether these are the same but for the case of ASCII letters.
bool equal_ignoring_case(const char* a, const char* b, std::size_t size);
inline bool equal_ignoring_case(std::string_view a, std::string_view b) {
    constexpr auto kCaseBit = 0x20;  // most pairs of different names differ in their first letter
    return a.size() == b.size() && (a.empty() || (((a[0] ^ b[0]) & ~kCaseBit) == 0 &&
                                                  equal_ignoring_case(a.data(), b.data(), a.size())));
}

/// One request, whole. Owned by the connection and reused; a handler may read it until it returns.
struct Request {
    std::string method;
    std::string target;  // origin form: path and query, as sent
    Headers headers;
    std::string body;
    std::string peer;  // numeric address of the other side, without port; "unix" for a local socket

    std::string_view path() const;   // target up to '?'
    std::string_view query() const;  // after '?', or empty
    /// Empties it and overwrites what was there, but for the peer.
    void wipe();
};

struct Response {
    unsigned status = 200;
    Headers headers;  // no Content-Length, Connection, Transfer-Encoding or Date: framing is the writer's
                      // business
    std::string body;
};

/// Answers one request, once: send(), or start() write()* finish(). A write never waits for more data to
/// come. A failed write means that the client is gone (code "client.gone"); the handler should stop what it
/// does for it.
class ResponseWriter {
public:
    virtual ~ResponseWriter() = default;
    virtual awaitable<base::Status> send(const Response& response) = 0;
    /// Begins an answer in pieces. The head leaves with the first of them; write({}) sends it alone. `length`
    /// known: that many bytes must follow; unknown: chunked.
    virtual base::Status start(unsigned status, const Headers& headers,
                               std::optional<std::uint64_t> length) = 0;
    virtual awaitable<base::Status> write(std::string_view bytes) = 0;
    /// Writes the last bytes, if any, and the end behind them.
    virtual awaitable<base::Status> finish(std::string_view last) = 0;
    /// Ends the connection without completing the answer, so that the client sees a broken one.
    virtual void abort() = 0;
    virtual bool started() const = 0;
    /// Called at most once, on the connection's thread, when the client closes or resets while the handler
    /// still runs. Noticed at once while streaming, within one deadline tick (250 ms) before that. Pass
    /// nullptr to stop listening.
    virtual void on_client_gone(std::function<void()> action) = 0;
};

/// Must answer through the writer before it returns; what it leaves unanswered becomes a 500. Must not throw
/// for anything a client can cause. Runs on the connection's thread; `request` and `writer` outlive it.
using Handler = std::function<awaitable<void>(const Request& request, ResponseWriter& writer)>;

}  // namespace claviger::net
