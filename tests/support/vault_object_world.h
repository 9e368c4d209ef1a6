// A store with objects as servers have them: two workspaces, each with a vault, two credentials, an
// environment with a policy, and an API key.
#pragma once

#include "crypto/random.h"
#include "tests/support/vault_test_store.h"
#include "vault/records.h"

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::test {

inline base::Status change(vault::Records& records,
                           const std::function<base::Status(vault::Change&)>& apply) {
    std::promise<base::Status> promise;
    auto answer = promise.get_future();
    records.change({.kind = vault::ActorKind::api_key, .id = id_of(77)}, apply,
                   [&](base::Status status) { promise.set_value(std::move(status)); });
    return answer.get();
}

inline vault::SecretParts token_parts(std::string_view token) {
    vault::SecretParts parts;
    parts.token = crypto::Secret::copy_of(token);
    return parts;
}

/// What one workspace holds.
struct Tenant {
    base::WorkspaceId workspace;
    vault::Vault vault;
    vault::Credential first, second;
    vault::Environment environment;
    vault::ApiKey key;
};

/// Opens the store that the engine has, with the key file of vault_test_store.h.
inline base::Result<std::unique_ptr<vault::Records>> open_records(vault::StorageEngine& engine,
                                                                  const base::Clock& clock) {
    auto keys = vault::KeyRing::unseal(engine, key_file());
    if (!keys) return std::unexpected(std::move(keys).error());
    return vault::Records::open(engine, std::move(*keys), clock);
}

inline std::unique_ptr<vault::Records> new_records(vault::StorageEngine& engine, const base::Clock& clock) {
    std::vector<vault::SealInput> inputs;
    inputs.push_back(key_file());
    const auto made =
        vault::Records::initialise(engine, inputs, crypto::PassphraseStrength::only_for_tests, clock);
    if (!made) return nullptr;
    auto records = open_records(engine, clock);
    return records ? std::move(*records) : nullptr;
}

/// Makes everything in one change; `tokens` are the secrets of the two credentials.
inline base::Result<Tenant> add_tenant(vault::Records& records, std::string name,
                                       std::pair<std::string, std::string> tokens) {
    Tenant tenant;
    tenant.workspace = crypto::random_id<base::WorkspaceId>();
    const auto begin = [&](auto& object) {
        object.id = crypto::random_id<std::remove_cvref_t<decltype(object.id)>>();
        object.workspace = tenant.workspace;
    };
    vault::Workspace workspace;
    workspace.id = tenant.workspace;
    workspace.name = name;
    begin(tenant.vault);
    tenant.vault.display_name = name;
    for (auto* credential : {&tenant.first, &tenant.second}) {
        begin(*credential);
        credential->vault = tenant.vault.id;
        credential->normal_url = credential->mcp_server_url =
            credential == &tenant.first ? "https://one.example/mcp" : "https://two.example/mcp";
    }
    begin(tenant.environment);
    tenant.environment.name = name;
    tenant.environment.vault_bindings = {tenant.vault.id};
    tenant.environment.tool_rules = {
        {.name = "nobody deletes", .effect = base::RuleEffect::deny, .agents = {}, .when = {}}};
    begin(tenant.key);
    tenant.key.name = name;
    tenant.key.hash = vault::token_hash(name);
    const auto made = change(records, [&](vault::Change& now) -> base::Status {
        now.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::workspace,
                 tenant.workspace.raw);
        now.create_key_of(tenant.workspace.raw, tenant.workspace.raw);
        now.create_key_of(tenant.workspace.raw, tenant.vault.id.raw);
        for (auto stored : {now.store(workspace), now.store(tenant.key), now.store(tenant.vault),
                            now.store_with_secret(tenant.first, token_parts(tokens.first)),
                            now.store_with_secret(tenant.second, token_parts(tokens.second)),
                            now.store(tenant.environment)})
            if (!stored) return stored;
        return {};
    });
    if (!made) return std::unexpected(made.error());
    tenant.first = *records.catalog().find<vault::Credential>(tenant.first.id);
    tenant.second = *records.catalog().find<vault::Credential>(tenant.second.id);
    tenant.environment = *records.catalog().find<vault::Environment>(tenant.environment.id);
    tenant.vault = *records.catalog().find<vault::Vault>(tenant.vault.id);
    return tenant;
}

}  // namespace claviger::test
