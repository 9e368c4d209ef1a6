// Several ways into one store: added, verified and removed while it runs, and never the last one.
#include "vault/seal_slots.h"

#include "tests/support/spec.h"
#include "tests/support/vault_tampered_engine.h"
#include "tests/support/vault_test_store.h"
#include "vault/key_ring.h"

namespace claviger::vault {
namespace {

using crypto::Identity;
using crypto::Key;
using crypto::SlotKind;
using test::key_file;
using test::passphrase;

Key copy(const Key& key) {
    return Key::filled([&](std::span<std::byte> out) {
        key.expose([&](std::span<const std::byte> in) { std::ranges::copy(in, out.begin()); });
    });
}

crypto::Secret secret_of(const Key& key) {
    return key.expose([](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); });
}

struct RunningStore {
    RunningStore() {
        test::make_store(*engine, clock);
        open.emplace(*engine, clock);
    }

    base::Result<SealSlot> add(NewSlot wanted) {
        base::Result<SealSlot> added;
        const auto done = test::submit(*open->ledger, [&](Transaction& transaction) -> base::Status {
            added = add_slot(transaction, wanted);
            if (!added) return std::unexpected(added.error());
            transaction.note(entry(Action::create, added->parameters.slot));
            return {};
        });
        if (!done) return std::unexpected(done.error());
        return added;
    }
    base::Status verify(const SealInput& input) {
        const auto slot = open->keys->check(*engine, input);
        if (!slot) return std::unexpected(slot.error());
        return test::submit(*open->ledger, [&](Transaction& transaction) -> base::Status {
            transaction.note(entry(Action::validate, *slot));
            return slot_verified(transaction, *slot);
        });
    }
    base::Status remove(const base::RawId& slot) {
        return test::submit(*open->ledger, [&](Transaction& transaction) -> base::Status {
            transaction.note(entry(Action::erase, slot));
            const auto removed = remove_slot(transaction, slot);
            if (!removed) return std::unexpected(removed.error());
            return {};
        });
    }
    void restart() {
        open.reset();
        open.emplace(*engine, clock);
    }
    /// What opens the store for the holder of `identity`.
    SealInput input_of(SlotKind kind, const base::RawId& slot, const Identity& identity) {
        const auto summary = KeyRing::summary(*engine);
        REQUIRE((summary && *summary));
        for (const auto& each : (*summary)->slots)
            if (each.id == slot_id_text(slot)) {
                REQUIRE(each.ephemeral);
                return {kind, secret_of(crypto::opening_key(identity, *each.ephemeral).value()),
                        SealInput::Form::opening_key, slot};
            }
        FAIL("no such slot");
        return {kind, crypto::Secret::random(32)};
    }
    std::vector<SlotSummary> slots() const { return (*KeyRing::summary(*engine))->slots; }
    base::RawId slot_called(std::string_view name) const {
        for (const auto& slot : slots())
            if (slot.name == name) return slot.parameters.slot;
        FAIL("no slot " << name);
        return {};
    }

    static LogEntry entry(Action action, const base::RawId& slot) {
        LogEntry entry;
        entry.kind = EntryKind::seal;
        entry.action = action;
        entry.object = ObjectKind::seal_slot;
        entry.object_id = slot;
        return entry;
    }

    test::ManualClock clock;
    std::unique_ptr<StorageEngine> engine = open_in_memory();
    std::optional<test::OpenStore> open;
};

template <class T>
std::string_view code_of(const base::Result<T>& result) {
    return result ? std::string_view("(good)") : result.error().code;
}

NewSlot recipient_slot(std::string name, const Identity& identity) {
    return {std::move(name), crypto::fresh_recipient_slot(identity.recipient())};
}

}  // namespace

TEST_CASE("every added slot opens the store alone, also after a restart", "[vault][seal_slots]") {
    RunningStore store;
    const auto holder = Identity::generate();
    const auto recipient = store.add(recipient_slot("safe", holder));
    REQUIRE(recipient);

    const auto dealt = crypto::deal_slot(store.open->keys->instance(), {"alice", "bob", "carol"}, 2).value();
    const auto shares = store.add({"quorum", dealt.parameters});
    REQUIRE(shares);

    NewSlot second{"second key file", crypto::fresh_key_file_slot()};
    const auto file = crypto::Secret::copy_of(std::string(32, 'z'));
    second.parameters.key_id = crypto::key_file_id(file);
    second.opening = crypto::slot_key(second.parameters, file).value();
    const auto added = store.add(std::move(second));
    REQUIRE(added);

    const auto cursors = [](const KeyRing& keys) { return copy(keys.derived(crypto::Purpose::cursors)); };
    const auto expected = cursors(*store.open->keys);
    store.restart();

    crypto::SharesSoFar collected(crypto::share_set_of(store.open->keys->instance(), dealt.parameters));
    for (const std::size_t at : {2U, 0U})
        REQUIRE(collected.add({dealt.files[at].instance,
                               dealt.files[at].set,
                               dealt.files[at].threshold,
                               dealt.files[at].count,
                               dealt.files[at].holder,
                               {dealt.files[at].share.number, copy(dealt.files[at].share.value)}}));
    const auto quorum = crypto::identity_of_shares(collected.secret().value());

    for (const auto& input :
         {store.input_of(SlotKind::recipient, recipient->parameters.slot, holder),
          store.input_of(SlotKind::shares, shares->parameters.slot, quorum), key_file('k'), passphrase()}) {
        const auto ring = KeyRing::unseal(*store.engine, input);
        INFO(crypto::name_of(input.kind) << ": " << code_of(ring));
        REQUIRE(ring);
        CHECK(cursors(**ring) == expected);
    }
    const auto other_file =
        KeyRing::unseal(*store.engine, {SlotKind::key_file, crypto::Secret::copy_of(std::string(32, 'z'))});
    REQUIRE(other_file);
    CHECK(cursors(**other_file) == expected);
}

TEST_CASE("what opens one slot opens no other", "[vault][seal_slots]") {
    RunningStore store;
    const auto one = Identity::generate(), two = Identity::generate();
    const auto first = store.add(recipient_slot("one", one))->parameters.slot;
    const auto second = store.add(recipient_slot("two", two))->parameters.slot;
    CHECK(KeyRing::unseal(*store.engine, store.input_of(SlotKind::recipient, first, one)));
    CHECK(code_of(KeyRing::unseal(*store.engine, store.input_of(SlotKind::recipient, first, two))) ==
          "seal.wrong_key");
    auto crossed = store.input_of(SlotKind::recipient, second, two);
    crossed.slot = first;
    CHECK(code_of(KeyRing::unseal(*store.engine, crossed)) == "seal.wrong_key");
    crossed.slot = test::id_of(77);
    CHECK(code_of(KeyRing::unseal(*store.engine, crossed)) == "seal.wrong_key");
    CHECK(code_of(KeyRing::unseal(*store.engine, {SlotKind::recipient, crypto::Secret::random(31)})) ==
          "seal.wrong_key");
    CHECK(code_of(KeyRing::unseal(*store.engine, {SlotKind::shares, crypto::Secret::random(32)})) ==
          "seal.wrong_key");
}

TEST_CASE("a slot change is one commit with its entry", "[vault][seal_slots]") {
    RunningStore store;
    const auto before = store.open->ledger->head();
    const auto slot = store.add(recipient_slot("safe", Identity::generate()));
    REQUIRE(slot);
    const auto after = store.open->ledger->head();
    CHECK(after.commit_seq == before.commit_seq + 1);
    CHECK(after.size == before.size + 1);
    const auto entry = store.open->ledger->read(before.size);
    REQUIRE(entry);
    CHECK(entry->kind == EntryKind::seal);
    CHECK(entry->action == Action::create);
    CHECK(entry->object == ObjectKind::seal_slot);
    CHECK(entry->object_id == slot->parameters.slot);
    CHECK(slot->commit_seq == after.commit_seq);
}

TEST_CASE("a slot counts once it has given the root key back", "[vault][seal_slots]") {
    RunningStore store;
    const auto holder = Identity::generate();
    const auto slot = store.add(recipient_slot("safe", holder))->parameters.slot;
    CHECK_FALSE(store.slots().back().verified);
    CHECK(code_of(store.verify(store.input_of(SlotKind::recipient, slot, Identity::generate()))) ==
          "seal.wrong_key");
    CHECK_FALSE(store.slots().back().verified);
    store.clock.advance(std::chrono::hours(1));
    REQUIRE(store.verify(store.input_of(SlotKind::recipient, slot, holder)));
    store.restart();
    REQUIRE(store.slots().back().verified);
    CHECK(*store.slots().back().verified == store.clock.now());
    CHECK(store.verify(key_file()));
    CHECK(store.verify(passphrase()));
    CHECK(code_of(store.verify(passphrase("not the one"))) == "seal.wrong_key");
}

TEST_CASE("the last way in is never removed", "[vault][seal_slots]") {
    RunningStore store;
    CHECK(store.remove(store.slot_called("passphrase")));
    const auto last = store.remove(store.slot_called("key file"));
    REQUIRE_FALSE(last);
    CHECK(last.error().code == "seal.last_slot");
    CHECK(last.error().kind == base::ErrorKind::conflict);

    // One that nobody has tried yet is no way in.
    const auto holder = Identity::generate(), other = Identity::generate();
    const auto safe = store.add(recipient_slot("safe", holder))->parameters.slot;
    CHECK(code_of(store.remove(store.slot_called("key file"))) == "seal.last_slot");
    REQUIRE(store.verify(store.input_of(SlotKind::recipient, safe, holder)));
    CHECK(store.remove(store.slot_called("key file")));
    CHECK(code_of(store.remove(safe)) == "seal.last_slot");
    CHECK(code_of(KeyRing::unseal(*store.engine, key_file())) == "seal.wrong_key");
    const auto ring = KeyRing::unseal(*store.engine, store.input_of(SlotKind::recipient, safe, holder));
    CHECK(ring);
}

TEST_CASE("the last verified emergency slot is never removed", "[vault][seal_slots]") {
    RunningStore store;
    const auto holder = Identity::generate(), other = Identity::generate();
    const auto safe = store.add(recipient_slot("safe", holder))->parameters.slot;
    const auto spare = store.add(recipient_slot("spare", other))->parameters.slot;
    REQUIRE(store.verify(store.input_of(SlotKind::recipient, safe, holder)));
    const auto refused = store.remove(safe);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "seal.last_emergency_slot");
    CHECK(refused.error().message.find("'safe'") != std::string::npos);

    REQUIRE(store.verify(store.input_of(SlotKind::recipient, spare, other)));
    CHECK(store.remove(safe));
    CHECK(code_of(store.remove(spare)) == "seal.last_emergency_slot");
    CHECK(code_of(store.remove(safe)) == "seal.slot_not_found");
}

TEST_CASE("slots that add no way in, or cannot be, are refused", "[vault][seal_slots]") {
    RunningStore store;
    const auto holder = Identity::generate();
    REQUIRE(store.add(recipient_slot("safe", holder)));
    CHECK(code_of(store.add(recipient_slot("again", holder))) == "seal.slot_exists");
    CHECK(code_of(store.add(recipient_slot("safe", Identity::generate()))) == "seal.slot_exists");
    for (const auto& name : {std::string(), std::string(65, 'x'), std::string("a\nb"), std::string(" a")})
        CHECK(code_of(store.add(recipient_slot(name, Identity::generate()))) == "seal.slot_refused");
    CHECK(code_of(store.add({"weak", crypto::fresh_recipient_slot({})})) == "seal.slot_refused");
    CHECK(code_of(store.add({"keyless", crypto::fresh_key_file_slot()})) == "seal.key_missing");
    NewSlot same{"same file", crypto::fresh_key_file_slot(), Key::generate()};
    same.parameters.key_id = crypto::key_file_id(crypto::Secret::copy_of(std::string(64, 'k')));
    const auto again = store.add(std::move(same));
    CHECK(code_of(again) == "seal.slot_exists");
    for (std::size_t i = store.slots().size(); i < kMaxSlots; ++i)
        REQUIRE(store.add(recipient_slot("slot " + std::to_string(i), Identity::generate())));
    CHECK(code_of(store.add(recipient_slot("one more", Identity::generate()))) == "seal.slots_full");
    store.restart();
    CHECK(store.slots().size() == kMaxSlots);
}

TEST_CASE("no byte of a record with every kind of slot can be changed", "[vault][seal_slots][tamper]") {
    RunningStore store;
    const auto holder = Identity::generate();
    const auto safe = store.add(recipient_slot("safe", holder))->parameters.slot;
    const auto dealt = crypto::deal_slot(store.open->keys->instance(), {"alice", "bob"}, 2).value();
    REQUIRE(store.add({"quorum", dealt.parameters}));
    const auto input = store.input_of(SlotKind::recipient, safe, holder);
    const auto row = **store.engine->get(Table::state, "instance");
    for (std::size_t at = 0; at < row.value.size(); ++at) {
        test::TamperedEngine engine(*store.engine);
        Row edited = row;
        edited.value[at] = static_cast<char>(edited.value[at] ^ 1);
        engine.replace(Table::state, "instance", edited);
        const auto opened = KeyRing::unseal(engine, input);
        INFO("byte " << at << ": " << code_of(opened));
        REQUIRE_FALSE(opened);
        const auto code = opened.error().code;
        REQUIRE((code == "state.refused" || code == "seal.wrong_key" || code == "slot.parameters_refused"));
        REQUIRE_FALSE(store.open->keys->state(engine));
    }
}

TEST_CASE("a record of the first format is read, and written as the newest", "[vault][seal_slots]") {
    base::Bytes first(1, '\1');
    first += std::string(16, '\xa1') + std::string("\0\0\0\0\0\0\x11\x22", 8) + '\1';
    first += std::string("\0\0\0\0\0\0\0\1\2", 9) + '\1';  // epochs, slots
    first += '\2' + std::string(16, '\xb2') + std::string(16, '\0') + std::string(16, '\xc3');  // a key file
    first += std::string("\0\0\0\0\0\0\0\1", 8) + std::string("\0\0\0\0\0\0\x11\x22", 8);
    first += '\1' + std::string("\0\0\0\0\0\0\0\1\0\4wrap", 14);
    const auto decoded = decode_state(first + std::string(32, 'm'));
    REQUIRE(decoded);
    REQUIRE(decoded->record.slots.size() == 1);
    const auto& slot = decoded->record.slots[0];
    CHECK(slot.parameters.kind == SlotKind::key_file);
    CHECK(slot.verified == slot.created);
    CHECK(slot.name.empty());
    const auto again = decode_state(encode(decoded->record) + std::string(32, 'm'));
    REQUIRE(again);
    CHECK(encode(again->record) == encode(decoded->record));
    CHECK(encode(again->record)[0] == 4);
    CHECK(again->record.slots[0].parameters == slot.parameters);

    // Kinds and limits that the first format never had.
    for (const auto& [at, byte] :
         {std::pair{std::size_t{36}, '\0'}, {36, '\3'}, {36 + 24, '\1'}, {36 + 32, '\1'}}) {
        auto strange = first;
        strange[at] = byte;
        const auto refused = decode_state(strange + std::string(32, 'm'));
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "state.refused");
    }
}

}  // namespace claviger::vault
