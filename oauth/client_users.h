// Which credentials live on the tokens of one OAuth client. Found through their grants, so that credentials
// of other kinds need not be opened.
#pragma once

#include "vault/catalog.h"

#include <functional>
#include <optional>
#include <vector>

namespace claviger::oauth {

/// Every OAuth credential that is not archived, of every workspace. Any thread; a walk through all grants.
void each_oauth_credential(const vault::Catalog& catalog,
                           const std::function<void(const vault::Credential&)>& use);

/// Those that hold tokens which this client was given at this token endpoint; of one workspace, or of all.
std::vector<vault::Ref<vault::Credential>> users_of_client(const vault::Catalog& catalog,
                                                           const vault::Refresh& client,
                                                           const std::optional<base::WorkspaceId>& workspace);

}  // namespace claviger::oauth
