// What a load balancer and a Prometheus server ask, without a key.
#pragma once

#include "net/http.h"
#include "oauth/refresher.h"
#include "vault/records.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::admin::api {

struct ApiCounters {
    std::array<std::atomic<std::uint64_t>, 6> responses{};  // by hundreds of the status
    std::atomic<std::uint64_t> unauthenticated{0}, forbidden{0}, replayed{0}, in_flight{0};
};

/// The answer to /healthz, /readyz or /metrics (below any prefix); nothing for other paths. `records` null:
/// sealed; `grants` null: nothing is refreshed.
std::optional<net::Response> health_reply(std::string_view method, std::string_view path,
                                          vault::Records* records, const oauth::Refresher* grants,
                                          const ApiCounters& counters,
                                          const std::function<std::string()>& more_metrics);

}  // namespace claviger::admin::api
