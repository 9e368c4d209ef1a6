// What is sealed to a person opens for that person only, and age reads what Claviger writes.
#include "crypto/recipient.h"

#include "crypto/age_file.h"
#include "crypto/bech32.h"
#include "crypto/seal_slot.h"
#include "tests/crypto/vectors.h"

using namespace claviger;
using namespace claviger::crypto;

namespace {

Identity golden_identity() { return Identity::of(key_of(golden("identity.key"))); }

std::string_view parse_error(std::string_view file) {
    const auto identity = Identity::parse(Secret::copy_of(file));
    return identity ? "(good)" : identity.error().code;
}

}  // namespace

TEST_CASE("Keys have the text form that an independent implementation gives", "[crypto][recipient]") {
    const auto identity = golden_identity();
    CHECK(identity.recipient().text() == golden("recipient.text"));
    CHECK(bytes_of(identity.text()) == golden("identity.text"));
    const auto recipient = Recipient::parse(golden("recipient.text"));
    REQUIRE(recipient);
    CHECK(*recipient == identity.recipient());
    const auto back = Identity::parse(
        Secret::copy_of("# created: today\n# public key: age1…\n\n" + golden("identity.text") + "\r\n"));
    REQUIRE(back);
    CHECK(back->recipient() == identity.recipient());
}

TEST_CASE("A key with a mistyped character is refused", "[crypto][recipient]") {
    const auto text = golden("recipient.text");
    for (std::size_t at = 0; at < text.size(); ++at) {
        auto typo = text;
        typo[at] = typo[at] == 'q' ? 'p' : 'q';
        REQUIRE_FALSE(Recipient::parse(typo));
        REQUIRE_FALSE(Recipient::parse(text.substr(0, at)));
    }
    auto mixed = text;
    mixed[10] = 'Q';
    CHECK_FALSE(Recipient::parse(mixed));
    CHECK_FALSE(Recipient::parse(text + "q"));
    CHECK_FALSE(Recipient::parse(golden("identity.text")));
}

TEST_CASE("A public key that everybody could open is refused", "[crypto][recipient]") {
    for (const auto* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                              "0100000000000000000000000000000000000000000000000000000000000000",
                              "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                              "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
        const Recipient weak{array_of<std::array<unsigned char, 32>>(hex(point))};
        CHECK_FALSE(weak.usable());
        CHECK_FALSE(Recipient::parse(weak.text()));
        CHECK(fresh_seal_to(weak).error().code == "recipient.refused");
    }
}

TEST_CASE("A root key sealed by an independent implementation opens", "[crypto][recipient]") {
    const auto wrapped = golden("recipient.wrap");
    const auto ephemeral = ephemeral_of(wrapped);
    REQUIRE(ephemeral);
    const auto opening = opening_key(golden_identity(), *ephemeral);
    REQUIRE(opening);
    CHECK(bytes_of(*opening) == golden("recipient.opening"));
    const auto root = unwrap_root_with(*opening, golden_place(), wrapped);
    REQUIRE(root);
    CHECK(bytes_of(*root) == golden("recipient.root"));
}

TEST_CASE("What is sealed to one opens for nobody else, nowhere else, and not changed",
          "[crypto][recipient]") {
    const auto holder = Identity::generate(), other = Identity::generate();
    const auto root = Key::generate();
    const auto wrapped = wrap_root_to(fresh_seal_to(holder.recipient()).value(), golden_place(), root);
    const auto again = wrap_root_to(fresh_seal_to(holder.recipient()).value(), golden_place(), root);
    CHECK(wrapped != again);
    const auto opening = opening_key(holder, *ephemeral_of(wrapped)).value();
    CHECK(unwrap_root_with(opening, golden_place(), wrapped).value() == root);

    auto elsewhere = golden_place();
    ++elsewhere.version;
    auto changed = wrapped;
    changed.back() = static_cast<char>(changed.back() ^ 1);
    const base::Result<Key> wrong[] = {
        unwrap_root_with(opening_key(other, *ephemeral_of(wrapped)).value(), golden_place(), wrapped),
        unwrap_root_with(opening, golden_place(), again),
        unwrap_root_with(opening, elsewhere, wrapped),
        unwrap_root_with(opening, golden_place(), changed),
        unwrap_root_with(opening, golden_place(), wrapped.substr(0, 20)),
        unwrap_root_with(opening, golden_place(), {}),
    };
    for (const auto& refused : wrong) {
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "envelope.refused");
    }
    CHECK_FALSE(ephemeral_of(wrapped.substr(0, 32)));
}

TEST_CASE("An identity file that cannot be used says why", "[crypto][recipient]") {
    const auto key = golden("identity.text");
    CHECK(parse_error(key) == "(good)");
    CHECK(parse_error("") == "identity.refused");
    CHECK(parse_error("# only a comment\n") == "identity.refused");
    CHECK(parse_error(key + "\n" + key + "\n") == "identity.refused");
    CHECK(parse_error(key.substr(0, 40)) == "identity.refused");
    CHECK(parse_error(golden("recipient.text")) == "identity.refused");
}

TEST_CASE("Files that age wrote open, and those for others do not", "[crypto][recipient]") {
    // age 1.1.1: printf 'hello from age\n' | age -r RECIPIENT, and the same with another recipient in front
    const auto alone =
        hex("6167652d656e6372797074696f6e2e6f72672f76310a2d3e2058323535313920523578712b4a6a444f5a5068"
            "6c7a353579653061754f634a38727041722f6e43626c6d674e6e56453533410a4474624e4c7a337563465659"
            "4867306f615a5659553257796f346b3756437237534730556b564d4c705a6f0a2d2d2d205666543436533442"
            "73723159775637774e634b4b334339485a344f4f513864484f35516541496457625a590a70f406ca33bb949f"
            "048dc21f8ae868951c357d2abe53646dfda9c37ac94970d2d702db69178d0f2c8352c80c08250f");
    const auto second =
        hex("6167652d656e6372797074696f6e2e6f72672f76310a2d3e205832353531392044785057396831524a442b2b"
            "7878762b6c514265456f43715a7776503371624f62646a59484d32716179490a706f30564e5768542b5a5856"
            "334a45446a4163774c656535574e324a684c7a54516d7068654c746155704d0a2d3e20583235353139206852"
            "654945755144487638473375764b325244456163776748686b2b72554333736347754a74706b5930590a396e"
            "5953476c6655717870427a4631467372663963576c7a2f434c4961324a357a663947654f366e6b52300a2d2d"
            "2d206b75717174733874375a65534e7a3875774c3063303063525a4356776852366f4745684b6d6b567a6434"
            "510a0f41a8c0eda84d1f5a5217d68aa03aab4b4f09e670c90be11f37d9d11e12e5975f0061ba1b1152a69a1a"
            "79c8a2e029");
    const auto opened = age_decrypt(golden_identity(), alone);
    REQUIRE(opened);
    CHECK(bytes_of(*opened) == "hello from age\n");
    const auto opened_second = age_decrypt(golden_identity(), second);
    REQUIRE(opened_second);
    CHECK(bytes_of(*opened_second) == "two recipients\n");
    CHECK(age_decrypt(Identity::generate(), alone).error().code == "age.other_recipient");
    for (std::size_t at = 0; at < alone.size(); ++at) {
        auto changed = alone;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        REQUIRE_FALSE(age_decrypt(golden_identity(), changed));
        REQUIRE_FALSE(age_decrypt(golden_identity(), alone.substr(0, at)));
    }
}

TEST_CASE("What is encrypted in the format of age comes back", "[crypto][recipient]") {
    const auto holder = Identity::generate();
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{300}, kMaxAgePlain}) {
        const auto plain = Secret::random(size);
        const auto file = age_encrypt(holder.recipient(), plain).value();
        CHECK(is_age_file(file));
        const auto back = age_decrypt(holder, file);
        INFO(size << " bytes: " << (back ? "" : back.error().detail));
        REQUIRE(back);
        CHECK(*back == plain);
        CHECK(age_decrypt(Identity::generate(), file).error().code == "age.other_recipient");
    }
}
