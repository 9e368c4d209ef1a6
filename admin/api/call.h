// One authenticated request on its way through a route, and what a route may answer.
#pragma once

#include "admin/api/api.h"
#include "admin/api/body.h"
#include "admin/api/query.h"
#include "crypto/secret.h"
#include "policy/quote.h"
#include "vault/records.h"

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::admin::api {

using Json = nlohmann::ordered_json;  // answers keep their fields in the order they were written

/// A successful answer. A text that is shown once stays out of `body` until the moment of sending.
struct Answer {
    std::string body;
    std::optional<crypto::Secret> shown_once;
    std::string_view shown_as;  // the field it becomes, a literal
};
using Answered = base::Result<Answer>;

Answer answer(const Json& json);

/// What a route works with. Lives in the frame of Api::handle until the route has returned.
struct Call {
    const ApiSettings& settings;
    const std::string& agents_url;
    const PoolOf& pool_of;
    const std::vector<net::Worker*>& workers;  // all of them
    vault::Records& records;
    oauth::Refresher* grants;            // null: nothing is refreshed
    const oauth::ConnectWorld* connect;  // null: nothing is connected
    vault::KeyRotations* rotations;      // null: no key is rotated
    net::Worker& worker;
    const vault::ApiKey& key;
    vault::Actor actor;
    std::vector<std::string> ids;  // what stands for the {} of the route, decoded
    Query query;
    Body body;

    const vault::Catalog& catalog() const { return records.catalog(); }
    const base::WorkspaceId& workspace() const { return key.workspace; }
};

/// Runs `apply` on the commit thread and resumes when the disk has the change. `apply` may refer to the
/// caller's variables. A change that stores nothing needs no entry.
net::awaitable<base::Status> change(Call& call, std::function<base::Status(vault::Change&)> apply);

/// How an object is called in messages, and the code when there is none.
struct Noun {
    std::string_view name, code;
};
template <class T>
inline constexpr Noun kNoun{};
template <>
inline constexpr Noun kNoun<vault::Vault>{"Vault", "vault.not_found"};
template <>
inline constexpr Noun kNoun<vault::Credential>{"Credential", "credential.not_found"};
template <>
inline constexpr Noun kNoun<vault::Environment>{"Environment", "environment_not_found"};
template <>
inline constexpr Noun kNoun<vault::Agent>{"Agent", "agent.not_found"};
template <>
inline constexpr Noun kNoun<vault::Session>{"Session", "session.not_found"};
template <>
inline constexpr Noun kNoun<vault::SessionToken>{"Session token", "session_token.not_found"};
template <>
inline constexpr Noun kNoun<vault::WebhookEndpoint>{"Webhook endpoint", "webhook_endpoint.not_found"};
template <>
inline constexpr Noun kNoun<vault::ApiKey>{"API key", "api_key.not_found"};

/// The object of that id, if it belongs to the workspace; what belongs to others does not exist.
template <class T>
base::Result<vault::Ref<T>> find(const vault::Catalog& catalog, const base::WorkspaceId& workspace,
                                 std::string_view id) {
    const auto parsed = decltype(T::id)::parse(id);
    auto object = parsed ? catalog.find<T>(*parsed) : nullptr;
    if (!object || object->workspace != workspace)
        return base::failure(
            base::ErrorKind::not_found, kNoun<T>.code,
            std::string(kNoun<T>.name) + " not found: " + (parsed ? parsed->text() : policy::in_quotes(id)));
    return object;
}

}  // namespace claviger::admin::api
