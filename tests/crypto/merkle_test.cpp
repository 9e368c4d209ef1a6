// The log tree is RFC 6962's: known roots and proofs, and no proof holds for anything else.
#include "crypto/merkle.h"

#include "tests/crypto/vectors.h"

using namespace claviger;
using namespace claviger::crypto;

namespace {

// The test log of the Certificate Transparency reference implementation.
const std::vector<base::Bytes> kEntries = {hex(""),
                                           hex("00"),
                                           hex("10"),
                                           hex("2021"),
                                           hex("3031"),
                                           hex("40414243"),
                                           hex("5051525354555657"),
                                           hex("606162636465666768696a6b6c6d6e6f")};
const char* const kRoots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                              "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                              "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                              "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                              "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                              "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                              "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                              "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

using Proof = std::vector<Digest>;

base::Result<Digest> known_leaf(std::uint64_t index) { return leaf_hash(kEntries[index]); }

/// Any number of different leaves.
base::Result<Digest> leaf_at(std::uint64_t index) { return leaf_hash("entry " + std::to_string(index)); }

Digest root_at(std::uint64_t size) { return root_of(leaf_at, size).value(); }

Proof proof_of(std::initializer_list<const char*> digests) {
    Proof proof;
    for (const auto* digest : digests) proof.push_back(array_of<Digest>(hex(digest)));
    return proof;
}

/// Every proof that differs from a good one in a simple way.
std::vector<Proof> spoilt(const Proof& good) {
    std::vector<Proof> all;
    for (std::size_t i = 0; i < good.size(); ++i) {
        all.push_back(good);
        all.back()[i][i % 32] ^= 1;
        all.push_back(good);
        all.back().erase(all.back().begin() + static_cast<std::ptrdiff_t>(i));
    }
    all.push_back(good);
    all.back().push_back(Digest{});
    all.push_back(good);
    all.back().insert(all.back().begin(), Digest{});
    return all;
}

}  // namespace

TEST_CASE("Roots are those of the Certificate Transparency test log", "[crypto]") {
    Tree tree;
    CHECK(base::to_hex(view(tree.root())) ==
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (std::size_t size = 1; size <= 8; ++size) {
        tree.append(leaf_hash(kEntries[size - 1]));
        CHECK(tree.size() == size);
        CHECK(base::to_hex(view(tree.root())) == kRoots[size - 1]);
        CHECK(root_of(known_leaf, size) == tree.root());
    }
}

TEST_CASE("Inclusion proofs are those of the Certificate Transparency test log", "[crypto]") {
    CHECK(inclusion_proof(known_leaf, 0, 1) == Proof{});
    CHECK(inclusion_proof(known_leaf, 0, 8) ==
          proof_of({"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}));
    CHECK(inclusion_proof(known_leaf, 5, 8) ==
          proof_of({"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}));
    CHECK(inclusion_proof(known_leaf, 2, 3) ==
          proof_of({"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}));
    CHECK(inclusion_proof(known_leaf, 1, 5) ==
          proof_of({"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}));
}

TEST_CASE("Consistency proofs are those of the Certificate Transparency test log", "[crypto]") {
    CHECK(consistency_proof(known_leaf, 1, 1) == Proof{});
    CHECK(consistency_proof(known_leaf, 1, 8) ==
          proof_of({"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}));
    CHECK(consistency_proof(known_leaf, 6, 8) ==
          proof_of({"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}));
    CHECK(consistency_proof(known_leaf, 2, 5) ==
          proof_of({"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}));
}

TEST_CASE("Every entry of every log up to 40 entries has a proof that holds, and only for itself",
          "[crypto]") {
    for (std::uint64_t size = 1; size <= 40; ++size) {
        const auto root = root_at(size);
        for (std::uint64_t index = 0; index < size; ++index) {
            const auto leaf = leaf_at(index).value();
            const auto proof = inclusion_proof(leaf_at, index, size).value();
            bool sound = verify_inclusion(leaf, index, size, proof, root);
            sound = sound && !verify_inclusion(leaf_at(index + 1).value(), index, size, proof, root);
            sound = sound && !verify_inclusion(leaf, index, size, proof, root_at(size + 1));
            sound = sound && !verify_inclusion(leaf, size, size, proof, root);
            sound = sound && !verify_inclusion(leaf, index, size * 4, proof, root);  // a taller tree
            sound = sound && (size == 1 || !verify_inclusion(leaf, (index + 1) % size, size, proof, root));
            for (const auto& bad : spoilt(proof))
                sound = sound && !verify_inclusion(leaf, index, size, bad, root);
            if (!sound) FAIL("entry " << index << " of " << size);
        }
    }
}

TEST_CASE("Every log up to 40 entries proves what it began with, and nothing else", "[crypto]") {
    for (std::uint64_t to = 1; to <= 40; ++to) {
        for (std::uint64_t from = 0; from <= to; ++from) {
            const auto proof = consistency_proof(leaf_at, from, to).value();
            const auto old_root = root_at(from);
            const auto root = root_at(to);
            bool sound = verify_consistency(from, old_root, to, root, proof);
            sound = sound && !verify_consistency(from, root_at(from + 1), to, root, proof);
            sound = sound && (from == 0 || !verify_consistency(from, old_root, to, root_at(to + 1), proof));
            sound = sound && !verify_consistency(to + 1, old_root, to, root, proof);
            sound = sound && (from == 0 || !verify_consistency(from, old_root, to * 4, root, proof));
            for (const auto& bad : spoilt(proof))
                sound = sound && !verify_consistency(from, old_root, to, root, bad);
            if (!sound) FAIL("from " << from << " to " << to);
        }
    }
}

TEST_CASE("A tree goes on after its state was stored and read back", "[crypto]") {
    Tree tree;
    for (std::uint64_t i = 0; i < 70; ++i) {
        auto restored = Tree::restore(tree.serialise());
        REQUIRE(restored);
        CHECK(restored->size() == tree.size());
        CHECK(restored->root() == tree.root());
        tree = *restored;
        tree.append(leaf_at(i).value());
    }
    CHECK(tree.root() == root_at(70));
}

TEST_CASE("A tree state of the wrong length is refused", "[crypto]") {
    Tree tree;
    for (std::uint64_t i = 0; i < 5; ++i) tree.append(leaf_at(i).value());
    const auto state = tree.serialise();
    CHECK(state.size() == 8 + 2 * 32);
    for (std::size_t size = 0; size < state.size(); ++size) CHECK_FALSE(Tree::restore(state.substr(0, size)));
    CHECK_FALSE(Tree::restore(state + '\0'));
    auto seven = state;
    seven[7] = 7;
    CHECK_FALSE(Tree::restore(seven));
}

TEST_CASE("A proof about what is not in the log is refused", "[crypto]") {
    for (const auto& refused :
         {inclusion_proof(leaf_at, 5, 5), inclusion_proof(leaf_at, 0, 0), consistency_proof(leaf_at, 6, 5)}) {
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "merkle.out_of_range");
    }
}

TEST_CASE("A leaf that cannot be read ends the proof with its error", "[crypto]") {
    const LeafReader broken = [](std::uint64_t index) -> base::Result<Digest> {
        if (index == 3) return base::failure(base::ErrorKind::unavailable, "test.unreadable", "No.");
        return leaf_at(index);
    };
    CHECK(root_of(broken, 6).error().code == "test.unreadable");
    CHECK(inclusion_proof(broken, 0, 6).error().code == "test.unreadable");
    CHECK(consistency_proof(broken, 1, 6).error().code == "test.unreadable");
    CHECK(consistency_proof(broken, 5, 6).error().code == "test.unreadable");
}

TEST_CASE("An entry cannot pass for an inner node", "[crypto]") {
    const auto left = leaf_at(0).value();
    const auto right = leaf_at(1).value();
    CHECK(leaf_hash(base::Bytes(view(left)) + base::Bytes(view(right))) != node_hash(left, right));
}
