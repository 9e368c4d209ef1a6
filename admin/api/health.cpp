#include "admin/api/health.h"

#include "vault/fence.h"

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

net::Response ready_reply(vault::Records* records, const oauth::Refresher* grants) {
    constexpr std::string_view json = "application/json";
    if (records == nullptr)
        return text_reply(503, json,
                          R"({"status":"sealed","hint":"Unseal Claviger with one of its seal slots."})");
    if (!records->ledger().counters().writable.load(std::memory_order_relaxed))
        return text_reply(
            503, json,
            R"({"status":"log_not_writable","hint":"Calls are refused until the data directory can be written again."})");
    if (const auto fence = vault::fence_of(*records); !fence || *fence)
        return text_reply(
            503, json,
            R"({"status":"fenced","hint":"This store was restored from a backup. See `claviger backup fence`."})");
    // Calls go on with the tokens there are.
    if (grants != nullptr && !grants->counters().journal_writable.load(std::memory_order_relaxed))
        return text_reply(
            200, json,
            R"({"status":"ready","degraded":"journal_unavailable","hint":"No OAuth token is renewed until the journal folder can be written again."})");
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

std::string metrics_text(const ApiCounters& counters, const std::function<std::string()>& more_metrics) {
    Metrics metrics;
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
    auto text = metrics.take();
    if (more_metrics) text += more_metrics();
    return text;
}

}  // namespace

std::optional<net::Response> health_reply(std::string_view method, std::string_view path,
                                          vault::Records* records, const oauth::Refresher* grants,
                                          const ApiCounters& counters,
                                          const std::function<std::string()>& more_metrics) {
    if ((method != "GET" && method != "HEAD") || path.find("/v1/") != std::string_view::npos)
        return std::nullopt;
    std::optional<net::Response> reply;
    if (path.ends_with("/healthz")) reply = text_reply(200, "application/json", R"({"status":"ok"})");
    if (path.ends_with("/readyz")) reply = ready_reply(records, grants);
    if (path.ends_with("/metrics"))
        reply =
            text_reply(200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(counters, more_metrics));
    return reply;
}

}  // namespace claviger::admin::api
