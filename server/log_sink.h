// The program's log on its way out: one JSON object per line, to a file or standard error.
#pragma once

#include "base/log.h"

#include <filesystem>
#include <optional>

namespace claviger::server {

/// Sets base::log's sink. unavailable "log.unwritable" when the file cannot be opened. Call before threads
/// start.
base::Status start_logging(base::LogLevel level, const std::optional<std::filesystem::path>& file);
/// SIGHUP: another level, and the file opened anew (after rotation by name).
base::Status restart_logging(base::LogLevel level, const std::optional<std::filesystem::path>& file);

}  // namespace claviger::server
