// The head: the one row that every commit rewrites, and that says what all the others must be.
#pragma once

#include "base/clock.h"
#include "vault/key_ring.h"
#include "vault/row_sums.h"

#include <cstdint>

namespace claviger::vault {

struct StoredHead {
    std::uint64_t commit_seq = 0;
    base::Time last_entry{};  // times in the log never go backwards
    RowSums sums;
    Bytes frontier;  // of the log's tree
};

/// Sealed to its commit: the head of another commit does not open.
Bytes seal_head(const KeyRing& keys, const StoredHead& head);
/// `commit_seq` is the engine's last commit. corrupt "ledger.head_refused".
base::Result<StoredHead> open_head(const KeyRing& keys, std::uint64_t commit_seq, ByteView row);
/// The engine's head row; corrupt "ledger.head_refused" when there is none.
base::Result<Bytes> read_head_row(const StorageEngine& engine);

/// The plaintext, for tests of the format.
Bytes encode(const StoredHead& head);

}  // namespace claviger::vault
