// Agents: who calls, which MCP servers it declares, which tools it may use. Every change is a version.
#pragma once

#include "admin/api/call.h"

namespace claviger::admin::api {

net::awaitable<Answered> create_agent(Call& call);
net::awaitable<Answered> list_agents(Call& call);
net::awaitable<Answered> retrieve_agent(Call& call);
net::awaitable<Answered> update_agent(Call& call);
net::awaitable<Answered> archive_agent(Call& call);
net::awaitable<Answered> list_agent_versions(Call& call);

}  // namespace claviger::admin::api
