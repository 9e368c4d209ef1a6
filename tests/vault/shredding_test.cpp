// What is shredded opens with no key that is left, and is in no file of the store.
#include "vault/shredding.h"

#include "tests/support/spec.h"
#include "tests/support/vault_object_world.h"
#include "tests/support/vault_rotation_world.h"
#include "vault/key_rotations.h"
#include "vault/sealed_rows.h"

#include <fstream>
#include <iterator>

namespace claviger::vault {
namespace {

namespace fs = std::filesystem;

struct World {
    World() {
        auto opened = open_rocksdb(place.path() / "store");
        REQUIRE(opened);
        engine = std::move(*opened);
        records = test::new_records(*engine, clock);
        REQUIRE(records);
        const auto made = test::add_tenant(*records, "shredded", {"token one", "token two"});
        REQUIRE(made);
        tenant = *made;
    }
    Bytes row(Table table, ByteView key) const {
        const auto found = engine->get(table, key);
        REQUIRE(found);
        return *found ? (*found)->value : Bytes();
    }
    bool in_some_file(ByteView bytes) const {
        for (const auto& entry : fs::directory_iterator(place.path() / "store")) {
            std::ifstream in(entry.path(), std::ios::binary);
            const std::string content{std::istreambuf_iterator<char>(in), {}};
            if (content.find(bytes) != std::string::npos) return true;
        }
        return false;
    }
    /// Every key that the store still has: of owners, and of the values that are left.
    std::vector<crypto::Key> keys_left() const {
        std::vector<crypto::Key> left;
        for (const auto& [owner, workspace] : {std::pair{records->keys().instance(), base::RawId{}},
                                               std::pair{tenant.workspace.raw, tenant.workspace.raw},
                                               std::pair{tenant.vault.id.raw, tenant.workspace.raw}}) {
            const auto key = records->keys().owner_key(*engine, workspace, owner, kFirstGeneration);
            if (key) left.push_back(copy_of((*key)->key));
        }
        for (const auto purpose : {crypto::Purpose::row_sums, crypto::Purpose::cursors})
            left.push_back(copy_of(records->keys().derived(purpose)));
        for (const auto& credential : {tenant.first, tenant.second}) {
            const auto sealed = read_sealed(*engine, records->keys(), credential);
            if (!sealed) continue;
            auto opened = crypto::open(sealed->vault_key->key, sealed->data_key_place, sealed->data_key);
            REQUIRE(opened);
            left.push_back(crypto::Key::from(std::move(*opened)).value());
        }
        return left;
    }
    static crypto::Key copy_of(const crypto::Key& key) {
        return key.expose([](std::span<const std::byte> bytes) {
            return crypto::Key::filled(
                [&](std::span<std::byte> out) { std::ranges::copy(bytes, out.begin()); });
        });
    }
    void require_no_key_opens(const crypto::Place& place_of_row, const Bytes& sealed,
                              std::size_t least_keys) {
        const auto left = keys_left();
        REQUIRE(left.size() >= least_keys);
        for (const auto& key : left) CHECK_FALSE(crypto::open(key, place_of_row, sealed));
    }

    test::ManualClock clock;
    test::TemporaryDirectory place;
    std::unique_ptr<StorageEngine> engine;
    std::unique_ptr<Records> records;
    test::Tenant tenant;
};

/// What somebody copied from the disk before, and the places that it belongs to.
struct Loot {
    Loot(const World& world, const Credential& credential)
        : value(world.row(Table::value, secret_key(credential))),
          data_key(world.row(Table::data_key, secret_key(credential))),
          value_at(value_place(world.records->keys(), credential)),
          data_key_at(data_key_place(world.records->keys(), credential, kFirstGeneration)) {
        REQUIRE_FALSE(value.empty());
        REQUIRE_FALSE(data_key.empty());
    }
    Bytes value, data_key;
    crypto::Place value_at, data_key_at;
};

TEST_CASE("A shredded vault's values open with none of the keys that are left", "[vault][shred]") {
    World world;
    const Loot loot(world, world.tenant.first);
    Bytes key_row_key(reinterpret_cast<const char*>(world.tenant.vault.id.raw.data()), 16);
    base::append_big_endian(key_row_key, kFirstGeneration);
    const auto key_row = world.row(Table::owner_key, key_row_key);
    REQUIRE_FALSE(key_row.empty());
    const auto prefixes = rows_of(world.tenant.vault, world.records->catalog());

    REQUIRE(test::change(*world.records, [&](Change& change) -> base::Status {
        change.note(EntryKind::write, Action::erase, ObjectKind::vault, world.tenant.vault.id.raw);
        for (const auto& credential : {world.tenant.first, world.tenant.second})
            if (auto erased = change.erase(credential); !erased) return erased;
        if (auto erased = change.erase(world.tenant.vault); !erased) return erased;
        return change.forget_key_of(world.tenant.vault.id.raw);
    }));

    // Whoever kept the sealed value and its sealed data key has nothing to open them with.
    CHECK(
        world.records->keys()
            .owner_key(*world.engine, world.tenant.workspace.raw, world.tenant.vault.id.raw, kFirstGeneration)
            .error()
            .code == "key.missing");
    world.require_no_key_opens(loot.data_key_at, loot.data_key, 4);
    world.require_no_key_opens(loot.value_at, loot.value, 4);
    CHECK(world.in_some_file(key_row));  // erased is not yet gone from the disk
    REQUIRE(world.engine->purge_erased(prefixes));
    for (const auto& bytes : {key_row, loot.value, loot.data_key})
        CHECK_FALSE(world.in_some_file(ByteView(bytes).substr(bytes.size() / 2)));
    world.records.reset();
    auto again = test::open_records(*world.engine, world.clock);
    CHECK(again);
}

TEST_CASE("A shredded credential's value opens with none of the keys that are left", "[vault][shred]") {
    World world;
    const Loot loot(world, world.tenant.first), kept(world, world.tenant.second);
    REQUIRE(test::change(*world.records, [&](Change& change) {
        change.note(EntryKind::write, Action::erase, ObjectKind::credential, world.tenant.first.id.raw);
        return change.erase(world.tenant.first);
    }));

    world.require_no_key_opens(loot.value_at, loot.value, 6);
    CHECK(world.in_some_file(loot.data_key));
    REQUIRE(world.engine->purge_erased(rows_of(world.tenant.first.id)));
    for (const auto& bytes : {loot.value, loot.data_key})
        CHECK_FALSE(world.in_some_file(ByteView(bytes).substr(bytes.size() / 2)));
    CHECK(world.in_some_file(kept.value));  // the neighbour is untouched
    const auto sealed = world.records->sealed_secret(world.tenant.second);
    REQUIRE(sealed);
    CHECK(world.records->open_token(*sealed));
}

TEST_CASE("Replaced values are purged with their credential", "[vault][shred]") {
    World world;
    const Loot loot(world, world.tenant.first);
    REQUIRE(test::change(*world.records, [&](Change& change) {
        change.note(EntryKind::rotate, Action::update, ObjectKind::credential, world.tenant.first.id.raw);
        return change.store_with_secret(world.tenant.first, test::token_parts("token one, second"));
    }));
    REQUIRE(world.engine->purge_erased(all_secret_rows()));
    CHECK_FALSE(world.in_some_file(ByteView(loot.value).substr(loot.value.size() / 2)));
    CHECK(commit_of(world.tenant.first) == 2);
}

TEST_CASE("What a shredding left opens with the vault's key until nothing of then is left of it",
          "[vault][shred]") {
    World world;
    base::ShreddingId id;
    const auto shred = [&](const Credential& credential) {
        REQUIRE(test::change(*world.records, [&](Change& change) -> base::Status {
            change.note(EntryKind::write, Action::erase, ObjectKind::credential, credential.id.raw);
            const auto record = record_shredding(change, credential);
            if (!record) return std::unexpected(record.error());
            id = record->id;
            return change.erase(credential);
        }));
        return *world.records->catalog().find<Shredding>(id);
    };
    const auto key_gone = [&](const Shredding& shredding) {
        return vault_key_gone(world.records->catalog(), shredding);
    };
    const auto rotate = [&] {
        return test::keys::rotate_vault(*world.records, world.tenant.vault.id, {}).value();
    };
    KeyRotations rotations(*world.records, {});
    const auto first = shred(world.tenant.first);
    CHECK(first.epoch == 1);
    CHECK_FALSE(key_gone(first));

    const auto operation = rotate();
    CHECK_FALSE(key_gone(first));  // the key before is still there
    const auto second = shred(world.tenant.second);
    rotations.start();
    REQUIRE(test::keys::settled(*world.records, operation).state == OperationState::succeeded);
    CHECK(key_gone(first));
    CHECK_FALSE(key_gone(second));  // its rows may have been under the new key already

    const auto again = rotate();
    rotations.wake();
    REQUIRE(test::keys::settled(*world.records, again).state == OperationState::succeeded);
    CHECK(key_gone(second));
}

TEST_CASE("A key that a rotation dropped is in no file of the store", "[vault][shred]") {
    World world;
    Bytes key_row_key(reinterpret_cast<const char*>(world.tenant.vault.id.raw.data()), 16);
    base::append_big_endian(key_row_key, kFirstGeneration);
    const auto key_row = world.row(Table::owner_key, key_row_key);
    REQUIRE_FALSE(key_row.empty());
    {
        KeyRotations rotations(*world.records, {});
        const auto operation = test::keys::rotate_vault(*world.records, world.tenant.vault.id, {}).value();
        rotations.start();
        REQUIRE(test::keys::settled(*world.records, operation).state == OperationState::succeeded);
    }  // the step under way is waited for
    CHECK_FALSE(world.in_some_file(ByteView(key_row).substr(key_row.size() / 2)));
}

TEST_CASE("Backups from between the making and the shredding hold what was shredded", "[vault][shred]") {
    Shredding shredding;
    shredding.made = 10;
    shredding.created_seq = 20 << 8;
    const auto held = [&](std::uint64_t commit) {
        BackupHeader header;
        header.head.commit_seq = commit;
        return is_held_by(shredding, header);
    };
    CHECK_FALSE(held(9));
    CHECK(held(10));
    CHECK(held(19));
    CHECK_FALSE(held(20));
}

}  // namespace
}  // namespace claviger::vault
