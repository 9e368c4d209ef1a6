// Backups: whole or not there, changed ones refused by name, restored stores fenced.
#include "vault/backup.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"
#include "vault/backup_room.h"
#include "vault/durable_file.h"
#include "vault/store_examination.h"

#include <thread>

namespace claviger::vault {
namespace {

namespace fs = std::filesystem;
using test::OpenStore;

struct BackedUp {
    BackedUp() {
        auto opened = open_rocksdb(place.path() / "data" / "store");
        REQUIRE(opened);
        engine = std::move(*opened);
        test::make_store(*engine, clock);
        store.emplace(*engine, clock);
        test::append_all(*store->ledger, std::vector<LogEntry>(600, test::entry_of(EntryKind::use_intent)));
        const auto made = create_backup(*engine, *store->keys, clock, backup(), {});
        if (!made) FAIL(made.error().code << ": " << made.error().detail);
        header = *made;
    }
    fs::path backup() const { return place.path() / "backup"; }
    crypto::Key key() const {
        const auto owner = store->keys->owner_key(*engine, {}, store->keys->instance(), kFirstGeneration);
        REQUIRE(owner);
        return backup_key(**owner);
    }

    test::ManualClock clock;
    test::TemporaryDirectory place;
    std::unique_ptr<StorageEngine> engine;
    std::optional<OpenStore> store;
    BackupHeader header;
};

template <class T>
std::string code_of(const base::Result<T>& result) {
    return result ? "(good)" : std::string(result.error().code);
}

TEST_CASE("A backup says how far the log was, and everything in it is as it was", "[vault][backup]") {
    const BackedUp world;
    const auto head = world.store->ledger->head();
    CHECK(world.header.head.size == head.size);
    CHECK(world.header.head.root == head.root);
    CHECK(world.header.head.commit_seq == head.commit_seq);
    CHECK(world.header.instance == world.store->keys->instance());

    std::uint64_t done = 0, total = 0;
    const auto verified = verify_backup(world.backup(), [&](std::uint64_t d, std::uint64_t t) {
        done = d, total = t;
        return true;
    });
    REQUIRE(code_of(verified) == "(good)");
    CHECK(done == total);
    CHECK(total == world.header.bytes());
    CHECK(authenticate_backup_header(*read_file(world.backup() / "header", 1 << 20), world.key()));
    CHECK(code_of(authenticate_backup_header(*read_file(world.backup() / "header", 1 << 20),
                                             crypto::Key::generate())) == "backup.header_refused");

    const auto engine = open_rocksdb_read_only(world.backup() / "store");
    REQUIRE(engine);
    auto keys = KeyRing::unseal(**engine, test::key_file());
    REQUIRE(keys);
    const auto examined = examine_store(**engine, **keys, {});
    REQUIRE(examined);
    CHECK(examined->sound());
    CHECK(code_of(verify_backup(world.backup(), {})) == "(good)");  // looking at it changed nothing
}

TEST_CASE("A backup that was changed in any file is refused", "[vault][backup]") {
    const BackedUp world;
    for (const auto& file : world.header.files) {
        const auto path = world.backup() / "store" / file.name;
        const auto content = *read_file(path, 1 << 26);
        auto changed = content;
        if (changed.empty())
            changed = "x";
        else
            changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
        INFO(file.name);
        fs::remove(path);  // what is linked stays as it is elsewhere
        CHECK(code_of(verify_backup(world.backup(), {})) == "backup.file_changed");
        REQUIRE(replace_file(path, changed));
        CHECK(code_of(verify_backup(world.backup(), {})) == "backup.file_changed");
        REQUIRE(replace_file(path, content));
    }
    REQUIRE(replace_file(world.backup() / "store" / "000001.sst", "more"));
    CHECK(code_of(verify_backup(world.backup(), {})) == "backup.file_changed");
    fs::remove(world.backup() / "store" / "000001.sst");
    CHECK(code_of(verify_backup(world.backup(), {})) == "(good)");
}

TEST_CASE("A header with one bit changed, cut short or with more behind it is refused", "[vault][backup]") {
    const BackedUp world;
    const auto header = *read_file(world.backup() / "header", 1 << 20);
    REQUIRE(decode_backup_header(header));
    const auto key = world.key();
    for (std::size_t i = 0; i < header.size(); ++i) {
        auto changed = header;
        changed[i] = static_cast<char>(changed[i] ^ 0x10);
        CHECK_FALSE((decode_backup_header(changed) && authenticate_backup_header(changed, key)));
        CHECK_FALSE(decode_backup_header(ByteView(header).substr(0, i)));
    }
    CHECK_FALSE(decode_backup_header(header + "x"));
    auto escaping = world.header;
    escaping.files[0].name = "../key";
    CHECK(code_of(decode_backup_header(encode(escaping, key))) == "backup.header_refused");
}

TEST_CASE("Another store under the header of this one is noticed without any key", "[vault][backup]") {
    const BackedUp world;
    // Somebody without the keys makes a header that fits the files of another state of the log.
    auto forged = world.header;
    forged.head.size -= 1;
    REQUIRE(replace_file(world.backup() / "header", encode(forged, crypto::Key::generate())));
    CHECK(code_of(verify_backup(world.backup(), {})) == "backup.log_changed");
}

TEST_CASE("A backup that was stopped or failed leaves nothing", "[vault][backup]") {
    BackedUp world;
    const auto second = world.place.path() / "second";
    const auto stopped = create_backup(*world.engine, *world.store->keys, world.clock, second,
                                       [](std::uint64_t, std::uint64_t) { return false; });
    CHECK(code_of(stopped) == "backup.stopped");
    CHECK_FALSE(fs::exists(second));
    CHECK_FALSE(fs::exists(second.string() + std::string(kUnfinished)));
    CHECK(code_of(create_backup(*world.engine, *world.store->keys, world.clock, world.backup(), {})) ==
          "backup.exists");
    CHECK(code_of(create_backup(*world.engine, *world.store->keys, world.clock,
                                world.place.path() / "absent" / "x", {})) == "backup.folder");
    // What a killed attempt left is no backup, and in nobody's way.
    fs::create_directories(second.string() + std::string(kUnfinished) + "/store.tmp");
    CHECK(code_of(verify_backup(second, {})) == "backup.missing");
    CHECK(code_of(verify_backup(second.string() + std::string(kUnfinished), {})) == "backup.missing");
    CHECK(backups_in(world.place.path())->size() == 1);
    CHECK(code_of(create_backup(*world.engine, *world.store->keys, world.clock, second, {})) == "(good)");
    CHECK(backups_in(world.place.path())->size() == 2);
}

TEST_CASE("A restored store is the backed up one, byte for byte in what it says", "[vault][backup]") {
    BackedUp world;
    const auto data = world.place.path() / "elsewhere";
    fs::create_directories(data / "store.unfinished" / "left");
    const auto restored = restore_backup(world.backup(), data, {});
    REQUIRE(code_of(restored) == "(good)");
    CHECK(*read_file(restored_header(data), 1 << 20) == *read_file(world.backup() / "header", 1 << 20));
    CHECK(code_of(restore_backup(world.backup(), data, {})) == "backup.store_exists");
    auto engine = open_rocksdb(data / "store");
    REQUIRE(engine);
    OpenStore store(**engine, world.clock);
    CHECK(store.ledger->head().size == world.header.head.size);
    CHECK(store.ledger->head().root == world.header.head.root);
}

TEST_CASE("A changed backup is not restored, and leaves no store", "[vault][backup]") {
    BackedUp world;
    const auto path = world.backup() / "store" / world.header.files.back().name;
    auto content = *read_file(path, 1 << 26);
    content[0] = static_cast<char>(content[0] ^ 1);
    REQUIRE(replace_file(path, content));
    const auto data = world.place.path() / "elsewhere";
    CHECK(code_of(restore_backup(world.backup(), data, {})) == "backup.file_changed");
    CHECK_FALSE(fs::exists(data / "store"));
    CHECK_FALSE(fs::exists(restored_header(data)));
}

TEST_CASE("Names of backups stay in their folder", "[vault][backup]") {
    for (const auto* good : {"friday", "claviger-2026-11-21T19-30-00.000Z", "A_1.b"})
        CHECK(is_backup_name(good));
    for (const auto* bad : {"", ".", "..", "../x", "a/b", ".hidden", "x.unfinished", "a b", "\n"})
        CHECK_FALSE(is_backup_name(bad));
    CHECK_FALSE(is_backup_name(std::string(65, 'a')));
}

}  // namespace
}  // namespace claviger::vault
