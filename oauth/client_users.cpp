#include "oauth/client_users.h"

namespace claviger::oauth {
namespace {

using Use = std::function<void(const vault::Ref<vault::Credential>&)>;

void each_in(const vault::Catalog& catalog, const base::WorkspaceId& workspace, const Use& use) {
    catalog.each<vault::Vault>(workspace.raw, [&](const vault::Vault& vault) {
        catalog.each<vault::Grant>(vault.id.raw, [&](const vault::Grant& grant) {
            const auto credential = catalog.find<vault::Credential>(grant.id);
            if (credential && !credential->archived) use(credential);
        });
    });
}

void each_anywhere(const vault::Catalog& catalog, const Use& use) {
    catalog.each<vault::Workspace>(vault::Workspace::kEverywhere, [&](const vault::Workspace& workspace) {
        each_in(catalog, workspace.id, use);
    });
}

}  // namespace

void each_oauth_credential(const vault::Catalog& catalog,
                           const std::function<void(const vault::Credential&)>& use) {
    each_anywhere(catalog, [&](const auto& credential) { use(*credential); });
}

std::vector<vault::Ref<vault::Credential>> users_of_client(
    const vault::Catalog& catalog, const vault::Refresh& client,
    const std::optional<base::WorkspaceId>& workspace) {
    std::vector<vault::Ref<vault::Credential>> users;
    const Use add_user = [&](const vault::Ref<vault::Credential>& credential) {
        if (credential->version != 0 && credential->refresh &&
            credential->refresh->client_id == client.client_id &&
            credential->refresh->token_endpoint == client.token_endpoint)
            users.push_back(credential);
    };
    if (workspace)
        each_in(catalog, *workspace, add_user);
    else
        each_anywhere(catalog, add_user);
    return users;
}

}  // namespace claviger::oauth
