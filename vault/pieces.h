// Work over many rows, cut into pieces that several threads take up one after the other.
#pragma once

#include "vault/storage_engine.h"

#include <cstddef>
#include <functional>
#include <vector>

namespace claviger::vault {

/// Calls `work` once for each number below `pieces`, on as many threads as the machine runs at once and at
/// most kMostThreads; the calling one is one of them. Returns when all are done.
inline constexpr std::size_t kMostThreads = 8;
void in_pieces(std::size_t pieces, const std::function<void(std::size_t piece)>& work);

/// The rows with keys from `from` up to before `to`; an empty `to` is the end of the table.
struct RowRange {
    Bytes from, to;
};

/// Ranges that together hold every key of the table once. Ids are random, so where there are many rows the
/// ranges are about even. None spans two kinds of Table::meta.
std::vector<RowRange> ranges_of(Table table);
base::Status scan(const StorageEngine& engine, Table table, const RowRange& range, const Visitor& visit);

}  // namespace claviger::vault
