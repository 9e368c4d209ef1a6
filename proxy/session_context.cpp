#include "proxy/session_context.h"

#include "base/log.h"
#include "policy/credential_search.h"
#include "policy/network_rules.h"
#include "vault/rotation.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <utility>

namespace claviger::proxy {
namespace {

using base::ErrorKind;

constexpr std::size_t kMaxContexts = 50'000;  // per worker; beyond, the table starts anew
constexpr std::size_t kMostCredentials = 1'000, kMostEnvironments = 1'000, kMostNames = 20, kMostVaults = 200;
constexpr std::uint64_t kNeverCurrent = 0;  // no revision of a catalog

base::Error changed_just_now() {
    return {ErrorKind::unavailable, "internal", "The credential was changed just now.", "Try again."};
}

bool contains(const std::vector<base::VaultId>& ids, const base::VaultId& id) {
    return std::ranges::find(ids, id) != ids.end();
}

/// What of a vault's credentials a view holds.
enum class Shows { active, archived_too };

policy::VaultView view_of(const vault::Catalog& catalog, const vault::Vault& vault,
                          const vault::Environment& environment, Shows shows) {
    policy::VaultView view{
        .id = vault.id.text(), .name = vault.display_name, .archived = vault.archived.has_value()};
    view.bound_to_environment = contains(environment.vault_bindings, vault.id);
    // A vault may have many archived credentials; they must not push an active one off the page.
    vault::PageQuery<vault::Credential> held{.scope = vault.id.raw, .limit = kMostCredentials};
    if (shows == Shows::active)
        held.wanted = [](const vault::Credential& credential) { return !credential.archived; };
    for (const auto& credential : catalog.page(held)) {
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

using BoundNames = std::map<base::RawId, std::vector<std::string>>;

/// Which environments each vault is bound to, for explanations: of the newest ones, a few names each.
BoundNames bound_names(const vault::Catalog& catalog, const base::WorkspaceId& workspace) {
    BoundNames names;
    for (const auto& environment :
         catalog.page<vault::Environment>({.scope = workspace.raw, .limit = kMostEnvironments}))
        for (const auto& vault : environment->vault_bindings)
            if (auto& known = names[vault.raw]; known.size() < kMostNames) known.push_back(environment->name);
    return names;
}

std::unexpected<base::Error> token_unknown() {
    return base::failure(
        ErrorKind::unauthenticated, "session.token_unknown", "The session token is not valid.",
        "Present the token that was given out with the session, as `Authorization: Bearer`.");
}
std::unexpected<base::Error> token_expired() {
    return base::failure(ErrorKind::unauthenticated, "session.token_expired",
                         "The session token has expired.", "Ask for a new token of this session.");
}
std::unexpected<base::Error> session_terminated() {
    return base::failure(ErrorKind::unauthenticated, "session.terminated", "The session has ended.",
                         "Create a new session.");
}

}  // namespace

/// What one resolution knows of the vaults; all its servers share it.
struct SessionContexts::Vaults {
    std::vector<policy::VaultView> in_session;
    /// For explanations, with everything that came near. Empty until the first server needs one.
    std::vector<policy::VaultView> explained, others;
};

SessionContexts::SessionContexts(vault::Records& records, net::PrivateAddresses private_upstreams)
    : records_(records), private_upstreams_(private_upstreams) {}

std::size_t SessionContexts::DigestHash::operator()(const crypto::Digest& digest) const {
    std::size_t hash;
    std::memcpy(&hash, digest.data(), sizeof hash);
    return hash;
}

base::Result<std::shared_ptr<const SessionContext>> SessionContexts::find(std::string_view token) {
    return find(vault::token_hash(token));
}

base::Result<std::shared_ptr<const SessionContext>> SessionContexts::find(const crypto::Digest& hash) {
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
    if (context->token->expires && *context->token->expires <= records_.clock().now()) return token_expired();
    return context;
}

base::Status SessionContexts::still_stands(const SessionContext& context, const ServerContext& server,
                                           std::chrono::milliseconds grace) const {
    const auto& catalog = records_.catalog();
    const auto& expires = context.token->expires;
    if (expires && *expires + grace <= records_.clock().now()) return token_expired();
    if (catalog.revision() == context.revision) return {};
    const auto token = catalog.session_token_by_hash(context.token->hash);
    if (!token || token->revoked) return token_unknown();
    const auto session = catalog.find<vault::Session>(token->session);
    if (!session || session->archived) return session_terminated();
    const auto credential =
        server.credential ? catalog.find<vault::Credential>(server.credential->id) : nullptr;
    const auto vault = credential ? catalog.find<vault::Vault>(credential->vault) : nullptr;
    if (!vault || vault->archived || credential->archived)
        return base::failure(ErrorKind::denied, "credential.archived",
                             "The credential for this server has just been taken away.",
                             "Ask an administrator; the access log says who took it away.");
    return {};
}

base::Status SessionContexts::value_stands(const SessionContext& context, const ServerContext& server,
                                           std::chrono::milliseconds grace) const {
    const auto& catalog = records_.catalog();
    if (catalog.revision() == context.revision || !server.credential ||
        server.credential->type == vault::AuthType::mcp_oauth)
        return {};
    const auto newest = catalog.find<vault::Credential>(server.credential->id);
    const auto gone = newest ? vault::gone_since(catalog, *newest, server.credential->version) : std::nullopt;
    if (!gone || records_.clock().now() < *gone + grace) return {};
    return base::failure(ErrorKind::denied, "credential.retired",
                         "The value of the credential that this was begun with has been retired.",
                         "Begin it again: it then has the value in use.");
}

base::Result<std::shared_ptr<const SessionContext>> SessionContexts::resolve(const crypto::Digest& hash,
                                                                             std::uint64_t revision) const {
    const auto& catalog = records_.catalog();
    const auto token = catalog.session_token_by_hash(hash);
    if (!token || token->revoked) return token_unknown();
    auto context = std::make_shared<SessionContext>();
    context->revision = revision;
    context->token = token;
    context->session = catalog.find<vault::Session>(token->session);
    if (!context->session || context->session->archived) return session_terminated();
    context->environment = catalog.find<vault::Environment>(context->session->environment);
    if (!context->environment)
        return base::failure(ErrorKind::unauthenticated, "environment.archived",
                             "The session's environment no longer exists.",
                             "Create a new session in another environment.");
    context->environment_id = context->environment->id.text();
    context->agent_id = context->session->agent.id.text();

    Vaults vaults;
    for (const auto& id : context->session->vaults)
        if (const auto vault = catalog.find<vault::Vault>(id))
            vaults.in_session.push_back(view_of(catalog, *vault, *context->environment, Shows::active));
    for (const auto& declared : context->session->agent.mcp_servers) {
        auto url = policy::parse_server_url(declared.url);
        if (!url) return std::unexpected(std::move(url).error());
        ServerContext server{.name = declared.name, .url = std::move(*url)};
        server.origin = {server.url.tls, server.url.host, server.url.port};
        const auto host = policy::may_reach(context->environment->network, server.url.host,
                                            policy::HostIs::declared_mcp_server);
        server.private_addresses = host.private_addresses ? net::PrivateAddresses::allow : private_upstreams_;
        server.fingerprint = records_.access_log().fingerprint("server", server.name);
        if (auto found = resolve_credential(*context, vaults, server); !found) {
            // One credential that cannot be read must not take the session's other servers down.
            base::log_error("credential.unreadable", found.error());
            // What passes by itself, such as a disk that is away, must not last until somebody changes
            // something.
            if (found.error().kind == ErrorKind::unavailable) context->revision = kNeverCurrent;
            server.credential = nullptr;
            server.missing = std::move(found).error();
        }
        server.filters_tools = policy::filters_anything(context->policy(), context->agent_id, server.name) ||
                               (server.credential && !server.credential->allowed_tools.empty());
        context->servers.emplace(server.name, std::move(server));
    }
    return context;
}

void SessionContexts::explain(const SessionContext& context, Vaults& vaults) const {
    const auto& catalog = records_.catalog();
    const auto names = bound_names(catalog, context.session->workspace);
    const auto view = [&](const vault::Vault& vault) {
        auto made = view_of(catalog, vault, *context.environment, Shows::archived_too);
        if (const auto known = names.find(vault.id.raw); known != names.end())
            made.bound_environment_names = known->second;
        return made;
    };
    for (const auto& id : context.session->vaults)
        if (const auto vault = catalog.find<vault::Vault>(id)) vaults.explained.push_back(view(*vault));
    vault::PageQuery<vault::Vault> rest{.scope = context.session->workspace.raw, .limit = kMostVaults};
    rest.wanted = [&](const vault::Vault& vault) { return !contains(context.session->vaults, vault.id); };
    for (const auto& vault : catalog.page(rest)) vaults.others.push_back(view(*vault));
}

base::Status SessionContexts::resolve_credential(const SessionContext& context, Vaults& vaults,
                                                 ServerContext& server) const {
    policy::CredentialQuery query{.normal_url = server.url.normal,
                                  .tool = {},
                                  .environment = {context.environment_id, context.environment->name},
                                  .now = records_.clock().now(),
                                  .session_vaults = vaults.in_session,
                                  .other_vaults = {}};
    auto search = policy::search_credential(query);
    if (!search.chosen) {
        // Only now is it worth looking at the rest of the workspace for what came near.
        if (vaults.explained.empty() && vaults.others.empty()) explain(context, vaults);
        query.session_vaults = vaults.explained;
        query.other_vaults = vaults.others;
        search = policy::search_credential(query);
        if (search.chosen) return std::unexpected(changed_just_now());
        server.missing = {
            ErrorKind::denied, search.code, std::move(search.message),
            "Ask an administrator; Claviger's own log says what was searched and what came near."};
        server.explanation = std::move(search.explanation);
        return {};
    }
    const auto id = base::CredentialId::parse(
        vaults.in_session[search.chosen->vault].credentials[search.chosen->credential].id);
    auto current = records_.current_secret(*id);
    if (!current && current.error().kind == ErrorKind::not_found) return std::unexpected(changed_just_now());
    if (!current) return std::unexpected(std::move(current).error());
    server.credential = std::move(current->credential);
    server.token = SharedToken(std::move(current->sealed));
    server.calls = records_.running_calls().of(server.credential->id, server.credential->version);
    server.partition = vault::connection_partition(*server.credential);
    return {};
}

}  // namespace claviger::proxy
