// A sealed value opens in its place, under its key, unchanged, or not at all.
#include "crypto/envelope.h"

#include "tests/crypto/in_child.h"
#include "tests/crypto/vectors.h"

#include <sodium.h>

#include <functional>

using namespace claviger;
using namespace claviger::crypto;

namespace {

constexpr std::string_view kToken = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

bool refused(const Key& key, const Place& place, base::ByteView sealed) {
    const auto opened = crypto::open(key, place, sealed);
    const auto metadata = open_metadata(key, place, sealed);
    const auto ours = [](const base::Error& error) {
        return error.kind == base::ErrorKind::corrupt && error.code == "envelope.refused" &&
               error.detail.empty();
    };
    return !opened && !metadata && ours(opened.error()) && ours(metadata.error()) &&
           opened.error().message == metadata.error().message;
}

struct Change {
    const char* what;
    std::function<void(Place&)> apply;
};

const std::vector<Change> kEveryField = {
    {"type", [](Place& p) { p.type = ObjectType::oauth_grant; }},
    {"schema", [](Place& p) { p.schema ^= 1; }},
    {"instance", [](Place& p) { p.instance[0] ^= 1; }},
    {"workspace", [](Place& p) { p.workspace[15] ^= 1; }},
    {"vault", [](Place& p) { p.vault[7] ^= 1; }},
    {"object", [](Place& p) { p.object[0] ^= 0x80; }},
    {"older version", [](Place& p) { --p.version; }},
    {"newer version", [](Place& p) { ++p.version; }},
    {"wrapping key", [](Place& p) { ++p.wrapping_key; }},
    {"commit_seq", [](Place& p) { ++p.commit_seq; }},
    {"created", [](Place& p) { ++p.created_ms; }},
    {"constraints", [](Place& p) { p.constraints[31] ^= 1; }},
    {"writer", [](Place& p) { p.writer[15] ^= 1; }},
    {"workspace and vault swapped", [](Place& p) { std::swap(p.workspace, p.vault); }},
};

}  // namespace

TEST_CASE("What was sealed opens, at every size", "[crypto]") {
    const auto key = Key::generate();
    const auto place = golden_place();
    for (const std::size_t size : {0u, 1u, 15u, 16u, 64u, 512u, 70000u, 1u << 20}) {
        const auto plain = run(5, size);
        const auto sealed = seal(key, place, base::as_span(plain));
        CHECK(sealed.size() == size + kEnvelopeOverhead);
        CHECK(key_ref_of(sealed) == place.wrapping_key);
        const auto opened = crypto::open(key, place, sealed);
        REQUIRE(opened);
        CHECK(bytes_of(*opened) == plain);
        CHECK(open_metadata(key, place, sealed) == plain);
    }
}

TEST_CASE("The place has the bytes that every store on disk has bound", "[crypto]") {
    CHECK(base::as_view(aad_of(golden_place())) == golden("aad"));
}

TEST_CASE("An envelope made by an independent implementation opens", "[crypto]") {
    const auto key = key_of(run(0, 32));
    const auto opened = crypto::open(key, golden_place(), golden("envelope.token"));
    REQUIRE(opened);
    CHECK(bytes_of(*opened) == kToken);
    CHECK(open_metadata(key, golden_place(), golden("envelope.empty")) == base::Bytes());
}

TEST_CASE("Sealing twice gives different bytes with nothing of the plaintext in them", "[crypto]") {
    const auto key = Key::generate();
    const auto first = seal(key, golden_place(), base::as_span(kToken));
    const auto second = seal(key, golden_place(), base::as_span(kToken));
    CHECK(first.substr(0, 9) == second.substr(0, 9));
    CHECK(first.substr(9, 24) != second.substr(9, 24));
    CHECK(first.substr(33, 32) != second.substr(33, 32));
    CHECK(first.substr(65) != second.substr(65));
    CHECK(first.find("ghp_") == std::string::npos);
}

TEST_CASE("A sealed value refuses to open anywhere but where it belongs", "[crypto]") {
    const auto key = Key::generate();
    const auto sealed = seal(key, golden_place(), base::as_span(kToken));
    for (const auto& change : kEveryField) {
        Place elsewhere = golden_place();
        change.apply(elsewhere);
        INFO(change.what);
        CHECK(refused(key, elsewhere, sealed));
    }
    CHECK_FALSE(refused(key, golden_place(), sealed));
}

TEST_CASE("A sealed value with any bit changed refuses to open", "[crypto]") {
    const auto key = Key::generate();
    const auto sealed = seal(key, golden_place(), base::as_span(kToken));
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
        auto changed = sealed;
        changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
        if (!refused(key, golden_place(), changed)) FAIL("opened with bit " << bit << " changed");
    }
}

TEST_CASE("A sealed value cut short or made longer refuses to open", "[crypto]") {
    const auto key = Key::generate();
    const auto sealed = seal(key, golden_place(), base::as_span(kToken));
    for (std::size_t size = 0; size < sealed.size(); ++size)
        if (!refused(key, golden_place(), sealed.substr(0, size))) FAIL("opened with " << size << " bytes");
    CHECK(refused(key, golden_place(), sealed + '\0'));
    CHECK(refused(key, golden_place(), "\1" + std::string(kMaxPlaintext + kEnvelopeOverhead, 'x')));
    CHECK_FALSE(key_ref_of(sealed.substr(0, kEnvelopeOverhead - 1)));
    CHECK_FALSE(key_ref_of("\2" + sealed.substr(1)));
    CHECK_FALSE(key_ref_of(""));
}

TEST_CASE("A sealed value opens under no other key", "[crypto]") {
    const auto key = Key::generate();
    const auto sealed = seal(key, golden_place(), base::as_span(kToken));
    for (int i = 0; i < 1000; ++i)
        if (!refused(Key::generate(), golden_place(), sealed)) FAIL("opened under another key");
}

TEST_CASE("A valid tag is not enough: the envelope commits to its key", "[crypto]") {
    // What an attacker builds who knows two keys and wants one ciphertext for both of them.
    const auto mine = key_of(run(0, 32));
    const auto blob = golden("envelope.token");
    const auto other = key_of(run(1, 32));
    const auto aad = aad_of(golden_place());
    const auto* const nonce = reinterpret_cast<const unsigned char*>(blob.data()) + 9;
    base::Bytes message = blob.substr(9, 24) + base::Bytes(view(blake2b(base::as_view(aad))));
    unsigned char derived[64];
    crypto_generichash_blake2b_salt_personal(
        derived, 64, reinterpret_cast<const unsigned char*>(message.data()), message.size(),
        reinterpret_cast<const unsigned char*>(run(1, 32).data()), 32, nullptr,
        reinterpret_cast<const unsigned char*>("vlt-env-suite1\0"));
    auto forged = blob;
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        reinterpret_cast<unsigned char*>(forged.data()) + 65, nullptr,
        reinterpret_cast<const unsigned char*>(kToken.data()), kToken.size(),
        reinterpret_cast<const unsigned char*>(aad.data()), aad.size(), nullptr, nonce, derived);

    CHECK(refused(other, golden_place(), forged));  // its tag is valid under `other`, its commitment is not
    CHECK(refused(mine, golden_place(), forged));   // the other way round
    std::memcpy(forged.data() + 33, derived + 32, 32);
    CHECK(open_metadata(other, golden_place(), forged) == kToken);  // so the forgery was a good one
}

TEST_CASE("Sealing more than an envelope may hold ends the program", "[crypto]") {
    CHECK_FALSE(holds_in_child([] {
        const base::Bytes plain(kMaxPlaintext + 1, 'x');
        return !seal(Key::generate(), golden_place(), base::as_span(plain)).empty();
    }));
}
