#include "crypto/merkle.h"

#include <algorithm>
#include <bit>
#include <string_view>

namespace claviger::crypto {
namespace {

using namespace std::string_view_literals;

/// Where a tree of `size` > 1 leaves splits: the largest power of two below it.
std::uint64_t split_of(std::uint64_t size) { return std::bit_floor(size - 1); }

base::Result<Digest> root_of_range(const LeafReader& leaf, std::uint64_t begin, std::uint64_t size) {
    Tree tree;
    for (std::uint64_t i = 0; i < size; ++i) {
        auto digest = leaf(begin + i);
        if (!digest) return digest;
        tree.append(*digest);
    }
    return tree.root();
}

std::unexpected<base::Error> out_of_range(const char* message) {
    return base::failure(base::ErrorKind::invalid_request, "merkle.out_of_range", message,
                         "Ask for the tree's size first and stay within it.");
}

}  // namespace

Digest leaf_hash(base::ByteView entry) { return sha256({"\0"sv, entry}); }
Digest node_hash(const Digest& left, const Digest& right) {
    return sha256({"\1"sv, view(left), view(right)});
}

void Tree::append(const Digest& leaf) {
    Digest merged = leaf;
    for (std::uint64_t rest = size_; rest & 1; rest >>= 1) {
        merged = node_hash(subtrees_.back(), merged);
        subtrees_.pop_back();
    }
    subtrees_.push_back(merged);
    ++size_;
}

Digest Tree::root() const {
    if (subtrees_.empty()) return sha256("");
    Digest root = subtrees_.back();
    for (std::size_t i = subtrees_.size() - 1; i-- > 0;) root = node_hash(subtrees_[i], root);
    return root;
}

base::Bytes Tree::serialise() const {
    base::Bytes out;
    out.reserve(8 + subtrees_.size() * sizeof(Digest));
    base::append_big_endian(out, size_);
    for (const Digest& subtree : subtrees_) out.append(view(subtree));
    return out;
}

std::optional<Tree> Tree::restore(base::ByteView bytes) {
    if (bytes.size() < 8) return std::nullopt;
    Tree tree;
    tree.size_ = base::read_big_endian<std::uint64_t>(bytes.data());
    bytes.remove_prefix(8);
    const auto count = static_cast<std::size_t>(std::popcount(tree.size_));
    if (bytes.size() != count * sizeof(Digest)) return std::nullopt;
    tree.subtrees_.resize(count);
    for (Digest& subtree : tree.subtrees_) {
        std::copy_n(bytes.begin(), subtree.size(), subtree.begin());
        bytes.remove_prefix(subtree.size());
    }
    return tree;
}

base::Result<Digest> root_of(const LeafReader& leaf, std::uint64_t size) {
    return root_of_range(leaf, 0, size);
}

base::Result<std::vector<Digest>> inclusion_proof(const LeafReader& leaf, std::uint64_t index,
                                                  std::uint64_t size) {
    if (index >= size) return out_of_range("There is no entry at that index in a log of that size.");
    std::vector<Digest> proof;
    for (std::uint64_t begin = 0; size > 1;) {
        const std::uint64_t split = split_of(size);
        const bool left = index < split;
        auto sibling =
            left ? root_of_range(leaf, begin + split, size - split) : root_of_range(leaf, begin, split);
        if (!sibling) return std::unexpected(std::move(sibling.error()));
        proof.push_back(*sibling);
        if (!left) begin += split, index -= split;
        size = left ? split : size - split;
    }
    std::ranges::reverse(proof);
    return proof;
}

base::Result<std::vector<Digest>> consistency_proof(const LeafReader& leaf, std::uint64_t from,
                                                    std::uint64_t to) {
    if (from > to) return out_of_range("The earlier log cannot be larger than the later one.");
    std::vector<Digest> proof;
    if (from == 0) return proof;
    const auto add = [&](std::uint64_t begin, std::uint64_t size) -> base::Status {
        auto subtree = root_of_range(leaf, begin, size);
        if (!subtree) return std::unexpected(std::move(subtree.error()));
        proof.push_back(*subtree);
        return {};
    };
    std::uint64_t begin = 0;
    while (from != to) {
        const std::uint64_t split = split_of(to);
        const bool left = from <= split;
        if (auto added = left ? add(begin + split, to - split) : add(begin, split); !added)
            return std::unexpected(std::move(added.error()));
        if (!left) begin += split, from -= split;
        to = left ? split : to - split;
    }
    // The verifier knows the subtree it arrives at only when that is the whole earlier tree.
    if (begin != 0)
        if (auto added = add(begin, to); !added) return std::unexpected(std::move(added.error()));
    std::ranges::reverse(proof);
    return proof;
}

bool verify_inclusion(const Digest& leaf, std::uint64_t index, std::uint64_t size,
                      const std::vector<Digest>& proof, const Digest& root) {
    if (index >= size) return false;
    std::uint64_t at = index;
    std::uint64_t last = size - 1;
    Digest digest = leaf;
    for (const Digest& sibling : proof) {
        if (last == 0) return false;
        if ((at & 1) || at == last) {
            digest = node_hash(sibling, digest);
            while (!(at & 1) && at != 0) at >>= 1, last >>= 1;
        } else {
            digest = node_hash(digest, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    return last == 0 && digest == root;
}

bool verify_consistency(std::uint64_t from, const Digest& from_root, std::uint64_t to, const Digest& to_root,
                        const std::vector<Digest>& proof) {
    if (from > to) return false;
    if (from == to) return proof.empty() && from_root == to_root;
    if (from == 0) return proof.empty() && from_root == sha256("");
    std::uint64_t at = from - 1;
    std::uint64_t last = to - 1;
    while (at & 1) at >>= 1, last >>= 1;
    auto next = proof.begin();
    if (!std::has_single_bit(from) && next == proof.end()) return false;
    Digest old_digest = std::has_single_bit(from) ? from_root : *next++;
    Digest new_digest = old_digest;
    for (; next != proof.end(); ++next) {
        if (last == 0) return false;
        if ((at & 1) || at == last) {
            old_digest = node_hash(*next, old_digest);
            new_digest = node_hash(*next, new_digest);
            while (!(at & 1) && at != 0) at >>= 1, last >>= 1;
        } else {
            new_digest = node_hash(new_digest, *next);
        }
        at >>= 1;
        last >>= 1;
    }
    return last == 0 && old_digest == from_root && new_digest == to_root;
}

}  // namespace claviger::crypto
