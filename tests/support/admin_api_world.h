// The admin API over a store in memory, called without a socket, by keys of every role.
#pragma once

#include "admin/api/api.h"
#include "tests/support/net_loop.h"
#include "tests/support/vault_test_store.h"

#include <nlohmann/json.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace claviger::test {

using nlohmann::json;
using HeaderList = std::vector<std::pair<std::string, std::string>>;

/// One answer. `body` is discarded JSON when the answer is none.
struct ApiReply {
    unsigned status = 0;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string text;
    json body;

    std::string error_type() const { return body["error"]["type"]; }
    std::string message() const { return body["error"]["message"]; }
    std::string code() const { return body["error"]["details"]["error_code"]; }
};

struct ApiWorld {
    explicit ApiWorld(net::PrivateAddresses private_upstreams = net::PrivateAddresses::allow,
                      std::string public_url = "http://127.0.0.1:8701");
    ~ApiWorld();

    /// Exactly these headers, and Host.
    ApiReply raw(std::string_view method, std::string_view target, std::string_view body,
                 const HeaderList& headers);
    /// As the admin of the first workspace, with the headers of an SDK.
    ApiReply call(std::string_view method, std::string_view target, const json& body = nullptr);
    ApiReply call_as(std::string_view key, std::string_view method, std::string_view target,
                     const json& body = nullptr, const HeaderList& more = {});
    ApiReply post_text(std::string_view target, std::string_view body);

    json get(std::string_view target);  // 200 or the test fails
    json post(std::string_view target, const json& body = nullptr);
    json remove(std::string_view target);
    std::string new_key(std::string_view role);

    /// A vault, a credential, an environment, an agent and a session, by their ids.
    json new_vault(std::string_view name = "Alice");
    json new_bearer(const std::string& vault, std::string_view url = "https://mcp.linear.app/mcp",
                    std::string_view token = "lin_api_EXAMPLE");
    json new_environment(const json& more = json::object());
    json new_agent(const json& more = json::object());
    json new_session(const json& more = json::object());

    ManualClock clock;
    std::unique_ptr<vault::StorageEngine> engine;
    Loop loop;
    std::unique_ptr<net::ClientPool> pool;
    std::string admin_key, workspace;
    std::unique_ptr<vault::Records> records;
    const oauth::ProviderCatalog providers = oauth::ProviderCatalog::built_in();
    std::unique_ptr<oauth::ConnectWorld> connect;
    std::unique_ptr<admin::api::Api> api;
};

}  // namespace claviger::test
