#include "notify/event.h"

#include "base/log.h"
#include "crypto/random.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace claviger::notify {
namespace {

constexpr std::array<std::string_view, 34> kTypes{"vault.created",
                                                  "vault.archived",
                                                  "vault.deleted",
                                                  "vault_credential.created",
                                                  "vault_credential.archived",
                                                  "vault_credential.deleted",
                                                  "vault_credential.refresh_failed",
                                                  "vault_credential.rotated",
                                                  "vault_credential.rolled_back",
                                                  "vault_credential.rotation_due",
                                                  "session.status_terminated",
                                                  "session.updated",
                                                  "session.deleted",
                                                  "environment.created",
                                                  "environment.updated",
                                                  "environment.archived",
                                                  "environment.deleted",
                                                  "agent.created",
                                                  "agent.updated",
                                                  "agent.archived",
                                                  "agent.deleted",
                                                  "connection.ready",
                                                  "connection.connect_failed",
                                                  "connection.degraded",
                                                  "connection.recovered",
                                                  "connection.needs_reauth",
                                                  "connection.expiring",
                                                  "connection.scope_required",
                                                  "connection.suspended",
                                                  "connection.resumed",
                                                  "connection.deleted",
                                                  "connection.revocation_incomplete",
                                                  "client.needs_attention",
                                                  kTestEvent};

/// A store stands for an organization: its instance id in the shape the wire format knows.
std::string organization_id(const base::RawId& instance) {
    auto text = base::to_hex({reinterpret_cast<const char*>(instance.data()), instance.size()});
    for (const auto at : {20, 16, 12, 8}) text.insert(static_cast<std::size_t>(at), 1, '-');
    return text;
}

/// Whether another item may wait for the endpoint. Counting is left alone while there are few of all.
bool has_room(const vault::Catalog& catalog, const vault::WebhookEndpoint& endpoint) {
    if (catalog.count<vault::OutboxItem>() < kMostWaiting) return true;
    const auto waiting = catalog.page<vault::OutboxItem>(
        {.scope = endpoint.id.raw, .after = {}, .limit = kMostWaiting, .wanted = {}});
    return waiting.size() < kMostWaiting;
}

}  // namespace

std::span<const std::string_view> event_types() {
    return std::span(kTypes).first(kTypes.size() - 1);  // nobody subscribes to tests
}

bool is_event_type(std::string_view type) {
    const auto known = event_types();
    return std::ranges::find(known, type) != known.end();
}

std::string event_body(const base::RawId& instance, const base::WebhookEventId& id, base::Time created,
                       const Event& event) {
    nlohmann::ordered_json data{{"type", event.type}, {"id", event.id}};
    if (event.vault) data["vault_id"] = event.vault->text();
    data["organization_id"] = organization_id(instance);
    data["workspace_id"] = event.workspace.text();
    for (const auto& member : event.more)
        std::visit([&](const auto& value) { data[std::string(member.name)] = value; }, member.value);
    const nlohmann::ordered_json body{{"type", "event"},
                                      {"id", id.text()},
                                      {"created_at", base::to_rfc3339(created)},
                                      {"data", std::move(data)}};
    return body.dump();
}

base::Status post(vault::Change& change, const Event& event) {
    const auto listening = change.catalog().page<vault::WebhookEndpoint>(
        {.scope = event.workspace.raw,
         .after = {},
         .limit = ~std::size_t{0} >> 1,
         .wanted = [&](const vault::WebhookEndpoint& endpoint) {
             return endpoint.enabled && std::ranges::count(endpoint.enabled_events, event.type) != 0;
         }});
    if (listening.empty()) return {};
    const auto id = crypto::random_id<base::WebhookEventId>();
    const auto body = event_body(change.keys().instance(), id, change.now(), event);
    for (const auto& endpoint : listening) {
        if (!has_room(change.catalog(), *endpoint)) {
            base::log(base::LogLevel::warning, "webhook.outbox_full",
                      {{"endpoint", endpoint->id.text()}, {"event", id.text()}, {"type", event.type}});
            continue;
        }
        vault::OutboxItem item;
        item.id = crypto::random_id<base::OutboxItemId>();
        item.workspace = event.workspace;
        item.kind = vault::OutboxKind::webhook;
        item.about = endpoint->id.raw;
        item.label = id.text();
        item.body = body;
        item.next_attempt = change.now();
        if (auto stored = change.store(std::move(item)); !stored) return stored;
    }
    return {};
}

}  // namespace claviger::notify
