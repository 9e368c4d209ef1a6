// A store that a restore put in place, when it is opened for the first time.
#pragma once

#include "base/result.h"
#include "vault/records.h"

#include <cstdint>
#include <filesystem>

namespace claviger::server {

/// Fences the store when a restore left its header in `data_dir`, and removes that. `pinned_entries` is what
/// the pin knew of before, 0 without one. corrupt "backup.header_refused" when the header is not of this very
/// store. Blocks until the disk has it.
base::Status fence_if_restored(vault::Records& records, const std::filesystem::path& data_dir,
                               std::uint64_t pinned_entries);

}  // namespace claviger::server
