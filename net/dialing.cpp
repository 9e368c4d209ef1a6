#include "net/dialing.h"

#include "net/upstream_error.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace claviger::net {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using tcp = asio::ip::tcp;
using Timer = asio::basic_waitable_timer<steady_clock, asio::wait_traits<steady_clock>, Executor>;
using ErrorCode = boost::system::error_code;

constexpr auto as_result = asio::as_tuple(asio::use_awaitable_t<Executor>{});
constexpr std::size_t kAddressesTried = 8;

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

}  // namespace

struct Dialing::Pending {
    explicit Pending(const Executor& executor) : socket(executor), alarm(executor) {}

    void give_up() {
        ErrorCode ignored;
        alarm.cancel();
        socket.close(ignored);
    }

    asio::basic_stream_socket<tcp, Executor> socket;
    Timer alarm;
    std::size_t attempt = 0;  // counts up; an alarm set for an earlier one is void
    std::optional<NameLookup::Found> found;
    std::vector<tcp::endpoint> endpoints;
};

Dialing::Dialing(Worker& worker, NameLookup& names, const Origin& origin, PrivateAddresses private_addresses,
                 const TlsClient* tls, const TlsIdentity* identity)
    : worker_(worker),
      names_(names),
      origin_(origin),
      private_addresses_(private_addresses),
      tls_(tls),
      identity_(identity),
      pending_(std::make_shared<Pending>(worker.context().get_executor())) {}

Dialing::~Dialing() { pending_->give_up(); }

void Dialing::cancel() {
    cancelled_ = true;
    pending_->give_up();
    if (securing_) securing_->close();
}

awaitable<base::Result<Dialed>> Dialing::run(std::chrono::milliseconds limit) {
    if (origin_.tls && !tls_)
        co_return upstream_failure(
            "upstream.tls", "The upstream server cannot be verified; nothing was sent to it.",
            "Ask the operator to configure certificate authorities.", "no certificate authorities");
    const auto deadline = steady_clock::now() + limit;
    if (auto resolved = co_await resolve(deadline); !resolved)
        co_return std::unexpected(std::move(resolved).error());
    auto& endpoints = pending_->endpoints;
    if (private_addresses_ == PrivateAddresses::refuse) {
        std::erase_if(endpoints, [](const tcp::endpoint& endpoint) {
            return is_private_address(numeric(endpoint.address()));
        });
        if (endpoints.empty())
            co_return base::failure(
                base::ErrorKind::denied, "network.private_address",
                "The upstream server has a private network address, and those are not allowed here.",
                "If that server is meant, ask the operator to allow private addresses for it.",
                origin_.authority() + " has private addresses only");
    }
    if (endpoints.size() > kAddressesTried) endpoints.resize(kAddressesTried);
    if (auto connected = co_await connect(deadline); !connected)
        co_return std::unexpected(std::move(connected).error());

    ErrorCode gone;
    const auto peer = pending_->socket.remote_endpoint(gone);
    Dialed dialed;
    dialed.private_address = gone || is_private_address(numeric(peer.address()));
    dialed.connection =
        std::make_unique<Connection>(worker_, Connection::Socket(std::move(pending_->socket)));
    if (origin_.tls) {
        securing_ = dialed.connection.get();
        auto secured = co_await secure(*dialed.connection, deadline);
        securing_ = nullptr;
        if (!secured) co_return std::unexpected(std::move(secured).error());
    }
    co_return dialed;
}

awaitable<base::Status> Dialing::resolve(Time deadline) {
    if (const auto address = parse_numeric_address(origin_.host)) {
        pending_->endpoints.emplace_back(asio_address(*address), origin_.port);
        co_return base::Status{};
    }
    // The alarm is what we wait for: a lookup cannot be interrupted, but nobody has to wait for its end.
    pending_->alarm.expires_at(deadline);
    names_.find(origin_.host, [pending = pending_](const NameLookup::Found& found) {
        pending->found = found;
        pending->alarm.cancel();
    });
    co_await pending_->alarm.async_wait(as_result);
    if (cancelled_) co_return cancelled_failure();
    const auto& found = pending_->found;
    if (!found) co_return unreachable_failure("looking up " + origin_.host + " took too long");
    if (found->addresses.empty())
        co_return unreachable_failure("looking up " + origin_.host + ": " + found->problem);
    for (const auto& address : found->addresses) pending_->endpoints.emplace_back(address, origin_.port);
    co_return base::Status{};
}

awaitable<base::Status> Dialing::connect(Time deadline) {
    auto& pending = *pending_;
    std::string detail;
    const auto count = pending.endpoints.size();
    for (std::size_t i = 0; i < count; ++i) {
        const auto& endpoint = pending.endpoints[i];
        const auto now = steady_clock::now();
        if (now >= deadline) break;
        ErrorCode failed;
        pending.socket = decltype(pending.socket)(worker_.context().get_executor());
        pending.socket.open(endpoint.protocol(), failed);
        if (!failed) {
            // An equal share for every address that is left, so that one dead address does not use up all the
            // time.
            pending.alarm.expires_after((deadline - now) / (count - i));
            pending.alarm.async_wait(
                [shared = pending_, attempt = ++pending.attempt](const ErrorCode& error) {
                    if (error || attempt != shared->attempt) return;
                    ErrorCode ignored;
                    shared->socket.close(ignored);
                });
            auto connected = co_await pending.socket.async_connect(endpoint, as_result);
            ++pending.attempt;
            pending.alarm.cancel();
            failed = std::get<0>(connected);
        }
        if (cancelled_) co_return cancelled_failure();
        if (!failed && pending.socket.is_open()) co_return base::Status{};
        const bool late = !failed || failed == asio::error::operation_aborted;
        detail += (detail.empty() ? "" : "; ") + endpoint.address().to_string() + " port " +
                  std::to_string(endpoint.port()) + ": " + (late ? "took too long" : failed.message());
    }
    co_return unreachable_failure(detail.empty() ? "connecting took too long" : std::move(detail));
}

awaitable<base::Status> Dialing::secure(Connection& connection, Time deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
    connection.expires_after(std::max(left, 1ms));
    auto secured = co_await connection.handshake(tls_->connect(origin_.host, identity_));
    if (cancelled_) co_return cancelled_failure();
    if (secured) co_return base::Status{};
    auto& error = secured.error();
    if (error.code == "tls.timed_out") co_return unreachable_failure("the TLS handshake took too long");
    co_return upstream_failure(
        "upstream.tls", "No trusted connection to the upstream server could be made; nothing was sent to it.",
        "Ask the operator to check the server's certificate and the trusted authorities.",
        error.message + (error.detail.empty() ? "" : " " + error.detail));
}

}  // namespace claviger::net
