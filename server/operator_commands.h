// Commands that work without the admin API: making and running a store, its config, pins, backups, the host.
#pragma once

#include "admin/cli/arguments.h"
#include "base/result.h"

namespace claviger::server {

/// An admin::cli::RunHere.
base::Status run_operator_command(const admin::cli::Arguments& arguments);

}  // namespace claviger::server
