#include "vault/log_rows.h"

#include "crypto/merkle.h"

#include <algorithm>
#include <array>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr char kDayOwner[] = "log-day";  // with its zero: 8 bytes
constexpr std::uint64_t kDayMillis = 24 * 60 * 60 * 1000;
constexpr const char* kHint = "Restore the data folder from a backup, and find out who can write to it.";

// What a row is shows in the byte behind its stamp: an envelope begins with its suite, 1.
constexpr std::size_t kFormAt = kStampBytes;
constexpr char kOneEntry = 1;
constexpr char kGroup = 2;  // then the number of entries u16, and the envelope
constexpr std::size_t kGroupHead = 1 + 2;
constexpr std::uint32_t kGroupSchema = 2;

/// `count` is authenticated as part of the schema: a row cannot pose as one with more or fewer entries.
crypto::Place row_place(const KeyRing& keys, std::uint64_t first, std::size_t count, std::uint64_t day) {
    crypto::Place place;
    place.type = crypto::ObjectType::log_entry;
    if (count > 1) place.schema = (static_cast<std::uint32_t>(count) << 16) | kGroupSchema;
    place.instance = keys.instance();
    const auto key = log_key(first);
    std::copy(key.begin(), key.end(), place.object.begin());
    place.version = first;
    place.wrapping_key = day;
    return place;
}

/// Each entry behind its length, u16.
Bytes encode_group(std::span<const LogEntry> entries) {
    Bytes out;
    for (const auto& entry : entries) {
        const auto bytes = encode(entry);
        base::append_big_endian(out, static_cast<std::uint16_t>(bytes.size()));
        out.append(bytes);
    }
    return out;
}

base::Result<std::vector<LogEntry>> decode_group(ByteView plain, std::size_t count) {
    std::vector<LogEntry> entries;
    while (entries.size() < count) {
        if (plain.size() < 2) break;
        const std::size_t bytes = base::read_big_endian<std::uint16_t>(plain.data());
        if (plain.size() - 2 < bytes) break;
        auto entry = decode_log_entry(plain.substr(2, bytes));
        if (!entry) return std::unexpected(std::move(entry).error());
        entries.push_back(*entry);
        plain.remove_prefix(2 + bytes);
    }
    if (entries.size() != count || !plain.empty())
        return base::failure(ErrorKind::corrupt, "log.entry_malformed",
                             "Entries of the access log cannot be read.",
                             "They were written by a newer version, or the store is damaged.",
                             "a group of another size than it says");
    return entries;
}

std::unexpected<base::Error> entry_refused(std::uint64_t position, const std::string& why) {
    return base::failure(ErrorKind::corrupt, "log.entry_refused",
                         "An entry of the access log does not open: it was changed, moved or replaced.",
                         kHint, "log entry " + std::to_string(position) + ": " + why);
}

}  // namespace

std::uint64_t day_of(base::Time time) { return unix_millis(time) / kDayMillis; }

base::RawId day_owner(std::uint64_t day) {
    base::RawId owner{};
    std::copy_n(kDayOwner, 8, owner.begin());
    for (std::size_t i = 0; i < 8; ++i) owner[8 + i] = static_cast<unsigned char>(day >> (56 - 8 * i));
    return owner;
}

bool is_day_owner(const base::RawId& owner) { return std::equal(kDayOwner, kDayOwner + 8, owner.begin()); }

Bytes log_key(std::uint64_t position) {
    Bytes key;
    base::append_big_endian(key, position);
    return key;
}

Bytes seal_entries(const KeyRing& keys, const KeyRing::OwnerKey& day_key, std::span<const LogEntry> entries,
                   std::uint64_t commit_seq) {
    const auto& first = entries.front();
    auto place = row_place(keys, first.position, entries.size(), day_of(first.time));
    place.commit_seq = commit_seq;
    place.created_ms = unix_millis(first.time);
    if (entries.size() == 1) return seal_stamped(day_key.key, place, encode(first));
    const Bytes envelope = crypto::seal(day_key.key, place, base::as_span(encode_group(entries)));
    Bytes row;
    row.reserve(kStampBytes + kGroupHead + envelope.size());
    base::append_big_endian(row, place.commit_seq);
    base::append_big_endian(row, place.created_ms);
    row.push_back(kGroup);
    base::append_big_endian(row, static_cast<std::uint16_t>(entries.size()));
    return row.append(envelope);
}

std::size_t entries_in(ByteView row) {
    if (row.size() <= kFormAt) return 0;
    if (row[kFormAt] == kOneEntry) return 1;
    if (row[kFormAt] != kGroup || row.size() < kFormAt + kGroupHead) return 0;
    const std::size_t count = base::read_big_endian<std::uint16_t>(row.data() + kFormAt + 1);
    return count >= 2 && count <= kRowEntries ? count : 0;
}

RowLeaves::RowLeaves(ByteView row)
    : size_(entries_in(row)), digest_(size_ > 1 ? crypto::sha256(row) : crypto::leaf_hash(row)) {}

crypto::Digest RowLeaves::at(std::size_t index) const {
    if (size_ <= 1) return digest_;
    // Shorter than any row, so no row can be mistaken for it.
    const char number[] = {static_cast<char>(index >> 8), static_cast<char>(index & 0xff)};
    std::array<char, sizeof(crypto::Digest) + sizeof number> leaf;
    std::ranges::copy(crypto::view(digest_), leaf.begin());
    std::ranges::copy(number, leaf.begin() + sizeof(crypto::Digest));
    return crypto::leaf_hash({leaf.data(), leaf.size()});
}

base::Result<std::optional<FoundRow>> find_row(const StorageEngine& engine, std::uint64_t position) {
    std::optional<FoundRow> found;
    const auto scanned = engine.scan(
        Table::log, {}, log_key(position), Order::descending, [&](ByteView key, ByteView row, std::uint64_t) {
            if (key.size() == sizeof position)
                found = FoundRow{base::read_big_endian<std::uint64_t>(key.data()), Bytes(row)};
            return false;
        });
    if (!scanned) return std::unexpected(scanned.error());
    // A row that is none is shown to whoever asks for its first entry.
    if (found && found->first != position && !found->holds(position)) found.reset();
    return found;
}

/// On failure nothing is open.
base::Status EntryReader::open(const FoundRow& row) {
    entries_.clear();
    const auto refused = [&](const std::string& why) { return entry_refused(row.first, why); };
    const auto count = entries_in(row.bytes);
    const auto stamp = stamp_of(row.bytes);
    if (!stamp || count == 0) return refused("too short, or of no known form");
    const auto day = stamp->created_ms / kDayMillis;
    const auto key = keys_.owner_key(engine_, {}, day_owner(day), kFirstGeneration);
    if (!key) return refused("the key of day " + std::to_string(day) + ": " + std::string(key.error().code));
    auto place = row_place(keys_, row.first, count, day);
    place.commit_seq = stamp->commit_seq;
    place.created_ms = stamp->created_ms;
    const auto envelope = ByteView(row.bytes).substr(kFormAt + (count > 1 ? kGroupHead : 0));
    const auto plain = crypto::open_metadata((*key)->key, place, envelope);
    if (!plain) return refused("does not open at its place");
    if (count == 1) {
        auto entry = decode_log_entry(*plain);
        if (!entry) return std::unexpected(std::move(entry).error());
        entries_.push_back(*entry);
    } else {
        auto entries = decode_group(*plain, count);
        if (!entries) return std::unexpected(std::move(entries).error());
        entries_ = std::move(*entries);
    }
    commit_seq_ = stamp->commit_seq;
    for (std::size_t i = 0; i < count; ++i) {
        if (entries_[i].position == row.first + i) continue;
        entries_.clear();
        return refused("carries another position");
    }
    return {};
}

base::Result<StoredEntry> EntryReader::read(std::uint64_t position) {
    const auto open_here = [&] {
        return !entries_.empty() && position >= entries_.front().position &&
               position <= entries_.back().position;
    };
    if (!open_here()) {
        const auto row = find_row(engine_, position);
        if (!row) return std::unexpected(row.error());
        if (!*row)
            return base::failure(ErrorKind::not_found, "log.entry_not_found",
                                 "The access log has no such entry.", {},
                                 "log entry " + std::to_string(position));
        if (auto opened = open(**row); !opened) return std::unexpected(std::move(opened).error());
    }
    return StoredEntry{entries_[position - entries_.front().position], commit_seq_};
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
