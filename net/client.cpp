#include "net/client.h"

#include "crypto/secret.h"
#include "net/connection.h"
#include "net/wire_response.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/basic_resolver.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

namespace claviger::net {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using tcp = asio::ip::tcp;
using TcpSocket = asio::basic_stream_socket<tcp, Executor>;
using Resolver = asio::ip::basic_resolver<tcp, Executor>;
using Timer = asio::basic_waitable_timer<steady_clock, asio::wait_traits<steady_clock>, Executor>;
using ErrorCode = boost::system::error_code;

constexpr auto as_result = asio::as_tuple(asio::use_awaitable_t<Executor>{});

constexpr std::size_t kJoinedBodyBytes = 64 * 1024;    // larger bodies are written on their own
constexpr std::size_t kStreamBufferBytes = 64 * 1024;  // once a read has filled a pooled buffer
constexpr std::size_t kAddressesTried = 8;
constexpr std::size_t kSpareParsers = 64;

base::Error upstream_error(std::string_view code, std::string message, std::string hint = {},
                           std::string detail = {}) {
    return {base::ErrorKind::unavailable, code, std::move(message), std::move(hint), std::move(detail)};
}

base::Error unreachable(std::string detail) {
    return upstream_error(
        "upstream.unreachable", "The upstream server could not be reached; nothing was sent to it.",
        "Try again. If it goes on, ask the operator to check the server's address and the network.",
        std::move(detail));
}

base::Error cancelled_error() {
    return upstream_error("upstream.cancelled", "The call to the upstream server was cancelled.");
}

base::Error timeout_error() {
    return upstream_error("upstream.timeout", "The upstream server did not answer in time.",
                          "It may have acted on the request. Check before you repeat it.");
}

base::Error closed_error(std::string detail) {
    return upstream_error("upstream.closed",
                          "The upstream server ended the connection before its answer was complete.",
                          "It may have acted on the request. Check before you repeat it.", std::move(detail));
}

base::Error invalid_error(std::string_view fault) {
    return upstream_error("upstream.invalid", "The upstream server's answer is not valid HTTP.",
                          "Ask the operator to check what answers at this address.",
                          "the answer has " + std::string(fault));
}

bool is_token(std::string_view text) {
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::ranges::all_of(text, [kMarks](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               kMarks.contains(c);
    });
}

bool is_field_text(std::string_view text) {
    return std::ranges::all_of(
        text, [](char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); });
}

bool is_visible(std::string_view text, std::string_view excluded) {
    return !text.empty() && std::ranges::all_of(text, [excluded](char c) {
        return c > 0x20 && c < 0x7f && !excluded.contains(c);
    });
}

bool is_ours_to_write(std::string_view name) {
    for (const std::string_view framing : {"host", "content-length", "transfer-encoding", "connection"})
        if (equal_ignoring_case(name, framing)) return true;
    return false;
}

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

NumericAddress numeric(const asio::ip::address& address) {
    NumericAddress bytes;
    if (address.is_v4()) {
        const auto four = address.to_v4().to_bytes();
        std::ranges::copy(four, bytes.bytes.begin());
    } else {
        bytes.family = NumericAddress::Family::ipv6;
        bytes.bytes = address.to_v6().to_bytes();
    }
    return bytes;
}

asio::ip::address asio_address(const NumericAddress& address) {
    if (address.family == NumericAddress::Family::ipv6) return asio::ip::address_v6(address.bytes);
    asio::ip::address_v4::bytes_type four;
    std::copy_n(address.bytes.begin(), four.size(), four.begin());
    return asio::ip::address_v4(four);
}

/// A connection, and what must be true of a request that may use it.
struct Lease {
    std::unique_ptr<Connection> connection;
    std::string partition;
    bool private_address = false;
    steady_clock::time_point usable_until;
};

struct OriginConnections {
    std::size_t count = 0;    // idle, busy and being opened
    std::vector<Lease> idle;  // the longest idle first
};

struct OriginHash {
    std::size_t operator()(const Origin& origin) const {
        return std::hash<std::string>()(origin.host) * 31 +
               (std::size_t{origin.port} << 1 | std::size_t{origin.tls});
    }
};

class Exchange;

class Pool {
public:
    Pool(Worker& worker, ClientLimits limits, std::shared_ptr<TlsClient> tls)
        : worker_(worker), limits_(limits), tls_(std::move(tls)) {}
    ~Pool();

    Worker& worker() const { return worker_; }
    const ClientLimits& limits() const { return limits_; }
    const TlsClient* tls() const { return tls_.get(); }

    OriginConnections& connections_to(const Origin& origin) { return origins_[origin]; }
    std::optional<Lease> reuse(OriginConnections& origin, const SendOptions& options);
    bool reserve(OriginConnections& origin);
    void rest(OriginConnections& origin, Lease lease);
    void drop(OriginConnections& origin) { --origin.count; }
    void retire(std::string_view partition);
    std::size_t idle_connections() const;
    void sweep();

    std::unique_ptr<ResponseParser> take_parser();
    void give_back(std::unique_ptr<ResponseParser> parser);
    void link(Exchange& exchange);
    void unlink(Exchange& exchange);

private:
    Worker& worker_;
    ClientLimits limits_;
    std::shared_ptr<TlsClient> tls_;  // shared by the pools of all workers
    std::unordered_map<Origin, OriginConnections, OriginHash> origins_;
    std::vector<std::unique_ptr<ResponseParser>> parsers_;
    Exchange* first_ = nullptr;
};

/// A connection being made. Owned by the exchange and by the callbacks of its operations, which may come
/// after that has gone.
struct Dialing {
    explicit Dialing(asio::io_context& context)
        : socket(context.get_executor()), resolver(context.get_executor()), alarm(context.get_executor()) {}

    void give_up() {
        ErrorCode ignored;
        resolver.cancel();
        alarm.cancel();
        socket.close(ignored);
    }

    TcpSocket socket;
    Resolver resolver;
    Timer alarm;
    std::size_t attempt = 0;  // counts up; an alarm set for an earlier one is void
    bool resolved = false;
    ErrorCode resolve_error;
    std::vector<tcp::endpoint> endpoints;
};

/// One request and its answer, from choosing a connection to letting go of it.
class Exchange final : public Answer {
public:
    Exchange(Pool& pool, const SendOptions& options, ResponseParser::Body body);
    ~Exchange() override;
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    const ResponseHead& head() const override { return parser_->head(); }
    awaitable<base::Result<std::string_view>> next() override;
    void idle_limit(std::chrono::milliseconds limit) override;
    std::optional<std::uint64_t> declared_length() const override { return parser_->declared_length(); }
    bool complete() const override { return settled_; }
    void cancel() override;

    /// Takes an idle connection; false when there is none that can be used.
    bool reuse(const Origin& origin, const SendOptions& options);
    awaitable<base::Status> connect(const Origin& origin, const SendOptions& options);
    awaitable<base::Status> receive_head();
    std::function<void()> canceller();
    Connection& connection() { return *lease_.connection; }
    bool reused() const { return reused_; }
    bool cancelled() const { return cancelled_; }
    void write_failed() { reusable_ = false; }
    void discard();

private:
    friend class Pool;
    awaitable<base::Status> resolve(const Origin& origin, steady_clock::time_point deadline);
    awaitable<base::Status> dial(steady_clock::time_point deadline);
    awaitable<base::Status> receive();
    std::span<char> room();
    void release_buffer();
    void set_deadline();
    void settle();
    std::unexpected<base::Error> fail(base::Error error);
    std::unexpected<base::Error> fail(Io io);

    Worker& worker_;
    Pool* pool_;                           // null once that has gone
    OriginConnections* origin_ = nullptr;  // set while one of its connections is counted for us
    Lease lease_;
    std::unique_ptr<ResponseParser> parser_;
    std::shared_ptr<Dialing> dialing_;  // see there for the two owners
    std::shared_ptr<Exchange*>
        myself_;  // shared with the functions that canceller() gave out; emptied when we go
    std::string buffer_;
    std::size_t filled_ = 0, parsed_ = 0;
    std::string_view body_;  // decoded and not yet given out
    std::chrono::milliseconds idle_limit_;
    std::optional<base::Error> error_;
    bool reused_ = false;
    bool reusable_ = true;
    bool cancelled_ = false;
    bool settled_ = false;       // the answer is complete and the connection is no longer ours
    bool read_at_once_ = false;  // the last read filled the buffer: more is likely there already
    Exchange* previous_ = nullptr;
    Exchange* next_ = nullptr;
};

Pool::~Pool() {
    for (auto* exchange = first_; exchange; exchange = exchange->next_) exchange->pool_ = nullptr;
}

void Pool::link(Exchange& exchange) {
    exchange.next_ = first_;
    if (first_) first_->previous_ = &exchange;
    first_ = &exchange;
}

void Pool::unlink(Exchange& exchange) {
    if (exchange.previous_) exchange.previous_->next_ = exchange.next_;
    if (exchange.next_) exchange.next_->previous_ = exchange.previous_;
    if (first_ == &exchange) first_ = exchange.next_;
}

std::optional<Lease> Pool::reuse(OriginConnections& origin, const SendOptions& options) {
    const auto now = worker_.now();
    for (auto at = origin.idle.size(); at-- > 0;) {
        auto& candidate = origin.idle[at];
        if (candidate.partition != options.partition) continue;
        if (candidate.private_address && options.private_addresses == PrivateAddresses::refuse) continue;
        auto lease = std::move(candidate);
        origin.idle.erase(origin.idle.begin() + static_cast<std::ptrdiff_t>(at));
        if (lease.usable_until > now && !lease.connection->looks_stale()) return lease;
        drop(origin);
    }
    return std::nullopt;
}

bool Pool::reserve(OriginConnections& origin) {
    if (origin.count >= limits_.connections_per_origin) {
        if (origin.idle.empty()) return false;
        origin.idle.erase(origin.idle.begin());  // of another partition, or reuse() would have taken it
        drop(origin);
    }
    ++origin.count;
    return true;
}

void Pool::rest(OriginConnections& origin, Lease lease) {
    if (limits_.idle_per_origin == 0) return drop(origin);
    if (origin.idle.size() >= limits_.idle_per_origin) {
        origin.idle.erase(origin.idle.begin());
        drop(origin);
    }
    lease.connection->expires_never();
    origin.idle.push_back(std::move(lease));
}

void Pool::retire(std::string_view partition) {
    for (auto& [name, origin] : origins_)
        origin.count -= std::erase_if(
            origin.idle, [partition](const Lease& lease) { return lease.partition == partition; });
    for (auto* exchange = first_; exchange; exchange = exchange->next_)
        if (exchange->lease_.partition == partition) exchange->reusable_ = false;
}

std::size_t Pool::idle_connections() const {
    std::size_t idle = 0;
    for (const auto& [name, origin] : origins_) idle += origin.idle.size();
    return idle;
}

void Pool::sweep() {
    const auto now = worker_.now();
    for (auto at = origins_.begin(); at != origins_.end();) {
        auto& origin = at->second;
        origin.count -= std::erase_if(origin.idle, [now](const Lease& lease) {
            return lease.usable_until <= now || lease.connection->looks_stale();
        });
        at = origin.count == 0 ? origins_.erase(at) : std::next(at);
    }
}

std::unique_ptr<ResponseParser> Pool::take_parser() {
    if (parsers_.empty())
        return std::make_unique<ResponseParser>(
            ResponseParser::Limits{limits_.header_bytes, limits_.header_fields});
    auto parser = std::move(parsers_.back());
    parsers_.pop_back();
    return parser;
}

void Pool::give_back(std::unique_ptr<ResponseParser> parser) {
    if (parsers_.size() < kSpareParsers) parsers_.push_back(std::move(parser));
}

Exchange::Exchange(Pool& pool, const SendOptions& options, ResponseParser::Body body)
    : worker_(pool.worker()), pool_(&pool), parser_(pool.take_parser()), idle_limit_(options.head_timeout) {
    parser_->start(body);
    pool.link(*this);
}

Exchange::~Exchange() {
    if (myself_) *myself_ = nullptr;
    if (dialing_) dialing_->give_up();
    discard();
    if (!buffer_.empty()) worker_.give_back(std::move(buffer_));
    if (!pool_) return;
    pool_->unlink(*this);
    pool_->give_back(std::move(parser_));
}

void Exchange::discard() {
    lease_.connection.reset();
    if (pool_ && origin_) pool_->drop(*origin_);
    origin_ = nullptr;
}

void Exchange::cancel() {
    if (settled_) return;
    cancelled_ = true;
    if (lease_.connection) lease_.connection->close();
    if (dialing_) dialing_->give_up();
}

std::function<void()> Exchange::canceller() {
    if (!myself_) myself_ = std::make_shared<Exchange*>(this);
    return [myself = myself_] {
        if (*myself) (*myself)->cancel();
    };
}

bool Exchange::reuse(const Origin& origin, const SendOptions& options) {
    if (cancelled_) return false;
    auto& connections = pool_->connections_to(origin);
    auto lease = pool_->reuse(connections, options);
    reused_ = lease.has_value();
    if (!lease) return false;
    lease_ = std::move(*lease);
    origin_ = &connections;
    return true;
}

awaitable<base::Status> Exchange::connect(const Origin& origin, const SendOptions& options) {
    if (cancelled_) co_return fail(cancelled_error());
    auto& connections = pool_->connections_to(origin);
    if (!pool_->reserve(connections))
        co_return fail(upstream_error(
            "upstream.busy", "Too many calls to this upstream server are under way; nothing was sent to it.",
            "Try again in a moment."));
    origin_ = &connections;
    lease_.partition = options.partition;  // already now, for retire()
    if (origin.tls && !pool_->tls())
        co_return fail(upstream_error("upstream.tls",
                                      "The upstream server cannot be verified; nothing was sent to it.", {},
                                      "this pool has no certificate authorities"));

    const auto deadline = steady_clock::now() + pool_->limits().connect;
    dialing_ = std::make_shared<Dialing>(worker_.context());
    if (auto resolved = co_await resolve(origin, deadline); !resolved)
        co_return fail(std::move(resolved).error());
    auto& endpoints = dialing_->endpoints;
    if (options.private_addresses == PrivateAddresses::refuse) {
        std::erase_if(endpoints, [](const tcp::endpoint& endpoint) {
            return is_private_address(numeric(endpoint.address()));
        });
        if (endpoints.empty())
            co_return fail(
                {base::ErrorKind::denied, "network.private_address",
                 "The upstream server has a private network address, and those are not allowed here.",
                 "If that server is meant, ask the operator to allow private addresses for it.",
                 origin.authority() + " has private addresses only"});
    }
    if (endpoints.size() > kAddressesTried) endpoints.resize(kAddressesTried);
    if (auto dialed = co_await dial(deadline); !dialed) co_return fail(std::move(dialed).error());

    ErrorCode gone;
    const auto peer = dialing_->socket.remote_endpoint(gone);
    lease_.private_address = gone || is_private_address(numeric(peer.address()));
    lease_.connection =
        std::make_unique<Connection>(worker_, Connection::Socket(std::move(dialing_->socket)));
    dialing_.reset();
    if (!origin.tls) co_return base::Status{};

    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
    lease_.connection->expires_after(std::max(left, 1ms));
    auto secured = co_await lease_.connection->handshake(pool_->tls()->connect(origin.host));
    if (cancelled_) co_return fail(cancelled_error());
    if (secured) co_return base::Status{};
    if (secured.error().code == "tls.timed_out")
        co_return fail(unreachable("the TLS handshake took too long"));
    co_return fail(upstream_error(
        "upstream.tls", "No trusted connection to the upstream server could be made; nothing was sent to it.",
        "Ask the operator to check the server's certificate and the trusted authorities.",
        secured.error().message + (secured.error().detail.empty() ? "" : " " + secured.error().detail)));
}

awaitable<base::Status> Exchange::resolve(const Origin& origin, steady_clock::time_point deadline) {
    const auto dialing = dialing_;
    if (const auto address = parse_numeric_address(origin.host)) {
        dialing->endpoints.emplace_back(asio_address(*address), origin.port);
        co_return base::Status{};
    }
    // The alarm is what we wait for: a lookup cannot be interrupted, but nobody has to wait for its end.
    dialing->alarm.expires_at(deadline);
    dialing->resolver.async_resolve(origin.host, std::to_string(origin.port), Resolver::numeric_service,
                                    [dialing](const ErrorCode& error, const Resolver::results_type& results) {
                                        dialing->resolved = true;
                                        dialing->resolve_error = error;
                                        for (const auto& result : results)
                                            dialing->endpoints.push_back(result.endpoint());
                                        dialing->alarm.cancel();
                                    });
    co_await dialing->alarm.async_wait(as_result);
    if (cancelled_) co_return std::unexpected(cancelled_error());
    if (!dialing->resolved)
        co_return std::unexpected(unreachable("looking up " + origin.host + " took too long"));
    if (dialing->resolve_error || dialing->endpoints.empty())
        co_return std::unexpected(
            unreachable("looking up " + origin.host + ": " + dialing->resolve_error.message()));
    co_return base::Status{};
}

awaitable<base::Status> Exchange::dial(steady_clock::time_point deadline) {
    const auto dialing = dialing_;
    std::string detail;
    const auto count = dialing->endpoints.size();
    for (std::size_t i = 0; i < count; ++i) {
        const auto& endpoint = dialing->endpoints[i];
        const auto now = steady_clock::now();
        if (now >= deadline) break;
        ErrorCode failed;
        dialing->socket = TcpSocket(worker_.context().get_executor());
        dialing->socket.open(endpoint.protocol(), failed);
        if (!failed) {
            // An equal share for every address that is left, so that one dead address does not use up all the
            // time.
            dialing->alarm.expires_after((deadline - now) / (count - i));
            dialing->alarm.async_wait([dialing, attempt = ++dialing->attempt](const ErrorCode& error) {
                if (error || attempt != dialing->attempt) return;
                ErrorCode ignored;
                dialing->socket.close(ignored);
            });
            auto connected = co_await dialing->socket.async_connect(endpoint, as_result);
            ++dialing->attempt;
            dialing->alarm.cancel();
            failed = std::get<0>(connected);
        }
        if (cancelled_) co_return std::unexpected(cancelled_error());
        if (!failed && dialing->socket.is_open()) co_return base::Status{};
        detail += (detail.empty() ? "" : "; ") + endpoint.address().to_string() + " port " +
                  std::to_string(endpoint.port()) + ": " +
                  (failed == asio::error::operation_aborted || !failed ? "took too long" : failed.message());
    }
    co_return std::unexpected(unreachable(detail.empty() ? "connecting took too long" : detail));
}

std::unexpected<base::Error> Exchange::fail(base::Error error) {
    error_ = error;
    body_ = {};
    dialing_.reset();
    discard();
    return std::unexpected(std::move(error));
}

std::unexpected<base::Error> Exchange::fail(Io io) {
    if (cancelled_) return fail(cancelled_error());
    if (io == Io::timed_out) return fail(timeout_error());
    const auto* place = parser_->head_complete() ? "in the body"
                        : parser_->begun()       ? "in the head"
                                                 : "before the answer";
    return fail(closed_error(std::string(io == Io::closed ? "closed " : "broken ") + place));
}

void Exchange::release_buffer() {
    if (buffer_.empty()) return;
    worker_.give_back(std::exchange(buffer_, {}));
}

std::span<char> Exchange::room() {
    auto bytes = buffer_.size();
    if (bytes == 0) {
        buffer_ = worker_.take_buffer();
        bytes = std::max<std::size_t>(buffer_.capacity(), 16 * 1024);
    }
    if (read_at_once_) bytes = std::max(bytes, kStreamBufferBytes);
    if (filled_ == bytes) bytes *= 2;  // a head in progress; the parser's limits end this
    if (bytes != buffer_.size())
        buffer_.resize_and_overwrite(bytes, [](char*, std::size_t size) { return size; });
    return std::span(buffer_).subspan(filled_);
}

awaitable<base::Status> Exchange::receive() {
    if (parsed_ > 0) {
        std::memmove(buffer_.data(), buffer_.data() + parsed_, filled_ - parsed_);
        filled_ -= parsed_;
        parsed_ = 0;
    }
    auto& connection = *lease_.connection;
    if (filled_ == 0 && !read_at_once_) {
        release_buffer();  // ten thousand silent streams hold no memory for what may come
        const auto readable = co_await connection.wait_readable();
        if (cancelled_ || readable != Io::ok) co_return fail(readable);
    }
    const auto space = room();
    auto got = connection.read_now(space);
    if (!got) got = co_await connection.read_some(space);
    if (cancelled_) co_return fail(Io::closed);
    if (got->io == Io::ok) {
        filled_ += got->bytes;
        read_at_once_ = got->bytes == space.size();
        const auto fed = parser_->feed(std::span(buffer_).first(filled_));
        parsed_ = fed.consumed;
        body_ = fed.body;
        if (!parser_->fault().empty()) co_return fail(invalid_error(parser_->fault()));
    } else if (got->io == Io::closed) {
        parser_->end_of_stream();
        if (!parser_->complete()) co_return fail(Io::closed);
    } else {
        co_return fail(got->io);
    }
    if (parser_->complete()) settle();
    co_return base::Status{};
}

awaitable<base::Status> Exchange::receive_head() {
    while (!parser_->head_complete()) {
        auto received = co_await receive();
        if (!received) co_return received;
    }
    co_return base::Status{};
}

void Exchange::settle() {
    settled_ = true;
    if (!pool_) return discard();
    // Bytes behind the end belong to no request of ours: whoever reads them next would be deceived.
    const bool clean = reusable_ && parsed_ == filled_ && parser_->keep_alive() && lease_.connection->open();
    const auto rest = rest_allowed(parser_->head().headers, pool_->limits().idle_keep);
    if (!clean || rest <= 0ms) return discard();
    lease_.usable_until = worker_.now() + rest;
    pool_->rest(*std::exchange(origin_, nullptr), std::move(lease_));
}

void Exchange::idle_limit(std::chrono::milliseconds limit) {
    idle_limit_ = limit;
    if (lease_.connection) set_deadline();
}

void Exchange::set_deadline() {
    if (idle_limit_ == 0ms)
        lease_.connection->expires_never();
    else
        lease_.connection->expires_after(idle_limit_);
}

awaitable<base::Result<std::string_view>> Exchange::next() {
    for (;;) {
        if (!error_ && cancelled_) co_return fail(cancelled_error());
        if (error_) co_return std::unexpected(*error_);
        if (!body_.empty()) co_return std::exchange(body_, {});
        if (settled_) co_return std::string_view{};
        set_deadline();
        auto received = co_await receive();
        if (!received) co_return std::unexpected(std::move(received).error());
    }
}

}  // namespace

std::string Origin::authority() const {
    std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
    if (port != (tls ? 443 : 80)) text += ":" + std::to_string(port);
    return text;
}

OutboundHead::OutboundHead(Worker& worker) : worker_(worker) {}

OutboundHead::~OutboundHead() {
    wipe();
    if (!bytes_.empty()) worker_.give_back(std::move(bytes_));
}

void OutboundHead::wipe() {
    crypto::wipe(std::span<char>(bytes_));
    usable_ = false;
}

void OutboundHead::append(std::string_view piece) {
    if (bytes_.size() + piece.size() > bytes_.capacity()) {
        // By hand, because std::string would leave the old bytes behind in freed memory.
        std::string larger;
        larger.reserve(std::max(bytes_.capacity() * 2, bytes_.size() + piece.size()));
        larger = std::string_view(bytes_);
        crypto::wipe(std::span<char>(bytes_));
        bytes_ = std::move(larger);
    }
    bytes_ += piece;
}

void OutboundHead::begin(std::string_view method, std::string_view target, const Origin& origin) {
    wipe();
    if (bytes_.empty()) bytes_ = worker_.take_buffer();
    bytes_.clear();
    usable_ = is_token(method) && is_visible(target, "#") && is_visible(origin.host, "/\\?#@[]");
    append(method);
    append(" ");
    append(target);
    append(" HTTP/1.1\r\nHost: ");
    append(origin.authority());
    append("\r\n");
}

bool OutboundHead::add(std::string_view name, std::string_view value) { return add(name, {}, value); }

bool OutboundHead::add(std::string_view name, std::string_view scheme, std::string_view value) {
    if (!usable_ || !is_token(name) || is_ours_to_write(name) || !is_field_text(scheme) ||
        !is_field_text(value))
        return false;
    append(name);
    append(": ");
    append(scheme);
    append(value);
    append("\r\n");
    return true;
}

struct ClientPool::State {
    std::shared_ptr<Pool> pool;  // owned here alone; the worker's sweep looks whether it is still there
};

ClientPool::ClientPool(Worker& worker, ClientLimits limits, std::shared_ptr<TlsClient> tls)
    : state_(std::make_unique<State>(std::make_shared<Pool>(worker, limits, std::move(tls)))) {
    worker.every(1s, [weak = std::weak_ptr(state_->pool)] {
        if (const auto pool = weak.lock()) pool->sweep();
    });
}

ClientPool::~ClientPool() = default;

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
    const std::string_view request = head.bytes_;
    const auto method = request.substr(0, request.find(' '));
    const auto framing = method == "HEAD" ? ResponseParser::Body::none : ResponseParser::Body::as_framed;
    if (!body.empty() || method == "POST" || method == "PUT" || method == "PATCH") {
        std::array<char, 20> digits;
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), body.size()).ptr;
        head.append("Content-Length: ");
        head.append({digits.data(), static_cast<std::size_t>(end - digits.data())});
        head.append("\r\n");
    }
    head.append("\r\n");
    if (body.size() <= kJoinedBodyBytes) head.append(std::exchange(body, {}));

    auto exchange = std::make_unique<Exchange>(*state_->pool, options, framing);
    if (options.on_cancellable) options.on_cancellable(exchange->canceller());

    Io written = Io::ok;
    for (;;) {
        if (!exchange->reuse(origin, options)) {
            auto connected = co_await exchange->connect(origin, options);
            if (!connected) co_return std::unexpected(std::move(connected).error());
        }
        auto& connection = exchange->connection();
        connection.expires_after(options.head_timeout);
        std::string_view rest = head.bytes_;
        written = connection.write_now(rest);
        if (written != Io::ok && rest.size() == head.bytes_.size() && exchange->reused()) {
            exchange->discard();  // the peer had closed it, and none of this request has left
            continue;
        }
        if (written == Io::ok && !rest.empty()) written = co_await connection.write_all(rest);
        head.wipe();
        if (written == Io::ok && !body.empty()) written = co_await connection.write_all(body);
        break;
    }
    // A server may refuse a long request before it has read all of it: its answer counts more than the failed
    // write.
    if (written != Io::ok) exchange->write_failed();

    auto received = co_await exchange->receive_head();
    if (!received) co_return std::unexpected(std::move(received).error());
    co_return std::unique_ptr<Answer>(std::move(exchange));
}

void ClientPool::retire(std::string_view partition) { state_->pool->retire(partition); }
std::size_t ClientPool::idle_connections() const { return state_->pool->idle_connections(); }

}  // namespace claviger::net
