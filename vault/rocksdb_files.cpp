#include "vault/rocksdb_files.h"

#include <rocksdb/utilities/checkpoint.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <set>
#include <system_error>
#include <thread>

namespace claviger::vault {
namespace {

constexpr std::chrono::seconds kLongestWait{60};  // for a scan that still reads an old file
constexpr std::chrono::milliseconds kLookEvery{20};

/// The number that begins the name of a log or table file.
std::uint64_t number_of(const std::filesystem::path& file) {
    return std::strtoull(file.filename().c_str(), nullptr, 10);
}

/// Whether the folder holds a table file that the database no longer uses, or a log up to `last_log`.
bool holds_old_files(rocksdb::DB& database, std::uint64_t last_log) {
    std::vector<rocksdb::LiveFileMetaData> live;
    database.GetLiveFilesMetaData(&live);
    std::set<std::uint64_t> used;
    for (const auto& file : live) used.insert(file.file_number);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(database.GetName(), error)) {
        const auto& file = entry.path();
        if (file.extension() == ".sst" && !used.contains(number_of(file))) return true;
        if (file.extension() == ".log" && number_of(file) <= last_log) return true;
    }
    return error.operator bool();
}

}  // namespace

rocksdb::Status copy_files(rocksdb::DB& database, const std::filesystem::path& directory) {
    rocksdb::Checkpoint* made = nullptr;
    if (auto status = rocksdb::Checkpoint::Create(&database, &made); !status.ok()) return status;
    const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
    return checkpoint->CreateCheckpoint(directory.string());
}

rocksdb::Status purge_files(rocksdb::DB& database, const std::vector<rocksdb::ColumnFamilyHandle*>& families,
                            const std::vector<KeyRange>& ranges) {
    std::unique_ptr<rocksdb::LogFile> log;
    if (auto status = database.GetCurrentWalFile(&log); !status.ok()) return status;
    // An empty log has nothing to lose, and is not left behind by a flush.
    const auto last_log = log->SizeFileBytes() == 0 ? log->LogNumber() - 1 : log->LogNumber();
    if (auto status = database.Flush({}, families); !status.ok()) return status;
    for (const auto& range : ranges) {
        rocksdb::CompactRangeOptions options;
        options.exclusive_manual_compaction = false;
        options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
        const rocksdb::Slice begin(range.begin), end(range.end);
        if (auto status = database.CompactRange(options, range.family, &begin, &end); !status.ok())
            return status;
    }
    const auto until = std::chrono::steady_clock::now() + kLongestWait;
    while (holds_old_files(database, last_log)) {
        if (std::chrono::steady_clock::now() > until)
            return rocksdb::Status::TimedOut("files with erased rows are still being read");
        std::this_thread::sleep_for(kLookEvery);
    }
    return rocksdb::Status::OK();
}

}  // namespace claviger::vault
