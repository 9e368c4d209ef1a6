#include "oauth/live_grants.h"

namespace claviger::oauth {
namespace {

bool lives(const StoredGrant& grant) {
    return is_live(grant.facts.state) && grant.facts.state != GrantState::needs_reauth;
}

}  // namespace

std::optional<LiveGrants> live_grants(const vault::Catalog& catalog, const vault::Credential& credential,
                                      const StoredGrant& grant, const ProviderProfile& profile) {
    const auto& most = profile.refresh_token.max_live_grants;
    if (!most || grant.account.empty() || !credential.refresh || !lives(grant)) return std::nullopt;
    const auto& client = *credential.refresh;
    const auto siblings = catalog.all<vault::Credential>([&](const vault::Credential& other) {
        return other.workspace == credential.workspace && !other.archived && other.version != 0 &&
               other.refresh && other.refresh->client_id == client.client_id &&
               other.refresh->token_endpoint == client.token_endpoint;
    });
    LiveGrants found{.most = *most};
    for (const auto& sibling : siblings) {
        const auto theirs = grant_of(catalog, *sibling);
        if (theirs && lives(*theirs) && theirs->account == grant.account) ++found.count;
    }
    return found;
}

}  // namespace claviger::oauth
