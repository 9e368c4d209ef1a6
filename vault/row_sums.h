// One keyed sum per table over all its rows: whoever changes, drops or puts back a row cannot make it come
// out right.
#pragma once

#include "crypto/hash.h"
#include "vault/storage_engine.h"

#include <array>
#include <cstddef>

namespace claviger::vault {

/// The tables whose rows are summed; of Table::state all but the head itself. On disk: the order is that of
/// the head.
inline constexpr Table kSummedTables[] = {Table::state,     Table::meta,  Table::value, Table::data_key,
                                          Table::owner_key, Table::usage, Table::name};
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

/// Reads every row of the summed tables, on several threads.
base::Result<RowSums> sums_on_disk(const StorageEngine& engine, const crypto::RowPrf& prf);

}  // namespace claviger::vault
