// Ids, times and byte encodings: what goes out comes back, and nothing else is accepted.
#include "base/bytes.h"
#include "base/clock.h"
#include "base/id.h"
#include "tests/support/spec.h"

using namespace claviger::base;

TEST_CASE("Bytes survive hex, base64 and base64url, and bad text is refused", "[base]") {
    Bytes all;
    for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
    for (std::size_t size : {0u, 1u, 2u, 3u, 255u, 256u}) {
        const auto bytes = all.substr(0, size);
        CHECK(from_hex(to_hex(bytes)) == bytes);
        CHECK(from_base64(to_base64(bytes)) == bytes);
        CHECK(from_base64url(to_base64url(bytes)) == bytes);
    }
    CHECK(to_base64("foob") == "Zm9vYg==");  // RFC 4648 section 10
    CHECK(to_base64url("\xfb\xff") == "-_8");
    for (const auto* bad : {"Zg=", "Zh==", "Zg", "Z", "Zg==Zg==", "Zm9v\n", "===="})
        CHECK_FALSE(from_base64(bad));
    for (const auto* bad : {"abc", "zz", "0x"}) CHECK_FALSE(from_hex(bad));
}

TEST_CASE("An id survives its text form, and only its own prefix parses", "[base]") {
    VaultId id{{0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 255, 255}};
    const auto text = id.text();
    CHECK(text.starts_with("vlt_01"));
    CHECK(text.size() == 4 + 24);
    CHECK(VaultId::parse(text) == id);
    CHECK_FALSE(CredentialId::parse(text));
    CHECK_FALSE(VaultId::parse(text + "1"));
    CHECK_FALSE(VaultId::parse("vlt_01zzzzzzzzzzzzzzzzzzzzzz"));  // over 16 bytes
    CHECK_FALSE(VaultId::parse("vlt_010000000000000000000000"));  // not in the alphabet
}

TEST_CASE("Times read and write as RFC 3339", "[base]") {
    const auto time = from_rfc3339("2026-11-21T10:00:00.250Z");
    REQUIRE(time);
    CHECK(to_rfc3339(*time) == "2026-11-21T10:00:00.250Z");
    CHECK(from_rfc3339("2026-11-21T12:30:00+02:30") == from_rfc3339("2026-11-21T10:00:00Z"));
    for (const auto* bad :
         {"", "2026-11-21", "2026-02-30T00:00:00Z", "2026-11-21T10:00:00", "2026-11-21 10:00:00Z",
          "2026-11-21T25:00:00Z", "2026-11-21T10:00:00.Z", "1969-01-01T00:00:00Z", "x026-11-21T10:00:00Z"})
        CHECK_FALSE(from_rfc3339(bad));
}
