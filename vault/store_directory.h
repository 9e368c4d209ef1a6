// The directory in which a store rests: how it is made, how much space its disk has, and its write-ahead log
// from outside.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace claviger::vault {

/// What callers read when the disk fails; `detail` is for our log.
std::unexpected<base::Error> storage_unavailable(std::string detail);

// All of the following block on the disk and fail with "storage.unavailable".

/// Makes the directory, closed to others, and its name durable. Nothing happens when it is there already.
base::Status make_store_directory(const std::filesystem::path& directory);

/// Opening a store writes what its logs hold into table files: asks the disk for that much and some more,
/// then gives it back.
base::Status check_space(const std::filesystem::path& directory);

/// Where the next record of the write-ahead log will begin.
struct LogEnd {
    std::uint64_t file_number = 0;
    std::uint64_t bytes = 0;
};
/// Removes everything after `end` from the write-ahead log, durably: opening the store again cannot replay
/// it.
base::Status cut_log(const std::filesystem::path& directory, LogEnd end);

}  // namespace claviger::vault
