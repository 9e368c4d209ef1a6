// How a thread asks the kernel to be treated.
#pragma once

namespace claviger::base {

/// For threads that do little at a time and that others wait for: the calling thread runs sooner after it
/// wakes up, and in return has shorter turns when it has much to do. A hint; Linux before 6.12 does not know
/// it.
void prefer_short_turns();

/// For work that nobody waits for: the calling thread gets what the others leave, and cannot take that back.
void give_way();

}  // namespace claviger::base
