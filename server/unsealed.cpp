#include "server/unsealed.h"

#include "admin/api/credentials.h"
#include "admin/api/reach.h"
#include "oauth/grant_notice.h"
#include "oauth/revocation.h"
#include "server/pinning.h"
#include "server/restored.h"
#include "server/seal_input.h"

#include <algorithm>
#include <utility>

namespace claviger::server {
namespace {

proxy::ProxySettings proxy_settings(const Config& config) {
    proxy::ProxySettings settings;
    settings.allowed_hosts = config.agents.allowed_hosts;
    settings.allowed_hosts.push_back(config.agents.address);
    settings.allowed_origins = config.allowed_origins;
    settings.private_upstreams =
        config.upstream_allow_private ? net::PrivateAddresses::allow : net::PrivateAddresses::refuse;
    settings.head_timeout = config.upstream_head;
    settings.stream_idle = config.upstream_stream_idle;
    settings.total = config.upstream_total;
    settings.abandoned = config.upstream_abandoned;
    settings.json_depth = config.limit_json_depth;
    return settings;
}

net::ClientLimits client_limits(const Config& config) {
    net::ClientLimits limits;
    limits.connect = config.upstream_connect;
    limits.connections_per_origin = config.upstream_connections;
    limits.idle_per_origin = config.upstream_idle_connections;
    return limits;
}

}  // namespace

notify::DeliverySettings delivery_settings(const Config& config) {
    return {.private_addresses =
                config.webhooks_allow_private ? net::PrivateAddresses::allow : net::PrivateAddresses::refuse};
}

base::Result<std::unique_ptr<Unsealed>> Unsealed::open(
    vault::StorageEngine& engine, const vault::SealInput& input, const Config& config,
    const std::vector<std::unique_ptr<net::Worker>>& workers, const base::Clock& clock,
    proxy::ProxyCounters& counters) {
    auto keys = vault::KeyRing::unseal(engine, input);
    if (!keys) return std::unexpected(std::move(keys).error());
    auto records = vault::Records::open(engine, std::move(*keys), clock);
    if (!records) return std::unexpected(std::move(records).error());
    auto tls = config.upstream_ca_file ? net::TlsClient::with_ca(*config.upstream_ca_file)
                                       : net::TlsClient::system_store();
    if (!tls) return std::unexpected(std::move(tls).error());

    auto unsealed = std::unique_ptr<Unsealed>(new Unsealed);
    unsealed->settings_ = proxy_settings(config);
    unsealed->records_ = std::move(*records);
    auto pinned = pin_log(*unsealed->records_, config.pin_dir);
    if (!pinned) return std::unexpected(std::move(pinned).error());
    unsealed->pin_ = std::move(pinned->pin);
    if (auto fenced = fence_if_restored(*unsealed->records_, config.data_dir, pinned->entries_before);
        !fenced)
        return std::unexpected(std::move(fenced).error());
    if (auto followed = pin_followed(*unsealed->records_); !followed)
        return std::unexpected(std::move(followed).error());
    for (const auto& worker : workers)
        unsealed->lanes_.push_back(std::make_unique<proxy::Lane>(
            *worker, *unsealed->records_, unsealed->settings_, *tls, client_limits(config)));
    unsealed->endpoint_ =
        std::make_unique<proxy::McpEndpoint>(unsealed->lanes_, unsealed->settings_, counters);
    if (auto opened = unsealed->open_journals(engine, config); !opened)
        return std::unexpected(std::move(opened).error());
    if (auto granted = unsealed->open_grants(config); !granted)
        return std::unexpected(std::move(granted).error());
    unsealed->open_outbox(config);
    return unsealed;
}

base::Status Unsealed::open_journals(vault::StorageEngine& engine, const Config& config) {
    auto journal = oauth::Journal::open(config.journal_dir(), engine, records_->keys());
    if (!journal) return std::unexpected(std::move(journal).error());
    journal_ = std::move(*journal);
    auto of_links = oauth::Journal::open(config.journal_dir() / "connect", engine, records_->keys());
    if (!of_links) return std::unexpected(std::move(of_links).error());
    auto connect_journal = oauth::ConnectJournal::open(std::move(*of_links));
    if (!connect_journal) return std::unexpected(std::move(connect_journal).error());
    connect_journal_ = std::move(*connect_journal);
    return {};
}

base::Status Unsealed::open_grants(const Config& config) {
    auto providers = config.providers_dir ? oauth::ProviderCatalog::with_folder(*config.providers_dir)
                                          : oauth::ProviderCatalog::built_in();
    if (!providers) return std::unexpected(std::move(providers).error());
    providers_ = std::move(*providers);
    std::vector<oauth::Refresher::Lane> lanes;
    for (const auto& lane : lanes_) lanes.push_back({lane->worker, lane->pool});
    oauth::GrantHooks hooks;
    hooks.reach = [allow = config.upstream_allow_private, &records = *records_](
                      const vault::Credential& credential, std::string_view url) {
        return allow ? net::PrivateAddresses::allow
                     : admin::api::reach_of(records.catalog(), credential, url);
    };
    hooks.tell = [](vault::Change& change, const vault::Credential& credential, const oauth::StoredGrant&,
                    const oauth::Transition& transition) {
        return oauth::post_notice(change, credential, transition);
    };
    hooks.revoke = oauth::revoke_strays;
    hooks_ = hooks;  // what is connected is told and revoked alike
    oauth::RefreshSettings settings;
    // Connecting, the answer's head, its body: an attempt is over before its lease is.
    settings.lease = config.upstream_connect + 2 * settings.request_timeout + std::chrono::seconds(5);
    open_key_rotations(config);
    grants_ = std::make_unique<oauth::Refresher>(*records_, *std::exchange(journal_, std::nullopt),
                                                 providers_, std::move(lanes), settings, std::move(hooks));
    for (const auto& lane : lanes_) lane->grants = grants_.get();
    return {};
}

void Unsealed::open_key_rotations(const Config& config) {
    vault::RotationSettings settings;
    if (config.pkcs11_module) settings.slots.token = [&config] { return token_input(config); };
    settings.slots.key_files = [&config] { return key_files(config); };
    settings.in_use = [journal = *journal_, &of_links = *connect_journal_](const base::VaultId& vault,
                                                                           std::uint64_t generation) {
        auto used = journal.uses(vault, generation);
        return used && !*used ? of_links.uses(vault, generation) : std::move(used);
    };
    key_rotations_ = std::make_unique<vault::KeyRotations>(*records_, std::move(settings));
}

void Unsealed::open_outbox(const Config& config) {
    auto& lane = *lanes_.front();
    webhooks_ = std::make_unique<notify::WebhookCarrier>(lane.worker, lane.pool, *records_,
                                                         delivery_settings(config));
    revocations_ = std::make_unique<oauth::RevocationCarrier>(lane.worker, lane.pool, *records_, providers_,
                                                              hooks_.reach);
    outbox_ = std::make_unique<notify::Outbox>(
        lane.worker, *records_,
        notify::Outbox::Carriers{{vault::OutboxKind::webhook, webhooks_.get()},
                                 {vault::OutboxKind::revocation, revocations_.get()}});
    rotations_ = std::make_unique<admin::api::RotationUpkeep>(lane.worker, *records_);
}

base::Status Unsealed::begin_service() {
    if (auto started = grants_->start(); !started) return started;
    outbox_->start();
    connect_upkeep_->start();
    rotations_->start();
    key_rotations_->start();
    return {};
}

const oauth::ConnectWorld& Unsealed::open_connect(std::string public_url) {
    while (public_url.ends_with('/')) public_url.pop_back();
    connect_ = std::make_unique<oauth::ConnectWorld>(oauth::ConnectWorld{.records = *records_,
                                                                         .providers = providers_,
                                                                         .own = {std::move(public_url)},
                                                                         .check_room = admin::api::check_room,
                                                                         .hooks = hooks_,
                                                                         .grants = grants_.get(),
                                                                         .journal = connect_journal_.get()});
    auto& lane = *lanes_.front();
    connect_upkeep_ = std::make_unique<oauth::ConnectUpkeep>(
        *connect_, lane.worker, [&world = *connect_, &lane](const vault::ConnectFlow& flow) {
            return oauth::outbound_of(world, lane.worker, lane.pool, flow);
        });
    return *connect_;
}

net::ClientPool& Unsealed::pool_of(const net::Worker& worker) {
    return (*std::ranges::find_if(lanes_, [&](const auto& lane) { return &lane->worker == &worker; }))->pool;
}

void Unsealed::note(vault::Action action) {
    vault::LogEntry entry{.kind = vault::EntryKind::seal};
    entry.action = action;
    entry.verdict = vault::Verdict::allowed;
    entry.object = vault::ObjectKind::instance;
    entry.object_id = records_->keys().instance();
    records_->ledger().append(entry, {}, nullptr);
}

}  // namespace claviger::server
