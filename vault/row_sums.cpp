#include "vault/row_sums.h"

#include "vault/pieces.h"

#include <algorithm>
#include <vector>

namespace claviger::vault {
namespace {

std::size_t place_of(Table table) {
    return static_cast<std::size_t>(std::ranges::find(kSummedTables, table) - std::begin(kSummedTables));
}

}  // namespace

bool is_summed(Table table, ByteView key) {
    return table != Table::value && table != Table::data_key && !is_of_log(table, key);
}

void RowSums::add(const crypto::RowPrf& prf, Table table, ByteView key, ByteView value) {
    auto& sum = sums_[place_of(table)];
    sum = crypto::add(sum, prf.row(static_cast<std::uint8_t>(table), key, value));
}

void RowSums::subtract(const crypto::RowPrf& prf, Table table, ByteView key, ByteView value) {
    auto& sum = sums_[place_of(table)];
    sum = crypto::subtract(sum, prf.row(static_cast<std::uint8_t>(table), key, value));
}

RowSums& RowSums::operator+=(const RowSums& others) {
    for (std::size_t i = 0; i < kSums; ++i) sums_[i] = crypto::add(sums_[i], others.sums_[i]);
    return *this;
}

base::Result<RowSums> sums_on_disk(const StorageEngine& engine, const crypto::RowPrf& prf,
                                   const RowReaders& readers) {
    struct Piece {
        Table table;
        RowRange range;
        RowSums sums;
        base::Status read;
    };
    std::vector<Piece> pieces;
    for (const auto table : kSummedTables)
        for (auto& range : ranges_of(table)) pieces.push_back({table, std::move(range), {}, {}});
    in_pieces(pieces.size(), [&](std::size_t i) {
        auto& [table, range, sums, read] = pieces[i];
        const auto reader = readers ? readers(table) : RowReader();
        read = scan(engine, table, range, [&](ByteView key, ByteView value, std::uint64_t) {
            if (is_summed(table, key)) sums.add(prf, table, key, value);
            if (reader) reader(key, value);
            return true;
        });
    });
    RowSums sums;
    for (const auto& piece : pieces) {
        if (!piece.read) return std::unexpected(piece.read.error());
        sums += piece.sums;
    }
    return sums;
}

}  // namespace claviger::vault
