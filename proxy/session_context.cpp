#include "proxy/session_context.h"

#include "base/log.h"
#include "policy/credential_search.h"
#include "policy/network_rules.h"

#include <algorithm>
#include <cstring>

namespace claviger::proxy {
namespace {

using base::ErrorKind;

constexpr std::size_t kMaxContexts = 50'000;  // per worker; beyond, the table starts anew

bool contains(const std::vector<base::VaultId>& ids, const base::VaultId& id) {
    return std::ranges::find(ids, id) != ids.end();
}

policy::VaultView view_of(const vault::Catalog& catalog, const vault::Vault& vault,
                          const vault::Environment& environment) {
    policy::VaultView view{
        .id = vault.id.text(), .name = vault.display_name, .archived = vault.archived.has_value()};
    view.bound_to_environment = contains(environment.vault_bindings, vault.id);

    vault::PageQuery<vault::Environment> bound{.scope = vault.workspace.raw, .limit = 20};
    bound.wanted = [&](const vault::Environment& candidate) {
        return contains(candidate.vault_bindings, vault.id);
    };
    for (const auto& candidate : catalog.page(bound)) view.bound_environment_names.push_back(candidate->name);

    for (const auto& credential : catalog.page<vault::Credential>({.scope = vault.id.raw, .limit = 1'000})) {
        if (credential->type == vault::AuthType::environment_variable) continue;
        view.credentials.push_back({.id = credential->id.text(),
                                    .name = credential->display_name.value_or(""),
                                    .normal_url = credential->normal_url,
                                    .archived = credential->archived.has_value(),
                                    .allowed_tools = credential->allowed_tools,
                                    .expires = credential->expires});
    }
    return view;
}

}  // namespace

SessionContexts::SessionContexts(vault::Records& records, net::PrivateAddresses private_upstreams)
    : records_(records), private_upstreams_(private_upstreams) {}

std::size_t SessionContexts::DigestHash::operator()(const crypto::Digest& digest) const {
    std::size_t hash;
    std::memcpy(&hash, digest.data(), sizeof hash);
    return hash;
}

base::Result<std::shared_ptr<const SessionContext>> SessionContexts::find(std::string_view token) {
    const auto hash = vault::token_hash(token);
    const auto revision = records_.catalog().revision();
    auto known = contexts_.find(hash);
    if (known == contexts_.end() || known->second->revision != revision) {
        auto resolved = resolve(hash, revision);
        if (!resolved) {
            if (known != contexts_.end()) contexts_.erase(known);
            return resolved;
        }
        if (contexts_.size() >= kMaxContexts) contexts_.clear();
        known = contexts_.insert_or_assign(hash, std::move(*resolved)).first;
    }
    const auto& context = known->second;
    if (context->token->expires && *context->token->expires <= records_.clock().now())
        return base::failure(ErrorKind::unauthenticated, "session.token_expired",
                             "The session token has expired.", "Ask for a new token of this session.");
    return context;
}

base::Result<std::shared_ptr<const SessionContext>> SessionContexts::resolve(const crypto::Digest& hash,
                                                                             std::uint64_t revision) const {
    const auto& catalog = records_.catalog();
    const auto token = catalog.session_token_by_hash(hash);
    if (!token || token->revoked)
        return base::failure(
            ErrorKind::unauthenticated, "session.token_unknown", "The session token is not valid.",
            "Present the token that was given out with the session, as `Authorization: Bearer`.");
    auto context = std::make_shared<SessionContext>();
    context->revision = revision;
    context->token = token;
    context->session = catalog.find<vault::Session>(token->session);
    if (!context->session || context->session->archived)
        return base::failure(ErrorKind::unauthenticated, "session.terminated", "The session has ended.",
                             "Create a new session.");
    context->environment = catalog.find<vault::Environment>(context->session->environment);
    if (!context->environment)
        return base::failure(ErrorKind::unauthenticated, "environment.archived",
                             "The session's environment no longer exists.",
                             "Create a new session in another environment.");
    context->environment_id = context->environment->id.text();
    context->agent_id = context->session->agent.id.text();

    for (const auto& declared : context->session->agent.mcp_servers) {
        auto url = policy::parse_server_url(declared.url);
        if (!url) return std::unexpected(std::move(url).error());
        ServerContext server{.name = declared.name, .url = std::move(*url)};
        server.origin = {server.url.tls, server.url.host, server.url.port};
        const auto host = policy::may_reach(context->environment->network, server.url.host,
                                            policy::HostIs::declared_mcp_server);
        server.private_addresses = host.private_addresses ? net::PrivateAddresses::allow : private_upstreams_;
        server.fingerprint = records_.access_log().fingerprint("server", server.name);
        server.filters_tools = policy::filters_anything(context->policy(), context->agent_id, server.name);
        if (auto found = resolve_credential(*context, server); !found) {
            // One credential that cannot be read must not take the session's other servers down.
            base::log_error("credential.unreadable", found.error());
            server.credential = nullptr;
            server.missing = std::move(found).error();
        }
        context->servers.emplace(server.name, std::move(server));
    }
    return context;
}

base::Status SessionContexts::resolve_credential(const SessionContext& context, ServerContext& server) const {
    const auto& catalog = records_.catalog();
    const auto& environment = *context.environment;
    std::vector<policy::VaultView> session_vaults, other_vaults;
    for (const auto& id : context.session->vaults)
        if (const auto vault = catalog.find<vault::Vault>(id))
            session_vaults.push_back(view_of(catalog, *vault, environment));

    policy::CredentialQuery query{.normal_url = server.url.normal,
                                  .tool = {},
                                  .environment = {context.environment_id, environment.name},
                                  .now = records_.clock().now(),
                                  .session_vaults = session_vaults,
                                  .other_vaults = other_vaults};
    auto search = policy::search_credential(query);
    if (!search.chosen) {
        // Only now is it worth looking at the rest of the workspace for what came near.
        vault::PageQuery<vault::Vault> rest{.scope = context.session->workspace.raw, .limit = 200};
        rest.wanted = [&](const vault::Vault& vault) { return !contains(context.session->vaults, vault.id); };
        for (const auto& vault : catalog.page(rest))
            other_vaults.push_back(view_of(catalog, *vault, environment));
        query.other_vaults = other_vaults;
        search = policy::search_credential(query);
        server.missing = {ErrorKind::denied, search.code, std::move(search.message),
                          "Ask an administrator; the reason is in the access log and in Claviger's own log."};
        server.explanation = std::move(search.explanation);
        return {};
    }
    const auto id = base::CredentialId::parse(
        session_vaults[search.chosen->vault].credentials[search.chosen->credential].id);
    server.credential = catalog.find<vault::Credential>(*id);
    if (!server.credential)
        return base::failure(ErrorKind::unavailable, "internal",
                             "The credential was removed just now; try again.");
    auto sealed = records_.sealed_secret(*server.credential);
    if (!sealed) return std::unexpected(std::move(sealed).error());
    server.sealed = std::move(*sealed);
    server.partition = server.credential->id.text() + "." + std::to_string(server.credential->version);
    return {};
}

}  // namespace claviger::proxy
