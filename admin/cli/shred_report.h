// What shredding reached, stage by stage.
#pragma once

#include "admin/cli/objects.h"

namespace claviger::admin::cli {

/// POST PATH/shred, and its answer. Fails as the API does, and when a stage that should be reached was not.
base::Status shred(Context& context, const std::string& path, const std::string& what);

}  // namespace claviger::admin::cli
