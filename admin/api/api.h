// The admin API: the Managed Agents wire format over one store, with its extensions, health and metrics.
#pragma once

#include "net/client.h"
#include "net/http.h"
#include "net/worker.h"
#include "notify/webhook_carrier.h"
#include "oauth/connect_flow.h"
#include "oauth/refresher.h"
#include "vault/records.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace claviger::vault {
class BackupRoom;
class KeyRotations;
}  // namespace claviger::vault

namespace claviger::admin::api {

struct ApiSettings {
    std::vector<std::string> allowed_hosts;  // Host names besides loopback names and numeric addresses
    net::PrivateAddresses private_upstreams = net::PrivateAddresses::refuse;
    std::chrono::seconds session_token_lifetime{86'400};  // when the request does not say
    std::chrono::milliseconds probe_timeout{10'000};      // of mcp_oauth_validate, each request
    notify::DeliverySettings webhooks = {};               // of endpoints that may be stored, and of tests
    /// What opens PKCS#11 tokens: module and PIN; absent: the config has none.
    std::function<base::Result<vault::SealInput>()> token_input = {};
    /// The key files that the config names, as far as they can be read; absent: it names none.
    std::function<std::vector<vault::SealInput>()> key_files = {};
    /// Runs what may block; absent: on the worker. What it was given must be done or dropped before the
    /// workers go.
    std::function<void(std::function<void()>)> in_background = {};
    vault::BackupRoom* backups = nullptr;  // null: the config has no folder for them
    /// After a fence was lifted: agents are served from here on. Blocks.
    std::function<base::Status()> begin_service = {};
    std::function<std::string()> more_metrics;  // Prometheus text of other parts, for /metrics; any thread
};

/// The worker's connections to upstreams. Called on the worker's thread, after open() only.
using PoolOf = std::function<net::ClientPool&(net::Worker&)>;

/// Handles every request of the admin listener. Exists while the store is still sealed: then health and
/// metrics answer, everything else is a 503. Routes are matched from "/v1/" on, so any prefix may stand in
/// front.
class Api {
public:
    /// `workers` are those whose listeners call handle(); they outlive the Api.
    Api(std::vector<net::Worker*> workers, PoolOf pool_of, ApiSettings settings);
    ~Api();

    /// Unseals: from here on the store answers. At most once, from any one thread, also while requests are
    /// served. `records` and `grants` must outlive every request; `grants` may be null, then nothing is
    /// refreshed. `agents_url` is what mcp_endpoints begin with, such as "http://127.0.0.1:8700".
    void open(vault::Records& records, oauth::Refresher* grants, std::string agents_url);

    /// What connects accounts; before open(), once. `world` must outlive every request. Without it connect
    /// links are refused.
    void connect_with(const oauth::ConnectWorld& world);

    /// What carries out rotations of keys; before open(), once. Must outlive every request. Without it none
    /// can be begun.
    void rotate_with(vault::KeyRotations& rotations);

    /// Any worker. Always answers through `writer`.
    net::awaitable<void> handle(const net::Request& request, net::ResponseWriter& writer) const;
    /// Whether the request bears an API key that is good now. Any thread.
    bool knows(const net::Request& head) const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::admin::api
