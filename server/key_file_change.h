// When the operator puts a new key file in place: the store opens with the one before, and gets a slot for
// the new.
#pragma once

#include "base/result.h"
#include "vault/records.h"

namespace claviger::server {

/// Adds a slot for `current` and proves that it opens the store, both on record. Blocks until the disk has
/// it; not on a worker. Fails as vault::add_slot().
base::Status add_key_file_slot(vault::Records& records, const vault::SealInput& current);

}  // namespace claviger::server
