// What a session token stands for, resolved once and kept until something changes: session, environment,
// servers, credentials.
#pragma once

#include "base/result.h"
#include "net/client.h"
#include "policy/policy.h"
#include "policy/server_url.h"
#include "proxy/shared_token.h"
#include "vault/records.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace claviger::proxy {

/// Tools whose calls the policy allows whatever their arguments, as far as they were asked for. A decision
/// follows from question and policy alone, and both stand still as long as the context does. Bounded.
class AllowedTools {
public:
    bool contains(std::string_view tool) const { return std::ranges::find(tools_, tool) != tools_.end(); }
    void add(std::string_view tool) {
        if (tools_.size() < kMost) tools_.emplace_back(tool);
    }

private:
    static constexpr std::size_t kMost = 32;  // more are decided anew each time
    std::vector<std::string> tools_;
};

/// One server the agent declared, with the credential that calls to it use.
struct ServerContext {
    std::string name;
    policy::ServerUrl url;
    net::Origin origin = {};
    net::PrivateAddresses private_addresses = net::PrivateAddresses::refuse;
    vault::Fingerprint fingerprint{};
    bool filters_tools = false;  // tools/list must be cut down for this agent

    vault::Ref<vault::Credential> credential = {};  // null: none was found, `missing` says why
    SharedToken token = {};  // of the credential; the worker that owns the context alone opens it
    /// The calls with that version. Two owners: this, and the contexts of other sessions and workers.
    std::shared_ptr<vault::VersionCalls> calls = {};
    std::string partition = {};  // of the connection pool: no two credential versions share a connection
    base::Error missing{base::ErrorKind::denied, "credential.not_found", {}};
    std::string explanation = {};             // for the operator: what was searched, what came near
    mutable AllowedTools allowed_tools = {};  // a cache; the worker that owns the context alone touches it

    /// Whether the credential, when there is one, may be used for the tool.
    bool may_be_used_for(std::string_view tool) const {
        if (!credential || credential->allowed_tools.empty()) return true;
        return std::ranges::find(credential->allowed_tools, tool) != credential->allowed_tools.end();
    }
};

struct SessionContext {
    std::uint64_t revision = 0;  // of the catalog when this was resolved
    vault::Ref<vault::Session> session;
    vault::Ref<vault::SessionToken> token;
    vault::Ref<vault::Environment> environment;
    std::string environment_id, agent_id;  // their texts
    std::map<std::string, ServerContext, std::less<>> servers;

    policy::Policy policy() const {
        return {session->agent.toolsets, environment->network, environment->tool_rules};
    }
};

/// Per worker; not thread safe. A hit costs one hash of the token and one table look-up.
class SessionContexts {
public:
    /// `private_upstreams`: whether every environment may reach private addresses (upstream.allow_private).
    SessionContexts(vault::Records& records, net::PrivateAddresses private_upstreams);

    /// unauthenticated "session.token_unknown", "session.token_expired", "session.terminated",
    /// "environment.archived". Two owners share a context: the table, and the calls that still run when a
    /// change replaces it.
    base::Result<std::shared_ptr<const SessionContext>> find(std::string_view token);
    /// The newest context of the same token, after something changed. Errors as of find().
    base::Result<std::shared_ptr<const SessionContext>> find_again(const SessionContext& context) {
        return find(context.token->hash);
    }
    /// Whether a context that was found earlier has not been revoked since: its token, its session and the
    /// server's credential. A token whose time is over counts for another `grace`. Errors as of find(), and
    /// denied "credential.archived". Free of cost while nothing has changed.
    base::Status still_stands(const SessionContext& context, const ServerContext& server,
                              std::chrono::milliseconds grace) const;
    /// Whether the value that the server's credential had then is in use, kept for a roll-back, or gone for
    /// less than `grace`. denied "credential.retired". OAuth's tokens are not retired but renewed. Free of
    /// cost as still_stands() is.
    base::Status value_stands(const SessionContext& context, const ServerContext& server,
                              std::chrono::milliseconds grace) const;

private:
    base::Result<std::shared_ptr<const SessionContext>> find(const crypto::Digest& hash);
    base::Result<std::shared_ptr<const SessionContext>> resolve(const crypto::Digest& hash,
                                                                std::uint64_t revision) const;
    struct Vaults;
    base::Status resolve_credential(const SessionContext& context, Vaults& vaults,
                                    ServerContext& server) const;
    void explain(const SessionContext& context, Vaults& vaults) const;

    struct DigestHash {
        std::size_t operator()(const crypto::Digest& digest) const;
    };
    vault::Records& records_;
    net::PrivateAddresses private_upstreams_;
    std::unordered_map<crypto::Digest, std::shared_ptr<const SessionContext>, DigestHash> contexts_;
};

}  // namespace claviger::proxy
