#include "vault/row_sums.h"

#include <algorithm>

namespace claviger::vault {
namespace {

constexpr ByteView kHeadRow = "head";

std::size_t place_of(Table table) {
    return static_cast<std::size_t>(std::ranges::find(kSummedTables, table) - std::begin(kSummedTables));
}

}  // namespace

bool is_summed(Table table, ByteView key) {
    return table == Table::state ? key != kHeadRow : !append_only(table);
}

void RowSums::add(const crypto::RowPrf& prf, Table table, ByteView key, ByteView value) {
    auto& sum = sums_[place_of(table)];
    sum = crypto::add(sum, prf.plain_row(static_cast<std::uint8_t>(table), key, value));
}

void RowSums::subtract(const crypto::RowPrf& prf, Table table, ByteView key, ByteView value) {
    auto& sum = sums_[place_of(table)];
    sum = crypto::subtract(sum, prf.plain_row(static_cast<std::uint8_t>(table), key, value));
}

base::Result<RowSums> sums_on_disk(const StorageEngine& engine, const crypto::RowPrf& prf) {
    RowSums sums;
    for (const auto table : kSummedTables) {
        const auto scanned =
            engine.scan(table, {}, {}, Order::ascending, [&](ByteView key, ByteView value, std::uint64_t) {
                if (is_summed(table, key)) sums.add(prf, table, key, value);
                return true;
            });
        if (!scanned) return std::unexpected(scanned.error());
    }
    return sums;
}

}  // namespace claviger::vault
