// Copies of the whole store: made while it is in use, verified without it, put back where there is none.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "vault/backup_header.h"
#include "vault/key_ring.h"
#include "vault/storage_engine.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

namespace claviger::vault {

// A backup is a folder: "header" (vault/backup_header.h) and "store", a RocksDB database. While it is being
// made its name ends with kUnfinished; without that ending it is complete.
inline constexpr std::string_view kUnfinished = ".unfinished";

/// Bytes done and, as soon as it is known, of how many. Returning false ends the work with "backup.stopped".
using BackupProgress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

/// Makes `folder` a backup of the store, on disk when this returns. Commits go on meanwhile; the backup is of
/// one commit during the call. Blocks. conflict "backup.exists"; unavailable "backup.folder"; the engine's
/// errors. What an earlier attempt left under the unfinished name is removed.
base::Result<BackupHeader> create_backup(StorageEngine& engine, const KeyRing& keys, const base::Clock& clock,
                                         const std::filesystem::path& folder, const BackupProgress& progress);

/// invalid_request "backup.missing" when the folder holds no backup; corrupt "backup.header_refused".
base::Result<BackupHeader> read_backup_header(const std::filesystem::path& folder);
/// Every complete backup in `folder`, by name; folders that are none are left out.
struct FoundBackup {
    std::string name;
    BackupHeader header;
};
base::Result<std::vector<FoundBackup>> backups_in(const std::filesystem::path& folder);
/// Those of them that are of this store and hold more of its log than the first `entries`.
std::vector<FoundBackup> longer_than(std::vector<FoundBackup> found, const base::RawId& instance,
                                     std::uint64_t entries);

/// Without any key: that every file is there and whole, that none is too many, that the database opens, and
/// that its log hashes to the header's root. Blocks. corrupt "backup.file_changed", "backup.header_refused",
/// "backup.log_changed".
base::Result<BackupHeader> verify_backup(const std::filesystem::path& folder, const BackupProgress& progress);

/// Puts the backup's store into `data_dir`, which must have none, with a copy of the header beside it:
/// whoever opens it fences it first (vault/fence.h). The store appears whole or not at all, and only when
/// every file is as the header says. Blocks. conflict "backup.store_exists"; unavailable "backup.folder"; as
/// verify_backup().
base::Result<BackupHeader> restore_backup(const std::filesystem::path& folder,
                                          const std::filesystem::path& data_dir,
                                          const BackupProgress& progress);

/// The header's copy in `data_dir` after a restore.
std::filesystem::path restored_header(const std::filesystem::path& data_dir);

}  // namespace claviger::vault
