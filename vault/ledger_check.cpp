#include "vault/ledger_check.h"

#include "vault/log_rows.h"
#include "vault/sealed_rows.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace claviger::vault {
namespace {

constexpr std::size_t kNamedRows = 16;
constexpr std::uint64_t kSearchedEntries = 1 << 16;
constexpr std::string_view kTableNames[] = {"state",     "meta",  "value", "data_key",
                                            "owner_key", "usage", "name"};  // by their numbers

/// The newest change of an object, as the log tells it.
struct NewestChange {
    std::uint64_t commit_seq = 0;
    bool erased = false;
    bool row_seen = false;
};

/// A rotation of a vault's key seals the vault's objects anew and leaves what their rows say of themselves.
bool is_resealed(Table table, ByteView key, ByteView row) {
    const auto header = table == Table::meta && is_sealed_by_vault(key) ? header_of(row) : std::nullopt;
    return header && header->generation != kFirstGeneration;
}

/// Looks for the rows behind a sum that does not come out right: rows that do not open, rows from another
/// commit than they say, rows older than the log's newest change of their object, and objects whose row is
/// gone.
class Diagnosis {
public:
    Diagnosis(const StorageEngine& engine, const KeyRing& keys, std::uint64_t log_size)
        : engine_(engine), keys_(keys) {
        EntryReader reader(engine, keys);
        for (auto at = log_size, stop = log_size - std::min(log_size, kSearchedEntries); at-- > stop;) {
            const auto stored = reader.read(at);
            if (!stored) break;
            const auto& entry = stored->entry;
            if (entry.object_id == base::RawId{} ||
                (entry.kind != EntryKind::write && entry.kind != EntryKind::rotate))
                continue;
            changes_.try_emplace(entry.object_id, stored->commit_seq, entry.action == Action::erase);
        }
    }

    void search(Table table) {
        const auto scanned = engine_.scan(table, {}, {}, Order::ascending,
                                          [&](ByteView key, ByteView value, std::uint64_t version) {
                                              if (is_summed(table, key)) examine(table, key, value, version);
                                              return true;
                                          });
        if (!scanned) return;
        if (table != Table::meta) return;
        for (const auto& [id, change] : changes_)
            if (!change.row_seen && !change.erased)
                name_row(table, id_view(id), "is gone, although the log's newest change of it is no erasure");
    }

    std::string text() const {
        return rows_ > kNamedRows ? text_ + "; and " + std::to_string(rows_ - kNamedRows) + " more" : text_;
    }

private:
    void examine(Table table, ByteView key, ByteView value, std::uint64_t version) {
        const bool stamped = table == Table::meta || table == Table::owner_key || table == Table::usage ||
                             table == Table::name;
        const auto stamp = stamp_of(value);
        if (stamped && !stamp) return name_row(table, key, "is cut short");
        if (stamped && stamp->commit_seq != version && !is_resealed(table, key, value))
            return name_row(table, key,
                            "is of commit " + std::to_string(stamp->commit_seq) +
                                " but was put there by commit " + std::to_string(version));
        if (table != Table::meta) return;
        if (key.size() >= 17) {
            base::RawId id;
            std::memcpy(id.data(), key.data() + 1, id.size());
            if (const auto change = changes_.find(id); change != changes_.end() && key.size() == 17) {
                change->second.row_seen = true;
                if (change->second.erased)
                    return name_row(table, key, "is back although its object was erased");
                if (stamp->commit_seq < change->second.commit_seq)
                    return name_row(table, key,
                                    "is of commit " + std::to_string(stamp->commit_seq) +
                                        " although commit " + std::to_string(change->second.commit_seq) +
                                        " changed it");
            }
        }
        if (!open_row(engine_, keys_, key, value)) name_row(table, key, "does not open");
    }

    void name_row(Table table, ByteView key, const std::string& why) {
        if (++rows_ > kNamedRows) return;
        text_ += "; " + std::string(kTableNames[static_cast<std::size_t>(table)]) + " row " +
                 base::to_hex(key) + " " + why;
    }

    const StorageEngine& engine_;
    const KeyRing& keys_;
    std::map<base::RawId, NewestChange> changes_;
    std::size_t rows_ = 0;
    std::string text_;
};

}  // namespace

base::Status check_store(const StorageEngine& engine, const KeyRing& keys, const LogWriter& writer,
                         const RowReaders& readers) {
    const auto found = sums_on_disk(engine, writer.row_prf(), readers);
    if (!found) return std::unexpected(found.error());
    if (*found == writer.sums()) return writer.tree().verify_end(engine);

    Diagnosis diagnosis(engine, keys, writer.tree().size());
    std::string tables;
    for (std::size_t i = 0; i < kSums; ++i) {
        if (found->all()[i] == writer.sums().all()[i]) continue;
        tables += (tables.empty() ? "" : ", ") +
                  std::string(kTableNames[static_cast<std::size_t>(kSummedTables[i])]);
        diagnosis.search(kSummedTables[i]);
    }
    return base::failure(base::ErrorKind::corrupt, "ledger.rows_changed",
                         "Rows of the store were changed, removed or put back from outside.",
                         "Restore the data folder from a backup, and find out who can write to it.",
                         "tables that do not add up: " + tables + diagnosis.text());
}

}  // namespace claviger::vault
