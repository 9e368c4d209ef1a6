// How many grants one client holds for one account of a provider that lets only so many live.
#pragma once

#include "oauth/provider_profile.h"
#include "oauth/stored_grant.h"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace claviger::oauth {

struct LiveGrants {
    std::size_t count = 0;   // in this workspace, the one in question among them
    std::uint32_t most = 0;  // that the provider keeps; it ends the oldest of more (max_live_grants)
};

/// Nothing where the profile knows no such number, or nobody knows which account it is. One walk through the
/// workspace's credentials.
std::optional<LiveGrants> live_grants(const vault::Catalog& catalog, const vault::Credential& credential,
                                      const StoredGrant& grant, const ProviderProfile& profile);

}  // namespace claviger::oauth
