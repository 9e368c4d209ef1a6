// Fingerprints cover all of what they are given, and row sums notice every change of a table.
#include "crypto/hash.h"

#include "tests/crypto/vectors.h"

#include <sodium.h>

using namespace claviger;
using namespace claviger::crypto;

TEST_CASE("Our digests are the ones an independent implementation gives", "[crypto]") {
    const auto key = key_of(run(0, 32));
    CHECK(view(blake2b("abc")) == golden("blake2b_256.abc"));
    CHECK(view(blake2b_keyed(key, "abc")) == golden("blake2b_256_keyed.abc"));
    CHECK(blake2b_128_keyed(key, "abc") == array_of<base::RawId>(golden("blake2b_128_keyed.abc")));
}

TEST_CASE("SHA-256 of parts is SHA-256 of the whole", "[crypto]") {
    CHECK(sha256({"", "ab", "", "c"}) == sha256("abc"));
    CHECK(sha256({}) == sha256(""));
}

TEST_CASE("Constant-time equality is still equality", "[crypto]") {
    CHECK(equal("", ""));
    CHECK(equal("token", "token"));
    CHECK_FALSE(equal("token", "tokem"));
    CHECK_FALSE(equal("Token", "token"));
    CHECK_FALSE(equal("token", "toke"));
}

TEST_CASE("Row sums carry, borrow and forget order", "[crypto]") {
    constexpr auto kMax = ~std::uint64_t{0};
    CHECK(add({kMax, 1}, {1, 1}) == RowSum{0, 3});
    CHECK(subtract({0, 3}, {1, 1}) == RowSum{kMax, 1});
    CHECK(add({kMax, kMax}, {1, 0}) == RowSum{0, 0});

    const RowPrf prf(Key::generate());
    const auto a = prf.row(1, "a", "one");
    const auto b = prf.row(1, "b", "two");
    const auto c = prf.row(2, "c", "three");
    CHECK(add(add(a, b), c) == add(c, add(b, a)));
    CHECK(subtract(add(add(a, b), c), b) == add(a, c));
}

TEST_CASE("A row's share follows the documented bytes", "[crypto]") {
    const auto by_hand = [](const base::Bytes& message) {
        base::Bytes out(16, '\0');
        crypto_shorthash_siphashx24(reinterpret_cast<unsigned char*>(out.data()),
                                    reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                                    reinterpret_cast<const unsigned char*>(golden("row_prf.key").data()));
        RowSum sum;
        std::memcpy(sum.data(), out.data(), 16);  // little-endian, as this processor is
        return sum;
    };
    const RowPrf prf(key_of(run(0, 32)));
    const auto blob = run(1, 300);

    base::Bytes head("\0\7", 2);
    base::append_big_endian(head, std::uint64_t{3});
    head += "row";
    base::append_big_endian(head, std::uint64_t{300});
    CHECK(prf.row(7, "row", blob) == by_hand(head + blob));
}

TEST_CASE("A row counts differently once anything about it changes", "[crypto]") {
    const auto key = Key::generate();
    const RowPrf prf(key);
    const auto row = run(9, 300);
    const auto share = prf.row(1, "row", row);

    CHECK(RowPrf(key).row(1, "row", row) == share);
    CHECK(RowPrf(Key::generate()).row(1, "row", row) != share);
    CHECK(prf.row(2, "row", row) != share);
    CHECK(prf.row(1, "rox", row) != share);
    CHECK(prf.row(1, "row", row.substr(0, row.size() - 1)) != share);
    CHECK(prf.row(1, "ab", "c") != prf.row(1, "a", "bc"));
    for (const std::size_t size : {1u, 80u, 256u, 257u, 5000u}) {  // every byte counts
        const auto whole = run(9, size);
        for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
            auto changed = whole;
            changed[at] = static_cast<char>(changed[at] ^ 1);
            CHECK(prf.row(1, "row", changed) != prf.row(1, "row", whole));
        }
    }
}

TEST_CASE("HMAC-SHA256 gives the results of RFC 4231, however the message is cut", "[crypto]") {
    const auto key = Secret::copy_of("Jefe");
    const auto expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    CHECK(base::to_hex(view(hmac_sha256(key, {"what do ya want for nothing?"}))) == expected);
    CHECK(base::to_hex(view(hmac_sha256(key, {"what do ya ", "", "want for nothing?"}))) == expected);

    const auto long_key = Secret::copy_of(std::string(131, '\xaa'));  // longer than a block
    CHECK(base::to_hex(
              view(hmac_sha256(long_key, {"Test Using Larger Than Block-Size Key - Hash Key First"}))) ==
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}
