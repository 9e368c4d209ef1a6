// Rows of the log: sealed entries, one or those of a commit that follow each other, and the names behind
// their fingerprints.
#pragma once

#include "crypto/hash.h"
#include "vault/key_ring.h"
#include "vault/log_entry.h"
#include "vault/stamped_row.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace claviger::vault {

inline constexpr std::size_t kMaxNameBytes = 255;

/// Days since 1970 in UTC; each has a key of its own that seals its entries.
std::uint64_t day_of(base::Time time);
/// The day as an owner of keys: "log-day", a zero byte, the day as u64.
base::RawId day_owner(std::uint64_t day);
bool is_day_owner(const base::RawId& owner);

/// A row stands under the position of its first entry.
Bytes log_key(std::uint64_t position);

/// Most entries in one row: whoever reads one entry opens its row.
inline constexpr std::size_t kRowEntries = 64;
/// One row for 1 to kRowEntries entries of one commit, which have their positions, one after the other, and
/// one time.
Bytes seal_entries(const KeyRing& keys, const KeyRing::OwnerKey& day_key, std::span<const LogEntry> entries,
                   std::uint64_t commit_seq);

/// How many entries a row says it holds, before it is opened; 0 when it is none.
std::size_t entries_in(ByteView row);

/// The leaves of a row's entries in the log's tree. They follow from the row as it rests, without a key.
class RowLeaves {
public:
    explicit RowLeaves(ByteView row);
    std::size_t size() const { return size_; }
    crypto::Digest at(std::size_t index) const;  // index < size()

private:
    std::size_t size_;
    crypto::Digest digest_;  // of a row with one entry its leaf, else of the row
};

/// The row that holds an entry.
struct FoundRow {
    std::uint64_t first = 0;  // position
    Bytes bytes;
    bool holds(std::uint64_t position) const {
        return position >= first && position - first < entries_in(bytes);
    }
};
/// nullopt when there is none. Any thread.
base::Result<std::optional<FoundRow>> find_row(const StorageEngine& engine, std::uint64_t position);

struct StoredEntry {
    LogEntry entry;
    std::uint64_t commit_seq = 0;
};

/// Opens entries, and keeps the last row open, because its neighbours are often asked for next. Not thread
/// safe.
class EntryReader {
public:
    EntryReader(const StorageEngine& engine, const KeyRing& keys) : engine_(engine), keys_(keys) {}

    /// not_found "log.entry_not_found" when no row holds it; corrupt "log.entry_refused".
    base::Result<StoredEntry> read(std::uint64_t position);

private:
    base::Status open(const FoundRow& row);

    const StorageEngine& engine_;
    const KeyRing& keys_;
    std::vector<LogEntry> entries_;  // of the row that is open
    std::uint64_t commit_seq_ = 0;
};

Bytes seal_name(const KeyRing& keys, const KeyRing::OwnerKey& instance_key, const NamedFingerprint& name,
                const Stamp& stamp);
/// corrupt "log.name_refused".
base::Result<std::string> open_name(const KeyRing& keys, const KeyRing::OwnerKey& instance_key,
                                    const Fingerprint& fingerprint, ByteView row);

inline ByteView id_view(const base::RawId& id) {
    return {reinterpret_cast<const char*>(id.data()), id.size()};
}
inline std::uint64_t unix_millis(base::Time time) {
    return static_cast<std::uint64_t>(time.time_since_epoch().count());
}

/// Type metadata, with the table in the schema's highest byte: rows of two tables never share a place.
crypto::Place instance_place(const KeyRing& keys, Table table, const base::RawId& object);

}  // namespace claviger::vault
