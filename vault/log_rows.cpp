#include "vault/log_rows.h"

#include <algorithm>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr char kDayOwner[] = "log-day";  // with its zero: 8 bytes
constexpr std::uint64_t kDayMillis = 24 * 60 * 60 * 1000;
constexpr const char* kHint = "Restore the data folder from a backup, and find out who can write to it.";

crypto::Place entry_place(const KeyRing& keys, std::uint64_t position, std::uint64_t day) {
    crypto::Place place;
    place.type = crypto::ObjectType::log_entry;
    place.instance = keys.instance();
    const auto key = log_key(position);
    std::copy(key.begin(), key.end(), place.object.begin());
    place.version = position;
    place.wrapping_key = day;
    return place;
}

}  // namespace

std::uint64_t day_of(base::Time time) { return unix_millis(time) / kDayMillis; }

base::RawId day_owner(std::uint64_t day) {
    base::RawId owner{};
    std::copy_n(kDayOwner, 8, owner.begin());
    for (std::size_t i = 0; i < 8; ++i) owner[8 + i] = static_cast<unsigned char>(day >> (56 - 8 * i));
    return owner;
}

Bytes log_key(std::uint64_t position) {
    Bytes key;
    base::append_big_endian(key, position);
    return key;
}

Bytes seal_entry(const KeyRing& keys, const KeyRing::OwnerKey& day_key, const LogEntry& entry,
                 std::uint64_t commit_seq) {
    auto place = entry_place(keys, entry.position, day_of(entry.time));
    place.commit_seq = commit_seq;
    place.created_ms = unix_millis(entry.time);
    return seal_stamped(day_key.key, place, encode(entry));
}

base::Result<StoredEntry> read_entry(const StorageEngine& engine, const KeyRing& keys,
                                     std::uint64_t position) {
    const auto refused = [&](std::string why) {
        return base::failure(ErrorKind::corrupt, "log.entry_refused",
                             "An entry of the access log does not open: it was changed, moved or replaced.",
                             kHint, "log entry " + std::to_string(position) + ": " + why);
    };
    const auto row = engine.get(Table::log, log_key(position));
    if (!row) return std::unexpected(row.error());
    if (!*row)
        return base::failure(ErrorKind::not_found, "log.entry_not_found", "The access log has no such entry.",
                             {}, "log entry " + std::to_string(position));
    const auto stamp = stamp_of((*row)->value);
    if (!stamp) return refused("too short");
    const auto day = stamp->created_ms / kDayMillis;
    const auto key = keys.owner_key(engine, {}, day_owner(day), kFirstGeneration);
    if (!key) return refused("the key of day " + std::to_string(day) + ": " + std::string(key.error().code));
    const auto plain = open_stamped((*key)->key, entry_place(keys, position, day), (*row)->value);
    if (!plain) return refused("does not open at its place");
    auto entry = decode_log_entry(*plain);
    if (!entry) return std::unexpected(std::move(entry).error());
    if (entry->position != position) return refused("carries another position");
    return StoredEntry{*entry, stamp->commit_seq};
}

crypto::Place instance_place(const KeyRing& keys, Table table, const base::RawId& object) {
    crypto::Place place;
    place.type = crypto::ObjectType::metadata;
    place.schema = (static_cast<std::uint32_t>(table) << 24) | 1;
    place.instance = keys.instance();
    place.object = object;
    place.wrapping_key = kFirstGeneration;
    return place;
}

Bytes seal_name(const KeyRing& keys, const KeyRing::OwnerKey& instance_key, const NamedFingerprint& name,
                const Stamp& stamp) {
    auto place = instance_place(keys, Table::name, name.fingerprint);
    place.commit_seq = stamp.commit_seq;
    place.created_ms = stamp.created_ms;
    return seal_stamped(instance_key.key, place, name.name);
}

base::Result<std::string> open_name(const KeyRing& keys, const KeyRing::OwnerKey& instance_key,
                                    const Fingerprint& fingerprint, ByteView row) {
    auto name = open_stamped(instance_key.key, instance_place(keys, Table::name, fingerprint), row);
    if (!name)
        return base::failure(ErrorKind::corrupt, "log.name_refused",
                             "A name in the access log does not open.", kHint,
                             "table name, row " + base::to_hex(id_view(fingerprint)));
    return name;
}

}  // namespace claviger::vault
