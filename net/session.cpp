#include "net/session.h"

#include "base/log.h"
#include "net/answer_writer.h"
#include "net/wiping.h"
#include "net/worker.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <span>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace claviger::net {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::size_t kSpareExchanges = 256;
constexpr std::size_t kLargestSpare = 16 * 1024;
constexpr unsigned kRequestsInARow = 32;  // of one pipelining client before the others get their turn
constexpr auto kFarewell = 2000ms;        // how long a refused client may take to stop sending
constexpr std::size_t kFarewellBytes = 1024 * 1024;

}  // namespace

/// In the frame of its coroutine, as long as the connection. Small: a thousand idle ones must cost little.
class Session {
public:
    Session(std::shared_ptr<Shard> shard, Connection::Socket socket, std::string peer);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    Connection connection;
    const std::shared_ptr<Shard> shard;
    const std::string peer;
    bool idle = true;
    /// Where the first bytes of a request are read to while the connection holds no exchange: room for most
    /// requests. Waiting for them and reading them would take two system calls more.
    std::array<char, 768> first;

    const ServerLimits& limits() const { return shard->common->limits; }
    bool draining() const { return shard->draining(); }
    OwnError own_error(unsigned status, std::string_view type, std::string_view message) const {
        return shard->common->own_error(status, type, message);
    }
    Session* next() const { return next_; }

private:
    Session* previous_ = nullptr;  // the shard's intrusive list
    Session* next_ = nullptr;
};

/// Everything one request needs beyond its connection; pooled by the shard, reused with its capacity.
class Exchange {
public:
    explicit Exchange(const ServerLimits& limits) : parser(limits) {}

    /// With the worker's buffers, which it keeps only as long as somebody needs them.
    void begin_with(Worker& worker);
    /// Requests hold tokens and new secrets, answers hold new tokens: none of it waits for the next exchange.
    void end_with(Worker& worker);

    Request request;
    RequestParser parser;
    AnswerWriter writer;
    std::string in;
    std::string out;
    std::size_t begin = 0, end = 0;  // of the unread bytes in `in`
    std::size_t touched = 0;         // of `in` ever held something

    std::string_view unread() const { return {in.data() + begin, end - begin}; }
    /// Where the next read puts its bytes; never empty. Grows for a large head only, a body leaves `in` as it
    /// comes.
    std::span<char> room();
    /// `bytes` were read into room().
    void filled(std::size_t bytes);
    /// Takes over what was read elsewhere, and wipes it there. At most kReadBytes.
    void move_in(std::span<char> bytes);
};

void Exchange::begin_with(Worker& worker) {
    in = worker.take_buffer();
    in.resize_and_overwrite(std::max(in.capacity(), kReadBytes),
                            [](char*, std::size_t size) { return size; });
}

void Exchange::end_with(Worker& worker) {
    request.wipe();
    wipe_and_clear(out);
    in.resize(touched);  // what nothing was read into needs no wiping
    worker.give_back(std::exchange(in, {}));
    begin = end = touched = 0;
}

std::span<char> Exchange::room() {
    if (begin == end) begin = end = 0;
    if (end == in.size() && begin > 0) {
        std::copy(in.begin() + static_cast<std::ptrdiff_t>(begin), in.end(), in.begin());
        end -= begin;
        begin = 0;
    }
    if (end == in.size()) resize_wiping(in, in.size() * 2, end);  // bounded: the parser refuses longer heads
    return {in.data() + end, in.size() - end};
}

void Exchange::filled(std::size_t bytes) {
    end += bytes;
    touched = std::max(touched, end);
}

void Exchange::move_in(std::span<char> bytes) {
    std::ranges::copy(bytes, room().begin());
    crypto::wipe(bytes);
    filled(bytes.size());
}

class ExchangeLease {
public:
    explicit ExchangeLease(Session& session) : shard_(*session.shard) {
        if (shard_.spare_.empty()) {
            exchange_ = std::make_unique<Exchange>(session.limits());
        } else {
            exchange_ = std::move(shard_.spare_.back());
            shard_.spare_.pop_back();
        }
        exchange_->request.peer = session.peer;
        exchange_->begin_with(shard_.worker);
    }
    ~ExchangeLease() {
        exchange_->end_with(shard_.worker);
        const std::size_t bytes = exchange_->out.capacity() + exchange_->request.body.capacity();
        if (bytes > kLargestSpare || shard_.spare_.size() >= kSpareExchanges) return;
        shard_.spare_.push_back(std::move(exchange_));
    }
    ExchangeLease(const ExchangeLease&) = delete;
    ExchangeLease& operator=(const ExchangeLease&) = delete;
    Exchange& operator*() { return *exchange_; }

private:
    Shard& shard_;
    std::unique_ptr<Exchange> exchange_;
};

Session::Session(std::shared_ptr<Shard> on, Connection::Socket socket, std::string address)
    : connection(on->worker, std::move(socket)), shard(std::move(on)), peer(std::move(address)) {
    next_ = shard->first_;
    if (next_) next_->previous_ = this;
    shard->first_ = this;
}

Session::~Session() {
    if (previous_) previous_->next_ = next_;
    if (next_) next_->previous_ = previous_;
    if (shard->first_ == this) shard->first_ = next_;
    connection.close();
    const std::lock_guard hold(shard->common->guard);
    shard->common->connections.fetch_sub(1, std::memory_order_relaxed);
    shard->common->ended.notify_all();
}

namespace {

enum class Arrival {
    complete,
    without_body,  // complete but for a body that nobody should have to hold
    nothing,       // not one byte came
    ended          // nobody is left, or it was refused and answered
};

bool is_strangers_body(Session& session, const Exchange& exchange) {
    const auto& knows = session.shard->common->knows;
    return knows && exchange.parser.awaits_more_than(session.limits().stranger_body_bytes) &&
           !knows(exchange.request, session.shard->worker);
}

/// Reads until the request is complete.
awaitable<Arrival> receive(Session& session, Exchange& exchange) {
    Connection& connection = session.connection;
    RequestParser& parser = exchange.parser;
    using Progress = RequestParser::Progress;
    bool in_body = false, some = exchange.begin < exchange.end;
    parser.begin(exchange.request);
    exchange.writer.begin(session.connection, *session.shard, parser, exchange.out);
    connection.expires_after(session.limits().head);

    for (;;) {
        if (exchange.begin < exchange.end) exchange.begin += parser.take(exchange.unread());
        if (parser.progress() == Progress::complete) co_return Arrival::complete;
        if (parser.progress() == Progress::refused) {
            const Refused why = parser.refused();
            Shard::add(session.shard->counters.bad_requests[static_cast<std::size_t>(why.reason)]);
            const bool too_large = why.reason == BadRequest::body_too_large;
            auto error = session.own_error(
                why.status, too_large ? "request_too_large" : "invalid_request_error", why.message);
            co_await exchange.writer.refuse(std::move(error), !parser.head_only());
            co_return Arrival::ended;
        }
        if (parser.progress() == Progress::body && !in_body) {
            in_body = true;
            if (is_strangers_body(session, exchange)) {
                parser.leave_body();
                co_return Arrival::without_body;
            }
            connection.expires_after(session.limits().body);
            if (parser.expects_continue() && exchange.begin == exchange.end) {
                const Io io = co_await connection.write_all("HTTP/1.1 100 Continue\r\n\r\n");
                if (io != Io::ok) co_return Arrival::ended;
            }
        }
        const auto room = exchange.room();
        auto outcome = connection.read_now(room);
        if (!outcome && !some) co_return Arrival::nothing;
        if (!outcome) outcome = co_await connection.read_some(room);
        if (outcome->io == Io::timed_out) {
            connection.expires_after(kFarewell);
            Shard::add(session.shard->counters.bad_requests[static_cast<std::size_t>(BadRequest::too_slow)]);
            auto error =
                session.own_error(408, "invalid_request_error", "The request took too long to arrive.");
            co_await exchange.writer.refuse(std::move(error), true);
        }
        if (outcome->io != Io::ok) co_return Arrival::ended;
        some = true;
        exchange.filled(outcome->bytes);
        Shard::add(session.shard->counters.bytes_in, outcome->bytes);
    }
}

/// Lets the handler answer and makes sure that something was answered.
awaitable<void> answer(Session& session, Exchange& exchange) {
    AnswerWriter& writer = exchange.writer;
    Shard::add(session.shard->counters.requests);
    session.connection.expires_never();
    try {
        co_await session.shard->common->handler(exchange.request, writer);
    } catch (const std::exception& escaped) {
        base::log(base::LogLevel::error, "handler.exception", {{"what", escaped.what()}});
    }
    session.connection.watch_for_close(nullptr);
    if (writer.finished()) co_return;
    if (writer.started()) {
        writer.abort();
    } else {
        auto error = session.own_error(500, "api_error", "The request could not be processed.");
        base::log(base::LogLevel::error, "handler.no_answer",
                  {{"path", exchange.request.path()}, {"request_id", error.request_id}});
        co_await writer.refuse(std::move(error), !exchange.parser.head_only());
    }
}

/// Closing with unread bytes would reset the connection and could destroy the answer on its way.
awaitable<void> bid_farewell(Session& session, Exchange& exchange) {
    Connection& connection = session.connection;
    connection.finish_writing();
    connection.expires_after(kFarewell);
    session.idle = true;  // a drain need not wait for this
    exchange.begin = exchange.end = 0;
    const auto room = exchange.room();
    for (std::size_t seen = 0; seen < kFarewellBytes;) {
        const auto outcome = co_await connection.read_some(room);
        exchange.touched = std::max(exchange.touched, outcome.bytes);
        if (outcome.io != Io::ok) break;
        seen += outcome.bytes;
    }
}

/// Serves what has come, the first `begun` bytes of it in session.first, and what comes along with it. True
/// when the connection may go on and nothing is left over.
awaitable<bool> converse(Session& session, std::size_t begun) {
    ExchangeLease lease(session);
    Exchange& exchange = *lease;
    exchange.move_in(std::span(session.first).first(begun));
    Shard::add(session.shard->counters.bytes_in, begun);
    for (unsigned in_a_row = 1;; ++in_a_row) {
        const Arrival arrival = co_await receive(session, exchange);
        if (arrival == Arrival::nothing) co_return true;
        if (arrival == Arrival::complete || arrival == Arrival::without_body) {
            co_await answer(session, exchange);
            if (exchange.writer.keeps_connection() && exchange.writer.finished()) {
                if (exchange.begin == exchange.end) co_return true;
                if (in_a_row % kRequestsInARow == 0) co_await session.shard->worker.others_first();
                continue;
            }
        }
        const bool unread = arrival != Arrival::complete || exchange.begin < exchange.end;
        if (exchange.writer.finished() && unread) co_await bid_farewell(session, exchange);
        co_return false;
    }
}

awaitable<void> serve(std::shared_ptr<Shard> shard, Connection::Socket socket, std::string peer,
                      std::shared_ptr<TlsServer> tls) {
    Session session(std::move(shard), std::move(socket), std::move(peer));
    Connection& connection = session.connection;
    if (tls && !session.draining()) {
        connection.expires_after(session.limits().head);
        const auto secured = co_await connection.handshake(tls->accept());
        tls.reset();
        if (!secured) {
            Shard::add(session.shard->counters.tls_failures);
            base::log(base::LogLevel::debug, "tls.handshake_failed",
                      {{"peer", session.peer}, {"why", secured.error().message}});
            co_return;
        }
    }
    bool new_here = true;
    while (!session.draining()) {
        session.idle = true;
        connection.expires_after(session.limits().idle);
        ReadOutcome came;
        // The first request may be here already: read at once it could be lost between the reading and the
        // drain that takes the connection for an idle one. TLS keeps its own buffers.
        if (std::exchange(new_here, false) || connection.secure()) {
            came.io = co_await connection.wait_readable();
        } else {
            // What is ready elsewhere has its turn first: meanwhile the next request may come, which Asio's
            // first try to read would not have found.
            co_await session.shard->worker.others_first();
            came = co_await connection.read_some(session.first);
        }
        if (came.io != Io::ok) co_return;
        session.idle = false;
        const bool goes_on = co_await converse(session, came.bytes);
        if (!goes_on) co_return;
    }
}

}  // namespace

Shard::Shard(Worker& on, std::shared_ptr<ServerCommon> shared) : worker(on), common(std::move(shared)) {}
Shard::~Shard() = default;

void Shard::begin_session(const std::shared_ptr<Shard>& shard, int socket, std::string peer,
                          std::shared_ptr<TlsServer> tls) {
    auto& context = shard->worker.context();
    Connection::Socket accepted(context);
    boost::system::error_code error;
    accepted.assign(asio::generic::stream_protocol(AF_UNSPEC, 0), socket, error);
    if (error) {
        ::close(socket);
        shard->common->connections.fetch_sub(1, std::memory_order_relaxed);
        base::log(base::LogLevel::error, "listener.assign_failed", {{"why", error.message()}});
        return;
    }
    const auto report = [](std::exception_ptr escaped) {
        try {
            if (escaped) std::rethrow_exception(escaped);
        } catch (const std::exception& what) {
            base::log(base::LogLevel::error, "session.exception", {{"what", what.what()}});
        }
    };
    asio::co_spawn(context.get_executor(), serve(shard, std::move(accepted), std::move(peer), std::move(tls)),
                   report);
}

void Shard::drain() {
    draining_ = true;
    // A request that has arrived but was not read yet is still answered. Coroutines end by themselves, later.
    for (Session* session = first_; session; session = session->next())
        if (session->idle && !session->connection.looks_stale()) session->connection.close();
}

void Shard::close_all() {
    draining_ = true;
    for (Session* session = first_; session; session = session->next()) session->connection.close();
}

std::string_view Shard::date() {
    const std::time_t now = std::time(nullptr);
    if (now != date_second_) {
        static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        std::tm utc{};
        ::gmtime_r(&now, &utc);
        std::snprintf(date_, sizeof date_, "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[utc.tm_wday % 7],
                      utc.tm_mday % 100, kMonths[utc.tm_mon % 12], (utc.tm_year + 1900) % 10000,
                      utc.tm_hour % 100, utc.tm_min % 100, utc.tm_sec % 100);
        date_second_ = now;
    }
    return date_;
}

}  // namespace claviger::net
