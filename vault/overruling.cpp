#include "vault/overruling.h"

#include "vault/byte_reader.h"
#include "vault/store_marks.h"

namespace claviger::vault {

base::Result<std::optional<Overruling>> overruling_of(const StorageEngine& engine, const KeyRing& keys) {
    const auto content = read_mark(engine, keys, kOverruledMark);
    if (!content) return std::unexpected(content.error());
    if (!*content) return std::nullopt;
    ByteReader in(**content);
    Overruling overruling;
    overruling.entries = in.number<std::uint64_t>();
    overruling.pinned = in.array<32>();
    overruling.accepted = in.array<32>();
    if (in.complete()) return overruling;
    return refused_mark(kOverruledMark, "it has another size");
}

base::Status put_overruling(Transaction& transaction, const Overruling& overruling) {
    Bytes content;
    base::append_big_endian(content, overruling.entries);
    content += crypto::view(overruling.pinned);
    content += crypto::view(overruling.accepted);
    return set_mark(transaction, kOverruledMark, content);
}

void clear_overruling(Transaction& transaction) { clear_mark(transaction, kOverruledMark); }

}  // namespace claviger::vault
