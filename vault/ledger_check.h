// What is verified before a store is used: that every row is the one that the head sums up, and that the log
// is whole.
#pragma once

#include "vault/log_writer.h"

namespace claviger::vault {

/// Reads every row of the summed tables once, shows it to `readers`, and reads the end of the log. corrupt
/// "ledger.rows_changed", "ledger.log_truncated", "ledger.log_forked"; the detail names rows as far as they
/// can be known.
base::Status check_store(const StorageEngine& engine, const KeyRing& keys, const LogWriter& writer,
                         const RowReaders& readers = {});

}  // namespace claviger::vault
