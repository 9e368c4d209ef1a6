// Shares give the secret back, a quorum of them and no fewer, and a bad one is known for what it is.
#include "crypto/shamir.h"

#include "tests/crypto/vectors.h"

using namespace claviger;
using namespace claviger::crypto;

namespace {

std::vector<Share> picked(const Dealt& dealt, std::initializer_list<unsigned> numbers) {
    std::vector<Share> shares;
    for (const auto number : numbers)
        shares.push_back(
            {static_cast<std::uint8_t>(number), key_of(bytes_of(dealt.shares[number - 1].value))});
    return shares;
}

Dealt golden_set() {
    std::vector<Key> coefficients;
    for (int i = 0; i < 3; ++i)
        coefficients.push_back(key_of(golden("shamir.coefficient." + std::to_string(i))));
    return deal(5, std::move(coefficients)).value();
}

Key with_bit_flipped(const Key& key, std::size_t bit) {
    auto bytes = bytes_of(key);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    return key_of(bytes);
}

}  // namespace

TEST_CASE("Shares and commitments are those of an independent implementation", "[crypto][shamir]") {
    const auto dealt = golden_set();
    REQUIRE(dealt.shares.size() == 5);
    for (const auto& share : dealt.shares)
        CHECK(bytes_of(share.value) == golden("shamir.share." + std::to_string(share.number)));
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(base::ByteView(reinterpret_cast<const char*>(dealt.commitments[i].data()), 32) ==
              golden("shamir.commitment." + std::to_string(i)));
    CHECK(bytes_of(dealt.secret) == golden("shamir.coefficient.0"));
}

TEST_CASE("Any quorum gives the secret back, in any order", "[crypto][shamir]") {
    const auto dealt = deal(6, 3).value();
    for (unsigned a = 1; a <= 6; ++a)
        for (unsigned b = 1; b <= 6; ++b)
            for (unsigned c = 1; c <= 6; ++c) {
                if (a == b || b == c || a == c) continue;
                const auto secret = combine(picked(dealt, {a, b, c}), dealt.commitments);
                REQUIRE(secret);
                REQUIRE(*secret == dealt.secret);
            }
    CHECK(*combine(picked(dealt, {1, 2, 3, 4, 5, 6}), dealt.commitments) == dealt.secret);
    const auto largest = deal(32, 32).value();
    CHECK(combine(largest.shares, largest.commitments).value() == largest.secret);
}

TEST_CASE("Fewer shares than needed give nothing, and say so", "[crypto][shamir]") {
    const auto dealt = deal(5, 3).value();
    const auto few = combine(picked(dealt, {4, 5}), dealt.commitments);
    REQUIRE_FALSE(few);
    CHECK(few.error().code == "shares.too_few");
    CHECK(few.error().message == "2 of the 3 shares that are needed were given.");
    const auto twice = combine(picked(dealt, {4, 5, 4}), dealt.commitments);
    REQUIRE_FALSE(twice);
    CHECK(twice.error().code == "shares.duplicate");
}

TEST_CASE("A share with any bit flipped does not belong", "[crypto][shamir]") {
    const auto dealt = golden_set();
    for (std::size_t bit = 0; bit < 256; ++bit) {
        INFO("bit " << bit);
        const Share changed{2, with_bit_flipped(dealt.shares[1].value, bit)};
        REQUIRE_FALSE(belongs(changed, dealt.commitments));
        REQUIRE_FALSE(number_of(changed.value, dealt.commitments, 5));
    }
    auto shares = picked(dealt, {1, 2, 3});
    shares[1].value = with_bit_flipped(shares[1].value, 255);
    const auto refused = combine(shares, dealt.commitments);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "shares.refused");
    CHECK(refused.error().message.find("Share 2 ") != std::string::npos);
}

TEST_CASE("A share belongs under its own number and in its own set only", "[crypto][shamir]") {
    const auto dealt = deal(5, 3).value(), other = deal(5, 3).value();
    for (unsigned number = 0; number <= 40; ++number) {
        const Share renumbered{static_cast<std::uint8_t>(number), key_of(bytes_of(dealt.shares[3].value))};
        CHECK(belongs(renumbered, dealt.commitments) == (number == 4));
        CHECK_FALSE(belongs(renumbered, other.commitments));
    }
    CHECK(number_of(dealt.shares[3].value, dealt.commitments, 5) == 4);
    CHECK_FALSE(number_of(dealt.shares[3].value, other.commitments, 5));
}

TEST_CASE("Scalars that are zero or not reduced are no shares", "[crypto][shamir]") {
    const auto dealt = golden_set();
    // The order of the group, and it plus one, which is one.
    const auto order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    const auto order_plus_one = hex("eed3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    for (const auto& bytes : {base::Bytes(32, '\0'), order, order_plus_one, base::Bytes(32, '\xff')})
        CHECK_FALSE(belongs({1, key_of(bytes)}, dealt.commitments));
    std::vector<Key> coefficients;
    coefficients.push_back(key_of(order_plus_one));
    coefficients.push_back(key_of(golden("shamir.coefficient.1")));
    const auto refused = deal(3, std::move(coefficients));
    CHECK(refused.error().code == "shares.coefficient");
}

TEST_CASE("Commitments that are no points are refused", "[crypto][shamir]") {
    auto dealt = golden_set();
    CHECK(plausible(dealt.commitments));
    dealt.commitments[1].fill(0xff);
    CHECK_FALSE(plausible(dealt.commitments));
    CHECK_FALSE(belongs(dealt.shares[0], dealt.commitments));
    CHECK_FALSE(plausible(std::span(dealt.commitments).first(1)));
    CHECK_FALSE(plausible({}));
    CHECK(combine({}, {}).error().code == "shares.too_few");
}

TEST_CASE("A set has a sensible number of shares", "[crypto][shamir]") {
    for (const auto& [shares, threshold] :
         {std::pair{5U, 1U}, {5U, 0U}, {2U, 3U}, {33U, 2U}, {0U, 0U}, {1U, 1U}, {1000U, 1000U}}) {
        const auto refused = deal(shares, threshold);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "shares.counts");
    }
    CHECK(deal(2, 2));
}
