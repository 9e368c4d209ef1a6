// Credentials named by people, in one vault or in any.
#pragma once

#include "admin/cli/objects.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace claviger::admin::cli {

/// "/v1/vaults/vlt_…/credentials"
std::string credentials_of(const std::string& vault);

/// The credential of the first operand, in the vault of --vault or in all of them. Names find active
/// credentials only, because the archived ones of the same name are many; ids find every one.
base::Result<nlohmann::json> find_credential(Context& context);
std::string path_of_credential(const nlohmann::json& credential);
/// Both at once.
base::Result<std::string> path_of_credential(Context& context);

}  // namespace claviger::admin::cli
