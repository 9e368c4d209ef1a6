// Credentials that share an OAuth client: what was wrong with it was wrong for all of them.
#pragma once

#include "vault/records.h"

#include <vector>

namespace claviger::admin::api {

/// The client secret of `repaired` was replaced. The other active credentials of the workspace with the same
/// client at the same token endpoint, whose grants wait for an operator, get the new secret too and are tried
/// again, each with its entry and events, in this commit. Gives their ids: the refresher has to be told of
/// each (Refresher::touched). On the commit thread; one walk through the credentials.
base::Result<std::vector<base::CredentialId>> repair_siblings(vault::Change& change,
                                                              const vault::Credential& repaired,
                                                              const crypto::Secret& client_secret);

}  // namespace claviger::admin::api
