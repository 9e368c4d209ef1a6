// A data key that stays open: the first one that is kept, and no more of them than may be.
#include "vault/opened_key.h"
#include "tests/support/spec.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace claviger::vault {
namespace {

TEST_CASE("the first key that is kept stays until its holder goes", "[vault][opened_key]") {
    OpenedKey opened;
    REQUIRE(opened.get() == nullptr);
    const auto fill = [](char byte) {
        return crypto::Key::filled(
            [byte](std::span<std::byte> out) { std::ranges::fill(out, static_cast<std::byte>(byte)); });
    };
    opened.keep(fill('a'));
    const auto* const first = opened.get();
    REQUIRE(first != nullptr);
    REQUIRE(*first == fill('a'));
    opened.keep(fill('b'));
    REQUIRE(opened.get() == first);
    REQUIRE(*opened.get() == fill('a'));
}

TEST_CASE("no more keys stay open than may be, and who goes makes room", "[vault][opened_key]") {
    std::vector<std::unique_ptr<OpenedKey>> holders;
    for (std::size_t i = 0; i < OpenedKey::kMost; ++i) {
        holders.push_back(std::make_unique<OpenedKey>());
        holders.back()->keep(crypto::Key::generate());
        REQUIRE(holders.back()->get() != nullptr);
    }
    OpenedKey late;
    late.keep(crypto::Key::generate());
    REQUIRE(late.get() == nullptr);
    holders.pop_back();
    late.keep(crypto::Key::generate());
    REQUIRE(late.get() != nullptr);
}

}  // namespace
}  // namespace claviger::vault
