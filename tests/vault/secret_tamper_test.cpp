// Somebody who writes to the rows of secrets and of their keys, which no sum covers: every way of doing it.
// Whatever they put there, a use gets the secret of the version that the credential's own row names, or is
// refused with the place; and fsck names it.
#include "tests/support/spec.h"
#include "tests/support/vault_fault_engine.h"
#include "tests/support/vault_object_world.h"
#include "tests/support/vault_rotation_world.h"
#include "tests/support/vault_tampered_engine.h"
#include "vault/log_rows.h"
#include "vault/rotation.h"
#include "vault/sealed_rows.h"
#include "vault/store_examination.h"

namespace claviger::vault {
namespace {

using test::TamperedEngine;

constexpr Table kSecretTables[] = {Table::value, Table::data_key};

/// What one version rests as; either row may be absent.
struct Loot {
    Bytes key;
    std::optional<Row> value, data_key;
};

/// Two tenants' credentials with a history; each test edits what is read of the store.
struct World {
    World() {
        records = test::new_records(engine, clock);
        REQUIRE(records);
        one = test::add_tenant(*records, "one", {"token one", "token two"}).value();
        other = test::add_tenant(*records, "other", {"token three", "token four"}).value();
    }
    Credential now(const Credential& credential) const {
        return *records->catalog().find<Credential>(credential.id);
    }
    Loot loot(const Credential& credential) const {
        const auto key = secret_key(credential);
        return {key, *engine.get(Table::value, key), *engine.get(Table::data_key, key)};
    }
    void change(const std::function<base::Status(Change&)>& apply) {
        REQUIRE(test::change(*records, [&](Change& now) {
            now.note(EntryKind::rotate, Action::update, ObjectKind::credential, one.first.id.raw);
            return apply(now);
        }));
    }
    void set_token(const Credential& credential, const char* token) {
        change([&](Change& now) { return now.store_with_secret(credential, test::token_parts(token)); });
    }
    void rotate_vault_key(const Vault& vault) {
        KeyRotations rotations(*records, {});
        rotations.start();
        const auto id = test::keys::rotate_vault(*records, vault.id);
        REQUIRE(id);
        rotations.wake();
        REQUIRE(test::keys::settled(*records, *id).state == OperationState::succeeded);
    }

    test::ManualClock clock;
    mutable test::FaultEngine engine;
    std::unique_ptr<Records> records;
    test::Tenant one, other;
};

void put_back(TamperedEngine& engine, const Bytes& key, const Loot& loot) {
    engine.replace(Table::value, key, *loot.value);
    engine.replace(Table::data_key, key, *loot.data_key);
}

/// What a server that is started on the edited store tells, and what fsck tells.
struct Told {
    Told(TamperedEngine& engine, const World& world, const Credential& credential) {
        const auto opened = test::open_records(engine, world.clock);
        REQUIRE(opened);
        use = test::keys::token_of(**opened, credential.id);
        if (const auto current = (*opened)->current_secret(credential.id); !current)
            error = current.error();
        else if (const auto token = (*opened)->open_token(current->sealed); !token)
            error = token.error();
        auto keys = KeyRing::unseal(engine, test::key_file());
        REQUIRE(keys);
        faults = examine_store(engine, **keys, {}).value();
    }
    bool names(std::string_view place, std::string_view code) const {
        return std::ranges::any_of(faults.named, [&](const StoreFault& fault) {
            return fault.place == place && fault.code == code;
        });
    }
    std::string use;
    base::Error error;
    StoreExamination faults;
};

std::string place_of(const Credential& credential) {
    return "credential " + credential.id.text() + " version " + std::to_string(credential.version);
}

/// The use is refused as corrupt, with the place for Claviger's log and without it for whoever asked; fsck
/// names the place.
void require_refused(TamperedEngine& engine, const World& world, const Credential& credential) {
    const Told told(engine, world, credential);
    INFO(told.use << "; " << told.error.detail);
    CHECK(told.error.kind == base::ErrorKind::corrupt);
    CHECK(told.error.code == "envelope.refused");
    const bool row = told.error.detail.find(base::to_hex(secret_key(credential))) != std::string::npos;
    const bool named = told.error.detail.find(place_of(credential)) != std::string::npos;
    CHECK((row || named));
    CHECK(told.error.message.find(credential.id.text()) == std::string::npos);
    CHECK(told.error.hint.find(credential.id.text()) == std::string::npos);
    CHECK(told.names(place_of(credential), "envelope.refused"));
}

/// Nobody gets at what the rows hold: the credential is as it was, and fsck names the rows that are too many.
void require_left_over(TamperedEngine& engine, const World& world, const Credential& credential,
                       const Bytes& key, std::string_view use) {
    const Told told(engine, world, credential);
    CHECK(told.use == use);
    CHECK(told.names("value row " + base::to_hex(key), "row.left_over"));
    CHECK(told.names("data_key row " + base::to_hex(key), "row.left_over"));
    CHECK(told.faults.faults == 2);
}

}  // namespace

TEST_CASE("a store whose secrets nobody has touched is sound", "[vault][tamper]") {
    World world;
    TamperedEngine engine(world.engine);
    const Told told(engine, world, world.one.first);
    CHECK(told.use == "token one");
    CHECK(told.faults.sound());
}

TEST_CASE("a secret's row with a changed bit, or none, is refused at use and named by fsck",
          "[vault][tamper]") {
    World world;
    const auto key = secret_key(world.one.first);
    for (const auto table : kSecretTables) {
        const auto good = **world.engine.get(table, key);
        for (const std::size_t byte : {std::size_t{0}, std::size_t{8}, std::size_t{20}, std::size_t{40},
                                       good.value.size() / 2, good.value.size() - 1}) {
            INFO("table " << static_cast<int>(table) << ", byte " << byte);
            TamperedEngine engine(world.engine);
            auto edited = good;
            edited.value[byte] = static_cast<char>(edited.value[byte] ^ 4);
            engine.replace(table, key, edited);
            require_refused(engine, world, world.one.first);
        }
        TamperedEngine engine(world.engine);
        engine.remove(table, key);
        require_refused(engine, world, world.one.first);
        engine.replace(table, key, {"", good.version});
        require_refused(engine, world, world.one.first);
    }
}

TEST_CASE("a secret's rows swapped with another's, in a vault or across workspaces, are refused",
          "[vault][tamper]") {
    World world;
    const auto mine = world.loot(world.one.first);
    for (const auto& credential : {world.one.second, world.other.first}) {
        const auto theirs = world.loot(credential);
        for (const bool with_key : {false, true}) {
            TamperedEngine engine(world.engine);
            engine.replace(Table::value, mine.key, *theirs.value);
            engine.replace(Table::value, theirs.key, *mine.value);
            if (with_key) {
                engine.replace(Table::data_key, mine.key, *theirs.data_key);
                engine.replace(Table::data_key, theirs.key, *mine.data_key);
            }
            require_refused(engine, world, world.one.first);
            require_refused(engine, world, credential);
        }
    }
}

TEST_CASE("an older version in the place of the one in use is refused", "[vault][tamper]") {
    World world;
    const auto old = world.loot(world.one.first);
    world.set_token(world.one.first, "token one, second");
    const auto now = world.now(world.one.first);
    TamperedEngine engine(world.engine);
    put_back(engine, secret_key(now), old);
    require_refused(engine, world, now);
    // At its own place it is nobody's.
    TamperedEngine beside(world.engine);
    put_back(beside, old.key, old);
    require_left_over(beside, world, now, old.key, "token one, second");
}

TEST_CASE("tables of secrets put back as a whole give no older secret", "[vault][tamper]") {
    World world;
    std::vector<Loot> tables;
    for (const auto* tenant : {&world.one, &world.other})
        for (const auto* credential : {&tenant->first, &tenant->second})
            tables.push_back(world.loot(*credential));
    world.set_token(world.one.first, "token one, second");
    const auto now = world.now(world.one.first);
    TamperedEngine engine(world.engine);
    for (const auto table : kSecretTables) engine.remove(table, secret_key(now));
    for (const auto& loot : tables) put_back(engine, loot.key, loot);
    require_refused(engine, world, now);
    const Told told(engine, world, world.other.first);
    CHECK(told.use == "token three");
    CHECK(told.names("value row " + base::to_hex(tables[0].key), "row.left_over"));
}

TEST_CASE("a secret that was shredded stays gone when its rows are put back", "[vault][tamper]") {
    World world;
    const auto purged = world.loot(world.one.first), erased = world.loot(world.one.second);
    world.change([&](Change& now) { return now.purge_secret(world.one.first); });
    world.change([&](Change& now) { return now.erase(world.one.second); });
    TamperedEngine engine(world.engine);
    put_back(engine, purged.key, purged);
    require_left_over(engine, world, world.one.first, purged.key, "credential.no_secret: ");
    TamperedEngine other(world.engine);
    put_back(other, erased.key, erased);
    require_left_over(other, world, world.one.second, erased.key, "(no credential)");
}

TEST_CASE("a version number that comes again after shredding does not open the old rows", "[vault][tamper]") {
    World world;
    const auto old = world.loot(world.one.first);
    world.change([&](Change& now) { return now.purge_secret(world.one.first); });
    world.set_token(world.now(world.one.first), "another token");
    const auto now = world.now(world.one.first);
    REQUIRE(secret_key(now) == old.key);
    for (const auto tables : {1, 2, 3}) {
        TamperedEngine engine(world.engine);
        if ((tables & 1) != 0) engine.replace(Table::value, old.key, *old.value);
        if ((tables & 2) != 0) engine.replace(Table::data_key, old.key, *old.data_key);
        require_refused(engine, world, now);
    }
}

TEST_CASE("staged, retired and re-sealed values put back are nobody's or refused", "[vault][tamper]") {
    World world;
    const auto& credential = world.one.first;
    const auto stage = [&](const char* token) {
        world.change([&](Change& now) -> base::Status {
            const auto staged = stage_value(now, world.now(credential), test::token_parts(token), {});
            return staged ? base::Status() : std::unexpected(staged.error());
        });
    };
    const auto kept = [&](ValueState state) {
        const auto rotation = world.records->catalog().find<Rotation>(credential.id);
        return as_of(world.now(credential), *rotation->find(state));
    };
    stage("discarded");
    const auto discarded = world.loot(kept(ValueState::staged));
    world.change([&](Change& now) -> base::Status {
        const auto gone = retire_value(now, world.now(credential), ValueState::staged);
        return gone ? base::Status() : std::unexpected(gone.error());
    });
    TamperedEngine engine(world.engine);
    put_back(engine, discarded.key, discarded);
    require_left_over(engine, world, credential, discarded.key, "token one");

    // The next staged one has a number of its own; in its place the discarded one does not open.
    stage("staged");
    const auto staged = kept(ValueState::staged);
    REQUIRE(secret_key(staged) != discarded.key);
    TamperedEngine in_place(world.engine);
    put_back(in_place, secret_key(staged), discarded);
    CHECK(Told(in_place, world, credential).names(place_of(staged), "envelope.refused"));

    // Where the secret may go has changed since: the value keeps its number and has another seal.
    const auto wide = world.loot(staged);
    world.change([&](Change& now) -> base::Status {
        const auto before = world.now(credential);
        auto after = before;
        after.allowed_tools = {"one tool"};
        if (auto stored = now.store_with_secret(after, test::token_parts("token one")); !stored)
            return stored;
        return update_rotation(now, before, after, {});
    });
    const auto narrow = kept(ValueState::staged);
    REQUIRE(secret_key(narrow) == wide.key);
    TamperedEngine widened(world.engine);
    put_back(widened, wide.key, wide);
    CHECK(Told(widened, world, credential).names(place_of(narrow), "envelope.refused"));
}

TEST_CASE("an older seal of a data key gives the same data key, or none", "[vault][tamper]") {
    World world;
    const auto& credential = world.one.first;
    const auto first = world.loot(credential);
    {  // While both generations of the vault's key are there.
        KeyRotations rotations(*world.records, {});
        const auto id = test::keys::rotate_vault(*world.records, world.one.vault.id, {.paused = true});
        REQUIRE(id);
        world.set_token(world.one.second, "token two, second");
        TamperedEngine engine(world.engine);
        engine.replace(Table::data_key, first.key, *first.data_key);
        CHECK(Told(engine, world, credential).use == "token one");
        REQUIRE(test::keys::steer(*world.records, *id, roll_back));
        rotations.start();
        rotations.wake();
        REQUIRE(test::keys::settled(*world.records, *id).state == OperationState::rolled_back);
    }
    world.rotate_vault_key(world.one.vault);
    TamperedEngine engine(world.engine);
    CHECK(Told(engine, world, credential).use == "token one");
    engine.replace(Table::data_key, first.key, *first.data_key);
    require_refused(engine, world, credential);
    // With the vault's old key put back, too, the store does not open at all.
    Bytes owner(id_view(world.one.vault.id.raw));
    base::append_big_endian(owner, kFirstGeneration);
    engine.replace(Table::owner_key, owner, {Bytes(64, 'x'), 1});
    CHECK(test::open_records(engine, world.clock).error().code == "ledger.rows_changed");
}

TEST_CASE("a row that a running server reads is held to the same place", "[vault][tamper]") {
    World world;
    const auto old = world.loot(world.one.first);
    world.set_token(world.one.first, "token one, second");
    const auto now = world.now(world.one.first);
    TamperedEngine engine(world.engine);
    const auto running = test::open_records(engine, world.clock);
    REQUIRE(running);
    CHECK(test::keys::token_of(**running, now.id) == "token one, second");
    put_back(engine, secret_key(now), old);
    CHECK(test::keys::token_of(**running, now.id) == "envelope.refused");
    for (const auto table : kSecretTables) engine.remove(table, secret_key(now));
    CHECK(test::keys::token_of(**running, now.id).starts_with("envelope.refused: tables value and data_key"));
}

TEST_CASE("a rotation of a vault's key does not carry on what was changed", "[vault][tamper]") {
    World world;
    const auto theirs = world.loot(world.one.second);
    TamperedEngine engine(world.engine);
    auto running = test::open_records(engine, world.clock);
    REQUIRE(running);
    engine.replace(Table::data_key, secret_key(world.one.first), *theirs.data_key);
    KeyRotations rotations(**running, {.retry_after = std::chrono::milliseconds(5)});
    rotations.start();
    const auto id = test::keys::rotate_vault(**running, world.one.vault.id);
    REQUIRE(id);
    rotations.wake();
    const auto paused = test::keys::settled(**running, *id);
    CHECK(paused.state == OperationState::paused);
    REQUIRE(paused.problem);
    CHECK(paused.problem->code == "envelope.refused");
}

}  // namespace claviger::vault
