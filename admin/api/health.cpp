#include "admin/api/health.h"

namespace claviger::admin::api {
namespace {

net::Response text_reply(unsigned status, std::string_view type, std::string body) {
    net::Response response;
    response.status = status;
    response.headers.add("content-type", type);
    response.headers.add("cache-control", "no-store");
    response.body = std::move(body);
    return response;
}

net::Response ready_reply(vault::Records* records) {
    constexpr std::string_view json = "application/json";
    if (records == nullptr)
        return text_reply(503, json,
                          R"({"status":"sealed","hint":"Unseal Claviger with one of its seal slots."})");
    if (!records->ledger().counters().writable.load(std::memory_order_relaxed))
        return text_reply(
            503, json,
            R"({"status":"log_not_writable","hint":"Calls are refused until the data directory can be written again."})");
    return text_reply(200, json, R"({"status":"ready"})");
}

/// Lines of the Prometheus text format.
class Metrics {
public:
    void add(std::string_view name, std::string_view kind, std::string_view help, std::uint64_t value) {
        head(name, kind, help);
        sample(name, "", std::to_string(value));
    }
    void head(std::string_view name, std::string_view kind, std::string_view help) {
        ((text_ += "# HELP ") += name) += ' ';
        (((text_ += help) += "\n# TYPE ") += name) += ' ';
        (text_ += kind) += '\n';
    }
    void sample(std::string_view name, std::string_view labels, std::string_view value) {
        (((text_ += name) += labels) += ' ') += value;
        text_ += '\n';
    }
    std::string take() { return std::move(text_); }

private:
    std::string text_;
};

void add_store(Metrics& metrics, vault::Records& records) {
    const auto& ledger = records.ledger().counters();
    metrics.add("claviger_access_log_entries_total", "counter", "Entries in the access log.",
                records.ledger().head().size);
    metrics.add("claviger_commits_total", "counter", "Batches made durable since the start.",
                ledger.commits.load());
    metrics.add("claviger_commits_failed_total", "counter", "Batches that could not be written.",
                ledger.failed_commits.load());
    const auto micros = std::to_string(ledger.commit_micros.load());
    metrics.head("claviger_commit_microseconds_total", "counter", "Time spent waiting for the disk.");
    metrics.sample("claviger_commit_microseconds_total", "", micros);
    metrics.add("claviger_commit_entries_max", "gauge", "Most entries that one batch has carried.",
                ledger.group_entries_max.load());
    metrics.add("claviger_log_writable", "gauge", "1 while the log can be written.",
                ledger.writable.load() ? 1 : 0);
    metrics.head("claviger_objects", "gauge", "Objects in the store, archived ones included.");
    const auto& catalog = records.catalog();
    const auto objects = [&](std::string_view kind, std::size_t count) {
        metrics.sample("claviger_objects", "{kind=\"" + std::string(kind) + "\"}", std::to_string(count));
    };
    objects("workspace", catalog.count<vault::Workspace>());
    objects("api_key", catalog.count<vault::ApiKey>());
    objects("vault", catalog.count<vault::Vault>());
    objects("credential", catalog.count<vault::Credential>());
    objects("environment", catalog.count<vault::Environment>());
    objects("agent", catalog.count<vault::Agent>());
    objects("session", catalog.count<vault::Session>());
    objects("session_token", catalog.count<vault::SessionToken>());
}

std::string metrics_text(vault::Records* records, const ApiCounters& counters,
                         const std::function<std::string()>& more_metrics) {
    Metrics metrics;
    metrics.head("claviger_info", "gauge", "The running version.");
    metrics.sample("claviger_info", "{version=\"" CLAVIGER_VERSION "\"}", "1");
    metrics.add("claviger_sealed", "gauge", "1 while the store is sealed.", records == nullptr ? 1 : 0);
    metrics.head("claviger_admin_responses_total", "counter", "Answers of the admin API by status class.");
    for (std::size_t hundreds = 2; hundreds < counters.responses.size(); ++hundreds)
        metrics.sample("claviger_admin_responses_total", "{status=\"" + std::to_string(hundreds) + "xx\"}",
                       std::to_string(counters.responses[hundreds].load()));
    metrics.add("claviger_admin_unauthenticated_total", "counter", "Requests without a valid API key.",
                counters.unauthenticated.load());
    metrics.add("claviger_admin_forbidden_total", "counter", "Requests that the key's role does not allow.",
                counters.forbidden.load());
    metrics.add("claviger_admin_replayed_total", "counter", "Repeated requests answered from memory.",
                counters.replayed.load());
    metrics.add("claviger_admin_in_flight", "gauge", "Requests being worked on.", counters.in_flight.load());
    metrics.add("claviger_locked_bytes", "gauge", "Locked memory that holds secrets.",
                crypto::locked_bytes());
    if (records != nullptr) add_store(metrics, *records);
    auto text = metrics.take();
    if (more_metrics) text += more_metrics();
    return text;
}

}  // namespace

std::optional<net::Response> health_reply(std::string_view method, std::string_view path,
                                          vault::Records* records, const ApiCounters& counters,
                                          const std::function<std::string()>& more_metrics) {
    if (method != "GET" && method != "HEAD") return std::nullopt;
    std::optional<net::Response> reply;
    if (path.ends_with("/healthz")) reply = text_reply(200, "application/json", R"({"status":"ok"})");
    if (path.ends_with("/readyz")) reply = ready_reply(records);
    if (path.ends_with("/metrics"))
        reply = text_reply(200, "text/plain; version=0.0.4; charset=utf-8",
                           metrics_text(records, counters, more_metrics));
    return reply;
}

}  // namespace claviger::admin::api
