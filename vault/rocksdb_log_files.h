// The files of RocksDB's write-ahead log, laid out ahead of what is written to them.
#pragma once

#include "vault/store_directory.h"

#include <rocksdb/file_system.h>

#include <memory>
#include <mutex>
#include <string>

namespace claviger::vault {

/// A file system whose write-ahead logs are filled with zeros some way ahead of their end: a sync then has
/// only the record to write, and not where the file ends as well
/// (docs/decisions/0024-logs-are-laid-out-ahead.md). Everything else is the file system of the machine.
/// Thread safe as RocksDB needs it.
class LogFiles final : public rocksdb::FileSystemWrapper {
public:
    LogFiles();
    const char* Name() const override { return "claviger.log_files"; }
    rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file,
                                      rocksdb::IODebugContext* debug) override;

    /// Where the next record will begin: behind what the newest log was given. Any thread.
    LogEnd end() const;

private:
    friend class LogFile;
    void moved(LogEnd end);

    mutable std::mutex mutex_;  // over the one below
    LogEnd end_;
};

}  // namespace claviger::vault
