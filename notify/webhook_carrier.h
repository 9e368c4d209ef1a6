// Deliveries to webhook endpoints: signed, guarded against the inside of the network, never redirected.
#pragma once

#include "net/client.h"
#include "notify/outbox.h"
#include "vault/records.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::notify {

struct DeliverySettings {
    net::PrivateAddresses private_addresses = net::PrivateAddresses::refuse;  // refuse: https alone, too
    std::chrono::milliseconds answer_timeout{15'000};  // from the last byte sent to the answer's status
};

/// What came of one POST to an endpoint.
struct Delivery {
    unsigned status = 0;     // 0: there was no answer
    base::Error error = {};  // why not
    std::optional<std::chrono::seconds> retry_after = {};
    std::chrono::microseconds took{0};

    bool accepted() const { return status >= 200 && status < 300; }
};

/// Signs and sends. Any 2xx accepts; the answer's body is not read. `now` is webhook-timestamp. On the pool's
/// worker; everything borrowed lives until it returns.
net::awaitable<Delivery> deliver(net::Worker& worker, net::ClientPool& pool, const vault::KeyRing& keys,
                                 const vault::WebhookEndpoint& endpoint, std::string_view event_id,
                                 std::string_view body, base::Time now, const DeliverySettings& settings);

/// The URL that an endpoint may have: https, or http where private addresses are allowed. Errors:
/// invalid_request "webhook.url".
base::Status check_endpoint_url(std::string_view url, const DeliverySettings& settings);

/// Why an endpoint is disabled without anybody asking for it, as its disabled_reason says.
inline constexpr std::string_view kDisabledByRedirect =
    "auto-disabled: endpoint URL returned a redirect (3xx)";
inline constexpr std::string_view kDisabledByGone = "auto-disabled: endpoint URL returned 410 Gone";
inline constexpr std::string_view kDisabledByAddress =
    "auto-disabled: endpoint URL resolved to a non-public address";
inline constexpr std::string_view kDisabledByFailure = "auto-disabled: no delivery was accepted for 24 hours";

class WebhookCarrier final : public Carrier {
public:
    /// On the pool's worker. Everything is borrowed.
    WebhookCarrier(net::Worker& worker, net::ClientPool& pool, const vault::Records& records,
                   DeliverySettings settings)
        : worker_(worker), pool_(pool), records_(records), settings_(settings) {}

    net::awaitable<Attempt> carry(vault::Ref<vault::OutboxItem> item) override;
    base::Status settle(vault::Change& change, const vault::OutboxItem& item, const Attempt& attempt,
                        Fate fate) override;

private:
    net::Worker& worker_;
    net::ClientPool& pool_;
    const vault::Records& records_;
    DeliverySettings settings_;
};

}  // namespace claviger::notify
