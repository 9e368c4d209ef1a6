#include "server/unsealed.h"

#include <algorithm>

namespace claviger::server {
namespace {

proxy::ProxySettings proxy_settings(const Config& config) {
    proxy::ProxySettings settings;
    settings.allowed_hosts = config.agents.allowed_hosts;
    settings.allowed_hosts.push_back(config.agents.address);
    settings.allowed_origins = config.agents.allowed_origins;
    settings.private_upstreams =
        config.upstream_allow_private ? net::PrivateAddresses::allow : net::PrivateAddresses::refuse;
    settings.head_timeout = config.upstream_head;
    settings.stream_idle = config.upstream_stream_idle;
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
    for (const auto& worker : workers)
        unsealed->lanes_.push_back(std::make_unique<proxy::Lane>(
            *worker, *unsealed->records_, unsealed->settings_, *tls, client_limits(config)));
    unsealed->endpoint_ =
        std::make_unique<proxy::McpEndpoint>(unsealed->lanes_, unsealed->settings_, counters);
    return unsealed;
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
