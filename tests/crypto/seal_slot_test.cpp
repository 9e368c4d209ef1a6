// The root key comes back through a slot, and only with what the slot was made with.
#include "crypto/seal_slot.h"

#include "tests/crypto/in_child.h"
#include "tests/crypto/vectors.h"

#include <sys/resource.h>

using namespace claviger;
using namespace claviger::crypto;

namespace {

SlotParameters passphrase_slot(std::uint64_t ops, std::uint64_t mem_bytes) {
    auto slot = fresh_passphrase_slot(PassphraseStrength::only_for_tests);
    slot.ops_limit = ops;
    slot.mem_limit_bytes = mem_bytes;
    return slot;
}

Place slot_place(const SlotParameters& slot) {
    Place place = golden_place();
    place.type = ObjectType::root_key_in_slot;
    place.object = slot.slot;
    return place;
}

}  // namespace

TEST_CASE("A passphrase gives the key that the Argon2 authors' own program gives", "[crypto]") {
    // printf password | argon2 somesaltsomesalt -id -t 3 -k 64 -p 1 -l 32 -v 13  (Debian argon2 0~20171227)
    auto slot = passphrase_slot(3, 64 * 1024);
    slot.salt = array_of<std::array<unsigned char, 16>>("somesaltsomesalt");
    const auto key = slot_key(slot, Secret::copy_of("password"));
    REQUIRE(key);
    CHECK(bytes_of(*key) == hex("6164c739a04e17de34a80bee65c6a58f4b8a240cbf5652f4a79e35ae02b7c616"));
}

TEST_CASE("A key file gives the key that an independent implementation gives", "[crypto]") {
    SlotParameters slot{.kind = SlotKind::key_file, .slot = array_of<base::RawId>(run(0x40, 16))};
    slot.salt = array_of<std::array<unsigned char, 16>>("somesaltsomesalt");
    const auto key = slot_key(slot, Secret::copy_of(run(0, 64)));
    REQUIRE(key);
    CHECK(bytes_of(*key) == golden("key_file.slot_key"));
}

TEST_CASE("The root key comes back through its slot, and through nothing else", "[crypto]") {
    const auto root = Key::generate();
    const auto slots = {fresh_passphrase_slot(PassphraseStrength::only_for_tests), fresh_key_file_slot()};
    for (const auto& slot : slots) {
        const std::string input = "0123456789abcdef0123456789abcdef";
        const auto key = slot_key(slot, Secret::copy_of(input)).value();
        const auto wrapped = wrap_root(key, slot_place(slot), root);

        const auto back =
            unwrap_root(slot_key(slot, Secret::copy_of(input)).value(), slot_place(slot), wrapped);
        REQUIRE(back);
        CHECK(*back == root);

        const auto other_input = slot_key(slot, Secret::copy_of(input + "0")).value();
        auto other_salt = slot;
        other_salt.salt[0] ^= 1;
        const auto resalted = slot_key(other_salt, Secret::copy_of(input)).value();
        auto other_place = slot_place(slot);
        ++other_place.version;
        const base::Result<Key> wrong[] = {unwrap_root(other_input, slot_place(slot), wrapped),
                                           unwrap_root(resalted, slot_place(slot), wrapped),
                                           unwrap_root(key, other_place, wrapped),
                                           unwrap_root(key, slot_place(slot), wrapped.substr(1))};
        for (const auto& refused : wrong) {
            REQUIRE_FALSE(refused);
            CHECK(refused.error().code == "envelope.refused");
        }
    }
}

TEST_CASE("Something else sealed in a slot's place is not taken for a root key", "[crypto]") {
    const auto slot = fresh_key_file_slot();
    const auto key = Key::generate();
    const auto back =
        unwrap_root(key, slot_place(slot), seal(key, slot_place(slot), base::as_span("31 bytes or so")));
    REQUIRE_FALSE(back);
    CHECK(back.error().code == "key.wrong_size");
}

TEST_CASE("A tampered descriptor cannot make start-up ask for the moon", "[crypto]") {
    auto strange = passphrase_slot(1, 8192);
    strange.kind = static_cast<SlotKind>(9);
    auto key_file_with_limits = fresh_key_file_slot();
    key_file_with_limits.ops_limit = 1;
    const SlotParameters cases[] = {passphrase_slot(3, std::uint64_t{1} << 40),
                                    passphrase_slot(3, kMaxSlotMemoryBytes + 1),
                                    passphrase_slot(kMaxSlotOps + 1, 8192),
                                    passphrase_slot(~std::uint64_t{0}, 8192),
                                    passphrase_slot(0, 8192),
                                    passphrase_slot(1, 8191),
                                    passphrase_slot(1, 0),
                                    strange,
                                    key_file_with_limits};
    for (const auto& slot : cases) {
        const auto key = slot_key(slot, Secret::copy_of(std::string(32, 'x')));
        REQUIRE_FALSE(key);
        CHECK(key.error().code == "slot.parameters_refused");
        CHECK(key.error().kind == base::ErrorKind::corrupt);
    }
}

TEST_CASE("An input that no slot can have been made with is refused by name", "[crypto]") {
    const auto passphrase = fresh_passphrase_slot(PassphraseStrength::only_for_tests);
    const std::tuple<SlotParameters, std::size_t, const char*> cases[] = {
        {passphrase, 0, "passphrase"},
        {passphrase, kMaxSlotInputBytes + 1, "passphrase"},
        {fresh_key_file_slot(), kMinKeyFileBytes - 1, "key file"},
        {fresh_key_file_slot(), kMaxSlotInputBytes + 1, "key file"}};
    for (const auto& [slot, size, word] : cases) {
        const auto key = slot_key(slot, Secret::random(size));
        REQUIRE_FALSE(key);
        CHECK(key.error().code == "slot.input_refused");
        CHECK(key.error().message.find(word) != std::string::npos);
        CHECK_FALSE(key.error().hint.empty());
    }
}

TEST_CASE("Too little memory for a passphrase is said, not mistaken for a wrong one", "[crypto]") {
    const auto slot = fresh_passphrase_slot(PassphraseStrength::moderate);
    CHECK(holds_in_child([&] {
        std::size_t pages_now = 0;
        std::ifstream("/proc/self/statm") >> pages_now;
        const rlimit tight{pages_now * 4096 + (64u << 20), RLIM_INFINITY};
        if (setrlimit(RLIMIT_AS, &tight) != 0) return false;
        const auto key = slot_key(slot, Secret::copy_of("password"));
        return !key && key.error().code == "slot.out_of_memory" &&
               key.error().hint.find("257 MiB") != std::string::npos;
    }));
}

TEST_CASE("Fresh slots differ, and those for production cost what they should", "[crypto]") {
    const auto moderate = fresh_passphrase_slot(PassphraseStrength::moderate);
    const auto sensitive = fresh_passphrase_slot(PassphraseStrength::sensitive);
    CHECK(moderate.mem_limit_bytes == 256u << 20);
    CHECK(moderate.ops_limit == 3);
    CHECK(sensitive.mem_limit_bytes == kMaxSlotMemoryBytes);
    CHECK(sensitive.ops_limit == 4);
    CHECK(moderate.salt != sensitive.salt);
    CHECK(moderate.slot != sensitive.slot);
    CHECK(fresh_key_file_slot().salt != fresh_key_file_slot().salt);
}
