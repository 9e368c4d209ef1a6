// Everything that exists only while the store is unsealed: the records, and a lane of the proxy on every
// worker.
#pragma once

#include "admin/api/rotation_upkeep.h"
#include "base/clock.h"
#include "net/worker.h"
#include "notify/outbox.h"
#include "notify/webhook_carrier.h"
#include "oauth/connect_journal.h"
#include "oauth/connect_upkeep.h"
#include "oauth/refresher.h"
#include "oauth/revocation_carrier.h"
#include "proxy/mcp_endpoint.h"
#include "server/config.h"
#include "vault/key_rotations.h"
#include "vault/log_pin.h"
#include "vault/records.h"

#include <memory>
#include <optional>
#include <vector>

namespace claviger::server {

class Unsealed {
public:
    /// Opens the slot, verifies and loads the store, prepares the lanes. Blocks and burns CPU: never on a
    /// worker.
    static base::Result<std::unique_ptr<Unsealed>> open(
        vault::StorageEngine& engine, const vault::SealInput& input, const Config& config,
        const std::vector<std::unique_ptr<net::Worker>>& workers, const base::Clock& clock,
        proxy::ProxyCounters& counters);

    vault::Records& records() { return *records_; }
    const vault::LogPin* pin() const { return pin_.get(); }
    const proxy::McpEndpoint& endpoint() const { return *endpoint_; }
    /// The upstream connections of a worker, for probes by the admin API.
    net::ClientPool& pool_of(const net::Worker& worker);
    oauth::Refresher& grants() { return *grants_; }
    /// What is told and revoked elsewhere.
    notify::Outbox& outbox() { return *outbox_; }
    /// What connects accounts; people's browsers find this Claviger at `public_url`. Once.
    const oauth::ConnectWorld& open_connect(std::string public_url);
    /// From here on grants are refreshed, what is to be told or revoked elsewhere leaves, devices are polled,
    /// keys are rotated.
    /// Once, after open_connect(). A fenced store does without until it is released: what it holds may be
    /// long out of date, and its twin may still be at work.
    base::Status begin_service();
    /// What carries out rotations of keys.
    vault::KeyRotations& key_rotations() { return *key_rotations_; }
    oauth::ConnectUpkeep& connect_upkeep() { return *connect_upkeep_; }
    /// Puts an event of the process itself on record.
    void note(vault::Action action);

private:
    Unsealed() = default;
    base::Status open_journals(vault::StorageEngine& engine, const Config& config);
    base::Status open_grants(const Config& config);
    void open_outbox(const Config& config);
    void open_key_rotations(const Config& config);
    proxy::ProxySettings settings_;
    std::unique_ptr<vault::LogPin> pin_;  // null: the config names no folder
    std::unique_ptr<vault::Records> records_;
    std::vector<std::unique_ptr<proxy::Lane>> lanes_;
    std::unique_ptr<proxy::McpEndpoint> endpoint_;
    oauth::ProviderCatalog providers_ = oauth::ProviderCatalog::built_in();
    oauth::GrantHooks hooks_;
    std::optional<oauth::Journal> journal_;     // until the grants have it
    std::unique_ptr<oauth::Refresher> grants_;  // its attempts use all of the above
    std::unique_ptr<notify::WebhookCarrier> webhooks_;
    std::unique_ptr<oauth::RevocationCarrier> revocations_;
    std::unique_ptr<notify::Outbox> outbox_;
    std::unique_ptr<admin::api::RotationUpkeep> rotations_;
    std::unique_ptr<oauth::ConnectJournal> connect_journal_;
    std::unique_ptr<oauth::ConnectWorld> connect_;
    std::unique_ptr<vault::KeyRotations> key_rotations_;
    std::unique_ptr<oauth::ConnectUpkeep> connect_upkeep_;
};

/// What webhook endpoints may be.
notify::DeliverySettings delivery_settings(const Config& config);

}  // namespace claviger::server
