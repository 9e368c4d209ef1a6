// The folder in which a running server makes its backups, one at a time.
#pragma once

#include "vault/backup.h"
#include "vault/records.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace claviger::vault {

/// Letters, digits, "-", "_" and ".", at most 64, not beginning with "." and not ending as unfinished ones
/// do.
bool is_backup_name(std::string_view name);

/// Thread safety: every member, any thread.
class BackupRoom {
public:
    /// How the backup that was started last is getting on. Absent until there is one.
    struct Run {
        enum class State { running, done, failed } state = State::running;
        std::string name;
        base::Time started{};
        std::uint64_t bytes_done = 0, bytes_total = 0;  // 0: not known yet
        std::optional<BackupHeader> header = {};        // done
        std::optional<base::Error> error = {};          // failed
    };

    explicit BackupRoom(std::filesystem::path folder) : folder_(std::move(folder)) {}
    ~BackupRoom();  // ends a running backup, which leaves nothing behind

    /// Whether start() would begin now; the same errors.
    base::Status may_start(std::string_view name) const;
    /// Begins; `records` outlives it. invalid_request "backup.name"; conflict "backup.running",
    /// "backup.exists".
    base::Status start(const std::string& name, Records& records);
    std::optional<Run> newest() const;
    /// Blocks on the disk. As backups_in().
    base::Result<std::vector<FoundBackup>> list() const { return backups_in(folder_); }
    const std::filesystem::path& folder() const { return folder_; }

private:
    base::Status check(std::string_view name) const;  // holds the lock
    void run(Records& records);

    const std::filesystem::path folder_;
    mutable std::mutex mutex_;  // guards the two below
    std::optional<Run> newest_;
    std::thread thread_;
    std::atomic<bool> stopping_{false};
};

}  // namespace claviger::vault
