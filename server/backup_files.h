// `claviger backup verify` and `backup restore`: what is done with a backup beside the server.
#pragma once

#include "server/config.h"
#include "server/store_opening.h"
#include "server/wiring.h"

#include <filesystem>
#include <optional>

namespace claviger::server {

struct BackupCheck {
    std::filesystem::path backup;
    std::optional<Opening> opening;  // without, what can be known without a key is checked
};
/// Prints what was found. Errors as vault::verify_backup and vault::authenticate_backup_header; corrupt
/// "store.faults" when a row does not open.
base::Status check_backup(const BackupCheck& check, Output output);

/// Into the config's data folder. Says what the pin and the folder of backups know that this backup does not
/// have, and what to do next.
/// Errors as vault::restore_backup.
base::Status restore(const std::filesystem::path& backup, const Config& config, Output output);

}  // namespace claviger::server
