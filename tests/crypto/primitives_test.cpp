// The libraries underneath compute the published functions: vectors from the standards themselves.
#include "crypto/bech32.h"
#include "crypto/hash.h"
#include "crypto/recipient.h"
#include "crypto/shamir.h"
#include "tests/crypto/vectors.h"

#include <sodium.h>

#include <tuple>
#include <vector>

using namespace claviger;
using namespace claviger::crypto;

namespace {

const unsigned char* raw(base::ByteView bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(base::Bytes& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

Identity identity_of(std::string_view hex_text) { return Identity::of(key_of(hex(hex_text))); }
Recipient recipient_of(std::string_view hex_text) {
    return {array_of<decltype(Recipient::key)>(hex(hex_text))};
}

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

TEST_CASE("ChaCha20-Poly1305 gives RFC 8439 section 2.8.2", "[crypto]") {
    const std::string_view plain =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        "sunscreen would be it.";
    const auto key = run(0x80, 32);
    const auto nonce = hex("070000004041424344454647");
    const auto aad = hex("50515253c0c1c2c3c4c5c6c7");
    base::Bytes out(plain.size() + 16, '\0');
    crypto_aead_chacha20poly1305_ietf_encrypt(raw(out), nullptr, raw(plain), plain.size(), raw(aad),
                                              aad.size(), nullptr, raw(nonce), raw(key));
    CHECK(out == hex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
                     "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
                     "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
                     "3ff4def08e4b7a9de576d26586cec64b6116"
                     "1ae10b594f09e26a7e902ecbd0600691"));
}

TEST_CASE("HKDF with SHA-256 gives the first block of RFC 5869 appendix A.1 to A.3", "[crypto]") {
    const struct {
        base::Bytes secret, salt, info;
        const char* block;
    } cases[] = {
        {base::Bytes(22, '\x0b'), run(0, 13), run(0xf0, 10),
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"},
        {run(0, 80), run(0x60, 80), run(0xb0, 80),
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"},
        {base::Bytes(22, '\x0b'), {}, {}, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"},
    };
    for (const auto& [secret, salt, info, block] : cases)
        CHECK(base::to_hex(bytes_of(hkdf_sha256(base::as_span(secret), salt, info))) == block);
}

TEST_CASE("X25519 gives RFC 7748 sections 5.2 and 6.1", "[crypto]") {
    const std::tuple<const char*, const char*, const char*> cases[] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"}};
    for (const auto& [scalar, point, result] : cases)
        CHECK(base::to_hex(bytes_of(identity_of(scalar).shared_with(recipient_of(point)).value())) == result);

    const auto alice = identity_of("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    const auto bob = identity_of("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    CHECK(alice.recipient() ==
          recipient_of("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
    CHECK(bob.recipient() ==
          recipient_of("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
    const auto shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    CHECK(bytes_of(alice.shared_with(bob.recipient()).value()) == shared);
    CHECK(bytes_of(bob.shared_with(alice.recipient()).value()) == shared);
}

TEST_CASE("Commitments are the multiples of the generator of RFC 9496 appendix A.1", "[crypto]") {
    const char* const multiples[] = {"e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
                                     "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
                                     "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
                                     "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
                                     "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
                                     "f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403",
                                     "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
                                     "903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c",
                                     "02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031",
                                     "20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f",
                                     "bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42",
                                     "e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460",
                                     "aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f",
                                     "46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e",
                                     "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e"};
    std::vector<Key> coefficients;
    for (std::size_t i = 1; i <= std::size(multiples); ++i)
        coefficients.push_back(key_of(base::Bytes(1, static_cast<char>(i)) + base::Bytes(31, '\0')));
    const auto dealt = deal(std::size(multiples), std::move(coefficients));
    REQUIRE(dealt);
    for (std::size_t i = 0; i < std::size(multiples); ++i)
        CHECK(dealt->commitments[i] == array_of<GroupPoint>(hex(multiples[i])));
    CHECK(plausible(dealt->commitments));
}

TEST_CASE("Encodings that RFC 9496 appendix A.2 calls invalid are no commitments", "[crypto]") {
    const auto good = deal(2, 2).value().commitments.front();
    for (const auto* invalid : {
             "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",  // not canonical
             "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
             "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
             "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
             "0100000000000000000000000000000000000000000000000000000000000000",  // negative
             "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
             "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
             "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
             "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
             "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
             "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
             "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
             "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",  // x^2 is no square
             "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
             "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
             "bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
             "2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
             "f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
             "8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
             "2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
             "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",  // x y is negative
             "a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
             "d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
             "8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
             "32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
             "227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
             "5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
             "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
             "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // s = -1: y is 0
         }) {
        INFO(invalid);
        CHECK_FALSE(plausible(std::vector{good, array_of<GroupPoint>(hex(invalid))}));
    }
}

TEST_CASE("Bech32 gives the keys that age-encryption.org/v1 shows, and refuses what BIP 173 does",
          "[crypto]") {
    const auto identity = Identity::of(key_of(base::Bytes(32, '\x42')));
    CHECK(identity.recipient().text() == "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj");
    CHECK(bytes_of(identity.text()) ==
          "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX");

    const std::string text = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    const auto key = from_bech32("age", text);
    REQUIRE(key);
    const auto bytes = array_of<decltype(Recipient::key)>(bytes_of(*key));
    CHECK(to_bech32("age", std::as_bytes(std::span(bytes))) == text);
    const auto with = [&](std::size_t at, char letter) {
        auto other = text;
        other[at] = letter;
        return other;
    };
    CHECK_FALSE(from_bech32("age", "age" + text.substr(4)));           // no separator
    CHECK_FALSE(from_bech32("age", text.substr(3)));                   // no prefix
    CHECK_FALSE(from_bech32("agf", text));                             // the checksum is the prefix's, too
    CHECK_FALSE(from_bech32("age", with(10, 'b')));                    // not of the alphabet
    CHECK_FALSE(from_bech32("age", with(text.size() - 1, 'q')));       // another checksum
    CHECK_FALSE(from_bech32("age", with(10, '\x7f')));                 // no printable character
    CHECK_FALSE(from_bech32("age", with(4, 'Z')));                     // both cases
    CHECK_FALSE(from_bech32("age", text.substr(0, text.size() - 1)));  // a short checksum
    CHECK_FALSE(from_bech32("a", "A12UEL5L"));                         // valid, and no 32 bytes
    CHECK_FALSE(from_bech32("split", "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w"));
}
