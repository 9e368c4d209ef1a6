// Random bytes, ids and tokens do not repeat, not between threads and not after fork().
#include "crypto/random.h"

#include "tests/crypto/in_child.h"
#include "tests/crypto/vectors.h"

#include <sys/mman.h>

#include <set>
#include <thread>

using namespace claviger;
using namespace claviger::crypto;

TEST_CASE("Ids never repeat, across blocks and threads", "[crypto]") {
    const auto draw = [](std::vector<base::RawId>& out) {
        for (int i = 0; i < 2000; ++i) out.push_back(random_id_bytes());
    };
    std::vector<base::RawId> ours;
    std::vector<base::RawId> theirs;
    std::thread other(draw, std::ref(theirs));
    draw(ours);
    other.join();

    std::set<base::RawId> all(ours.begin(), ours.end());
    all.insert(theirs.begin(), theirs.end());
    CHECK(all.size() == 4000);
    CHECK(random_id<base::VaultId>() != random_id<base::VaultId>());
}

TEST_CASE("Random bytes of any length are filled to the last byte", "[crypto]") {
    for (const std::size_t size : {0u, 1u, 24u, 511u, 512u, 513u, 4096u, 10000u}) {
        // A byte that stays zero in 20 independent draws was not written: odds of a false alarm are 2^-160.
        std::vector<std::byte> seen(size);
        for (int draw = 0; draw < 20; ++draw) {
            std::vector<std::byte> bytes(size);
            random_bytes(bytes);
            for (std::size_t i = 0; i < size; ++i) seen[i] |= bytes[i];
        }
        CHECK(std::ranges::count(seen, std::byte{}) == 0);
    }
}

TEST_CASE("A forked child does not repeat its parent's random bytes", "[crypto]") {
    random_id_bytes();  // leaves a part of a block for both
    auto* const shared = static_cast<base::RawId*>(
        mmap(nullptr, sizeof(base::RawId), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    REQUIRE(shared != MAP_FAILED);
    CHECK(holds_in_child([&] {
        *shared = random_id_bytes();
        return true;
    }));
    CHECK(*shared != base::RawId{});
    CHECK(random_id_bytes() != *shared);
    munmap(shared, sizeof(base::RawId));
}

TEST_CASE("A token is its prefix and 32 random bytes", "[crypto]") {
    const auto token = random_token_text("clv_");
    CHECK(token.starts_with("clv_"));
    CHECK(token.size() == 4 + 43);
    CHECK(base::from_base64url(token.substr(4)).value().size() == 32);
    CHECK(token != random_token_text("clv_"));
}
