// How an OAuth credential's grant stands: facts, what they mean, what happens next, and what happened so far.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

/// Never a token: of each only 8 hex digits of a keyed hash. `limit` and `page` are the timeline's.
net::awaitable<Answered> retrieve_grant(Call& call);
/// Holds the grant, or lets it go on; answered like retrieve_grant. Doing it twice changes nothing.
net::awaitable<Answered> suspend_credential(Call& call);
net::awaitable<Answered> resume_credential(Call& call);

}  // namespace claviger::admin::api
