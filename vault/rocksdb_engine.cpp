// The storage engine on RocksDB: one directory, one log of writes, one synced batch per commit.
#include "vault/rocksdb_files.h"
#include "vault/rocksdb_log_files.h"
#include "vault/storage_engine.h"
#include "vault/store_directory.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <mutex>
#include <string_view>
#include <system_error>
#include <utility>

namespace claviger::vault {
namespace {

using base::ErrorKind;

// ---- Layout on disk: see docs/decisions/0005-rocksdb-layout.md

enum Family : std::size_t { small_rows, value_rows, log_rows, tile_rows, feed_rows };
constexpr std::array<const char*, 5> kFamilyNames = {"default", "value", "log", "tile", "feed"};

constexpr Family family_of(Table table) {
    switch (table) {  // no default: a new table must be given its place here
        case Table::state:
        case Table::meta:
        case Table::data_key:
        case Table::owner_key:
        case Table::usage:
        case Table::name:
            return small_rows;
        case Table::value:
            return value_rows;
        case Table::log:
            return log_rows;
        case Table::tile:
        case Table::log_index:
            return tile_rows;
    }
    return small_rows;
}

// Keys of the feed family: one of these bytes, for change also the commit sequence.
constexpr char kChange = 1;
constexpr char kLastCommit = 2;
constexpr char kTrimmedTo = 3;

constexpr std::size_t kVersionBytes = 8;  // every row begins with the commit sequence that wrote it

Bytes row_key(Table table, ByteView key) {
    Bytes row;
    row.reserve(1 + key.size());
    row.push_back(static_cast<char>(table));
    row.append(key);
    return row;
}

Bytes change_key(std::uint64_t commit_seq) {
    Bytes key(1, kChange);
    base::append_big_endian(key, commit_seq);
    return key;
}

Bytes encoded(std::uint64_t number) {
    Bytes bytes;
    base::append_big_endian(bytes, number);
    return bytes;
}

/// The first key after all keys with this prefix. A row prefix never consists of 0xff alone, tables being
/// few.
Bytes end_of(Bytes prefix) {
    while (prefix.back() == static_cast<char>(0xff)) prefix.pop_back();
    prefix.back() = static_cast<char>(prefix.back() + 1);
    return prefix;
}

/// The changed keys of one batch, each once: table byte, length, key.
Bytes changes_of(const Batch& batch) {
    std::vector<std::pair<Table, ByteView>> changed;
    for (const auto& write : batch.writes())
        if (!is_of_log(write.table, write.key)) changed.emplace_back(write.table, write.key);
    std::sort(changed.begin(), changed.end());
    changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
    Bytes row;
    for (const auto& [table, key] : changed) {
        row.push_back(static_cast<char>(table));
        base::append_big_endian(row, static_cast<std::uint32_t>(key.size()));
        row.append(key);
    }
    return row;
}

ByteView view(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// ---- Errors

std::unexpected<base::Error> corrupt(std::string detail) {
    return base::failure(ErrorKind::corrupt, "storage.corrupt", "The credential store holds damaged data.",
                         "Stop the service, keep a copy of the data directory, and restore the last backup.",
                         std::move(detail));
}

/// The only place where a RocksDB status becomes an error of ours.
std::unexpected<base::Error> failure_of(const rocksdb::Status& status) {
    auto text = status.ToString();
    if (status.IsCorruption()) return corrupt(std::move(text));
    if (text.find("While lock file") != std::string::npos ||
        text.find("lock hold by current process") != std::string::npos)
        return base::failure(
            ErrorKind::conflict, "storage.locked", "Another process has the credential store open.",
            "Stop the other process, or give this one a data directory of its own.", std::move(text));
    return storage_unavailable(std::move(text));
}

base::Status status_of(const rocksdb::Status& status) {
    if (!status.ok()) return failure_of(status);
    return {};
}

// ---- Options

/// After an error RocksDB would repair itself in the background, and by that could complete a failed batch in
/// its log. recover() is the one road back.
class NoSelfRepair final : public rocksdb::EventListener {
public:
    void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* auto_recovery) override {
        *auto_recovery = false;
    }
};

constexpr std::size_t kMiB = 1024 * 1024;

rocksdb::DBOptions database_options() {
    rocksdb::DBOptions options;
    options.create_if_missing = true;
    options.create_missing_column_families = true;
    options.paranoid_checks = true;
    options.track_and_verify_wals_in_manifest = true;
    options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
    options.max_open_files = 512;
    options.max_total_wal_size = 64 * kMiB;           // bounds the time to open after a crash
    options.allow_concurrent_memtable_write = false;  // commits come one at a time
    options.enable_write_thread_adaptive_yield = false;
    options.max_bgerror_resume_count = 0;
    options.listeners = {
        std::make_shared<NoSelfRepair>()};  // shared with the database only because its API asks for it
    options.info_log_level = rocksdb::WARN_LEVEL;
    options.keep_log_file_num = 4;
    options.max_log_file_size = kMiB;
    options.stats_dump_period_sec = 0;
    options.stats_persist_period_sec = 0;
    return options;
}

rocksdb::ColumnFamilyOptions family_options(Family family, const std::shared_ptr<rocksdb::Cache>& cache) {
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = cache;  // one cache for all families of the database
    rocksdb::ColumnFamilyOptions options;
    options.compression = rocksdb::kNoCompression;  // ciphertext does not shrink
    options.level_compaction_dynamic_level_bytes = true;
    // What a commit writes comes in key order, or to keys of the commit before: remember where it went
    // instead of searching. Not where ranges are deleted: RocksDB would take the place of one for that of the
    // other.
    if (family != feed_rows)
        options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));
    // What waits in memory to be written out: the most of what the process holds once it has run for a while.
    options.write_buffer_size = 4 * kMiB;
    switch (family) {
        case small_rows:
        case value_rows:
            table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
            break;
        case log_rows:
            options.write_buffer_size = 8 * kMiB;
            table.block_size = 16 * 1024;
            break;
        case tile_rows:
            break;
        case feed_rows:
            break;
    }
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    return options;
}

// ---- An open database

enum class Access { read_and_write, read_only };

/// RocksDB's own log, where it must not make a file for one.
class NoInfoLog final : public rocksdb::Logger {
public:
    using rocksdb::Logger::Logv;
    void Logv(const char*, va_list) override {}
};

class Database {
public:
    static base::Result<std::unique_ptr<Database>> open(const std::filesystem::path& directory,
                                                        Access access) {
        std::vector<rocksdb::ColumnFamilyDescriptor> families;
        const auto cache = rocksdb::NewLRUCache(64 * kMiB);
        for (std::size_t i = 0; i < kFamilyNames.size(); ++i)
            families.emplace_back(kFamilyNames[i], family_options(static_cast<Family>(i), cache));
        auto database = std::make_unique<Database>();
        rocksdb::DB* opened = nullptr;
        auto options = database_options();
        options.env = database->env_.get();
        if (access == Access::read_only)
            options.info_log = std::make_shared<NoInfoLog>();  // shared by its API
        const auto status =
            access == Access::read_only
                ? rocksdb::DB::OpenForReadOnly(options, directory.string(), families, &database->handles_,
                                               &opened)
                : rocksdb::DB::Open(options, directory.string(), families, &database->handles_, &opened);
        if (!status.ok()) return failure_of(status);
        database->db_.reset(opened);
        return database;
    }
    ~Database() {
        if (!db_) return;
        for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
        db_->Close().PermitUncheckedError();  // every commit is synced already: nothing can be lost here
    }

    rocksdb::DB& db() { return *db_; }
    LogEnd log_end() const { return log_files_->end(); }
    rocksdb::ColumnFamilyHandle* family(Family family) { return handles_[family]; }
    const std::vector<rocksdb::ColumnFamilyHandle*>& families() { return handles_; }

    base::Result<std::uint64_t> number(char key) {
        std::string value;
        const auto status = db_->Get({}, family(feed_rows), rocksdb::Slice(&key, 1), &value);
        if (status.IsNotFound()) return 0;
        if (!status.ok()) return failure_of(status);
        if (value.size() != sizeof(std::uint64_t)) return corrupt("a counter of the feed has the wrong size");
        return base::read_big_endian<std::uint64_t>(value.data());
    }

private:
    const std::shared_ptr<LogFiles> log_files_ = std::make_shared<LogFiles>();  // shared by RocksDB's API
    const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(log_files_);
    std::unique_ptr<rocksdb::DB> db_;
    std::vector<rocksdb::ColumnFamilyHandle*> handles_;
};

/// Counts who uses the database, so that it can be closed and opened again under them.
class Gate {
public:
    bool enter() {
        if (!(users_.fetch_add(1) & kClosed)) return true;
        leave();
        return false;
    }
    void leave() {
        if (users_.fetch_sub(1) == (kClosed | 1)) users_.notify_all();
    }
    /// Refuses newcomers and waits for the last user to leave.
    void close() {
        for (auto users = users_.fetch_or(kClosed) | kClosed; users != kClosed; users = users_.load())
            users_.wait(users);
    }
    void open() { users_.fetch_and(~kClosed); }

private:
    static constexpr std::uint32_t kClosed = 1U << 31;
    std::atomic<std::uint32_t> users_ = 0;
};

class Visit {
public:
    explicit Visit(Gate& gate) : gate_(gate), inside_(gate.enter()) {}
    ~Visit() {
        if (inside_) gate_.leave();
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    bool inside() const { return inside_; }

private:
    Gate& gate_;
    bool inside_;
};

// ---- The engine

class RocksdbEngine final : public StorageEngine {
public:
    RocksdbEngine(std::filesystem::path directory, Access access)
        : directory_(std::move(directory)), access_(access) {
        gate_.close();
    }

    /// The gate is closed before and, on success, open afterwards. `failed_` keeps writers out meanwhile.
    base::Status open() {
        auto opened = Database::open(directory_, access_);
        if (!opened) return std::unexpected(std::move(opened).error());
        const auto last = (*opened)->number(kLastCommit);
        if (!last) return std::unexpected(last.error());
        const auto trimmed = (*opened)->number(kTrimmedTo);
        if (!trimmed) return std::unexpected(trimmed.error());
        const std::lock_guard lock(writing_);
        if (failed_ && *last != last_commit_)
            return corrupt("after recovery the last commit is " + std::to_string(*last) + ", it was " +
                           std::to_string(last_commit_));
        database_ = std::move(*opened);
        last_commit_ = *last;
        trimmed_to_ = *trimmed;
        failed_ = false;
        gate_.open();
        return {};
    }

    base::Result<std::optional<Row>> get(Table table, ByteView key) const override {
        const Visit visit(gate_);
        if (!visit.inside()) return storage_unavailable("the database is being opened again");
        return row(table, key);
    }

    base::Status scan(Table table, ByteView prefix, ByteView from, Order order,
                      const Visitor& visitor) const override {
        const Visit visit(gate_);
        if (!visit.inside()) return storage_unavailable("the database is being opened again");
        const auto lower = row_key(table, prefix);
        const auto upper = end_of(lower);
        const rocksdb::Slice lower_slice(lower), upper_slice(upper);
        rocksdb::ReadOptions options;
        options.fill_cache = false;  // what is read once must not push out what is read for every call
        options.iterate_lower_bound = &lower_slice;
        options.iterate_upper_bound = &upper_slice;
        const std::unique_ptr<rocksdb::Iterator> at(
            database_->db().NewIterator(options, database_->family(family_of(table))));
        const bool ascending = order == Order::ascending;
        if (from.empty())
            ascending ? at->SeekToFirst() : at->SeekToLast();
        else
            ascending ? at->Seek(row_key(table, from)) : at->SeekForPrev(row_key(table, from));
        for (; at->Valid(); ascending ? at->Next() : at->Prev()) {
            const auto value = view(at->value());
            if (value.size() < kVersionBytes) return corrupt("a row is shorter than its version");
            const auto version = base::read_big_endian<std::uint64_t>(value.data());
            if (!visitor(view(at->key()).substr(1), value.substr(kVersionBytes), version)) return {};
        }
        return status_of(at->status());
    }

    base::Status scan_each(Table table, std::span<const Bytes> prefixes,
                           const Visitor& visitor) const override {
        const Visit visit(gate_);
        if (!visit.inside()) return storage_unavailable("the database is being opened again");
        const auto upper = end_of(row_key(table, {}));
        const rocksdb::Slice upper_slice(upper);
        rocksdb::ReadOptions options;
        options.iterate_upper_bound = &upper_slice;
        const std::unique_ptr<rocksdb::Iterator> at(
            database_->db().NewIterator(options, database_->family(family_of(table))));
        bool placed = false;
        for (const auto& prefix : prefixes) {
            const auto wanted = row_key(table, prefix);
            // What stands behind the rows of the prefix before is the next row there is.
            if (!placed || (at->Valid() && view(at->key()) < wanted)) at->Seek(wanted);
            placed = true;
            for (; at->Valid() && view(at->key()).starts_with(wanted); at->Next()) {
                const auto value = view(at->value());
                if (value.size() < kVersionBytes) return corrupt("a row is shorter than its version");
                const auto version = base::read_big_endian<std::uint64_t>(value.data());
                if (!visitor(view(at->key()).substr(1), value.substr(kVersionBytes), version)) return {};
            }
            if (!at->Valid()) break;
        }
        return status_of(at->status());
    }

    base::Status commit(std::uint64_t commit_seq, const Batch& batch) override {
        const std::lock_guard lock(writing_);
        if (failed_) return storage_unavailable("an earlier commit failed and the engine has not recovered");
        if (auto met = preconditions_hold(commit_seq, batch); !met) return met;

        write_.Clear();
        const auto version = encoded(commit_seq);
        for (const auto& write : batch.writes()) {
            auto* const family = database_->family(family_of(write.table));
            const char table = static_cast<char>(write.table);
            const std::array<rocksdb::Slice, 2> key = {rocksdb::Slice(&table, 1), rocksdb::Slice(write.key)};
            const rocksdb::SliceParts key_parts(key.data(), key.size());
            if (!write.value) {
                if (auto added = write_.Delete(family, key_parts); !added.ok()) return failure_of(added);
                continue;
            }
            const std::array<rocksdb::Slice, 2> value = {rocksdb::Slice(version),
                                                         rocksdb::Slice(*write.value)};
            auto added = write_.Put(family, key_parts, rocksdb::SliceParts(value.data(), value.size()));
            if (!added.ok()) return failure_of(added);
        }
        if (const auto changes = changes_of(batch); !changes.empty()) {
            auto added = write_.Put(database_->family(feed_rows), change_key(commit_seq), changes);
            if (!added.ok()) return failure_of(added);
        }
        auto* const feed = database_->family(feed_rows);
        const auto trimmed_before = trimmed_to_.load();
        const auto trimmed = std::max(trimmed_before, std::min(batch.feed_trimmed_to(), last_commit_.load()));
        if (trimmed != trimmed_before) {
            auto added = write_.DeleteRange(feed, change_key(trimmed_before + 1), change_key(trimmed + 1));
            if (!added.ok()) return failure_of(added);
            added = write_.Put(feed, rocksdb::Slice(&kTrimmedTo, 1), encoded(trimmed));
            if (!added.ok()) return failure_of(added);
        }
        auto added = write_.Put(feed, rocksdb::Slice(&kLastCommit, 1), version);
        if (!added.ok()) return failure_of(added);
        trimmed_to_ = trimmed;  // before the rows go: nobody may find the feed shorter than it says
        if (auto written = write_synced(); !written) {
            trimmed_to_ = trimmed_before;
            return written;
        }
        last_commit_ = commit_seq;
        return {};
    }

    std::uint64_t last_commit() const override { return last_commit_; }

    base::Status recover() override {
        const std::lock_guard lock(recovering_);
        LogEnd end;
        {
            const std::lock_guard brief(
                writing_);  // not for long: a visitor that commits must not wait for us
            if (!failed_) return {};
            end = before_failure_;
        }
        if (auto space = check_space(directory_); !space) return space;
        if (auto cut = cut_log(directory_, end); !cut) return cut;  // before reads end: it may fail
        gate_.close();
        database_.reset();  // may write the rest of the failed batch into its log
        if (auto cut = cut_log(directory_, end); !cut) return cut;
        return open();
    }

    base::Status changes_after(std::uint64_t commit_seq, const ChangeVisitor& visitor) const override {
        const Visit visit(gate_);
        if (!visit.inside()) return storage_unavailable("the database is being opened again");
        const auto upper = end_of(Bytes(1, kChange));
        const rocksdb::Slice upper_slice(upper);
        rocksdb::ReadOptions options;
        options.iterate_upper_bound = &upper_slice;
        const std::unique_ptr<rocksdb::Iterator> at(
            database_->db().NewIterator(options, database_->family(feed_rows)));
        // After the iterator is made: a trim since then hides nothing from it, an earlier one is seen here.
        if (commit_seq < trimmed_to_)
            return base::failure(ErrorKind::conflict, "storage.feed_trimmed",
                                 "The record of changes no longer reaches back that far.",
                                 "Read everything again.");
        for (at->Seek(change_key(commit_seq + 1)); at->Valid(); at->Next()) {
            const auto changed_in = base::read_big_endian<std::uint64_t>(at->key().data() + 1);
            auto changes = view(at->value());
            while (!changes.empty()) {
                if (changes.size() < 5) return corrupt("a row of the feed ends early");
                const auto table = static_cast<Table>(changes[0]);
                const auto key_bytes = base::read_big_endian<std::uint32_t>(changes.data() + 1);
                changes.remove_prefix(5);
                if (changes.size() < key_bytes) return corrupt("a row of the feed ends early");
                if (!visitor(changed_in, table, changes.substr(0, key_bytes))) return {};
                changes.remove_prefix(key_bytes);
            }
        }
        return status_of(at->status());
    }

    base::Status checkpoint(const std::filesystem::path& directory) override {
        const Visit visit(gate_);
        if (!visit.inside()) return storage_unavailable("the database is being opened again");
        return status_of(copy_files(database_->db(), directory));
    }

    base::Status purge_erased(const std::vector<KeyPrefix>& prefixes) override {
        const Visit visit(gate_);
        if (!visit.inside()) return storage_unavailable("the database is being opened again");
        std::vector<KeyRange> ranges;
        for (const auto& [table, prefix] : prefixes) {
            const auto begin = row_key(table, prefix);
            ranges.push_back({database_->family(family_of(table)), begin, end_of(begin)});
        }
        return status_of(purge_files(database_->db(), database_->families(), ranges));
    }

private:
    base::Result<std::optional<Row>> row(Table table, ByteView key) const {
        rocksdb::PinnableSlice found;
        const auto status =
            database_->db().Get({}, database_->family(family_of(table)), row_key(table, key), &found);
        if (status.IsNotFound()) return std::nullopt;
        if (!status.ok()) return failure_of(status);
        if (found.size() < kVersionBytes) return corrupt("a row is shorter than its version");
        return Row{Bytes(view(found).substr(kVersionBytes)),
                   base::read_big_endian<std::uint64_t>(found.data())};
    }

    base::Status preconditions_hold(std::uint64_t commit_seq, const Batch& batch) const {
        auto changed = [] {
            return base::failure(ErrorKind::conflict, "storage.conflict",
                                 "Someone else changed this in the meantime.",
                                 "Read it again and repeat the change.");
        };
        if (commit_seq != last_commit_ + 1) return changed();
        for (const auto& required : batch.preconditions()) {
            const auto found = row(required.table, required.key);
            if (!found) return std::unexpected(found.error());
            if ((*found ? (*found)->version : 0) != required.version) return changed();
        }
        return {};
    }

    /// Writes `write_`; when that fails, takes it out of the log again and refuses further writes until
    /// recover().
    base::Status write_synced() {
        const auto end = database_->log_end();
        rocksdb::WriteOptions options;
        options.sync = true;
        const auto status = database_->db().Write(options, &write_);
        if (status.ok()) return {};
        failed_ = true;
        before_failure_ = end;
        auto failed = failure_of(status);
        if (const auto cut = cut_log(directory_, before_failure_); !cut)
            failed.error().detail += "; " + cut.error().detail;
        return failed;
    }

    const std::filesystem::path directory_;
    const Access access_;
    std::unique_ptr<Database> database_;  // replaced only while the gate is closed and `failed_` is true
    mutable Gate gate_;
    std::mutex recovering_;  // one recovery at a time; taken before `writing_`
    std::mutex writing_;     // one write at a time, and over the three below
    bool failed_ = false;
    LogEnd before_failure_;  // where the failed batch begins
    rocksdb::WriteBatch write_{/*reserved_bytes=*/4096, /*max_bytes=*/0, /*protection_bytes_per_key=*/8,
                               /*default_cf_ts_sz=*/0};
    std::atomic<std::uint64_t> last_commit_ = 0;
    std::atomic<std::uint64_t> trimmed_to_ = 0;
};

}  // namespace

base::Result<std::unique_ptr<StorageEngine>> open_rocksdb(const std::filesystem::path& directory) {
    std::error_code error;
    auto absolute = std::filesystem::absolute(directory, error).lexically_normal();
    if (!absolute.has_filename())
        absolute = absolute.parent_path();  // "store/" and "store" are the same place
    if (auto made = make_store_directory(absolute); !made) return std::unexpected(std::move(made).error());
    auto engine = std::make_unique<RocksdbEngine>(absolute, Access::read_and_write);
    if (auto opened = engine->open(); !opened) return std::unexpected(std::move(opened).error());
    return engine;
}

base::Result<std::unique_ptr<const StorageEngine>> open_rocksdb_read_only(
    const std::filesystem::path& directory) {
    auto engine = std::make_unique<RocksdbEngine>(directory, Access::read_only);
    if (auto opened = engine->open(); !opened) return std::unexpected(std::move(opened).error());
    return engine;
}

}  // namespace claviger::vault
