// `claviger fsck`: reads a store that no server has open, whole, and says whether it is as it was written.
#pragma once

#include "base/result.h"
#include "server/store_opening.h"
#include "server/wiring.h"

#include <filesystem>

namespace claviger::server {

struct FsckRequest {
    std::filesystem::path data_dir;
    Opening opening;
};

/// Prints what was found. Errors: corrupt "store.faults" when anything is wrong, conflict "storage.locked"
/// while a server has the store open, and those of opening it.
base::Status check_store_files(const FsckRequest& request, Output output);

}  // namespace claviger::server
