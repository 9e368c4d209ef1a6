// Where sealed bytes rest: tables, all-or-nothing batches with preconditions, and a feed of what changed.
#pragma once

#include "base/bytes.h"
#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace claviger::vault {

using base::Bytes;
using base::ByteView;

/// On disk: numbers are never reused, new tables are appended.
enum class Table : std::uint8_t {
    state = 0,      // seal slots, head of the log: few rows, rewritten often
    meta = 1,       // sealed metadata of every object
    value = 2,      // sealed secrets, one row per credential version
    data_key = 3,   // wrapped data keys, one row per credential version
    owner_key = 4,  // wrapped keys of vaults, workspaces, log days
    usage = 5,      // sealed use counts per credential
    name = 6,       // sealed names behind the log's fingerprints
    log = 7,        // access log entries by position; append only
    tile = 8,       // full Merkle tiles; append only
    log_index = 9,  // one sealed index row per block of entries; append only
};
inline constexpr std::size_t kTables = 10;
/// The row of Table::state that every commit rewrites: the head of the log.
inline constexpr ByteView kHeadKey = "head";
/// Whether the row is the log's own: the head, or of a table whose rows never change once written. The change
/// feed does not name these.
constexpr bool is_of_log(Table table, ByteView key) {
    return table >= Table::log || (table == Table::state && key == kHeadKey);
}

/// A row as read: its bytes and the commit sequence that wrote it.
struct Row {
    Bytes value;
    std::uint64_t version = 0;
};

/// What one commit does, and what must hold for it to happen. Later writes to a key win over earlier ones.
class Batch {
public:
    struct Write {
        Table table;
        Bytes key;
        std::optional<Bytes> value;  // nullopt erases
        /// The row before, where somebody has looked; of version 0 when there was none.
        std::optional<Row> was = {};
    };
    struct Precondition {
        Table table;
        Bytes key;
        std::uint64_t version;  // 0: the row must be absent
    };

    void put(Table table, ByteView key, Bytes value) {
        writes_.push_back({table, Bytes(key), std::move(value)});
    }
    /// For a row that was read already, so that nobody reads it again; on the condition that it still is
    /// that.
    void replace(Table table, Bytes key, Row was, Bytes value) {
        require(table, key, was.version);
        writes_.push_back({table, std::move(key), std::move(value), std::move(was)});
    }
    void erase(Table table, ByteView key) { writes_.push_back({table, Bytes(key), std::nullopt}); }
    void require(Table table, ByteView key, std::uint64_t version) {
        preconditions_.push_back({table, Bytes(key), version});
    }
    /// Tells what a row was before one of the writes.
    void learn(std::size_t write, std::optional<Row> was) {
        writes_[write].was = was ? std::move(*was) : Row{};
    }
    /// For preconditions that were seen to hold when last_commit() was the number before this batch's:
    /// commit() takes that number only while nobody has committed since, so they need no second look.
    void preconditions_hold() { preconditions_.clear(); }
    /// With this commit the change feed forgets the commits up to and including that one, which is an earlier
    /// one. What the feed has forgotten already stays so.
    void trim_feed(std::uint64_t commit_seq) { feed_trimmed_to_ = commit_seq; }
    const std::vector<Write>& writes() const { return writes_; }
    const std::vector<Precondition>& preconditions() const { return preconditions_; }
    std::uint64_t feed_trimmed_to() const { return feed_trimmed_to_; }
    bool empty() const { return writes_.empty(); }
    void clear() {
        writes_.clear();
        preconditions_.clear();
        feed_trimmed_to_ = 0;
    }

private:
    std::vector<Write> writes_;
    std::vector<Precondition> preconditions_;
    std::uint64_t feed_trimmed_to_ = 0;
};

enum class Order { ascending, descending };
/// Returns false to end the scan. The views die when it returns.
using Visitor = std::function<bool(ByteView key, ByteView value, std::uint64_t version)>;
/// One changed key of one commit; called in commit order.
using ChangeVisitor = std::function<bool(std::uint64_t commit_seq, Table table, ByteView key)>;

/// Sees only sealed bytes; knows nothing of keys, workspaces or credentials. Nothing may assume that it is
/// the only writer. Thread safety: every member, any thread, any time. Blocking: reads usually answer from
/// memory; commit() waits for the disk.
class StorageEngine {
public:
    virtual ~StorageEngine() = default;

    /// An absent key is an answer (nullopt), not an error.
    virtual base::Result<std::optional<Row>> get(Table table, ByteView key) const = 0;

    /// Keys with the prefix, from one snapshot, in byte order or its reverse, beginning at `from` (inclusive;
    /// empty: the first, or last, key of the prefix), until `visit` returns false.
    virtual base::Status scan(Table table, ByteView prefix, ByteView from, Order order,
                              const Visitor& visit) const = 0;

    /// Keys with each of the prefixes, in byte order. So must the prefixes be, and none the beginning of
    /// another. For many rows this costs a fraction of as many calls of get() or scan(): neighbours are
    /// stepped to, not searched for.
    virtual base::Status scan_each(Table table, std::span<const Bytes> prefixes, const Visitor& visit) const {
        bool more = true;
        for (const auto& prefix : prefixes) {
            auto scanned = scan(table, prefix, {}, Order::ascending,
                                [&](ByteView key, ByteView value, std::uint64_t version) {
                                    return more = visit(key, value, version);
                                });
            if (!scanned || !more) return scanned;
        }
        return {};
    }

    /// All or nothing as commit `commit_seq`, which must be last_commit() + 1 (else conflict
    /// "storage.conflict", also for a precondition that does not hold). Once this succeeds the batch survives
    /// a power cut. After "storage.unavailable" nothing of the batch is visible, and nothing of it may become
    /// visible later: call recover() before the next commit.
    virtual base::Status commit(std::uint64_t commit_seq, const Batch& batch) = 0;

    virtual std::uint64_t last_commit() const = 0;

    /// Tries to make a failed engine writable again (the disk has space again). Cheap when nothing is wrong.
    virtual base::Status recover() = 0;

    /// Changed keys of commits after `commit_seq`. Rows of the log are left out: that last_commit() moved
    /// says that they did. "storage.feed_trimmed" (conflict) when the feed no longer reaches back that far;
    /// who is so late asks for last_commit(), then reads everything, and follows on from that number.
    virtual base::Status changes_after(std::uint64_t commit_seq, const ChangeVisitor& visit) const = 0;

    /// Makes `directory`, which must not exist, a copy of the whole store as it was at one commit during the
    /// call; a copy that open_rocksdb() opens. Files that never change again may be shared with it. Commits
    /// go on meanwhile. Blocks. unavailable "storage.unavailable"; invalid_request "storage.not_on_disk" from
    /// an engine that has no files.
    virtual base::Status checkpoint(const std::filesystem::path& directory) = 0;

    /// Rewrites what the engine keeps of these key ranges until no file of it holds a row there that was
    /// erased or replaced before the call. Commits go on meanwhile. Blocks for as long as that takes.
    struct KeyPrefix {
        Table table;
        Bytes prefix;
    };
    virtual base::Status purge_erased(const std::vector<KeyPrefix>& prefixes) = 0;
};

/// RocksDB in `directory` (created 0700 when absent). Errors: unavailable "storage.unavailable" (text in
/// detail), corrupt "storage.corrupt", conflict "storage.locked" when another process has it open.
base::Result<std::unique_ptr<StorageEngine>> open_rocksdb(const std::filesystem::path& directory);
/// A store that is only looked at: nothing in the directory is made or changed, not even a lock.
base::Result<std::unique_ptr<const StorageEngine>> open_rocksdb_read_only(
    const std::filesystem::path& directory);

/// The same contract without a disk, for tests. Several engines over one `SharedRows` behave like several
/// processes.
struct SharedRows;
std::shared_ptr<SharedRows> new_shared_rows();
std::unique_ptr<StorageEngine> open_in_memory(std::shared_ptr<SharedRows> rows = new_shared_rows());

}  // namespace claviger::vault
