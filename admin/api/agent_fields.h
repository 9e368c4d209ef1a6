// MCP servers, toolsets and models as requests give them: for agents, and for sessions that override them.
#pragma once

#include "admin/api/fields.h"

namespace claviger::admin::api {

/// Members that are absent keep what the agent has; lists replace.
void update_servers(Fields& in, std::vector<base::McpServer>& servers);
void update_toolsets(Fields& in, std::vector<base::Toolset>& toolsets);
/// A name, or an object with an id. Kept as JSON text, never used.
void update_model(Fields& in, std::string& model);
/// Every server has its toolset and the reverse. `name` is the field that is refused.
void check_servers_and_toolsets(Fields& in, std::string_view name, const vault::Agent& agent);
/// What only a model loop could give meaning to.
void refuse_loop_fields(Fields& in);

constexpr TextLimits kSystem{0, 100'000, Lines::many};

}  // namespace claviger::admin::api
