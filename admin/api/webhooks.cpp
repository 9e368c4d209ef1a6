#include "admin/api/webhooks.h"

#include "admin/api/fields.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "crypto/random.h"
#include "notify/event.h"
#include "notify/signing.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;
using vault::EntryKind;
using vault::ObjectKind;

constexpr std::size_t kMostEndpoints = 32, kMostEvents = 64;
constexpr TextLimits kName{0, 255}, kDescription{0, 1024, Lines::many}, kUrl{1, 2047}, kType{1, 64};
constexpr std::uint64_t kLongestOverlap = 7 * 86'400, kUsualOverlap = 86'400;

void note(vault::Change& change, EntryKind kind, Action action, const vault::WebhookEndpoint& endpoint) {
    change.note(kind, action, ObjectKind::webhook_endpoint, endpoint.id.raw);
}

Json shown_endpoint(const vault::WebhookEndpoint& endpoint) {
    return {{"id", endpoint.id.text()},
            {"type", "webhook_endpoint"},
            {"name", endpoint.name},
            {"description", endpoint.description},
            {"url", endpoint.url},
            {"enabled_events", endpoint.enabled_events},
            {"state", endpoint.enabled ? "enabled" : "disabled"},
            {"disabled_reason", endpoint.disabled_reason},
            {"last_delivered_at", shown(endpoint.last_delivered)},
            {"last_failed_at", shown(endpoint.last_failed)},
            {"last_failure", endpoint.last_failure.empty() ? Json(nullptr) : Json(endpoint.last_failure)},
            {"previous_secret_expires_at", shown(endpoint.previous_until)},
            {"created_at", shown(endpoint.created)},
            {"updated_at", shown(endpoint.updated)}};
}

void read_url(Fields& in, std::string& url, const ApiSettings& settings) {
    in.update("url", url, kUrl);
    if (const auto good = notify::check_endpoint_url(url, settings.webhooks); !good && in.has("url"))
        in.refuse("url", good.error());
}

void read_events(Fields& in, std::vector<std::string>& events) {
    auto given = in.texts("enabled_events", kMostEvents, kType);
    for (const auto& type : given)
        if (!notify::is_event_type(type))
            in.refuse("enabled_events", "knows no event type " + policy::in_quotes(type) +
                                            "; docs/webhooks.md lists all of them");
    std::ranges::sort(given);
    given.erase(std::ranges::unique(given).begin(), given.end());
    if (!given.empty()) events = std::move(given);
}

std::vector<vault::Ref<vault::WebhookEndpoint>> endpoints_of(const vault::Catalog& catalog,
                                                             const base::WorkspaceId& workspace,
                                                             std::string_view order) {
    using Order = vault::PageQuery<vault::WebhookEndpoint>::Order;
    return catalog.page<vault::WebhookEndpoint>(
        {.scope = workspace.raw,
         .order = order == "asc" ? Order::oldest_first : Order::newest_first,
         .after = {},
         .limit = kMostEndpoints,
         .wanted = {}});
}

/// The part of the list that after_id, before_id and limit ask for.
base::Result<std::pair<std::size_t, std::size_t>> cut(
    const Query& query, const std::vector<vault::Ref<vault::WebhookEndpoint>>& all) {
    const auto limit = query.limit(20, 100);
    if (!limit) return std::unexpected(limit.error());
    const auto place_of = [&](std::string_view name) -> base::Result<std::optional<std::size_t>> {
        const auto id = query.text(name);
        if (!id) return std::nullopt;
        const auto at = std::ranges::find(all, *id, [](const auto& each) { return each->id.text(); });
        if (at == all.end())
            return base::failure(ErrorKind::invalid_request, "query.invalid",
                                 std::string(name) + ": is not the id of a webhook endpoint");
        return static_cast<std::size_t>(at - all.begin());
    };
    const auto after = place_of("after_id"), before = place_of("before_id");
    if (!after) return std::unexpected(after.error());
    if (!before) return std::unexpected(before.error());
    if (*before) return std::pair(**before - std::min(**before, *limit), **before);
    const auto first = *after ? **after + 1 : 0;
    return std::pair(first, std::min(all.size(), first + *limit));
}

}  // namespace

net::awaitable<Answered> create_webhook(Call& call) {
    vault::WebhookEndpoint endpoint;
    Fields in(call.body);
    endpoint.name = in.text_if_any("name", kName).value_or("");
    endpoint.description = in.text_if_any("description", kDescription).value_or("");
    if (!in.has_value("url")) in.refuse("url", "is required, the https URL that events are sent to");
    read_url(in, endpoint.url, call.settings);
    read_events(in, endpoint.enabled_events);
    if (endpoint.enabled_events.empty()) in.refuse("enabled_events", "must name at least one event type");
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    auto secret = notify::new_signing_secret();
    endpoint.id = crypto::random_id<base::WebhookEndpointId>();
    endpoint.workspace = call.workspace();
    endpoint.secret = notify::seal_signing_secret(call.records.keys(), endpoint.id, secret);
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        if (endpoints_of(change.catalog(), endpoint.workspace, "desc").size() >= kMostEndpoints)
            return base::failure(ErrorKind::invalid_request, "webhook.too_many",
                                 "A workspace can have 32 webhook endpoints.",
                                 "Delete one that is not needed, or give one of them more event types.");
        endpoint.created = endpoint.updated = change.now();
        note(change, EntryKind::write, Action::create, endpoint);
        return change.store(endpoint);
    });
    if (!stored) co_return std::unexpected(stored.error());
    auto made = answer(shown_endpoint(endpoint));
    made.shown_once = std::move(secret);
    made.shown_as = "signing_secret";
    co_return made;
}

net::awaitable<Answered> list_webhooks(Call& call) {
    const auto order = call.query.text("order").value_or("desc");
    if (order != "asc" && order != "desc")
        co_return base::failure(ErrorKind::invalid_request, "query.invalid", "order: must be asc or desc");
    const auto all = endpoints_of(call.catalog(), call.workspace(), order);
    const auto part = cut(call.query, all);
    if (!part) co_return std::unexpected(part.error());
    const auto [first, end] = *part;
    auto data = Json::array();
    for (auto i = first; i < end; ++i) data.push_back(shown_endpoint(*all[i]));
    const bool backwards = call.query.text("before_id").has_value();
    co_return answer({{"has_more", backwards ? first > 0 : end < all.size()},
                      {"first_id", data.empty() ? Json(nullptr) : data.front()["id"]},
                      {"last_id", data.empty() ? Json(nullptr) : data.back()["id"]},
                      {"data", std::move(data)}});
}

net::awaitable<Answered> retrieve_webhook(Call& call) {
    const auto endpoint = find<vault::WebhookEndpoint>(call.catalog(), call.workspace(), call.ids[0]);
    if (!endpoint) co_return std::unexpected(endpoint.error());
    co_return answer(shown_endpoint(**endpoint));
}

net::awaitable<Answered> update_webhook(Call& call) {
    vault::WebhookEndpoint updated;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::WebhookEndpoint>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        updated = **found;
        Fields in(call.body);
        in.update("name", updated.name, kName);
        in.update("description", updated.description, kDescription);
        read_url(in, updated.url, call.settings);
        read_events(in, updated.enabled_events);
        if (in.has_value("state")) {
            updated.enabled = in.word("state", {"disabled", "enabled"}) == 1;
            updated.disabled_reason.clear();
        }
        if (auto read = call.body.finish(); !read) return read;
        if (vault::encode_object(updated) == vault::encode_object(**found)) return {};
        updated.updated = change.now();
        note(change, EntryKind::write, Action::update, updated);
        return change.store(updated);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown_endpoint(updated));
}

net::awaitable<Answered> delete_webhook(Call& call) {
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::WebhookEndpoint>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        for (const auto& item : change.catalog().page<vault::OutboxItem>(
                 {.scope = (*found)->id.raw, .after = {}, .limit = notify::kMostWaiting, .wanted = {}}))
            if (auto erased = change.erase(*item); !erased) return erased;
        note(change, EntryKind::write, Action::erase, **found);
        return change.erase(**found);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer({{"id", call.ids[0]}, {"type", "webhook_endpoint_deleted"}});
}

net::awaitable<Answered> regenerate_webhook_secret(Call& call) {
    Fields in(call.body);
    const auto overlap = in.number_if_any("previous_secret_lifetime_seconds", 0, kLongestOverlap);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    auto secret = notify::new_signing_secret();
    vault::WebhookEndpoint updated;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::WebhookEndpoint>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        updated = **found;
        const std::chrono::seconds kept(overlap.value_or(kUsualOverlap));
        updated.previous_secret = kept.count() == 0 ? std::string() : updated.secret;
        updated.previous_until.reset();
        if (kept.count() != 0) updated.previous_until = change.now() + kept;
        updated.secret = notify::seal_signing_secret(call.records.keys(), updated.id, secret);
        updated.updated = change.now();
        note(change, EntryKind::rotate, Action::update, updated);
        return change.store(updated);
    });
    if (!stored) co_return std::unexpected(stored.error());
    auto made = answer({{"id", updated.id.text()},
                        {"type", "webhook_endpoint_signing_secret"},
                        {"previous_secret_expires_at", shown(updated.previous_until)}});
    made.shown_once = std::move(secret);
    made.shown_as = "signing_secret";
    co_return made;
}

net::awaitable<Answered> test_webhook(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    const auto found = find<vault::WebhookEndpoint>(call.catalog(), call.workspace(), call.ids[0]);
    if (!found) co_return std::unexpected(found.error());
    const auto& endpoint = *found;
    const auto id = crypto::random_id<base::WebhookEventId>();
    const auto now = call.records.clock().now();
    const auto body = notify::event_body(call.records.keys().instance(), id, now,
                                         {.type = notify::kTestEvent,
                                          .workspace = endpoint->workspace,
                                          .id = endpoint->id.text(),
                                          .vault = {},
                                          .more = {}});
    const auto id_text = id.text();
    const auto delivery =
        co_await notify::deliver(call.worker, call.pool_of(call.worker), call.records.keys(), *endpoint,
                                 id_text, body, now, call.settings.webhooks);
    const auto noted = co_await change(call, [&](vault::Change& change) -> base::Status {
        vault::LogEntry entry;
        entry.kind = EntryKind::sink;
        entry.action = Action::deliver;
        entry.verdict = delivery.accepted() ? vault::Verdict::allowed : vault::Verdict::denied;
        entry.reason = vault::reason_number(delivery.status == 0   ? delivery.error.code
                                            : !delivery.accepted() ? "webhook.refused"
                                                                   : "");
        entry.object = ObjectKind::webhook_endpoint;
        entry.object_id = endpoint->id.raw;
        entry.status = static_cast<std::uint16_t>(delivery.status);
        entry.duration_us = static_cast<std::uint64_t>(delivery.took.count());
        change.note(entry);
        return {};
    });
    if (!noted) co_return std::unexpected(noted.error());
    co_return answer({{"type", "webhook_endpoint_test"},
                      {"webhook_endpoint_id", endpoint->id.text()},
                      {"event_id", id_text},
                      {"delivered", delivery.accepted()},
                      {"status_code", delivery.status == 0 ? Json(nullptr) : Json(delivery.status)},
                      {"error", delivery.status == 0
                                    ? Json{{"code", delivery.error.code}, {"message", delivery.error.message}}
                                    : Json(nullptr)},
                      {"duration_ms", static_cast<double>(delivery.took.count()) / 1000}});
}

net::awaitable<Answered> list_webhook_deliveries(Call& call) {
    const auto endpoint = find<vault::WebhookEndpoint>(call.catalog(), call.workspace(), call.ids[0]);
    if (!endpoint) co_return std::unexpected(endpoint.error());
    const auto page =
        page_of<vault::OutboxItem>(call, {.name = {"webhook_deliveries", (*endpoint)->id.raw, "asc"}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& item : page->objects)
        data.push_back(
            {{"id", item->id.text()},
             {"type", "webhook_delivery"},
             {"event", Json::parse(item->body, nullptr, false)},
             {"attempts", item->attempts},
             {"next_attempt_at", shown(item->next_attempt)},
             {"last_failure", item->last_failure.empty() ? Json(nullptr) : Json(item->last_failure)},
             {"created_at", shown(item->created)}});
    co_return page_answer(std::move(data), page->next);
}

}  // namespace claviger::admin::api
