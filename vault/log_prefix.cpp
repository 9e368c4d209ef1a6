#include "vault/log_prefix.h"

#include "crypto/merkle.h"
#include "vault/log_rows.h"
#include "vault/log_tree.h"

#include <bit>
#include <optional>

namespace claviger::vault {
namespace {

using crypto::Digest;

constexpr unsigned kTileBits = 8;
static_assert(kTileHashes == 1U << kTileBits);

/// The entries from `begin` up to, not including, `end`.
struct Range {
    std::uint64_t begin = 0, end = 0;
    std::uint64_t size() const { return end - begin; }
};

class Prefix {
public:
    Prefix(const StorageEngine& engine, std::uint64_t from) : engine_(engine), from_(from) {}

    struct Pair {
        std::optional<Digest> before;  // nothing when the range begins behind `from`
        Digest now;
    };
    /// RFC 6962 section 2.1: a range is cut at the largest power of two below its size.
    base::Result<Pair> over(Range range) {
        const bool whole_before = range.end <= from_, none_before = range.begin >= from_;
        if (std::has_single_bit(range.size()) && (whole_before || none_before)) {
            const auto hash =
                subtree(static_cast<unsigned>(std::countr_zero(range.size())), range.begin / range.size());
            if (!hash) return std::unexpected(hash.error());
            return Pair{none_before ? std::nullopt : std::optional(*hash), *hash};
        }
        const auto middle = range.begin + std::bit_floor(range.size() - 1);
        const auto left = over({range.begin, middle});
        if (!left) return left;
        const auto right = over({middle, range.end});
        if (!right) return right;
        Pair pair{left->before, crypto::node_hash(left->now, right->now)};
        if (right->before) pair.before = crypto::node_hash(*left->before, *right->before);
        return pair;
    }

private:
    /// The root over the 2^bits entries from index × 2^bits on.
    base::Result<Digest> subtree(unsigned bits, std::uint64_t index) {
        const unsigned level = bits / kTileBits, rest = bits % kTileBits;
        crypto::Tree tree;
        for (std::uint64_t i = 0; i < 1U << rest; ++i) {
            const auto one = hash(level, (index << rest) + i);
            if (!one) return one;
            tree.append(*one);
        }
        return tree.root();
    }

    /// Hash `index` of tile level `level`: from its tile, or from what is below while the tile is unfinished.
    base::Result<Digest> hash(unsigned level, std::uint64_t index) {
        const auto tile = tile_of(level, index / kTileHashes);
        if (!tile) return std::unexpected(tile.error());
        if (**tile) {
            Digest out;
            (**tile)->copy(reinterpret_cast<char*>(out.data()), out.size(),
                           (index % kTileHashes) * out.size());
            return out;
        }
        if (level == 0) return leaf(index);
        crypto::Tree tree;
        for (std::uint64_t i = 0; i < kTileHashes; ++i) {
            const auto one = hash(level - 1, index * kTileHashes + i);
            if (!one) return one;
            tree.append(*one);
        }
        return tree.root();
    }

    /// The tile's bytes, or nothing while it is not full. The newest one is kept: neighbours are asked for
    /// next.
    base::Result<const std::optional<Bytes>*> tile_of(unsigned level, std::uint64_t index) {
        auto key = tile_key(level, index);
        if (key == newest_key_) return &newest_;
        auto row = engine_.get(Table::tile, key);
        if (!row) return std::unexpected(std::move(row).error());
        if (*row && (*row)->value.size() != kTileHashes * sizeof(Digest))
            return base::failure(
                base::ErrorKind::corrupt, "ledger.log_forked",
                "The access log is not the one that was written.",
                "Restore the data folder from a backup, and find out who can write to it.",
                "tile " + std::to_string(index) + " of level " + std::to_string(level) + " has another size");
        newest_ = *row ? std::optional(std::move((*row)->value)) : std::nullopt;
        newest_key_ = std::move(key);
        return &newest_;
    }

    base::Result<Digest> leaf(std::uint64_t position) {
        if (!leaves_ || position < first_ || position - first_ >= leaves_->size()) {
            const auto row = find_row(engine_, position);
            if (!row) return std::unexpected(row.error());
            if (!*row)
                return base::failure(
                    base::ErrorKind::corrupt, "ledger.log_truncated", "A part of the access log is gone.",
                    "Restore the data folder from a backup, and find out who can write to it.",
                    "log entry " + std::to_string(position) + " is missing");
            first_ = (*row)->first;
            leaves_.emplace((*row)->bytes);
        }
        return leaves_->at(position - first_);
    }

    const StorageEngine& engine_;
    const std::uint64_t from_;
    Bytes newest_key_;
    std::optional<Bytes> newest_;
    std::uint64_t first_ = 0;  // of the row that was read last, whose leaves are:
    std::optional<RowLeaves> leaves_;
};

}  // namespace

base::Result<LogRoots> roots_of(const StorageEngine& engine, std::uint64_t from, std::uint64_t to) {
    LogRoots roots{crypto::Tree().root(), crypto::Tree().root()};
    if (to == 0) return roots;
    const auto pair = Prefix(engine, from).over({0, to});
    if (!pair) return std::unexpected(pair.error());
    roots.now = pair->now;
    if (pair->before) roots.before = *pair->before;
    return roots;
}

}  // namespace claviger::vault
