// Rows of the log: one sealed entry each, and the names behind their fingerprints.
#pragma once

#include "vault/key_ring.h"
#include "vault/log_entry.h"
#include "vault/stamped_row.h"

#include <cstdint>
#include <string>

namespace claviger::vault {

inline constexpr std::size_t kMaxNameBytes = 255;

/// Days since 1970 in UTC; each has a key of its own that seals its entries.
std::uint64_t day_of(base::Time time);
/// The day as an owner of keys: "log-day", a zero byte, the day as u64.
base::RawId day_owner(std::uint64_t day);

Bytes log_key(std::uint64_t position);
/// `entry` has its position and time.
Bytes seal_entry(const KeyRing& keys, const KeyRing::OwnerKey& day_key, const LogEntry& entry,
                 std::uint64_t commit_seq);

struct StoredEntry {
    LogEntry entry;
    std::uint64_t commit_seq = 0;
};
/// not_found "log.entry_not_found" when there is no row; corrupt "log.entry_refused". Any thread.
base::Result<StoredEntry> read_entry(const StorageEngine& engine, const KeyRing& keys,
                                     std::uint64_t position);

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
