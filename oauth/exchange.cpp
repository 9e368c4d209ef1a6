#include "oauth/exchange.h"

#include "base/bytes.h"
#include "net/wiping.h"
#include "oauth/web_url.h"

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

/// Whether the request may have reached somebody, by why there is no answer.
Delivery delivery_of(std::string_view code) {
    const bool went_nowhere = code == "upstream.unreachable" || code == "upstream.tls" ||
                              code == "upstream.busy" || code == "upstream.request_invalid" ||
                              code == "network.private_address";
    return went_nowhere ? Delivery::not_sent : Delivery::no_answer;
}

bool add_headers(net::OutboundHead& head, const ExchangeRequest& request) {
    bool good = head.add("Accept", request.accept) && head.add("User-Agent", "claviger/" CLAVIGER_VERSION);
    for (const auto& [name, value] : request.headers) good = good && head.add(name, value);
    if (request.payload == nullptr) return good;
    good = good && head.add("Content-Type", request.payload->content_type);
    for (const auto& header : request.payload->headers) {
        if (header.name == "Accept") continue;  // what the request says counts, and is said once
        good = good && header.value.expose([&](std::span<const std::byte> value) {
            return head.add(header.name, base::as_view(value));
        });
    }
    return good;
}

/// Reads to the end, the limit or the deadline.
net::awaitable<void> read_body(net::Worker& worker, net::Answer& answer,
                               std::chrono::steady_clock::time_point deadline, std::size_t limit,
                               ExchangeAnswer& out) {
    out.delivery = Delivery::truncated;
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - worker.now());
        answer.idle_limit(std::max(left, std::chrono::milliseconds(1)));  // zero would be no limit
        auto part = co_await answer.next();
        if (!part) {
            out.error = std::move(part).error();
            co_return;
        }
        if (part->empty()) break;
        if (out.body.size() + part->size() > limit) {
            out.error = {base::ErrorKind::unavailable, "answer.too_long",
                         "The answer is longer, or took longer, than it may."};
            co_return;
        }
        net::append_wiping(out.body, *part);
    }
    out.delivery = Delivery::complete;
}

}  // namespace

ExchangeAnswer& ExchangeAnswer::operator=(ExchangeAnswer&& other) noexcept {
    std::swap(body, other.body);  // so that what was here is wiped with `other`
    std::swap(headers, other.headers);
    delivery = other.delivery;
    error = std::move(other.error);
    status = other.status;
    sent_at = other.sent_at;
    came_at = other.came_at;
    return *this;
}

ExchangeAnswer::~ExchangeAnswer() {
    crypto::wipe(std::span<char>(body));
    headers.clear();
}

TokenAnswer ExchangeAnswer::token_answer() const {
    return {.delivery = delivery,
            .status = status,
            .content_type = header("Content-Type"),
            .retry_after = header("Retry-After"),
            .body = body,
            .now = came_at};
}

net::awaitable<ExchangeAnswer> exchange(net::Worker& worker, net::ClientPool& pool, const base::Clock& clock,
                                        const ExchangeRequest& request) {
    ExchangeAnswer out;
    const auto url = parse_web_url(request.url);
    net::OutboundHead head(worker);
    bool usable = url.has_value();
    net::Origin origin;
    if (usable) {
        origin = {url->tls, url->host, url->port};
        head.begin(request.method, url->target(), origin);
        usable = add_headers(head, request);
    }
    if (!usable) {
        out.error = {base::ErrorKind::invalid_request, "upstream.request_invalid",
                     "The address or a header of the request cannot be sent."};
        out.sent_at = out.came_at = clock.now();
        co_return out;
    }
    // A body that is exposed must not move while it is sent, so it is borrowed for as long as that takes.
    std::string partition(request.partition);
    const auto* identity = request.payload != nullptr ? request.payload->certificate.get() : nullptr;
    if (identity != nullptr) partition += " as " + identity->fingerprint();
    const net::SendOptions options{.partition = std::move(partition),
                                   .private_addresses = request.private_addresses,
                                   .identity = identity,
                                   .head_timeout = request.timeout,
                                   .on_cancellable = {}};
    std::string_view body;
    if (request.payload != nullptr)
        request.payload->body.expose([&](std::span<const std::byte> bytes) { body = base::as_view(bytes); });
    out.sent_at = clock.now();
    auto answer = co_await pool.send(origin, head, body, options);
    if (!answer) {
        out.delivery = delivery_of(answer.error().code);
        out.error = std::move(answer).error();
    } else {
        out.status = (*answer)->head().status;
        out.headers = (*answer)->head().headers;
        co_await read_body(worker, **answer, worker.now() + request.timeout, request.body_limit, out);
    }
    out.came_at = clock.now();
    co_return out;
}

}  // namespace claviger::oauth
