#include "notify/webhook_carrier.h"

#include "notify/signing.h"
#include "policy/server_url.h"

#include <algorithm>
#include <charconv>

namespace claviger::notify {
namespace {

using std::chrono::steady_clock;

std::int64_t unix_seconds(base::Time time) {
    return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

/// The newest secret's signature, and while it is being replaced the former one's as well.
base::Result<std::string> signatures(const vault::KeyRing& keys, const vault::WebhookEndpoint& endpoint,
                                     const Signed& what, base::Time now) {
    const auto secret = open_signing_secret(keys, endpoint.id, endpoint.secret);
    if (!secret) return std::unexpected(secret.error());
    auto value = sign(*secret, what);
    if (!value || !endpoint.previous_until || *endpoint.previous_until <= now) return value;
    const auto former = open_signing_secret(keys, endpoint.id, endpoint.previous_secret);
    if (!former) return std::unexpected(former.error());
    const auto second = sign(*former, what);
    if (!second) return second;
    return *value + " " + *second;
}

std::optional<std::chrono::seconds> retry_after(const net::Headers& headers) {
    const auto text = headers.find("Retry-After");
    std::uint32_t seconds = 0;
    if (!text || text->empty()) return std::nullopt;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), seconds);
    if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
    return std::chrono::seconds(seconds);
}

Delivery failed(base::Error error, steady_clock::time_point started) {
    return {.error = std::move(error),
            .took = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - started)};
}

bool add_headers(net::OutboundHead& head, std::string_view event_id, std::string_view stamp,
                 std::string_view signature) {
    return head.add("Content-Type", "application/json") &&
           head.add("User-Agent", "claviger/" CLAVIGER_VERSION) && head.add("Accept", "*/*") &&
           head.add("webhook-id", event_id) && head.add("webhook-timestamp", stamp) &&
           head.add("webhook-signature", signature);
}

/// Why the endpoint is not to be called again, or nothing.
std::string_view disabling(const Attempt& attempt, Fate fate, const vault::WebhookEndpoint& endpoint,
                           const vault::OutboxItem& item) {
    if (attempt.status >= 300 && attempt.status < 400) return kDisabledByRedirect;
    if (attempt.status == 410) return kDisabledByGone;
    if (attempt.reason == "network.private_address") return kDisabledByAddress;
    const bool nothing_since = !endpoint.last_delivered || *endpoint.last_delivered < item.created;
    return fate == Fate::given_up && nothing_since ? kDisabledByFailure : std::string_view();
}

}  // namespace

base::Status check_endpoint_url(std::string_view url, const DeliverySettings& settings) {
    const auto parsed = policy::parse_server_url(url);
    if (!parsed)
        return base::failure(base::ErrorKind::invalid_request, "webhook.url",
                             "must be the https URL that events are sent to");
    const bool inside = settings.private_addresses == net::PrivateAddresses::allow;
    if (!parsed->tls && !inside)
        return base::failure(base::ErrorKind::invalid_request, "webhook.url",
                             "must begin with https://; webhooks.allow_private in the configuration admits "
                             "http");
    const bool private_host =
        parsed->host == "localhost" || parsed->host.ends_with(".localhost") ||
        (net::parse_numeric_address(parsed->host) && net::is_private_address(parsed->host));
    if (private_host && !inside)
        return base::failure(base::ErrorKind::invalid_request, "webhook.url",
                             "must not lead to a private address; webhooks.allow_private in the "
                             "configuration admits that");
    return {};
}

net::awaitable<Delivery> deliver(net::Worker& worker, net::ClientPool& pool, const vault::KeyRing& keys,
                                 const vault::WebhookEndpoint& endpoint, std::string_view event_id,
                                 std::string_view body, base::Time now, const DeliverySettings& settings) {
    const auto started = steady_clock::now();
    const auto url = policy::parse_server_url(endpoint.url);
    const auto stamp = unix_seconds(now);
    const auto signature = signatures(keys, endpoint, {event_id, stamp, body}, now);
    if (!signature) co_return failed(signature.error(), started);
    const auto allowed = check_endpoint_url(endpoint.url, settings);
    if (!allowed) co_return failed(allowed.error(), started);

    const net::Origin origin{url->tls, url->host, url->port};
    const auto stamp_text = std::to_string(stamp);
    net::OutboundHead head(worker);
    head.begin("POST", url->target, origin);
    if (!add_headers(head, event_id, stamp_text, *signature))
        co_return failed({base::ErrorKind::invalid_request, "upstream.request_invalid",
                          "The delivery cannot be written as a request."},
                         started);
    const net::SendOptions options{.partition = endpoint.id.text(),
                                   .private_addresses = settings.private_addresses,
                                   .head_timeout = settings.answer_timeout,
                                   .on_cancellable = {}};
    const auto answer = co_await pool.send(origin, head, body, options);
    if (!answer) co_return failed(answer.error(), started);
    Delivery delivery;
    delivery.status = (*answer)->head().status;
    delivery.retry_after = retry_after((*answer)->head().headers);
    delivery.took = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - started);
    co_return delivery;
}

net::awaitable<Attempt> WebhookCarrier::carry(vault::Ref<vault::OutboxItem> item) {
    using End = Attempt::End;
    const auto endpoint =
        records_.catalog().find<vault::WebhookEndpoint>(base::WebhookEndpointId{item->about});
    if (!endpoint || !endpoint->enabled) co_return Attempt{.end = End::dropped, .reason = "webhook.disabled"};
    const auto delivery = co_await deliver(worker_, pool_, records_.keys(), *endpoint, item->label,
                                           item->body, records_.clock().now(), settings_);
    Attempt attempt{.status = static_cast<std::uint16_t>(delivery.status),
                    .retry_after = delivery.retry_after,
                    .took = delivery.took};
    const bool never = (delivery.status >= 300 && delivery.status < 400) || delivery.status == 410 ||
                       delivery.error.code == "network.private_address";
    attempt.end = delivery.accepted() ? End::done : never ? End::dropped : End::again;
    if (delivery.status == 0)
        attempt.reason = delivery.error.code;
    else if (!delivery.accepted())
        attempt.reason = "webhook.refused";
    co_return attempt;
}

base::Status WebhookCarrier::settle(vault::Change& change, const vault::OutboxItem& item,
                                    const Attempt& attempt, Fate fate) {
    vault::LogEntry entry;
    entry.kind = vault::EntryKind::sink;
    entry.action = vault::Action::deliver;
    entry.verdict = fate == Fate::done ? vault::Verdict::allowed : vault::Verdict::denied;
    entry.reason = vault::reason_number(attempt.reason);
    entry.object = vault::ObjectKind::webhook_endpoint;
    entry.object_id = item.about;
    entry.status = attempt.status;
    entry.request_bytes = item.body.size();
    entry.duration_us = static_cast<std::uint64_t>(attempt.took.count());
    change.note(entry);

    const auto found = change.catalog().find<vault::WebhookEndpoint>(base::WebhookEndpointId{item.about});
    if (!found || attempt.reason == "webhook.disabled") return {};
    auto endpoint = *found;
    if (fate == Fate::done) {
        endpoint.last_delivered = change.now();
        endpoint.last_failure.clear();
    } else {
        endpoint.last_failed = change.now();
        endpoint.last_failure = attempt.status == 0 ? std::string(attempt.reason)
                                                    : "HTTP status " + std::to_string(attempt.status);
    }
    if (const auto why = disabling(attempt, fate, endpoint, item); endpoint.enabled && !why.empty()) {
        endpoint.enabled = false;
        endpoint.disabled_reason = why;
        endpoint.updated = change.now();
    }
    return change.store(std::move(endpoint));
}

}  // namespace claviger::notify
