#include "admin/api/reach.h"

#include "policy/network_rules.h"
#include "policy/server_url.h"

#include <algorithm>

namespace claviger::admin::api {

net::PrivateAddresses reach_of(const vault::Catalog& catalog, const vault::Credential& credential,
                               std::string_view url) {
    const auto target = policy::parse_server_url(url);
    const auto admitting = catalog.page<vault::Environment>(
        {.scope = credential.workspace.raw, .after = {}, .limit = 1, .wanted = [&](const auto& environment) {
             return !environment.archived && target &&
                    std::ranges::count(environment.vault_bindings, credential.vault) != 0 &&
                    policy::may_reach(environment.network, target->host, policy::HostIs::declared_mcp_server)
                        .private_addresses;
         }});
    return admitting.empty() ? net::PrivateAddresses::refuse : net::PrivateAddresses::allow;
}

}  // namespace claviger::admin::api
