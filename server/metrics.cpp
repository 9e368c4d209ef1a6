#include "server/metrics.h"

#include "admin/api/seal_slots.h"
#include "crypto/secret.h"
#include "vault/fence.h"

#include <algorithm>

namespace claviger::server {
namespace {

/// Writes one metric family after the other.
class Text {
public:
    Text& family(std::string_view name, std::string_view type, std::string_view help) {
        name_ = name;
        ((out_ += "# HELP ") += name) += ' ';
        (out_ += help) += '\n';
        (((out_ += "# TYPE ") += name) += ' ') += type;
        out_ += '\n';
        return *this;
    }
    Text& value(double number, std::string_view labels = {}) {
        out_ += name_;
        if (!labels.empty()) ((out_ += '{') += labels) += '}';
        const auto whole = static_cast<std::int64_t>(number);
        out_ += ' ';
        out_ += static_cast<double>(whole) == number ? std::to_string(whole) : std::to_string(number);
        out_ += '\n';
        return *this;
    }
    std::string take() { return std::move(out_); }

private:
    std::string out_;
    std::string name_;
};

double seconds(std::uint64_t micros) { return static_cast<double>(micros) / 1e6; }
double number(const std::atomic<std::uint64_t>& counter) {
    return static_cast<double>(counter.load(std::memory_order_relaxed));
}

void listener_families(Text& text, const net::Server& agents, const net::Server& admin) {
    const std::pair<std::string, net::ServerCounters> listeners[] = {
        {"listener=\"agents\"", agents.counters()}, {"listener=\"admin\"", admin.counters()}};
    const auto each = [&](std::string_view name, std::string_view type, std::string_view help, auto member) {
        text.family(name, type, help);
        for (const auto& [label, counters] : listeners)
            text.value(static_cast<double>(counters.*member), label);
    };
    using C = net::ServerCounters;
    each("claviger_connections", "gauge", "Open client connections.", &C::connections);
    each("claviger_connections_accepted_total", "counter", "Accepted client connections.", &C::accepted);
    each("claviger_connections_refused_total", "counter",
         "Connections refused because of limits.connections.", &C::refused);
    each("claviger_tls_failures_total", "counter", "Failed TLS handshakes of clients.", &C::tls_failures);
    each("claviger_http_requests_total", "counter", "Requests handed to a handler.", &C::requests);
    each("claviger_http_slow_readers_total", "counter", "Connections ended because the client did not read.",
         &C::slow_readers);
    each("claviger_http_received_bytes_total", "counter", "Bytes received from clients, above TLS.",
         &C::bytes_in);
    each("claviger_http_sent_bytes_total", "counter", "Bytes sent to clients, above TLS.", &C::bytes_out);
    text.family("claviger_http_bad_requests_total", "counter",
                "Requests refused before any handler saw them.");
    for (const auto& [label, counters] : listeners)
        for (std::size_t reason = 0; reason < net::kBadRequestReasons; ++reason)
            text.value(static_cast<double>(counters.bad_requests[reason]),
                       label + ",reason=\"" +
                           std::string(net::to_text(static_cast<net::BadRequest>(reason))) + "\"");
}

void proxy_families(Text& text, const proxy::ProxyCounters& proxy) {
    text.family("claviger_calls_total", "counter", "Requests on the agents' listener.")
        .value(number(proxy.calls));
    text.family("claviger_calls_decided_total", "counter", "Messages by decision.")
        .value(number(proxy.allowed), "decision=\"allowed\"")
        .value(number(proxy.denied), "decision=\"denied\"");
    text.family("claviger_calls_refused_total", "counter",
                "Requests refused before a decision, or because the log could not be written.")
        .value(number(proxy.unauthenticated), "reason=\"unauthenticated\"")
        .value(number(proxy.invalid), "reason=\"invalid\"")
        .value(number(proxy.not_durable), "reason=\"log_not_durable\"");
    text.family("claviger_calls_in_flight", "gauge", "Messages being decided, sent or answered now.")
        .value(number(proxy.in_flight));
    text.family("claviger_upstream_failures_total", "counter",
                "Calls that an upstream did not answer properly.")
        .value(number(proxy.upstream_failures));
    text.family("claviger_upstream_refusals_total", "counter",
                "Calls whose credential an upstream refused (401, 403).")
        .value(number(proxy.upstream_refusals));
    text.family("claviger_redactions_total", "counter",
                "Places where an answer held the injected secret and was masked.")
        .value(number(proxy.redactions));
    text.family("claviger_call_request_bytes_total", "counter", "Bodies sent to upstreams.")
        .value(number(proxy.request_bytes));
    text.family("claviger_call_response_bytes_total", "counter", "Bodies sent to agents.")
        .value(number(proxy.response_bytes));
    text.family("claviger_call_seconds_total", "counter",
                "Time spent on allowed calls, from message to end of answer.")
        .value(seconds(proxy.duration_us.load(std::memory_order_relaxed)));
}

void grant_families(Text& text, const oauth::RefreshCounters& grants) {
    text.family("claviger_refresh_attempts_total", "counter", "Token requests that were put on record.")
        .value(number(grants.started));
    text.family("claviger_refresh_outcomes_total", "counter", "What came of attempts to renew OAuth tokens.")
        .value(number(grants.succeeded), "outcome=\"succeeded\"")
        .value(number(grants.recovered), "outcome=\"recovered\"")
        .value(number(grants.deferred), "outcome=\"deferred\"")
        .value(number(grants.uncertain), "outcome=\"uncertain\"")
        .value(number(grants.needs_reauth), "outcome=\"needs_reauth\"")
        .value(number(grants.needs_config), "outcome=\"needs_config\"");
    text.family("claviger_refresh_seconds_total", "counter", "Time spent on attempts, commits included.")
        .value(seconds(grants.micros.load(std::memory_order_relaxed)));
    text.family("claviger_refresh_journal_failures_total", "counter",
                "Answers that could not be journalled before they were read, or for which there was no room.")
        .value(number(grants.journal_failures));
    text.family("claviger_refresh_journal_writable", "gauge",
                "0 while no token is renewed because the journal takes no answer.")
        .value(grants.journal_writable.load(std::memory_order_relaxed) ? 1 : 0);
    text.family("claviger_introspections_total", "counter",
                "Questions to authorization servers about tokens that they gave.")
        .value(number(grants.introspections));
}

void store_families(Text& text, vault::Records& records) {
    const auto& ledger = records.ledger().counters();
    const auto head = records.ledger().head();
    text.family("claviger_access_log_entries_total", "counter", "Entries in the access log.")
        .value(static_cast<double>(head.size));
    text.family("claviger_tokens_opened_total", "counter",
                "Tokens opened for calls; calls under way at the same time may share one.")
        .value(static_cast<double>(records.tokens_opened()));
    text.family("claviger_outbox_waiting", "gauge",
                "Webhook deliveries and token revocations that are still to be done.")
        .value(static_cast<double>(records.catalog().count<vault::OutboxItem>()));
    text.family("claviger_commits_total", "counter", "Synced batches since the start.")
        .value(number(ledger.commits));
    text.family("claviger_commits_failed_total", "counter", "Batches that could not be made durable.")
        .value(number(ledger.failed_commits));
    text.family("claviger_commit_seconds_total", "counter", "Time spent in synced batches.")
        .value(seconds(ledger.commit_micros.load(std::memory_order_relaxed)));
    text.family("claviger_commit_group_entries_max", "gauge", "Most entries that shared one commit.")
        .value(number(ledger.group_entries_max));
    text.family("claviger_access_log_writable", "gauge",
                "1 while uses can be put on record; 0 refuses every call.")
        .value(ledger.writable.load() ? 1 : 0);
    const auto& catalog = records.catalog();
    text.family("claviger_objects", "gauge", "Stored objects, archived ones included.")
        .value(static_cast<double>(catalog.count<vault::Vault>()), "kind=\"vault\"")
        .value(static_cast<double>(catalog.count<vault::Credential>()), "kind=\"credential\"")
        .value(static_cast<double>(catalog.count<vault::Environment>()), "kind=\"environment\"")
        .value(static_cast<double>(catalog.count<vault::Agent>()), "kind=\"agent\"")
        .value(static_cast<double>(catalog.count<vault::Session>()), "kind=\"session\"");
}

double unix_seconds(base::Time time) { return static_cast<double>(time.time_since_epoch().count()) / 1e3; }

/// Slots by id and kind: their names, like those of holders, are for those with an API key.
void slot_families(Text& text, const vault::InstanceSummary& instance, base::Time now) {
    const auto each = [&](const auto& value_of) {
        for (const auto& slot : instance.slots)
            text.value(value_of(slot), "slot=\"" + slot.id + "\",kind=\"" +
                                           std::string(crypto::name_of(slot.kind)) + "\",emergency=\"" +
                                           (slot.parameters.emergency() ? "true" : "false") + "\"");
    };
    text.family(
        "claviger_seal_slot_ok", "gauge",
        "0 for a seal slot that was never verified, and an emergency slot without a drill for 90 days.");
    each([&](const auto& slot) {
        return admin::api::standing_of(slot, now) == admin::api::SlotStanding::proven ? 1.0 : 0.0;
    });
    text.family("claviger_seal_slot_verified_timestamp_seconds", "gauge",
                "When the seal slot last gave the root key back, by a verification or a drill; 0: never.");
    each([&](const auto& slot) { return slot.verified ? unix_seconds(*slot.verified) : 0.0; });
    text.family("claviger_root_key_epoch", "gauge", "The number of the root key in use.");
    for (const auto& each_epoch : instance.epochs)
        if (each_epoch.state == "active") text.value(static_cast<double>(each_epoch.epoch));
}

void rotation_families(Text& text, const vault::Catalog& catalog) {
    const auto under_way = catalog.all<vault::Operation>(
        [](const vault::Operation& operation) { return operation.under_way(); });
    text.family("claviger_key_rotations", "gauge", "Key rotations under way, by state.");
    for (const auto state :
         {vault::OperationState::running, vault::OperationState::paused, vault::OperationState::waiting})
        text.value(static_cast<double>(std::ranges::count(
                       under_way, state, [](const auto& operation) { return operation->state; })),
                   "state=\"" + std::string(vault::name_of(state)) + "\"");
    std::uint64_t remaining = 0;
    for (const auto& operation : under_way)
        if (operation->total > operation->done) remaining += operation->total - operation->done;
    text.family("claviger_rewrap_remaining_rows", "gauge",
                "Rows that rotations of vaults' keys still have to seal anew, once they are counted.")
        .value(static_cast<double>(remaining));
}

void seal_families(Text& text, const vault::Records& records) {
    if (const auto instance = vault::KeyRing::summary(records.engine()); instance && *instance)
        slot_families(text, **instance, records.clock().now());
    rotation_families(text, records.catalog());
    if (const auto fence = vault::fence_of(records))
        text.family("claviger_restore_fenced", "gauge",
                    "1 while a restored store waits for its release and serves no agent.")
            .value(*fence ? 1 : 0);
}

void pin_families(Text& text, const vault::LogPin& pin, const vault::LogHead& head) {
    text.family("claviger_pin_failures_total", "counter", "Times that the access log could not be pinned.")
        .value(static_cast<double>(pin.failures()));
    text.family("claviger_pin_timestamp_seconds", "gauge", "When the access log was last pinned.")
        .value(unix_seconds(pin.last_pinned()));
    const auto pinned = pin.entries();
    text.family("claviger_pin_behind_entries", "gauge",
                "Entries of the access log that are not pinned: more than for a moment, and an older copy of "
                "the store would not show.")
        .value(head.size > pinned ? static_cast<double>(head.size - pinned) : 0);
}

}  // namespace

std::string metrics_text(const net::Server& agents, const net::Server& admin,
                         const proxy::ProxyCounters& proxy, vault::Records* records,
                         const oauth::RefreshCounters* grants, const vault::LogPin* pin) {
    Text text;
    text.family("claviger_build_info", "gauge", "The running version.")
        .value(1, "version=\"" CLAVIGER_VERSION "\"");
    text.family("claviger_sealed", "gauge", "1 until the store is unsealed.")
        .value(records == nullptr ? 1 : 0);
    text.family("claviger_locked_memory_bytes", "gauge", "Locked memory that holds secrets and keys.")
        .value(static_cast<double>(crypto::locked_bytes()));
    listener_families(text, agents, admin);
    proxy_families(text, proxy);
    if (records != nullptr) store_families(text, *records);
    if (records != nullptr) seal_families(text, *records);
    if (grants != nullptr) grant_families(text, *grants);
    if (pin != nullptr) pin_families(text, *pin, records->ledger().head());
    return text.take();
}

}  // namespace claviger::server
