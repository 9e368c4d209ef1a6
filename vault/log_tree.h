// The Merkle tree over the log as it grows: full tiles go to the disk, the rest is small and kept in memory.
#pragma once

#include "crypto/merkle.h"
#include "vault/storage_engine.h"

#include <cstdint>
#include <vector>

namespace claviger::vault {

/// Hashes in a full tile. Tile n of level l holds the roots over 256^l entries each, numbers 256 n to 256 n +
/// 255.
inline constexpr std::uint64_t kTileHashes = 256;

Bytes tile_key(unsigned level, std::uint64_t index);

/// Not thread safe.
class LogTree {
public:
    /// Reads the unfinished tiles' hashes back and compares them with `frontier`. corrupt
    /// "ledger.log_truncated" when rows are missing, "ledger.log_forked" when they are others.
    static base::Result<LogTree> load(const StorageEngine& engine, ByteView frontier);

    /// Puts every tile that becomes full into `batch`.
    void append(const crypto::Digest& leaf, Batch& batch);

    std::uint64_t size() const { return size_; }
    /// The same bytes as crypto::Tree::serialise gives for this tree.
    Bytes frontier() const;

    /// That the log ends where the tree ends, and that the newest 4096 entries in full tiles are the ones
    /// that were hashed. Codes as in load().
    base::Status verify_end(const StorageEngine& engine) const;

private:
    /// Hash `index` of `level`, checked against the hashes above it up to what is in memory.
    base::Result<crypto::Digest> node(const StorageEngine& engine, unsigned level, std::uint64_t index) const;
    std::uint64_t first_in_memory(unsigned level) const;

    struct Level {
        std::vector<crypto::Digest> hashes;  // of the unfinished tile
        crypto::Tree tree;                   // over them
    };
    std::uint64_t size_ = 0;
    std::vector<Level> levels_;
};

}  // namespace claviger::vault
