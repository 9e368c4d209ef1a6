// One keyed sum per table over all its rows: whoever changes, drops or puts back a row cannot make it come
// out right. Tables value and data_key need none: each of their rows opens only as the version of the
// credential that the credential's own row, which is summed, says is there (decision 0019).
#pragma once

#include "crypto/hash.h"
#include "vault/storage_engine.h"

#include <array>
#include <cstddef>
#include <functional>

namespace claviger::vault {

/// The tables whose rows are summed; of Table::state all but the head itself. On disk: the order is that of
/// the head.
inline constexpr Table kSummedTables[] = {Table::state, Table::meta, Table::owner_key, Table::usage,
                                          Table::name};
inline constexpr std::size_t kSums = std::size(kSummedTables);

/// Whether the row counts: it is in a summed table and not the head itself.
bool is_summed(Table table, ByteView key);

class RowSums {
public:
    void add(const crypto::RowPrf& prf, Table table, ByteView key, ByteView value);
    void subtract(const crypto::RowPrf& prf, Table table, ByteView key, ByteView value);

    RowSums& operator+=(const RowSums& others);

    const std::array<crypto::RowSum, kSums>& all() const { return sums_; }
    std::array<crypto::RowSum, kSums>& all() { return sums_; }
    bool operator==(const RowSums&) const = default;

private:
    std::array<crypto::RowSum, kSums> sums_{};
};

/// Sees the rows of one range of keys in their order, while they are summed.
using RowReader = std::function<void(ByteView key, ByteView row)>;
/// Makes one for each range of the table; nothing for a table whose rows nobody wants. Called, as what it
/// makes is, on several threads at once.
using RowReaders = std::function<RowReader(Table table)>;

/// Reads every row of the summed tables once, on several threads.
base::Result<RowSums> sums_on_disk(const StorageEngine& engine, const crypto::RowPrf& prf,
                                   const RowReaders& readers = {});

}  // namespace claviger::vault
