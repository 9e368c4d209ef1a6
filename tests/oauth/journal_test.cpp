#include "oauth/journal.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"
#include "vault/records.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <future>

namespace claviger::oauth {
namespace {

namespace fs = std::filesystem;
using vault::StorageEngine;

/// A store whose vault has a key, and a folder for the journal.
struct World {
    World() {
        test::make_store(*engine, clock);
        auto ring = vault::KeyRing::unseal(*engine, test::key_file());
        REQUIRE(ring);
        auto opened = vault::Records::open(*engine, std::move(*ring), clock);
        REQUIRE(opened);
        records = std::move(*opened);
        workspace.raw = test::id_of(6);
        vault.raw = test::id_of(7);
        std::promise<base::Status> done;
        records->change(
            {vault::ActorKind::system, {}, workspace.raw},
            [&](vault::Change& change) {
                change.create_key_of(workspace.raw, vault.raw);
                change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::vault,
                            vault.raw);
                return base::Status();
            },
            [&](base::Status status) { done.set_value(std::move(status)); });
        REQUIRE(done.get_future().get());
    }

    Journal journal() {
        auto opened = Journal::open(place.path() / "journal", *engine, records->keys());
        REQUIRE(opened);
        return std::move(*opened);
    }
    JournalEntry answer(std::string_view body) const {
        JournalEntry entry;
        entry.attempt = test::id_of(1);
        entry.credential.raw = test::id_of(2);
        entry.workspace = workspace;
        entry.vault = vault;
        entry.epoch = 3;
        entry.parent_gen = 4;
        entry.sent_at = clock.now();
        entry.status = 200;
        entry.content_type = "application/json";
        entry.body = crypto::Secret::copy_of(body);
        return entry;
    }
    fs::path only_file() const {
        std::vector<fs::path> files;
        for (const auto& file : fs::directory_iterator(place.path() / "journal"))
            files.push_back(file.path());
        REQUIRE(files.size() == 1);
        return files[0];
    }

    test::TemporaryDirectory place;
    test::ManualClock clock;
    std::unique_ptr<StorageEngine> engine = vault::open_in_memory();
    std::unique_ptr<vault::Records> records;
    base::WorkspaceId workspace;
    base::VaultId vault;
};

std::string text_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

std::string content_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void overwrite(const fs::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

TEST_CASE("An answer is found again, by another process too", "[oauth][journal]") {
    World world;
    const std::string body = R"({"access_token":"canary-access","refresh_token":"canary-refresh"})";
    REQUIRE(world.journal().write(world.answer(body)));

    const auto journal = world.journal();
    REQUIRE(journal.attempts() == std::vector{test::id_of(1)});
    const auto found = journal.read(test::id_of(1));
    REQUIRE(found);
    REQUIRE(*found);
    CHECK(text_of((*found)->body) == body);
    CHECK((*found)->status == 200);
    CHECK((*found)->content_type == "application/json");
    CHECK((*found)->credential.raw == test::id_of(2));
    CHECK((*found)->workspace == world.workspace);
    CHECK((*found)->vault == world.vault);
    CHECK((*found)->epoch == 3);
    CHECK((*found)->parent_gen == 4);
    CHECK((*found)->sent_at == world.clock.now());

    CHECK(content_of(world.only_file()).find("canary") == std::string::npos);
    struct stat status{};
    REQUIRE(::stat(world.only_file().c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);

    REQUIRE(journal.discard(test::id_of(1)));
    REQUIRE(journal.discard(test::id_of(1)));
    CHECK(journal.attempts()->empty());
    const auto gone = journal.read(test::id_of(1));
    REQUIRE(gone);
    CHECK_FALSE(*gone);
}

TEST_CASE("Every size of answer up to the limit comes back", "[oauth][journal]") {
    World world;
    const auto journal = world.journal();
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{4096}, kLongestJournalledBody}) {
        const std::string body(size, 'x');
        REQUIRE(journal.write(world.answer(body)));  // the same attempt again: the newest counts
        CHECK(text_of((*journal.read(test::id_of(1)))->body) == body);
    }
    const auto refused = journal.write(world.answer(std::string(kLongestJournalledBody + 1, 'x')));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "journal.too_large");
}

TEST_CASE("A journal file that was changed does not open", "[oauth][journal]") {
    World world;
    const auto journal = world.journal();
    REQUIRE(journal.write(world.answer("{}")));
    const auto path = world.only_file();
    const auto good = content_of(path);
    const auto refused = [&](const base::RawId& attempt = test::id_of(1)) {
        const auto read = journal.read(attempt);
        return !read && read.error().kind == base::ErrorKind::corrupt &&
               read.error().code == "journal.refused";
    };
    for (std::size_t at = 0; at < good.size(); ++at) {
        auto bad = good;
        bad[at] = static_cast<char>(bad[at] ^ 1);
        overwrite(path, bad);
        INFO("byte " << at);
        CHECK(refused());
    }
    for (const std::size_t size : {std::size_t{0}, std::size_t{4}, good.size() / 2, good.size() - 1}) {
        overwrite(path, good.substr(0, size));
        CHECK(refused());
    }
    overwrite(path, good + std::string(200'000, 'x'));
    CHECK(refused());

    overwrite(path, good);
    auto other = path.string();
    other.replace(other.find(path.stem().string()), 32,
                  base::to_hex({reinterpret_cast<const char*>(test::id_of(9).data()), 16}));
    fs::rename(path, other);
    CHECK(refused(test::id_of(9)));  // another attempt's answer under this one's name
}

TEST_CASE("What a crash left half written is no answer and does not stay", "[oauth][journal]") {
    World world;
    REQUIRE(world.journal().write(world.answer("{}")));
    const auto path = world.only_file();
    const auto whole = content_of(path);
    fs::remove(path);
    overwrite(path.string() + ".new", whole.substr(0, whole.size() / 2));
    overwrite(path.parent_path() / "notes.txt", "of somebody else");

    const auto journal = world.journal();
    CHECK(journal.attempts()->empty());
    CHECK_FALSE(*journal.read(test::id_of(1)));
    CHECK_FALSE(fs::exists(path.string() + ".new"));
    CHECK(fs::exists(path.parent_path() / "notes.txt"));
}

TEST_CASE("A journal that cannot be written says so and keeps what it has", "[oauth][journal]") {
    World world;
    const auto folder = world.place.path() / "journal";
    fs::create_directory(folder);
    if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=16k") != 0) {
        return test::skipped("a tmpfs cannot be mounted here; root may (" +
                             std::string(std::strerror(errno)) + ")");
    }
    {
        const auto journal = world.journal();
        REQUIRE(journal.write(world.answer("{\"first\":1}")));
        auto second = world.answer(std::string(40'000, 'x'));
        second.attempt = test::id_of(5);
        const auto refused = journal.write(second);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().kind == base::ErrorKind::unavailable);
        CHECK(refused.error().code == "journal.not_durable");
        CHECK(*journal.attempts() == std::vector{test::id_of(1)});
        CHECK(text_of((*journal.read(test::id_of(1)))->body) == "{\"first\":1}");
        second.body = crypto::Secret::copy_of(std::string_view("{}"));
        CHECK(journal.write(second));  // the half of the large one does not take the room
    }
    ::umount2(folder.c_str(), MNT_DETACH);
}

TEST_CASE("Room that was taken for an answer is there when the disk is full", "[oauth][journal]") {
    World world;
    const auto folder = world.place.path() / "journal";
    fs::create_directory(folder);
    if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=512k") != 0) {
        return test::skipped("a tmpfs cannot be mounted here; root may (" +
                             std::string(std::strerror(errno)) + ")");
    }
    {
        const auto journal = world.journal();
        REQUIRE(journal.take_room(test::id_of(1)));
        REQUIRE(journal.take_room(test::id_of(1)));  // once more for the same
        CHECK(journal.attempts()->empty());
        overwrite(folder / "of-others", std::string(1 << 20, 'x'));
        const auto none = journal.take_room(test::id_of(5));
        REQUIRE_FALSE(none);
        CHECK(none.error().kind == base::ErrorKind::unavailable);
        CHECK(none.error().code == "journal.no_room");
        CHECK_FALSE(none.error().hint.empty());
        const std::string body(kLongestJournalledBody, 'x');
        REQUIRE(journal.write(world.answer(body)));
        CHECK(text_of((*journal.read(test::id_of(1)))->body) == body);
        fs::remove(folder / "of-others");
        CHECK(journal.take_room(test::id_of(5)));
        CHECK(journal.discard(test::id_of(5)));
        CHECK(journal.discard(test::id_of(1)));
        CHECK(fs::is_empty(folder));
        REQUIRE(::mount("tmpfs", folder.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=512k") == 0);
        CHECK_FALSE(journal.take_room(test::id_of(5)));
        REQUIRE(::mount("tmpfs", folder.c_str(), "tmpfs", MS_REMOUNT, "size=512k") == 0);
        CHECK(journal.take_room(test::id_of(5)));
    }
    ::umount2(folder.c_str(), MNT_DETACH);
}

TEST_CASE("A journal whose folder vanishes makes it anew, and never takes another thing for it",
          "[oauth][journal]") {
    World world;
    const auto folder = world.place.path() / "journal";
    const auto journal = world.journal();
    fs::remove_all(folder);
    REQUIRE(journal.take_room(test::id_of(1)));
    REQUIRE(journal.write(world.answer("{}")));
    CHECK(*journal.attempts() == std::vector{test::id_of(1)});
    fs::remove_all(folder);
    overwrite(folder, "a file");
    const auto refused = journal.take_room(test::id_of(1));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "journal.no_room");
    CHECK(content_of(folder) == "a file");
}

TEST_CASE("A journal needs a folder of its own", "[oauth][journal]") {
    World world;
    overwrite(world.place.path() / "journal", "a file");
    const auto opened = Journal::open(world.place.path() / "journal", *world.engine, world.records->keys());
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == "journal.folder");
}

TEST_CASE("What a deleted vault left in the journal goes, and nothing else does", "[oauth][journal]") {
    World world;
    const auto journal = world.journal();
    REQUIRE(journal.write(world.answer("tokens")));
    const auto written = base::Time(std::chrono::duration_cast<base::Time::duration>(
        std::chrono::system_clock::now().time_since_epoch()));
    const auto later = std::max(written, world.clock.now()) + kOrphansKept + std::chrono::hours(1);
    const auto lives = [](const JournalOwner&) { return true; };
    const auto gone = [&](const JournalOwner& owner) {
        CHECK(owner.attempt == world.answer("tokens").attempt);
        CHECK(owner.vault == world.vault);
        return !owner.key_is_gone;
    };
    CHECK(*journal.discard_orphans(lives, later) == 0);
    CHECK(*journal.discard_orphans(gone, later) == 0);  // its key is there: it can be opened

    std::promise<base::Status> done;
    world.records->change(
        {vault::ActorKind::system, {}, world.workspace.raw},
        [&](vault::Change& change) {
            change.note(vault::EntryKind::write, vault::Action::erase, vault::ObjectKind::vault,
                        world.vault.raw);
            return change.forget_key_of(world.vault.raw);
        },
        [&](base::Status status) { done.set_value(std::move(status)); });
    REQUIRE(done.get_future().get());
    CHECK(*journal.discard_orphans(gone, later - kOrphansKept) == 0);  // the wrong store may have been opened
    CHECK(*journal.discard_orphans(lives, later) == 0);
    const auto path = world.only_file();
    const auto content = content_of(path);
    overwrite(path, "no answer of ours");
    CHECK(*journal.discard_orphans(gone, later) == 0);
    overwrite(path, content);
    CHECK(*journal.discard_orphans(gone, later) == 1);
    CHECK(journal.attempts()->empty());
}

}  // namespace
}  // namespace claviger::oauth
