// The files of an open RocksDB database: copied while it is written to, and rid of what was erased.
#pragma once

#include <rocksdb/db.h>

#include <filesystem>
#include <string>
#include <vector>

namespace claviger::vault {

/// Makes `directory` a copy of the database as it was at one moment of the call, synced. Table files are
/// linked where the disk can do it.
rocksdb::Status copy_files(rocksdb::DB& database, const std::filesystem::path& directory);

/// Keys of one family from `begin` up to, not including, `end`.
struct KeyRange {
    rocksdb::ColumnFamilyHandle* family = nullptr;
    std::string begin, end;
};
/// Flushes `families`, rewrites the table files that reach into `ranges`, and waits until what was rewritten,
/// and the logs behind it, are gone from the folder. TimedOut when something still reads them.
rocksdb::Status purge_files(rocksdb::DB& database, const std::vector<rocksdb::ColumnFamilyHandle*>& families,
                            const std::vector<KeyRange>& ranges);

}  // namespace claviger::vault
