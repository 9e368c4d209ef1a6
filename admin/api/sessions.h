// Sessions: one run of an agent in an environment, with the vaults it may use.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

/// The answer shows the session's first token, once.
net::awaitable<Answered> create_session(Call& call);
net::awaitable<Answered> list_sessions(Call& call);
net::awaitable<Answered> retrieve_session(Call& call);
net::awaitable<Answered> update_session(Call& call);
/// Its tokens open nothing any more from then on.
net::awaitable<Answered> archive_session(Call& call);
net::awaitable<Answered> delete_session(Call& call);

}  // namespace claviger::admin::api
