#include "vault/store_marks.h"

#include "vault/log_rows.h"
#include "vault/stamped_row.h"

#include <algorithm>

namespace claviger::vault {
namespace {

/// The object of its place: the mark's own name, zeros behind it.
crypto::Place place_of(const KeyRing& keys, ByteView mark) {
    base::RawId name{};
    std::copy_n(mark.begin(), std::min(mark.size(), name.size()), name.begin());
    return instance_place(keys, Table::state, name);
}

}  // namespace

base::Result<std::optional<Bytes>> read_mark(const StorageEngine& engine, const KeyRing& keys,
                                             ByteView mark) {
    const auto row = engine.get(Table::state, mark);
    if (!row) return std::unexpected(row.error());
    if (!*row) return std::nullopt;
    const auto key = keys.owner_key(engine, {}, keys.instance(), kFirstGeneration);
    if (!key) return std::unexpected(key.error());
    auto content = open_stamped((*key)->key, place_of(keys, mark), (*row)->value);
    if (!content) return refused_mark(mark, content.error().detail);
    return std::optional(std::move(*content));
}

std::unexpected<base::Error> refused_mark(ByteView mark, std::string_view why) {
    return base::failure(base::ErrorKind::corrupt, "mark.refused",
                         "What the store says about itself was changed.",
                         "Restore the data folder from a backup, and find out who can write to it.",
                         "state row " + Bytes(mark) + ": " + std::string(why));
}

base::Status set_mark(Transaction& transaction, ByteView mark, ByteView content) {
    const auto& keys = transaction.keys();
    const auto key = keys.owner_key(transaction.engine(), {}, keys.instance(), kFirstGeneration);
    if (!key) return std::unexpected(key.error());
    auto place = place_of(keys, mark);
    place.commit_seq = transaction.commit_seq();
    place.created_ms = unix_millis(transaction.now());
    transaction.batch().put(Table::state, mark, seal_stamped((*key)->key, place, content));
    return {};
}

void clear_mark(Transaction& transaction, ByteView mark) { transaction.batch().erase(Table::state, mark); }

}  // namespace claviger::vault
