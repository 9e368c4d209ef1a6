// `claviger credential connect`: makes a connect link, shows it, and waits until the person is done.
#pragma once

#include "admin/cli/objects.h"

#include <vector>

namespace claviger::admin::cli {

std::vector<Flag> connect_flags();
base::Status connect_credential(Context& context);

}  // namespace claviger::admin::cli
