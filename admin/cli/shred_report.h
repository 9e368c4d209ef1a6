// What shredding reached, stage by stage.
#pragma once

#include "admin/cli/objects.h"

#include <nlohmann/json_fwd.hpp>

namespace claviger::admin::cli {

/// POST PATH/shred with `request`, and its answer once the rotation of the vault's key that it began is over.
/// Fails as the API does, and when a stage that should be reached was not.
base::Status shred(Context& context, const std::string& path, const std::string& what,
                   const nlohmann::json& request);

}  // namespace claviger::admin::cli
