// Whether this host lets a process keep its memory to itself.
#pragma once

#include "server/host_check.h"

namespace claviger::server {

/// Locked memory, core dumps, swap, ptrace, address randomisation, the user and the clock.
HostChecks check_process_and_kernel();

}  // namespace claviger::server
