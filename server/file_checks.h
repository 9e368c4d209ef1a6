// Whether the files of a server are closed to others, apart from each other, and on a disk that keeps its
// word.
#pragma once

#include "server/config.h"
#include "server/host_check.h"

#include <filesystem>

namespace claviger::server {

/// Reads modes and mounts, and writes and syncs a small file in the data folder, which is removed again.
HostChecks check_files(const Config& config, const std::filesystem::path& config_file);

}  // namespace claviger::server
