#include "net/client.h"

#include "net/connection_pool.h"
#include "net/upstream_error.h"
#include "net/wiping.h"
#include "net/wire_response.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace claviger::net {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kJoinedBodyBytes = 64 * 1024;  // larger bodies are written on their own
constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::size_t kStreamReadBytes = 64 * 1024;  // once a read has filled the buffer
constexpr std::size_t kSpareParsers = 256;

/// How long an answer's `Keep-Alive: timeout=N` lets the connection rest, one second less for the way.
std::chrono::milliseconds rest_allowed(const Headers& headers, std::chrono::milliseconds most) {
    const auto field = headers.find("Keep-Alive");
    if (!field) return most;
    constexpr std::string_view kTimeout = "timeout=";
    for (std::size_t at = 0; at + kTimeout.size() < field->size(); ++at) {
        if (!equal_ignoring_case(field->substr(at, kTimeout.size()), kTimeout)) continue;
        const auto digits = field->substr(at + kTimeout.size());
        unsigned seconds = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
        if (error == std::errc::result_out_of_range) return most;
        if (error != std::errc() || seconds == 0) return 0ms;
        return std::min<std::chrono::milliseconds>(most, std::chrono::seconds(seconds - 1));
    }
    return most;
}

/// What the calls of one worker share.
struct Shared {
    Shared(Worker& on, const ClientLimits& bounds, std::shared_ptr<TlsClient> verifier)
        : worker(on), limits(bounds), tls(std::move(verifier)), connections(on, limits), names(on) {}

    Worker& worker;
    const ClientLimits limits;
    const std::shared_ptr<TlsClient> tls;  // shared by the pools of all workers
    ConnectionPool connections;
    NameLookup names;
    std::vector<std::unique_ptr<ResponseParser>> spare_parsers;

    std::unique_ptr<ResponseParser> take_parser() {
        if (spare_parsers.empty())
            return std::make_unique<ResponseParser>(
                ResponseParser::Limits{limits.header_bytes, limits.header_fields});
        auto parser = std::move(spare_parsers.back());
        spare_parsers.pop_back();
        return parser;
    }
    void give_back(std::unique_ptr<ResponseParser> parser) {
        if (spare_parsers.size() < kSpareParsers) spare_parsers.push_back(std::move(parser));
    }
};

/// One request and its answer.
class Exchange final : public Answer {
public:
    Exchange(std::shared_ptr<Shared> shared, const SendOptions& options, ResponseParser::Body body);
    ~Exchange() override;
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    const ResponseHead& head() const override { return parser_->head(); }
    awaitable<base::Result<std::string_view>> next() override;
    void idle_limit(std::chrono::milliseconds limit) override;
    std::optional<std::uint64_t> declared_length() const override { return parser_->declared_length(); }
    bool ready() const override { return error_ || cancelled_ || settled_ || !body_.empty(); }
    bool ended() const override { return !error_ && !cancelled_ && settled_ && body_.empty(); }
    void cancel() override;

    /// May be called at any time; does nothing once the exchange is gone.
    std::function<void()> canceller();
    bool reuse(const Origin& origin, const SendOptions& options) {
        return !cancelled_ && lease_.reuse(origin, options);
    }
    awaitable<base::Status> connect(const Origin& origin, const SendOptions& options);
    Connection& connection() { return *lease_.connection(); }
    void discard_connection() { lease_.drop(); }
    /// The request did not go out whole: whatever is answered, nothing may follow on this connection.
    void spoil() { clean_ = false; }
    /// Takes what comes next. Until head_complete() that belongs to the head.
    awaitable<base::Status> receive();
    bool head_complete() const { return parser_->head_complete(); }

private:
    std::span<char> room();
    void release_buffer();
    void set_deadline();
    void settle();
    std::unexpected<base::Error> fail(std::unexpected<base::Error> failure);
    std::unexpected<base::Error> fail(Io io);

    std::shared_ptr<Shared> shared_;  // with the pool, which may go before a suspended call is cleaned up
    ConnectionPool::Lease lease_;
    std::unique_ptr<ResponseParser> parser_;
    std::unique_ptr<Dialing> dialing_;   // while connecting
    std::shared_ptr<Exchange*> myself_;  // with the functions that canceller() gave out; emptied when we go
    std::string buffer_;
    std::size_t filled_ = 0, parsed_ = 0;
    std::size_t touched_ = 0;  // of the buffer ever held something
    std::string_view body_;    // decoded and not yet given out
    std::chrono::milliseconds idle_limit_;
    std::optional<base::Error> error_;
    bool clean_ = true;
    bool cancelled_ = false;
    bool settled_ = false;       // the answer is complete and the connection is no longer ours
    bool read_at_once_ = false;  // the last read filled the buffer: more is likely there already
};

Exchange::Exchange(std::shared_ptr<Shared> shared, const SendOptions& options, ResponseParser::Body body)
    : shared_(std::move(shared)),
      lease_(shared_->connections),
      parser_(shared_->take_parser()),
      idle_limit_(options.head_timeout) {
    parser_->start(body);
}

Exchange::~Exchange() {
    if (myself_) *myself_ = nullptr;
    release_buffer();
    shared_->give_back(std::move(parser_));
}

void Exchange::cancel() {
    if (settled_) return;
    cancelled_ = true;
    if (lease_.connection()) lease_.connection()->close();
    if (dialing_) dialing_->cancel();
}

std::function<void()> Exchange::canceller() {
    if (!myself_) myself_ = std::make_shared<Exchange*>(this);
    return [myself = myself_] {
        if (*myself) (*myself)->cancel();
    };
}

awaitable<base::Status> Exchange::connect(const Origin& origin, const SendOptions& options) {
    if (cancelled_) co_return fail(cancelled_failure());
    if (!lease_.reserve(origin, options))
        co_return fail(upstream_failure(
            "upstream.busy", "Too many calls to this upstream server are under way; nothing was sent to it.",
            "Try again in a moment."));
    dialing_ = std::make_unique<Dialing>(shared_->worker, shared_->names, origin, options.private_addresses,
                                         shared_->tls.get(), options.identity);
    auto dialed = co_await dialing_->run(shared_->limits.connect);
    if (!dialed) co_return fail(std::unexpected(std::move(dialed).error()));
    dialing_.reset();
    lease_.opened(std::move(*dialed));
    co_return base::Status{};
}

std::unexpected<base::Error> Exchange::fail(std::unexpected<base::Error> failure) {
    error_ = failure.error();
    body_ = {};
    dialing_.reset();
    lease_.drop();
    return failure;
}

std::unexpected<base::Error> Exchange::fail(Io io) {
    if (cancelled_) return fail(cancelled_failure());
    if (io == Io::timed_out) return fail(timeout_failure());
    const auto* place = parser_->head_complete() ? "in the body"
                        : parser_->begun()       ? "in the head"
                                                 : "before the answer";
    return fail(closed_failure(std::string(io == Io::closed ? "closed " : "broken ") + place));
}

void Exchange::release_buffer() {
    if (buffer_.empty()) return;
    buffer_.resize(touched_);  // what nothing was read into needs no wiping
    touched_ = 0;
    shared_->worker.give_back(std::exchange(buffer_, {}));
}

std::span<char> Exchange::room() {
    auto bytes = buffer_.size();
    if (bytes == 0) {
        buffer_ = shared_->worker.take_buffer();
        bytes = std::max(buffer_.capacity(), kReadBytes);
    }
    if (read_at_once_) bytes = std::max(bytes, kStreamReadBytes);
    if (filled_ == bytes) bytes *= 2;  // a head in progress; the parser's limits end this
    if (bytes != buffer_.size()) resize_wiping(buffer_, bytes, filled_);
    return std::span(buffer_).subspan(filled_);
}

awaitable<base::Status> Exchange::receive() {
    if (parsed_ > 0) {
        std::memmove(buffer_.data(), buffer_.data() + parsed_, filled_ - parsed_);
        filled_ -= parsed_;
        parsed_ = 0;
    }
    // A head is expected soon, so a buffer waits for it; a body may be a stream that is silent for hours.
    const bool soon = !parser_->head_complete();
    if (!soon && !read_at_once_ && filled_ == 0) {
        release_buffer();  // ten thousand silent streams hold no memory for what may come
        const auto readable = co_await connection().wait_readable();
        if (cancelled_ || readable != Io::ok) co_return fail(readable);
    }
    // What is ready elsewhere has its turn first, however fast a server is: meanwhile an answer may come that
    // Asio's first try would not have found, or more of a stream, which leaves in one write then.
    co_await shared_->worker.others_first();
    if (cancelled_) co_return fail(Io::closed);
    const auto space = room();
    std::optional<ReadOutcome> got;
    if (!soon) got = connection().read_now(space);
    if (!got) got = co_await connection().read_some(space);
    if (cancelled_) co_return fail(Io::closed);
    if (got->io == Io::closed) {
        parser_->end_of_stream();
        if (!parser_->complete()) co_return fail(Io::closed);
    } else if (got->io != Io::ok) {
        co_return fail(got->io);
    } else {
        filled_ += got->bytes;
        touched_ = std::max(touched_, filled_);
        read_at_once_ = got->bytes == space.size();
        const auto fed = parser_->feed(std::span(buffer_).first(filled_));
        parsed_ = fed.consumed;
        body_ = fed.body;
        if (!parser_->fault().empty()) co_return fail(invalid_failure(parser_->fault()));
    }
    if (parser_->complete()) settle();
    co_return base::Status{};
}

void Exchange::settle() {
    settled_ = true;
    // Bytes behind the end belong to no request of ours: whoever reads them next would be deceived.
    const bool alone = parsed_ == filled_;
    const auto rest = rest_allowed(parser_->head().headers, shared_->limits.idle_keep);
    if (clean_ && alone && parser_->keep_alive() && !lease_.retired() && connection().open() && rest > 0ms)
        lease_.rest(rest);
    else
        lease_.drop();
}

void Exchange::idle_limit(std::chrono::milliseconds limit) {
    idle_limit_ = limit;
    if (lease_.connection()) set_deadline();
}

void Exchange::set_deadline() {
    if (idle_limit_ == 0ms)
        connection().expires_never();
    else
        connection().expires_after(idle_limit_);
}

awaitable<base::Result<std::string_view>> Exchange::next() {
    for (;;) {
        if (!error_ && cancelled_) co_return fail(cancelled_failure());
        if (error_) co_return std::unexpected(*error_);
        if (!body_.empty()) co_return std::exchange(body_, {});
        if (settled_) co_return std::string_view{};
        set_deadline();
        auto received = co_await receive();
        if (!received) co_return std::unexpected(std::move(received).error());
    }
}

}  // namespace

struct ClientPool::State {
    std::shared_ptr<Shared> shared;
};

ClientPool::ClientPool(Worker& worker, ClientLimits limits, std::shared_ptr<TlsClient> tls)
    : state_(std::make_unique<State>(std::make_shared<Shared>(worker, limits, std::move(tls)))) {
    worker.every(1s, [weak = std::weak_ptr(state_->shared)] {
        if (const auto shared = weak.lock()) shared->connections.sweep();
    });
}

ClientPool::~ClientPool() { state_->shared->names.end(); }

awaitable<base::Result<std::unique_ptr<Answer>>> ClientPool::send(const Origin& origin, OutboundHead& head,
                                                                  std::string_view body,
                                                                  const SendOptions& options) {
    struct Wiping {
        OutboundHead& head;
        ~Wiping() { head.wipe(); }
    } wiping{head};
    if (!head.usable_)
        co_return base::failure(
            base::ErrorKind::invalid_request, "upstream.request_invalid",
            "The request cannot be sent: its method, path or host has characters that do not belong there.");
    const auto expected = head.is_for("HEAD") ? ResponseParser::Body::none : ResponseParser::Body::as_framed;
    head.finish(body.size());
    if (body.size() <= kJoinedBodyBytes) append_wiping(head.bytes_, std::exchange(body, {}));

    auto exchange = std::make_unique<Exchange>(state_->shared, options, expected);
    if (options.on_cancellable) options.on_cancellable(exchange->canceller());
    for (;;) {
        const bool reused = exchange->reuse(origin, options);
        if (!reused) {
            auto connected = co_await exchange->connect(origin, options);
            if (!connected) co_return std::unexpected(std::move(connected).error());
        }
        auto& connection = exchange->connection();
        connection.expires_after(options.head_timeout);
        std::string_view rest = head.bytes_;
        auto written = connection.write_now(rest);
        if (reused && written != Io::ok && rest.size() == head.bytes_.size()) {
            exchange->discard_connection();  // the peer had closed it, and none of this request has left
            continue;
        }
        if (written == Io::ok && !rest.empty()) written = co_await connection.write_all(rest);
        head.wipe();
        if (written == Io::ok && !body.empty()) written = co_await connection.write_all(body);
        // A server may refuse a long request before it has read all of it: its answer counts more than the
        // failed write.
        if (written != Io::ok) exchange->spoil();
        break;
    }
    while (!exchange->head_complete()) {
        auto received = co_await exchange->receive();
        if (!received) co_return std::unexpected(std::move(received).error());
    }
    co_return std::unique_ptr<Answer>(std::move(exchange));
}

void ClientPool::retire(std::string_view partition) { state_->shared->connections.retire(partition); }
std::size_t ClientPool::idle_connections() const { return state_->shared->connections.idle_connections(); }

}  // namespace claviger::net
