// Where Claviger itself may go for a credential: to private addresses only where calls may.
#pragma once

#include "net/client.h"
#include "vault/records.h"

#include <string_view>

namespace claviger::admin::api {

/// Allowed when an environment that uses the credential's vault lets calls reach the host of `url`.
net::PrivateAddresses reach_of(const vault::Catalog& catalog, const vault::Credential& credential,
                               std::string_view url);

}  // namespace claviger::admin::api
