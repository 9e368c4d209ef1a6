// The libraries underneath compute the published functions: vectors from the standards themselves.
#include "crypto/hash.h"
#include "tests/crypto/vectors.h"

#include <sodium.h>

using namespace claviger;
using namespace claviger::crypto;

namespace {

const unsigned char* raw(base::ByteView bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(base::Bytes& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

}  // namespace

TEST_CASE("BLAKE2b-512 gives RFC 7693 appendix A and the authors' keyed vectors", "[crypto]") {
    base::Bytes out(64, '\0');
    crypto_generichash_blake2b(raw(out), 64, raw("abc"), 3, nullptr, 0);
    CHECK(out == hex("ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                     "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"));
    const auto key = run(0, 64);  // blake2b-kat.txt, first keyed entry
    crypto_generichash_blake2b(raw(out), 64, nullptr, 0, raw(key), 64);
    CHECK(out == hex("10ebb67700b1868efb4417987acf4690ae9d972fb7a590c2f02871799aaa4786"
                     "b5e996e8f0f4eb981fc214b005f42d2ff4233499391653df7aefcbc13fc51568"));
}

TEST_CASE("SHA-256 gives the NIST examples", "[crypto]") {
    const std::pair<std::string, const char*> cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
    for (const auto& [message, digest] : cases) CHECK(base::to_hex(view(sha256(message))) == digest);
}

TEST_CASE("XChaCha20-Poly1305 gives draft-irtf-cfrg-xchacha-03 appendix A.3.1", "[crypto]") {
    const std::string_view plain =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        "sunscreen would "
        "be it.";
    const auto key = run(0x80, 32);
    const auto nonce = run(0x40, 24);
    const auto aad = hex("50515253c0c1c2c3c4c5c6c7");
    base::Bytes out(plain.size() + 16, '\0');
    crypto_aead_xchacha20poly1305_ietf_encrypt(raw(out), nullptr, raw(plain), plain.size(), raw(aad),
                                               aad.size(), nullptr, raw(nonce), raw(key));
    CHECK(out == hex("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
                     "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
                     "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
                     "21f9664c97637da9768812f615c68b13b52e"
                     "c0875924c1c7987947deafd8780acf49"));
}

TEST_CASE("SipHash-2-4-128 gives the reference vectors of its authors", "[crypto]") {
    const std::pair<std::size_t, const char*> cases[] = {{0, "a3817f04ba25a8e66df67214c7550293"},
                                                         {1, "da87c1d86b99af44347659119b22fc45"},
                                                         {15, "5493e99933b0a8117e08ec0f97cfc3d9"},
                                                         {63, "5150d1772f50834a503e069a973fbd7c"}};
    const auto key = run(0, 16);
    for (const auto& [length, expected] : cases) {
        base::Bytes out(16, '\0');
        crypto_shorthash_siphashx24(raw(out), raw(run(0, length)), length, raw(key));
        CHECK(base::to_hex(out) == expected);
    }
}
