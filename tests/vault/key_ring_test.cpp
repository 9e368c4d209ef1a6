// How a store is unsealed, and which keys it then has.
#include "vault/key_ring.h"
#include "tests/support/spec.h"
#include "tests/support/vault_tampered_engine.h"
#include "tests/support/vault_test_store.h"
#include "vault/state_record.h"

namespace claviger::vault {
namespace {

using test::key_file;
using test::passphrase;

constexpr auto kStrength = crypto::PassphraseStrength::only_for_tests;

struct SealedStore {
    SealedStore() { test::make_store(*engine, clock); }
    test::ManualClock clock;
    std::unique_ptr<StorageEngine> engine = open_in_memory();
};

std::string_view code_of(const base::Result<std::unique_ptr<KeyRing>>& result) {
    return result ? std::string_view("(opened)") : result.error().code;
}

TEST_CASE("an empty store has no summary, and nothing unseals it", "[vault][key_ring]") {
    const auto engine = open_in_memory();
    const auto summary = KeyRing::summary(*engine);
    REQUIRE(summary);
    REQUIRE_FALSE(*summary);
    REQUIRE(code_of(KeyRing::unseal(*engine, passphrase())) == "state.missing");
}

TEST_CASE("a new store tells its slots without a key", "[vault][key_ring]") {
    SealedStore store;
    const auto summary = KeyRing::summary(*store.engine);
    REQUIRE(summary);
    REQUIRE(*summary);
    REQUIRE((*summary)->created == store.clock.now());
    REQUIRE((*summary)->slots.size() == 2);
    REQUIRE((*summary)->slots[0].kind == crypto::SlotKind::passphrase);
    REQUIRE((*summary)->slots[1].kind == crypto::SlotKind::key_file);
    REQUIRE((*summary)->slots[0].id.size() == 32);
    REQUIRE((*summary)->slots[0].id != (*summary)->slots[1].id);
}

TEST_CASE("every slot leads to the same keys", "[vault][key_ring]") {
    SealedStore store;
    const auto by_passphrase = KeyRing::unseal(*store.engine, passphrase());
    const auto by_key_file = KeyRing::unseal(*store.engine, key_file());
    REQUIRE(by_passphrase);
    REQUIRE(by_key_file);
    REQUIRE((*by_passphrase)->instance() == (*by_key_file)->instance());
    REQUIRE((*by_passphrase)->derived(crypto::Purpose::cursors) ==
            (*by_key_file)->derived(crypto::Purpose::cursors));
    REQUIRE_FALSE((*by_passphrase)->derived(crypto::Purpose::cursors) ==
                  (*by_passphrase)->derived(crypto::Purpose::session_ids));
    REQUIRE_FALSE((*by_passphrase)->root_of_commit()->head_key() ==
                  (*by_passphrase)->derived(crypto::Purpose::row_sums));
    REQUIRE_FALSE((*by_passphrase)->body_digest_key() ==
                  (*by_passphrase)->derived(crypto::Purpose::audit_fingerprint));
}

TEST_CASE("a wrong passphrase or key file opens nothing", "[vault][key_ring]") {
    SealedStore store;
    const auto wrong = KeyRing::unseal(*store.engine, passphrase("wrong horse battery staple"));
    REQUIRE_FALSE(wrong);
    REQUIRE(wrong.error().kind == base::ErrorKind::unauthenticated);
    REQUIRE(wrong.error().code == "seal.wrong_key");
    REQUIRE(wrong.error().message == "The passphrase does not open this store.");
    REQUIRE(code_of(KeyRing::unseal(*store.engine, key_file('x'))) == "seal.wrong_key");
    // The passphrase as a key file, and the other way round.
    REQUIRE(code_of(KeyRing::unseal(*store.engine, passphrase(std::string(64, 'k')))) == "seal.wrong_key");
    REQUIRE(code_of(KeyRing::unseal(*store.engine,
                                    {crypto::SlotKind::key_file, crypto::Secret::copy_of("short")})) ==
            "slot.input_refused");
}

TEST_CASE("a store without a slot of that kind says so", "[vault][key_ring]") {
    test::ManualClock clock;
    const auto engine = open_in_memory();
    std::vector<SealInput> inputs;
    inputs.push_back(key_file());
    Batch batch;
    REQUIRE(KeyRing::create(inputs, kStrength, clock.now(), batch));
    REQUIRE(engine->commit(1, batch));
    const auto wrong = KeyRing::unseal(*engine, passphrase());
    REQUIRE_FALSE(wrong);
    REQUIRE(wrong.error().code == "seal.wrong_key");
    REQUIRE(wrong.error().message == "This store has no seal slot for a passphrase.");
}

TEST_CASE("a store is not made without a slot", "[vault][key_ring]") {
    test::ManualClock clock;
    Batch batch;
    REQUIRE(code_of(KeyRing::create({}, kStrength, clock.now(), batch)) == "seal.slots_refused");
    std::vector<SealInput> inputs;
    inputs.push_back(passphrase(""));
    REQUIRE(code_of(KeyRing::create(inputs, kStrength, clock.now(), batch)) == "slot.input_refused");
    REQUIRE(batch.empty());
}

TEST_CASE("no byte of the state record can be changed", "[vault][key_ring][tamper]") {
    SealedStore store;
    const auto row = **store.engine->get(Table::state, "instance");
    for (std::size_t at = 0; at < row.value.size(); ++at) {
        test::TamperedEngine engine(*store.engine);
        Row edited = row;
        edited.value[at] = static_cast<char>(edited.value[at] ^ 1);
        engine.replace(Table::state, "instance", edited);
        const auto opened = KeyRing::unseal(engine, key_file());
        INFO("byte " << at << ": " << code_of(opened));
        REQUIRE_FALSE(opened);
        const auto code = opened.error().code;
        REQUIRE((code == "state.refused" || code == "seal.wrong_key" || code == "slot.parameters_refused"));
    }
    for (std::size_t size = 0; size < row.value.size(); ++size) {
        test::TamperedEngine engine(*store.engine);
        engine.replace(Table::state, "instance", {row.value.substr(0, size), row.version});
        REQUIRE_FALSE(KeyRing::unseal(engine, key_file()));
    }
    test::TamperedEngine engine(*store.engine);
    engine.remove(Table::state, "instance");
    REQUIRE(code_of(KeyRing::unseal(engine, key_file())) == "state.missing");
    REQUIRE(KeyRing::summary(engine).error().code == "state.missing");
}

TEST_CASE("the state record's bytes are these", "[vault][key_ring]") {
    StateRecord record;
    record.instance.fill(0xa1);
    record.created = base::Time(std::chrono::milliseconds(0x1122));
    record.epochs = {{1, EpochState::active, record.created}};
    record.last_epoch = 1;
    record.history = 0x5566;
    SealSlot slot;
    slot.parameters.kind = crypto::SlotKind::passphrase;
    slot.parameters.slot.fill(0xb2);
    slot.parameters.ops_limit = 4;
    slot.parameters.mem_limit_bytes = 0x40000000;
    slot.parameters.salt.fill(0xc3);
    slot.commit_seq = 1;
    slot.created = record.created;
    slot.wraps = {{1, "wrap"}};
    slot.name = "desk";
    slot.verified = base::Time(std::chrono::milliseconds(0x3344));
    record.slots = {slot};
    REQUIRE(base::to_hex(encode(record)) ==
            "04"
            "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
            "0000000000001122"
            "01"
            "0000000000000001"
            "02"
            "0000000000001122"
            "0000000000000001"
            "0000000000005566"
            "01"
            "01"
            "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"
            "0000000000000001"
            "0000000000001122"
            "0000000000003344"
            "046465736b"
            "0020"
            "0000000000000004"
            "0000000040000000"
            "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"
            "01"
            "0000000000000001"
            "0004"
            "77726170");
    const auto decoded = decode_state(encode(record) + std::string(32, 'm'));
    REQUIRE(decoded);
    REQUIRE(encode(decoded->record) == encode(record));
    REQUIRE(decoded->mac == std::string(32, 'm'));

    // The third format knew of no restores.
    auto third = encode(record);
    third[0] = 3;
    third.erase(1 + 16 + 8 + 1 + 17 + 8, 8);
    const auto older = decode_state(third + std::string(32, 'm'));
    REQUIRE(older);
    record.history = 0;
    REQUIRE(encode(older->record) == encode(record));
}

TEST_CASE("owner keys are found again, and only in their own place", "[vault][key_ring]") {
    SealedStore store;
    const auto workspace = test::id_of(1), owner = test::id_of(2), other = test::id_of(3);
    const auto ring = *KeyRing::unseal(*store.engine, key_file());
    Batch batch;
    const auto made = ring->create_owner_key(workspace, owner, 2, store.clock.now(), batch);
    const auto made_other = ring->create_owner_key(workspace, other, 2, store.clock.now(), batch);
    REQUIRE(made->generation == 1);
    REQUIRE_FALSE(made->key == made_other->key);
    REQUIRE((*ring->owner_key(*store.engine, workspace, owner, 1)) == made);  // usable at once
    REQUIRE(store.engine->commit(2, batch));
    ring->changes_durable();

    const auto fresh = *KeyRing::unseal(*store.engine, passphrase());
    const auto read = fresh->owner_key(*store.engine, workspace, owner, 1);
    REQUIRE(read);
    REQUIRE((*read)->key == made->key);
    REQUIRE(*fresh->owner_key(*store.engine, workspace, owner, 1) == *read);  // kept

    const auto absent = fresh->owner_key(*store.engine, workspace, test::id_of(4), 1);
    REQUIRE_FALSE(absent);
    REQUIRE(absent.error().kind == base::ErrorKind::not_found);
    REQUIRE(absent.error().code == "key.missing");
    REQUIRE(fresh->owner_key(*store.engine, workspace, owner, 2).error().code == "key.missing");
    REQUIRE(fresh->owner_key(*store.engine, test::id_of(9), other, 1).error().code ==
            "key.refused");  // another workspace

    const auto key_of = [](const base::RawId& id) {
        return base::Bytes(reinterpret_cast<const char*>(id.data()), id.size()) +
               base::Bytes("\0\0\0\0\0\0\0\1", 8);
    };
    test::TamperedEngine engine(*store.engine);
    engine.replace(Table::owner_key, key_of(owner), **store.engine->get(Table::owner_key, key_of(other)));
    const auto again = *KeyRing::unseal(engine, passphrase());
    const auto moved = again->owner_key(engine, workspace, owner, 1);
    REQUIRE_FALSE(moved);
    REQUIRE(moved.error().kind == base::ErrorKind::corrupt);
    REQUIRE(moved.error().code == "key.refused");
}

TEST_CASE("a key lives exactly as long as its row", "[vault][key_ring]") {
    SealedStore store;
    const auto workspace = test::id_of(1), owner = test::id_of(2);
    const auto ring = *KeyRing::unseal(*store.engine, key_file());
    {
        Batch batch;
        ring->create_owner_key(workspace, owner, 2, store.clock.now(), batch);
        ring->changes_abandoned();  // the commit failed
        REQUIRE(ring->owner_key(*store.engine, workspace, owner, 1).error().code == "key.missing");
    }
    Batch batch;
    ring->create_owner_key(workspace, owner, 2, store.clock.now(), batch);
    REQUIRE(store.engine->commit(2, batch));
    ring->changes_durable();
    {
        Batch erasing;
        ring->forget_owner(owner, erasing);
        ring->changes_abandoned();
        REQUIRE(ring->owner_key(*store.engine, workspace, owner, 1));
    }
    Batch erasing;
    ring->forget_owner(owner, erasing);
    REQUIRE(ring->owner_key(*store.engine, workspace, owner, 1));  // until the disk has it
    REQUIRE(store.engine->commit(3, erasing));
    ring->changes_durable();
    REQUIRE(ring->owner_key(*store.engine, workspace, owner, 1).error().code == "key.missing");
}

}  // namespace
}  // namespace claviger::vault
