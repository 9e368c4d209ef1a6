#include "vault/log_tree.h"

#include "vault/log_rows.h"

#include <algorithm>
#include <optional>

namespace claviger::vault {
namespace {

using base::ErrorKind;
using crypto::Digest;

constexpr std::uint64_t kVerifiedTiles = 16;
constexpr std::size_t kTileBytes = kTileHashes * sizeof(Digest);
constexpr const char* kHint =
    "Restore the data folder from a backup, and find out who can write to it. Claviger will not open a log "
    "that was changed.";

std::unexpected<base::Error> truncated(std::string what) {
    return base::failure(ErrorKind::corrupt, "ledger.log_truncated", "A part of the access log is gone.",
                         kHint, std::move(what) + " is missing");
}

std::unexpected<base::Error> forked(std::string what) {
    return base::failure(ErrorKind::corrupt, "ledger.log_forked",
                         "The access log is not the one that was written.", kHint, std::move(what));
}

std::string name_of_tile(unsigned level, std::uint64_t index) {
    return "tile " + std::to_string(index) + " of level " + std::to_string(level);
}

base::Result<std::vector<Digest>> read_tile(const StorageEngine& engine, unsigned level,
                                            std::uint64_t index) {
    const auto row = engine.get(Table::tile, tile_key(level, index));
    if (!row) return std::unexpected(row.error());
    if (!*row) return truncated(name_of_tile(level, index));
    const auto& bytes = (*row)->value;
    if (bytes.size() != kTileBytes) return forked(name_of_tile(level, index) + " has another size");
    std::vector<Digest> hashes(kTileHashes);
    for (std::size_t i = 0; i < kTileHashes; ++i)
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(i * sizeof(Digest)), sizeof(Digest),
                    hashes[i].begin());
    return hashes;
}

Digest root_over(const std::vector<Digest>& hashes) {
    crypto::Tree tree;
    for (const auto& hash : hashes) tree.append(hash);
    return tree.root();
}

/// Reads leaves from the rows of the log, and keeps the last row's, because its neighbours come next.
class LeafReader {
public:
    explicit LeafReader(const StorageEngine& engine) : engine_(engine) {}

    base::Result<Digest> read(std::uint64_t position) {
        if (!leaves_ || position < first_ || position - first_ >= leaves_->size()) {
            const auto row = find_row(engine_, position);
            if (!row) return std::unexpected(row.error());
            if (!*row) return truncated("log entry " + std::to_string(position));
            first_ = (*row)->first;
            leaves_.emplace((*row)->bytes);
        }
        return leaves_->at(position - first_);
    }

private:
    const StorageEngine& engine_;
    std::uint64_t first_ = 0;
    std::optional<RowLeaves> leaves_;
};

/// How many entries the log holds by its last row.
base::Result<std::uint64_t> entries_on_disk(const StorageEngine& engine) {
    std::uint64_t entries = 0;
    const auto scanned =
        engine.scan(Table::log, {}, {}, Order::descending, [&](ByteView key, ByteView row, std::uint64_t) {
            const auto first =
                key.size() == sizeof entries ? base::read_big_endian<std::uint64_t>(key.data()) : UINT64_MAX;
            entries = first + std::max<std::size_t>(entries_in(row), 1);
            if (entries < first) entries = UINT64_MAX;
            return false;
        });
    if (!scanned) return std::unexpected(scanned.error());
    return entries;
}

/// The last key of the table under `prefix`, empty when there is none.
base::Result<Bytes> last_key(const StorageEngine& engine, Table table, ByteView prefix) {
    Bytes last;
    const auto scanned =
        engine.scan(table, prefix, {}, Order::descending, [&](ByteView key, ByteView, std::uint64_t) {
            last = key;
            return false;
        });
    if (!scanned) return std::unexpected(scanned.error());
    return last;
}

}  // namespace

Bytes tile_key(unsigned level, std::uint64_t index) {
    Bytes key(1, static_cast<char>(level));
    base::append_big_endian(key, index);
    return key;
}

base::Result<LogTree> LogTree::load(const StorageEngine& engine, ByteView frontier) {
    const auto restored = crypto::Tree::restore(frontier);
    if (!restored) return forked("the head holds no tree");
    LogTree tree;
    tree.size_ = restored->size();
    LeafReader leaves(engine);
    for (unsigned level = 0; level < 8 && (tree.size_ >> (8 * level)) != 0; ++level) {
        const auto count = tree.size_ >> (8 * level);
        auto& [hashes, subtree] = tree.levels_.emplace_back();
        for (auto index = count - count % kTileHashes; index < count; ++index) {
            Digest hash{};
            if (level == 0) {
                const auto leaf = leaves.read(index);
                if (!leaf) return std::unexpected(leaf.error());
                hash = *leaf;
            } else {
                const auto tile = read_tile(engine, level - 1, index);
                if (!tile) return std::unexpected(tile.error());
                hash = root_over(*tile);
            }
            hashes.push_back(hash);
            subtree.append(hash);
        }
    }
    if (tree.frontier() != frontier)
        return forked("the newest entries or tiles do not hash to the head's tree");
    return tree;
}

void LogTree::append(const Digest& leaf, Batch& batch) {
    Digest hash = leaf;
    for (unsigned level = 0;; ++level) {
        if (level == levels_.size()) levels_.emplace_back().hashes.reserve(kTileHashes);
        auto& [hashes, tree] = levels_[level];
        hashes.push_back(hash);
        tree.append(hash);
        if (hashes.size() < kTileHashes) break;

        Bytes tile;
        tile.reserve(kTileBytes);
        for (const auto& one : hashes) tile.append(crypto::view(one));
        const auto index = (size_ >> (8 * level)) / kTileHashes;
        batch.put(Table::tile, tile_key(level, index), std::move(tile));
        hash = tree.root();  // one complete subtree: nothing is hashed again
        hashes.clear();
        tree = {};
    }
    ++size_;
}

Bytes LogTree::frontier() const {
    Bytes out;
    base::append_big_endian(out, size_);
    // 256 is a power of two, so the subtrees of the levels are the subtrees of the whole, largest first.
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level)
        out.append(ByteView(level->tree.serialise()).substr(8));
    return out;
}

std::uint64_t LogTree::first_in_memory(unsigned level) const {
    const auto count = size_ >> (8 * level);
    return count - count % kTileHashes;
}

base::Result<Digest> LogTree::node(const StorageEngine& engine, unsigned level, std::uint64_t index) const {
    if (index >= first_in_memory(level)) return levels_[level].hashes[index - first_in_memory(level)];
    const auto tile = read_tile(engine, level, index / kTileHashes);
    if (!tile) return std::unexpected(tile.error());
    const auto expected = node(engine, level + 1, index / kTileHashes);
    if (!expected) return expected;
    if (root_over(*tile) != *expected)
        return forked(name_of_tile(level, index / kTileHashes) + " does not hash to the tree");
    return (*tile)[index % kTileHashes];
}

base::Status LogTree::verify_end(const StorageEngine& engine) const {
    const auto full_tiles = size_ / kTileHashes;
    const auto entries = entries_on_disk(engine);
    if (!entries) return std::unexpected(entries.error());
    if (*entries > size_)
        return forked("entries stand behind the end of the log, up to number " + std::to_string(*entries));
    if (*entries < size_) return truncated("log entry " + std::to_string(size_ - 1));
    const auto last_tile = last_key(engine, Table::tile, Bytes(1, '\0'));
    if (!last_tile) return std::unexpected(last_tile.error());
    if (!last_tile->empty() && (full_tiles == 0 || *last_tile > tile_key(0, full_tiles - 1)))
        return forked("tiles stand behind the end of the log");

    LeafReader leaves(engine);
    for (auto index = full_tiles - std::min(full_tiles, kVerifiedTiles); index < full_tiles; ++index) {
        const auto tile = read_tile(engine, 0, index);
        if (!tile) return std::unexpected(tile.error());
        const auto expected = node(engine, 1, index);
        if (!expected) return std::unexpected(expected.error());
        if (root_over(*tile) != *expected)
            return forked(name_of_tile(0, index) + " does not hash to the tree");
        for (std::uint64_t i = 0; i < kTileHashes; ++i) {
            const auto leaf = leaves.read(index * kTileHashes + i);
            if (!leaf) return std::unexpected(leaf.error());
            if (*leaf != (*tile)[i])
                return forked("log entry " + std::to_string(index * kTileHashes + i) +
                              " is not the one that was hashed");
        }
    }
    return {};
}

}  // namespace claviger::vault
