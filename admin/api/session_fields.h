// What a request says about a session, and what an answer shows of one.
#pragma once

#include "admin/api/call.h"
#include "admin/api/fields.h"

namespace claviger::admin::api {

/// The agent as the session will have it: the version that was asked for, overrides applied. Reads the disk
/// for older versions. not_found "agent.not_found", invalid_request "agent.archived"; faults are in the body.
base::Result<vault::Agent> read_session_agent(const Call& call, Fields& in);

/// Ids in order of priority, each once; faults are in the body.
std::vector<base::VaultId> read_vault_ids(Fields& in);

/// Fields of hosted sessions that nothing here could give meaning to.
void refuse_session_loop_fields(Fields& in);

Json shown(const Call& call, const vault::Session& session);

}  // namespace claviger::admin::api
