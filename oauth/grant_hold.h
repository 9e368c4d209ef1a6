// A hold that an administrator puts on a grant: its token goes nowhere, and nothing renews it, until somebody
// takes the hold away (row 21 of the state machine).
#pragma once

#include "base/result.h"
#include "vault/records.h"

namespace claviger::oauth {

/// Both run inside Records::change, with their entry and webhook in the same commit. What is so already
/// changes nothing and is no error. An attempt that is under way ends as it would have; its tokens are kept
/// behind the hold. The refresher has to be told afterwards (Refresher::touched). Errors: conflict
/// "grant.nothing_to_hold" when no account is connected; corrupt "grant.malformed".
base::Status suspend_grant(vault::Change& change, const vault::Credential& credential);
base::Status resume_grant(vault::Change& change, const vault::Credential& credential);

}  // namespace claviger::oauth
