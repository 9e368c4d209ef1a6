#include "oauth/live_grants.h"

#include "oauth/client_users.h"

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
    LiveGrants found{.most = *most};
    for (const auto& sibling : users_of_client(catalog, *credential.refresh, credential.workspace)) {
        const auto theirs = grant_of(catalog, *sibling);
        if (theirs && lives(*theirs) && theirs->account == grant.account) ++found.count;
    }
    return found;
}

}  // namespace claviger::oauth
