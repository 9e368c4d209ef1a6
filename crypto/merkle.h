// A Merkle tree over a log (RFC 6962): one root stands for every entry, short proofs for each of them.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/hash.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace claviger::crypto {

/// SHA-256(0x00 || entry).
Digest leaf_hash(base::ByteView entry);
/// SHA-256(0x01 || left || right).
Digest node_hash(const Digest& left, const Digest& right);

/// A growing tree, kept as the roots of its complete subtrees: at most 64 digests for any size.
class Tree {
public:
    void append(const Digest& leaf);
    std::uint64_t size() const { return size_; }
    Digest root() const;

    /// size as u64, then the subtree roots, largest first.
    base::Bytes serialise() const;
    /// Nothing unless the bytes are exactly what serialise() gives. Their truth is the caller's to
    /// authenticate.
    static std::optional<Tree> restore(base::ByteView bytes);

private:
    std::uint64_t size_ = 0;
    std::vector<Digest> subtrees_;  // one for every bit set in size_, largest first
};

/// Gives the leaf hash at an index; called for ascending indexes within one subtree. An error from it ends
/// the proof and is handed on.
using LeafReader = std::function<base::Result<Digest>(std::uint64_t index)>;

/// Each reads up to `size` leaf hashes.
base::Result<Digest> root_of(const LeafReader& leaf, std::uint64_t size);
/// That the leaf at `index` is in the tree of `size`. ErrorKind::invalid_request "merkle.out_of_range".
base::Result<std::vector<Digest>> inclusion_proof(const LeafReader& leaf, std::uint64_t index,
                                                  std::uint64_t size);
/// That the tree of `from` entries is the beginning of the tree of `to`; empty when from is 0 or equals to.
/// ErrorKind::invalid_request "merkle.out_of_range".
base::Result<std::vector<Digest>> consistency_proof(const LeafReader& leaf, std::uint64_t from,
                                                    std::uint64_t to);

/// RFC 9162 sections 2.1.3.2 and 2.1.4.2; any input is safe.
bool verify_inclusion(const Digest& leaf, std::uint64_t index, std::uint64_t size,
                      const std::vector<Digest>& proof, const Digest& root);
bool verify_consistency(std::uint64_t from, const Digest& from_root, std::uint64_t to, const Digest& to_root,
                        const std::vector<Digest>& proof);

}  // namespace claviger::crypto
