// Rotating the root key and vaults' keys: what is sealed with which key, that everything stays readable, and
// that every step can be undone until the old key is gone.
#include "tests/support/spec.h"
#include "tests/support/vault_fault_engine.h"
#include "tests/support/vault_rotation_world.h"
#include "tests/support/vault_test_store.h"
#include "vault/fence.h"
#include "vault/seal_slots.h"
#include "vault/sealed_rows.h"
#include "vault/store_examination.h"

#include <atomic>
#include <thread>

namespace claviger::vault {
namespace {

using test::keys::change;
using test::keys::rotate_root;
using test::keys::rotate_vault;
using test::keys::settled;
using test::keys::steer;
using test::keys::token_of;

constexpr RotationWish kAtOnce{.retire_after = std::chrono::seconds(0)};

crypto::Key opening_of_passphrase(const SlotSummary& slot) {
    return crypto::slot_key(slot.parameters, crypto::Secret::copy_of("correct horse battery staple")).value();
}

bool has_token(const test::keys::RotationWorld& people) {
    if (!people.has_token()) test::skipped("SoftHSM2 is not installed");
    return people.has_token();
}

/// Changes what a slot holds for an epoch to the wrap of another key, as a disk or memory that lies would.
base::Status give_another_key(Change& now, std::uint64_t epoch, const crypto::Secret& key_file) {
    auto& transaction = now.transaction();
    auto record = transaction.keys().state(transaction.engine());
    if (!record) return std::unexpected(record.error());
    for (auto& slot : record->slots)
        for (auto& wrap : slot.wraps)
            if (slot.parameters.kind == crypto::SlotKind::key_file && wrap.epoch == epoch)
                wrap.wrapped = crypto::wrap_root(crypto::slot_key(slot.parameters, key_file).value(),
                                                 wrap_place(*record, slot, epoch), crypto::Key::generate());
    transaction.keys().put_state(*record, transaction.batch());
    now.note(EntryKind::seal, Action::update, ObjectKind::seal_slot, record->slots[1].parameters.slot);
    return {};
}

/// An open store with rotations going on.
struct Running {
    explicit Running(StorageEngine& on, const base::Clock& clock, SealInput input,
                     RotationSettings settings = {})
        : engine(on) {
        auto ring = KeyRing::unseal(on, input);
        if (!ring) FAIL(ring.error().code << ": " << ring.error().message);
        auto opened = Records::open(on, std::move(*ring), clock);
        if (!opened) FAIL(opened.error().code << ": " << opened.error().detail);
        records = std::move(*opened);
        rotations.emplace(*records, std::move(settings));
        rotations->start();
    }
    Operation finished(const base::Result<base::OperationId>& id) {
        if (!id) FAIL(id.error().code << ": " << id.error().message);
        rotations->wake();
        return settled(*records, *id);
    }
    std::size_t rows_of_generation(Table table, std::uint64_t generation) {
        std::size_t found = 0;
        REQUIRE(engine.scan(table, {}, {}, Order::ascending, [&](ByteView key, ByteView row, std::uint64_t) {
            if (table == Table::data_key && crypto::key_ref_of(row) == generation) ++found;
            const auto header =
                table == Table::meta && is_sealed_by_vault(key) ? header_of(row) : std::nullopt;
            if (header && header->generation == generation) ++found;
            return true;
        }));
        return found;
    }

    StorageEngine& engine;
    std::unique_ptr<Records> records;
    std::optional<KeyRotations> rotations;
};

struct World {
    World() {
        people.initialise(engine, clock);
        open();
        people.add_slots(*store->records);
        vault = test::keys::make_vault(*store->records, "first");
        for (int i = 0; i < 5; ++i)
            credentials.push_back(
                test::keys::make_credential(*store->records, vault, "token " + std::to_string(i)));
    }
    void open(SealInput input = test::key_file()) {
        store.reset();
        RotationSettings settings{.credentials_per_commit = 2, .retry_after = std::chrono::milliseconds(5)};
        settings.slots = people.access();
        store.emplace(engine, clock, std::move(input), std::move(settings));
    }
    base::Result<base::OperationId> root(const RotationWish& wish = {}) {
        return rotate_root(*store->records, people.access(), wish);
    }
    void all_is_well() {
        for (std::size_t i = 0; i < credentials.size(); ++i)
            CHECK(token_of(*store->records, credentials[i]) == "token " + std::to_string(i));
        opens_through_every_slot(engine);
    }
    void opens_through_every_slot(const StorageEngine& on) const {
        const auto ways = people.ways_in(on);
        REQUIRE(ways.size() >= 4);
        for (const auto& way : ways) {
            INFO(way.slot);
            const auto found = examined(on, way);
            for (const auto& fault : found.named)
                UNSCOPED_INFO(fault.place << " " << fault.code << " " << fault.why);
            CHECK(found.sound());
        }
    }
    /// As the store stands between two commits: the log of a running store may just try whether it is
    /// writable again.
    static StoreExamination examined(const StorageEngine& engine, const test::keys::WayIn& way) {
        for (int tries = 0; tries < 100; ++tries) {
            const auto commit = engine.last_commit();
            auto ring = KeyRing::unseal(engine, way.input());
            if (!ring) FAIL(ring.error().code << ": " << ring.error().message << ring.error().detail);
            auto found = examine_store(engine, **ring, {});
            REQUIRE(found);
            if (engine.last_commit() == commit) return std::move(*found);
        }
        FAIL("the store is written all the time");
        return {};
    }
    std::vector<EpochSummary> epochs() const { return KeyRing::summary(engine).value()->epochs; }

    test::TemporaryDirectory folder;
    test::ManualClock clock;
    test::FaultEngine engine;
    test::keys::RotationWorld people{folder.path()};
    std::optional<Running> store;
    Vault vault;
    std::vector<base::CredentialId> credentials;
};

template <class T>
std::string_view code_of(const base::Result<T>& result) {
    return result ? std::string_view("(good)") : result.error().code;
}

}  // namespace

TEST_CASE("a root key is pending, active, retiring and retired, and every slot opens the store all the while",
          "[vault][rotation]") {
    World world;
    const auto id = world.root({.paused = true});
    REQUIRE(id);
    CHECK(world.epochs().size() == 2);
    CHECK(world.epochs()[1].state == "pending");
    world.all_is_well();

    REQUIRE(steer(*world.store->records, *id, resume));
    CHECK(world.store->finished(id).state == OperationState::waiting);
    CHECK(world.epochs()[0].state == "retiring");
    CHECK(world.epochs()[1].state == "active");
    world.all_is_well();

    REQUIRE(steer(*world.store->records, *id, retire));
    const auto done = world.store->finished(id);
    CHECK(done.state == OperationState::succeeded);
    REQUIRE(world.epochs().size() == 1);
    CHECK(world.epochs()[0].epoch == 2);
    world.all_is_well();
    // Nothing is left that the old root key opens.
    CHECK(world.store->records->keys().roots().find(1) == nullptr);
    REQUIRE(world.engine.scan(Table::owner_key, {}, {}, Order::ascending,
                              [](ByteView, ByteView row, std::uint64_t) {
                                  CHECK(crypto::key_ref_of(row.substr(16)) == std::uint64_t{2});
                                  return true;
                              }));
    const auto record = world.store->records->keys().state(world.engine);
    REQUIRE(record);
    for (const auto& slot : record->slots) {
        REQUIRE(slot.wraps.size() == 1);
        CHECK(slot.wraps[0].epoch == 2);
    }
    for (const auto& way : world.people.ways_in(world.engine)) {
        world.open(way.input());
        world.all_is_well();
    }
}

TEST_CASE("a root key rotation goes on after a restart through any slot", "[vault][rotation]") {
    World world;
    const auto ways = world.people.ways_in(world.engine).size();
    for (std::size_t i = 0; i < ways; ++i) {
        const auto id = world.root({.paused = true});
        REQUIRE(id);
        world.open(world.people.ways_in(world.engine)[i].input());
        REQUIRE(steer(*world.store->records, *id, resume));
        CHECK(world.store->finished(id).state == OperationState::waiting);
        world.open(world.people.ways_in(world.engine)[i].input());
        const bool back = i % 2 == 0;
        REQUIRE(steer(*world.store->records, *id, back ? roll_back : retire));
        CHECK(world.store->finished(id).state ==
              (back ? OperationState::rolled_back : OperationState::succeeded));
        world.all_is_well();
    }
    CHECK(world.epochs().size() == 1);
}

TEST_CASE("a rotation of the root key is rolled back, pending or in use, and no epoch comes twice",
          "[vault][rotation]") {
    World world;
    const auto first = world.root({.paused = true});
    REQUIRE(first);
    REQUIRE(steer(*world.store->records, *first, roll_back));
    CHECK(world.store->finished(first).state == OperationState::rolled_back);
    CHECK(world.epochs().size() == 1);
    CHECK(world.epochs()[0].epoch == 1);
    world.all_is_well();

    const auto second = world.root();
    CHECK(world.store->finished(second).state == OperationState::waiting);
    CHECK(world.epochs()[1].epoch == 3);
    // What is made meanwhile is sealed with the new key, and follows back.
    const auto late = test::keys::make_vault(*world.store->records, "late");
    const auto secret = test::keys::make_credential(*world.store->records, late, "late token");
    REQUIRE(steer(*world.store->records, *second, roll_back));
    CHECK(world.store->finished(second).state == OperationState::rolled_back);
    CHECK(world.epochs()[0].epoch == 1);
    world.open();
    CHECK(token_of(*world.store->records, secret) == "late token");
    world.all_is_well();
    CHECK(code_of(steer(*world.store->records, *second, roll_back)) == "operation.not_possible");

    CHECK(world.store->finished(world.root(kAtOnce)).state == OperationState::succeeded);
    REQUIRE(world.epochs().size() == 1);
    CHECK(world.epochs()[0].epoch == 4);
    const auto kept = world.store->finished(world.root({.retire_after = std::chrono::seconds(60)}));
    CHECK(kept.state == OperationState::waiting);
    CHECK(kept.retire_at == world.clock.now() + std::chrono::seconds(60));
    world.clock.advance(std::chrono::seconds(60));
    world.store->rotations->wake();
    for (int i = 0; i < 24'000 && world.epochs().size() != 1; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE(world.epochs().size() == 1);
    CHECK(world.epochs()[0].epoch == 5);
}

TEST_CASE("an older copy of a store gives out no number that a key of the newer one has",
          "[vault][rotation][restore]") {
    World world;
    const auto before = world.engine.commits();
    CHECK(world.store->finished(world.root(kAtOnce)).state == OperationState::succeeded);
    const auto vault_rotated = rotate_vault(*world.store->records, world.vault.id);
    CHECK(world.store->finished(vault_rotated).state == OperationState::succeeded);
    CHECK(world.epochs()[0].epoch == 2);
    const auto older = world.engine.cut_power(world.engine.commits() - before);
    world.store.reset();
    RotationSettings settings{.credentials_per_commit = 2};
    settings.slots = world.people.access();
    Running copy(*older, world.clock, test::key_file(), std::move(settings));
    const auto root = [&] { return rotate_root(*copy.records, world.people.access(), kAtOnce); };
    const auto epochs = [&] { return KeyRing::summary(*older).value()->epochs; };
    REQUIRE(epochs()[0].epoch == 1);

    SECTION("because it was restored") {
        REQUIRE(change(*copy.records, [](Change& now) { return put_fence(now, {}, 0); }));
        const auto history = copy.records->keys().history();
        CHECK(history >= kHistoryLeap);
        CHECK(copy.finished(root()).state == OperationState::succeeded);
        CHECK(epochs()[0].epoch == history + 1);
        CHECK(copy.finished(rotate_vault(*copy.records, world.vault.id)).state == OperationState::succeeded);
        CHECK(copy.records->catalog().find<Vault>(world.vault.id)->generation() == history + 1);
        CHECK(copy.finished(root()).state == OperationState::succeeded);
        CHECK(epochs()[0].epoch == history + 2);
    }
    SECTION("because the token has keys of them, when it was put back by hand") {
        if (!has_token(world.people)) return;
        CHECK(copy.finished(root()).state == OperationState::succeeded);
        CHECK(epochs()[0].epoch == 3);
    }
    world.opens_through_every_slot(*older);
    for (std::size_t i = 0; i < world.credentials.size(); ++i)
        CHECK(token_of(*copy.records, world.credentials[i]) == "token " + std::to_string(i));
}

TEST_CASE("a root key that cannot be prepared leaves no key in the token", "[vault][rotation]") {
    World world;
    if (!has_token(world.people)) return;
    NewSlot unknown{"behind the token", crypto::fresh_key_file_slot(), crypto::Key::generate()};
    base::RawId added{};
    REQUIRE(change(*world.store->records, [&](Change& now) -> base::Status {
        const auto slot = add_slot(now.transaction(), unknown);
        if (!slot) return std::unexpected(slot.error());
        added = slot->parameters.slot;
        now.note(EntryKind::seal, Action::create, ObjectKind::seal_slot, added);
        return {};
    }));
    for (int i = 0; i < 3; ++i) CHECK(code_of(world.root()) == "keys.slot_left_behind");
    REQUIRE(change(*world.store->records, [&](Change& now) -> base::Status {
        now.note(EntryKind::seal, Action::erase, ObjectKind::seal_slot, added);
        const auto removed = remove_slot(now.transaction(), added);
        return removed ? base::Status() : std::unexpected(removed.error());
    }));
    CHECK(world.store->finished(world.root(kAtOnce)).state == OperationState::succeeded);
    CHECK(world.epochs()[0].epoch == 2);
}

TEST_CASE("a restore voids the handles that others hold, and nothing else that derives from the instance",
          "[vault][restore]") {
    World world;
    const auto copies = [](const KeyRing& keys, std::initializer_list<crypto::Purpose> purposes) {
        std::vector<base::Bytes> found;
        for (const auto purpose : purposes)
            keys.derived(purpose).expose(
                [&](std::span<const std::byte> key) { found.emplace_back(base::as_view(key)); });
        return found;
    };
    const auto handles = [&](const KeyRing& keys) {
        using enum crypto::Purpose;
        return copies(keys, {session_ids, cursors, agent_handles});
    };
    const auto others = [&](const KeyRing& keys) {
        using enum crypto::Purpose;
        return copies(keys, {row_sums, audit_fingerprint, webhook_secrets, outbox_secrets, token_fingerprint,
                             connect_secrets});
    };
    const auto& keys = world.store->records->keys();
    const auto handles_before = handles(keys), others_before = others(keys);
    world.engine.fail_commit(1);
    const auto fence = [](Change& now) { return put_fence(now, {}, 0); };
    REQUIRE_FALSE(change(*world.store->records, fence));
    CHECK(keys.history() == 0);
    CHECK(handles(keys) == handles_before);

    REQUIRE(change(*world.store->records, fence));

    const auto now = handles(keys);
    for (std::size_t i = 0; i < now.size(); ++i) CHECK(now[i] != handles_before[i]);
    CHECK(others(keys) == others_before);
    const auto history = keys.history();
    world.open();
    CHECK(world.store->records->keys().history() == history);
    CHECK(handles(world.store->records->keys()) == now);
    CHECK(others(world.store->records->keys()) == others_before);
    REQUIRE(change(*world.store->records, fence));
    CHECK(world.store->records->keys().history() >= history + kHistoryLeap);
    world.all_is_well();
}

TEST_CASE("a rotation leaves no seal slot behind", "[vault][rotation]") {
    World world;
    const auto prepared = [&](const SlotAccess& access) {
        const auto made = prepare_root(world.store->records->keys(), world.engine, access, world.clock.now());
        return made ? std::string("(good)") : std::string(made.error().code) + " " + made.error().message;
    };
    CHECK(prepared(world.people.access()).starts_with("keys.slot_left_behind The seal slot 'passphrase'"));
    SlotAccess none;
    none.openings.emplace_back(KeyRing::summary(world.engine).value()->slots[0].parameters.slot,
                               crypto::Key::generate());
    CHECK(prepared(none) ==
          "keys.slot_left_behind The seal slot 'passphrase' cannot follow the new root key: what was given "
          "does not open it.");

    const auto id = world.root({.paused = true});
    REQUIRE(id);
    CHECK(code_of(world.root()) == "keys.rotation_under_way");

    // A slot that is added meanwhile holds both keys.
    const auto holder = crypto::Identity::generate();
    NewSlot wanted{"added", crypto::fresh_recipient_slot(holder.recipient())};
    REQUIRE(change(*world.store->records, [&](Change& now) -> base::Status {
        const auto slot = add_slot(now.transaction(), wanted);
        if (!slot) return std::unexpected(slot.error());
        CHECK(slot->wraps.size() == 2);
        now.note(EntryKind::seal, Action::create, ObjectKind::seal_slot, slot->parameters.slot);
        return {};
    }));
    REQUIRE(steer(*world.store->records, *id, resume));
    CHECK(world.store->finished(id).state == OperationState::waiting);
}

TEST_CASE("a root key that a slot does not give back from the disk is not put to use", "[vault][rotation]") {
    World world;
    const auto id = world.root({.paused = true});
    REQUIRE(id);
    const auto access = world.people.access();
    const auto files = access.key_files();
    REQUIRE(change(*world.store->records,
                   [&](Change& now) { return give_another_key(now, 2, files[0].secret); }));

    REQUIRE(steer(*world.store->records, *id, resume));
    const auto stopped = world.store->finished(id);
    CHECK(stopped.state == OperationState::paused);
    REQUIRE(stopped.problem);
    CHECK(stopped.problem->code == "seal.other_root");
    CHECK(stopped.problem->message ==
          "The seal slot 'key file' does not give back the new root key that it was given.");
    CHECK(world.epochs()[0].state == "active");
    CHECK(world.epochs()[1].state == "pending");

    REQUIRE(steer(*world.store->records, *id, roll_back));
    CHECK(world.store->finished(id).state == OperationState::rolled_back);
    world.all_is_well();
}

TEST_CASE("a root key that was sealed into a slot wrongly is found with what people gave",
          "[vault][rotation]") {
    World world;
    REQUIRE(world.root({.paused = true}));
    const auto files = world.people.access().key_files();
    REQUIRE(change(*world.store->records,
                   [&](Change& now) { return give_another_key(now, 2, files[0].secret); }));
    const auto slots = KeyRing::summary(world.engine).value()->slots;
    SlotAccess typed;
    typed.token = world.people.access().token;
    const auto verified = [&] {
        return code_of(verify_in_slots(world.store->records->keys(), world.engine, 2, typed));
    };
    CHECK(verified() == "(good)");  // the key file is not there, so nobody can look
    typed.openings.emplace_back(slots[0].parameters.slot, opening_of_passphrase(slots[0]));
    CHECK(verified() == "(good)");
    typed.openings.emplace_back(slots[1].parameters.slot,
                                crypto::slot_key(slots[1].parameters, files[0].secret).value());
    CHECK(verified() == "seal.other_root");
}

TEST_CASE("a token that gives back another key than it was given takes part in no rotation",
          "[vault][rotation]") {
    World world;
    if (!has_token(world.people)) return;
    SlotAccess access = world.people.access();
    const auto slots = KeyRing::summary(world.engine).value()->slots;
    access.openings.emplace_back(slots[0].parameters.slot, opening_of_passphrase(slots[0]));
    access.token = [honest = access.token]() -> base::Result<SealInput> {
        auto input = honest();
        if (input) input->module = CLAVIGER_LYING_TOKEN;
        return input;
    };
    const auto prepared = prepare_root(world.store->records->keys(), world.engine, access, world.clock.now());
    REQUIRE_FALSE(prepared);
    CHECK(prepared.error().code == "seal.other_root");
    CHECK(prepared.error().message ==
          "The seal slot 'token' does not give back the new root key that it was given.");
    CHECK(world.epochs().size() == 1);
    world.all_is_well();
}

TEST_CASE("slots that change while a new root key is prepared are noticed", "[vault][rotation]") {
    World world;
    SlotAccess access = world.people.access();
    const auto slots = KeyRing::summary(world.engine).value()->slots;
    access.openings.emplace_back(slots[0].parameters.slot, opening_of_passphrase(slots[0]));
    const auto prepared = prepare_root(world.store->records->keys(), world.engine, access, world.clock.now());
    REQUIRE(prepared);
    REQUIRE(change(*world.store->records, [&](Change& now) -> base::Status {
        now.note(EntryKind::seal, Action::erase, ObjectKind::seal_slot, slots[0].parameters.slot);
        const auto removed = remove_slot(now.transaction(), slots[0].parameters.slot);
        return removed ? base::Status() : std::unexpected(removed.error());
    }));
    CHECK(code_of(change(*world.store->records, [&](Change& now) -> base::Status {
              const auto begun = begin_root_rotation(now, *prepared, world.vault.workspace, {});
              return begun ? base::Status() : std::unexpected(begun.error());
          })) == "keys.slots_changed");
    world.opens_through_every_slot(world.engine);
}

TEST_CASE("what a vault holds moves to its next key, and the old one is gone", "[vault][rotation]") {
    World world;
    auto& store = *world.store;
    const auto other = test::keys::make_vault(*store.records, "other");
    const auto elsewhere = test::keys::make_credential(*store.records, other, "elsewhere");
    const auto kept =
        store.records->sealed_secret(*store.records->catalog().find<Credential>(world.credentials[0]));

    const auto done = store.finished(rotate_vault(*store.records, world.vault.id));
    CHECK(done.state == OperationState::succeeded);
    CHECK(done.done == 2 * world.credentials.size());
    CHECK(done.total == done.done);
    CHECK(store.rows_of_generation(Table::data_key, 2) == world.credentials.size());
    CHECK(store.rows_of_generation(Table::meta, 2) == world.credentials.size());
    CHECK(store.rows_of_generation(Table::data_key, 1) == 1);  // the other vault's
    CHECK(store.records->keys().generations(world.engine, world.vault.id.raw).value() ==
          std::vector<std::uint64_t>{2});
    CHECK(store.records->catalog().find<Vault>(world.vault.id)->key_rotated == world.clock.now());
    CHECK(token_of(*store.records, elsewhere) == "elsewhere");
    // A call that has the rows in hand already is not refused.
    REQUIRE(kept);
    CHECK(store.records->open_token(*kept));

    REQUIRE(change(*store.records, [&](Change& now) {
        now.note(EntryKind::write, Action::update, ObjectKind::credential, world.credentials[0].raw);
        return now.store(Grant{.id = world.credentials[0],
                               .workspace = world.vault.workspace,
                               .vault = world.vault.id,
                               .facts = "what is known"});
    }));
    world.open();
    CHECK(world.store->finished(rotate_vault(*world.store->records, world.vault.id)).to == 3);
    // Nobody had asked for it while the key was there that sealed it at the start.
    const auto grant = world.store->records->catalog().find<Grant>(world.credentials[0]);
    REQUIRE(grant);
    CHECK(grant->facts == "what is known");
    world.all_is_well();
    world.open();
    world.all_is_well();
    CHECK(test::keys::set_token(*world.store->records, world.credentials[0], "token 0"));
    world.all_is_well();
}

TEST_CASE("a rotation of a vault's key is paused, goes on after a restart, and is rolled back",
          "[vault][rotation]") {
    World world;
    const auto id = rotate_vault(*world.store->records, world.vault.id, {.paused = true});
    REQUIRE(id);
    CHECK(code_of(rotate_vault(*world.store->records, world.vault.id)) == "keys.rotation_under_way");
    const auto fresh = test::keys::make_credential(*world.store->records, world.vault, "token 5");
    world.credentials.push_back(fresh);
    CHECK(world.store->rows_of_generation(Table::data_key, 2) == 1);  // sealed with the next key at once
    world.all_is_well();
    world.open();
    CHECK(world.store->records->keys().generation_of(world.vault.id.raw) == 2);
    CHECK(code_of(steer(*world.store->records, *id, pause)) == "operation.not_possible");
    CHECK(code_of(steer(*world.store->records, *id, retire)) == "operation.not_possible");

    REQUIRE(steer(*world.store->records, *id, roll_back));
    const auto back = world.store->finished(id);
    CHECK(back.state == OperationState::rolled_back);
    CHECK(world.store->rows_of_generation(Table::data_key, 2) == 0);
    CHECK(world.store->rows_of_generation(Table::meta, 2) == 0);
    world.all_is_well();
    world.open();
    world.all_is_well();
    // No generation comes twice.
    CHECK(world.store->finished(rotate_vault(*world.store->records, world.vault.id)).to == 3);
    world.all_is_well();
}

TEST_CASE("a rotation of the root key does not wait for those of vaults, nor they for one that fails",
          "[vault][rotation]") {
    World world;
    auto& running = *world.store;
    running.rotations.reset();
    const auto of_vault = rotate_vault(*running.records, world.vault.id);
    const auto of_root = world.root(kAtOnce);
    REQUIRE(of_vault);
    REQUIRE(of_root);
    const auto go_on = [&](SlotAccess access) {
        RotationSettings settings{.credentials_per_commit = 2, .retry_after = std::chrono::milliseconds(5)};
        settings.slots = std::move(access);
        running.rotations.emplace(*running.records, std::move(settings));
        running.rotations->start();
    };
    const auto last_entry_of = [&](const base::OperationId& id) {
        auto last = running.records->ledger().head().size;
        while (last-- > 0 && running.records->ledger().read(last)->object_id != id.raw) {
        }
        return last;
    };
    SECTION("the vault's is older, and waits") {
        go_on(world.people.access());
        CHECK(running.finished(of_vault).state == OperationState::succeeded);
        CHECK(running.finished(of_root).state == OperationState::succeeded);
        CHECK(last_entry_of(*of_root) < last_entry_of(*of_vault));
    }
    if (has_token(world.people)) {
        SECTION("the token that the root key needs is away for a while") {
            auto access = world.people.access();
            access.token = [] {
                return base::Result<SealInput>(
                    base::failure(base::ErrorKind::unavailable, "token.unavailable", "It is away."));
            };
            go_on(std::move(access));
            CHECK(running.finished(of_vault).state == OperationState::succeeded);
            CHECK(running.records->catalog().find<Operation>(*of_root)->state == OperationState::running);
            go_on(world.people.access());
            CHECK(running.finished(of_root).state == OperationState::succeeded);
        }
    }
    world.all_is_well();
}

TEST_CASE("a vault that is erased ends its rotation", "[vault][rotation]") {
    World world;
    const auto id = rotate_vault(*world.store->records, world.vault.id, {.paused = true});
    REQUIRE(id);
    REQUIRE(change(*world.store->records, [&](Change& now) -> base::Status {
        for (const auto& each : world.credentials)
            if (auto erased = now.erase(*now.catalog().find<Credential>(each)); !erased) return erased;
        now.note(EntryKind::write, Action::erase, ObjectKind::vault, world.vault.id.raw);
        if (auto erased = now.erase(*now.catalog().find<Vault>(world.vault.id)); !erased) return erased;
        return now.forget_key_of(world.vault.id.raw);
    }));
    world.credentials.clear();
    CHECK(world.store->records->keys().generations(world.engine, world.vault.id.raw).value().empty());
    REQUIRE(steer(*world.store->records, *id, resume));
    const auto ended = world.store->finished(id);
    CHECK(ended.state == OperationState::failed);
    REQUIRE(ended.problem);
    CHECK(ended.problem->code == "vault.not_found");
    world.all_is_well();
}

TEST_CASE("what is sealed outside the store keeps the old key of its vault alive", "[vault][rotation]") {
    World world;
    world.store.reset();
    std::atomic<bool> used{true};
    RotationSettings settings{.retry_after = std::chrono::milliseconds(5)};
    settings.in_use = [&](const base::VaultId& vault, std::uint64_t generation) -> base::Result<bool> {
        return vault == world.vault.id && generation == 1 && used;
    };
    world.store.emplace(world.engine, world.clock, test::key_file(), std::move(settings));
    const auto id = rotate_vault(*world.store->records, world.vault.id);
    REQUIRE(id);
    world.store->rotations->wake();
    const auto operation = [&] { return world.store->records->catalog().find<Operation>(*id); };
    for (int i = 0; i < 24'000 && !operation()->problem; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE(operation()->problem);
    CHECK(operation()->problem->code == "keys.still_in_use");
    CHECK(world.store->records->keys().generations(world.engine, world.vault.id.raw)->size() == 2);
    used = false;
    CHECK(settled(*world.store->records, *id).state == OperationState::succeeded);
}

TEST_CASE("calls and changes go on while keys are rotated", "[vault][rotation]") {
    World world;
    auto& records = *world.store->records;
    std::atomic<bool> over{false};
    std::atomic<std::size_t> reads{0};
    std::string refused;
    std::thread reader([&] {
        while (!over) {
            for (std::size_t i = 0; i < world.credentials.size(); ++i) {
                const auto right = "token " + std::to_string(i);
                const auto token = token_of(records, world.credentials[i]);
                if (token != right && refused.empty()) refused = token;
                ++reads;
            }
        }
    });
    std::thread writer([&] {
        for (std::size_t i = 0; !over; ++i) {
            const auto which = i % world.credentials.size();
            if (!test::keys::set_token(records, world.credentials[which], "token " + std::to_string(which)))
                refused = "a change";
        }
    });
    for (int round = 0; round < 3; ++round) {
        const auto root = world.root();
        CHECK(world.store->finished(root).state == OperationState::waiting);
        REQUIRE(steer(records, *root, round == 1 ? roll_back : retire));
        world.store->finished(root);
        CHECK(world.store->finished(rotate_vault(records, world.vault.id)).state ==
              OperationState::succeeded);
    }
    over = true;
    reader.join();
    writer.join();
    CHECK(refused == "");
    CHECK(reads > 0);
    world.all_is_well();
    world.open();
    world.all_is_well();
}

TEST_CASE("a commit that fails leaves rotations where they were", "[vault][rotation]") {
    World world;
    const auto id = world.root({.paused = true});
    REQUIRE(id);
    world.engine.fail_commit(1);
    CHECK(code_of(steer(*world.store->records, *id, roll_back)) == "log.not_durable");
    world.opens_through_every_slot(world.engine);
    CHECK(world.epochs().size() == 2);
    for (int i = 0; i < 6000 && !steer(*world.store->records, *id, resume); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(world.store->finished(id).state == OperationState::waiting);
    world.all_is_well();
}

TEST_CASE("a store that lost its last commits opens through every slot, and goes on", "[vault][rotation]") {
    World world;
    const auto before = world.engine.last_commit();
    const auto root = world.root();
    world.store->finished(root);
    world.store->finished(rotate_vault(*world.store->records, world.vault.id));
    REQUIRE(steer(*world.store->records, *root, retire));
    world.store->finished(root);
    const auto commits = world.engine.last_commit() - before;
    REQUIRE(commits >= 8);
    world.store.reset();
    const auto without = [&](std::size_t lost) { return world.engine.cut_power(lost); };
    for (std::size_t lost = 0; lost <= commits; ++lost) {
        INFO(lost << " commits are lost");
        const auto engine = without(lost);
        if (has_token(world.people) && lost > 0) {
            // The token has forgotten the key before; the others have not.
            for (const auto& way : world.people.ways_in(*engine))
                if (way.slot != "token") REQUIRE(KeyRing::unseal(*engine, way.input()));
        } else {
            world.opens_through_every_slot(*engine);
        }
        RotationSettings settings{.credentials_per_commit = 2};
        settings.slots = world.people.access();
        Running again(*engine, world.clock, test::key_file(), std::move(settings));
        for (const auto& operation :
             again.records->catalog().all<Operation>([](const auto&) { return true; }))
            if (operation->under_way() && operation->kind == OperationKind::vault_key_rotation)
                CHECK(settled(*again.records, operation->id).state == OperationState::succeeded);
        for (std::size_t i = 0; i < world.credentials.size(); ++i)
            CHECK(token_of(*again.records, world.credentials[i]) == "token " + std::to_string(i));
    }
}

}  // namespace claviger::vault
