// Roots of the log as it is and as it was: whether one state of a log is the beginning of another.
#pragma once

#include "crypto/hash.h"
#include "vault/storage_engine.h"

#include <cstdint>

namespace claviger::vault {

/// RFC 6962 roots over the beginning and the whole of one log.
struct LogRoots {
    crypto::Digest before{};  // over the first `from` entries
    crypto::Digest now{};     // over all `to` of them
};

/// `from` is at most `to`. Both roots come from the same hashes, so whoever knows that `now` is true knows
/// that `before` is: tiles are read without being believed. Reads a few tiles and up to 511 entries whatever
/// the size. corrupt "ledger.log_truncated" when a row is missing, "ledger.log_forked" when a tile has
/// another size.
base::Result<LogRoots> roots_of(const StorageEngine& engine, std::uint64_t from, std::uint64_t to);

}  // namespace claviger::vault
