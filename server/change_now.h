// A change of the process itself, made before anybody is served.
#pragma once

#include "vault/records.h"

#include <functional>

namespace claviger::server {

/// Blocks until the disk has it; not on a worker, and not on the commit thread.
base::Status change_now(vault::Records& records, std::function<base::Status(vault::Change&)> apply);

}  // namespace claviger::server
