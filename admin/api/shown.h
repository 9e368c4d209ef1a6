// Parts of answers that several resources share.
#pragma once

#include "admin/api/call.h"
#include "base/rules.h"

#include <nlohmann/json_fwd.hpp>

namespace claviger::admin::api {

Json shown(const std::optional<std::string>& text);
Json shown(base::Time time);
Json shown(const std::optional<base::Time>& time);
Json shown(const vault::Metadata& metadata);
Json shown(const std::vector<base::McpServer>& servers);
Json shown(const std::vector<base::Toolset>& toolsets);
Json shown(const base::ToolRule& rule);
/// The fields of an agent that a session's snapshot has as well.
Json shown_definition(const vault::Agent& agent);

}  // namespace claviger::admin::api
