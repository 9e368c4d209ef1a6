// What only the engine on disk has: a directory, restarts, a second opener, damage, and disks that fill up.
#include "tests/support/spec.h"
#include "vault/storage_engine.h"

#include <rocksdb/db.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

namespace claviger::vault {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOtherStore = "CLAVIGER_TEST_OTHER_STORE";

struct Directory {
    Directory() {
        char name[] = "/tmp/claviger-rocksdb-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        path = name;
    }
    ~Directory() { fs::remove_all(path); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    fs::path path;
};

/// A disk that can be filled. Needs the right to mount; without it `mounted` is false.
struct SmallDisk {
    explicit SmallDisk(const char* size_option) {
        mounted = ::mount("tmpfs", place.path.c_str(), "tmpfs", 0, size_option) == 0;
        if (!mounted)
            test::skipped("a tmpfs cannot be mounted here; root may (" + std::string(std::strerror(errno)) +
                          ")");
    }
    ~SmallDisk() {
        if (mounted) ::umount2(place.path.c_str(), MNT_DETACH);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;

    /// Takes all the space there is, except about `left_bytes`.
    void fill(std::size_t left_bytes) {
        const auto free_bytes = fs::space(place.path).available;
        std::ofstream file(place.path / ("ballast" + std::to_string(++fillings)), std::ios::binary);
        const std::string block(4096, 'b');
        for (auto bytes = free_bytes > left_bytes ? free_bytes - left_bytes : 0;
             bytes >= block.size() && file; bytes -= block.size())
            file << block;
    }
    void free_up() {
        for (; fillings > 0; --fillings) fs::remove(place.path / ("ballast" + std::to_string(fillings)));
    }

    Directory place;
    bool mounted = false;
    int fillings = 0;
};

std::unique_ptr<StorageEngine> open(const fs::path& path) {
    auto opened = open_rocksdb(path);
    if (!opened) FAIL(opened.error().code << ": " << opened.error().detail);
    return std::move(*opened);
}

Batch putting(ByteView key, Bytes value, Table table = Table::meta) {
    Batch batch;
    batch.put(table, key, std::move(value));
    return batch;
}

std::string value_of(const StorageEngine& engine, ByteView key, Table table = Table::meta) {
    const auto row = engine.get(table, key);
    REQUIRE(row);
    return *row ? (*row)->value : "(absent)";
}

TEST_CASE("The store's directory is made where it is missing, and closed to others", "[rocksdb]") {
    const Directory place;

    const auto engine = open(place.path / "a" / "b" / "");

    struct stat found{};
    REQUIRE(::stat((place.path / "a" / "b").c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0700);
}

TEST_CASE("A directory that cannot be made is reported", "[rocksdb]") {
    const Directory place;
    std::ofstream(place.path / "file") << "not a directory";

    const auto opened = open_rocksdb(place.path / "file" / "store");

    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == "storage.unavailable");
    CHECK(opened.error().message.find(place.path.string()) == std::string::npos);
    CHECK(opened.error().detail.find(place.path.string()) != std::string::npos);
}

TEST_CASE("Everything committed is there after closing and opening", "[rocksdb]") {
    const Directory place;
    {
        const auto engine = open(place.path);
        for (std::uint64_t seq = 1; seq <= 20; ++seq) {
            auto batch = putting("k" + std::to_string(seq), std::to_string(seq));
            if (seq == 19) batch.trim_feed(5);
            REQUIRE(engine->commit(seq, batch));
        }
    }
    for (int round = 0; round < 2; ++round) {
        const auto engine = open(place.path);
        CHECK(engine->last_commit() == 20);
        for (std::uint64_t seq = 1; seq <= 20; ++seq)
            CHECK(value_of(*engine, "k" + std::to_string(seq)) == std::to_string(seq));
        const auto row = engine->get(Table::meta, "k7");
        REQUIRE(row);
        CHECK((*row)->version == 7);
        std::size_t changes = 0;
        CHECK(engine->changes_after(5, [&](std::uint64_t, Table, ByteView) { return ++changes > 0; }));
        CHECK(changes == 15);
        const auto trimmed = engine->changes_after(4, [](std::uint64_t, Table, ByteView) { return true; });
        REQUIRE_FALSE(trimmed);
        CHECK(trimmed.error().code == "storage.feed_trimmed");
    }
}

/// Rows of the family that holds the change feed, whatever the engine would say of them.
std::size_t feed_rows(const fs::path& store) {
    std::vector<std::string> names;
    REQUIRE(rocksdb::DB::ListColumnFamilies({}, store.string(), &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const auto& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* opened = nullptr;
    REQUIRE(rocksdb::DB::OpenForReadOnly({}, store.string(), families, &handles, &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    std::size_t rows = 0;
    for (auto* const handle : handles) {
        if (handle->GetName() == "feed") {
            const std::unique_ptr<rocksdb::Iterator> at(db->NewIterator({}, handle));
            for (at->SeekToFirst(); at->Valid(); at->Next()) ++rows;
        }
        CHECK(db->DestroyColumnFamilyHandle(handle).ok());
    }
    return rows;
}

TEST_CASE("A feed that is trimmed does not grow, over restarts and refused commits too", "[rocksdb]") {
    const Directory place;
    constexpr std::uint64_t kKept = 32, kEvery = 16, kCounters = 2;
    std::uint64_t seq = 0;
    for (int round = 0; round < 3; ++round) {
        {
            const auto engine = open(place.path);
            for (int i = 0; i < 5 * static_cast<int>(kEvery); ++i) {
                auto batch = putting("k" + std::to_string(i), "x");
                ++seq;
                if (seq % kEvery == 0 && seq > kKept) batch.trim_feed(seq - kKept);
                CHECK_FALSE(engine->commit(seq + 1, batch));
                REQUIRE(engine->commit(seq, batch));
            }
            CHECK(engine->changes_after(seq - kKept, [](std::uint64_t, Table, ByteView) { return true; }));
        }
        CHECK(feed_rows(place.path) == kKept + kCounters);
    }
}

TEST_CASE("A store cannot be opened twice", "[rocksdb]") {
    const Directory place;
    const auto engine = open(place.path);
    SECTION("by the same process") {
        const auto second = open_rocksdb(place.path);
        REQUIRE_FALSE(second);
        CHECK(second.error().kind == base::ErrorKind::conflict);
        CHECK(second.error().code == "storage.locked");
    }
    SECTION("by another process") {
        // A program of its own: a forked child would inherit mutexes that RocksDB's threads hold at that
        // moment.
        ::setenv(kOtherStore, place.path.c_str(), 1);
        std::string program = "/proc/self/exe", filter = "[opens_other_store]";
        std::string warn = "-w", no_tests = "NoTests";  // a filter that finds nothing is a failure
        char* const arguments[] = {program.data(), filter.data(), warn.data(), no_tests.data(), nullptr};
        ::pid_t child = 0;
        REQUIRE(::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ) == 0);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
    }
}

TEST_CASE("The other process of the test above is refused", "[.][opens_other_store]") {
    const char* path = std::getenv(kOtherStore);
    REQUIRE(path);
    const auto second = open_rocksdb(path);
    REQUIRE_FALSE(second);
    CHECK(second.error().code == "storage.locked");
}

TEST_CASE("Damaged bytes are reported, never returned", "[rocksdb]") {
    const Directory place;
    const std::string value(3000, 'v');
    {
        const auto engine = open(place.path);
        REQUIRE(engine->commit(1, putting("key", value)));
    }
    {
        const auto engine = open(place.path);
    }  // moves the row from the log into a table file
    std::size_t damaged = 0;
    for (const auto& file : fs::directory_iterator(place.path)) {
        if (file.path().extension() != ".sst") continue;
        std::fstream table(file.path(), std::ios::in | std::ios::out | std::ios::binary);
        std::string bytes(std::istreambuf_iterator<char>(table), {});
        const auto at = bytes.find(value);
        if (at == std::string::npos) continue;
        table.clear();
        table.seekp(static_cast<std::streamoff>(at + 1500));
        table.put('w');
        ++damaged;
    }
    REQUIRE(damaged == 1);

    const auto engine = open(place.path);
    const auto row = engine->get(Table::meta, "key");

    REQUIRE_FALSE(row);
    CHECK(row.error().kind == base::ErrorKind::corrupt);
    CHECK(row.error().code == "storage.corrupt");
    const auto scanned = engine->scan(Table::meta, "", "", Order::ascending,
                                      [](ByteView, ByteView, std::uint64_t) { return true; });
    REQUIRE_FALSE(scanned);
    CHECK(scanned.error().code == "storage.corrupt");
}

TEST_CASE("A lost log of writes is noticed when the store is opened", "[rocksdb]") {
    const Directory place;
    {
        // Two logs in use: the first is full and closed, the second has the latest commits.
        const auto engine = open(place.path);
        for (std::uint64_t seq = 1; seq <= 40; ++seq)
            REQUIRE(engine->commit(seq, putting("k" + std::to_string(seq % 4), Bytes(1024 * 1024, 'x'))));
        REQUIRE(engine->commit(41, putting("log row", "small", Table::log)));
    }
    std::vector<fs::path> logs;
    for (const auto& file : fs::directory_iterator(place.path))
        if (file.path().extension() == ".log") logs.push_back(file.path());
    REQUIRE(logs.size() >= 2);
    std::sort(logs.begin(), logs.end());
    fs::remove(logs.front());

    const auto opened = open_rocksdb(place.path);

    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == "storage.corrupt");
}

constexpr std::uintmax_t kLaidOutAtOnce = 256 * 1024;

/// The newest log of writes below `place`.
fs::path newest_log(const fs::path& place) {
    fs::path newest;
    for (const auto& file : fs::directory_iterator(place))
        if (file.path().extension() == ".log" && file.path() > newest) newest = file.path();
    REQUIRE_FALSE(newest.empty());
    return newest;
}

TEST_CASE("A log of writes is laid out ahead, and read as far as it was written", "[rocksdb]") {
    const Directory place;
    {
        const auto engine = open(place.path / "store");
        for (std::uint64_t seq = 1; seq <= 3; ++seq)
            REQUIRE(engine->commit(seq, putting("k" + std::to_string(seq), Bytes(100'000, 'x'))));
        CHECK(fs::file_size(newest_log(place.path / "store")) == 2 * kLaidOutAtOnce);

        fs::copy(place.path / "store", place.path / "killed");
        const auto after = open(place.path / "killed");
        CHECK(after->last_commit() == 3);
        CHECK(value_of(*after, "k3") == Bytes(100'000, 'x'));
        REQUIRE(after->commit(4, putting("k4", "more")));
    }
    const auto written = fs::file_size(newest_log(place.path / "store"));
    CHECK(written > 300'000);  // closing gives the rest back
    CHECK(written < 2 * kLaidOutAtOnce);
    CHECK(value_of(*open(place.path / "killed"), "k4") == "more");
}

TEST_CASE("A record that a power cut left half written is no commit", "[rocksdb]") {
    const bool its_end_is_lost = GENERATE(true, false);
    const Directory place;
    const auto engine = open(place.path / "store");
    REQUIRE(engine->commit(1, putting("k1", "first")));
    REQUIRE(engine->commit(2, putting("k2", "second")));
    const auto before = newest_log(place.path / "store");
    const std::string value(60'000, 'v');  // reaches over the ends of RocksDB's blocks of 32 KiB
    REQUIRE(engine->commit(3, putting("k3", value)));
    const auto cut = place.path / "cut";
    fs::copy(place.path / "store", cut);
    {
        std::fstream log(cut / before.filename(), std::ios::in | std::ios::out | std::ios::binary);
        const std::string bytes(std::istreambuf_iterator<char>(log), {});
        const auto key = bytes.find("k3"), end = bytes.find_last_of('v') + 1;
        REQUIRE(key < end);
        const auto begin = key - 22;  // with the record's head, and the batch's
        const auto middle = begin + (end - begin) / 2;
        log.clear();
        log.seekp(static_cast<std::streamoff>(its_end_is_lost ? middle : begin));
        log << std::string(its_end_is_lost ? end - middle : middle - begin, '\0');
    }

    for (std::uint64_t last = 2; last <= 3; ++last) {
        const auto after = open(cut);
        REQUIRE(after->last_commit() == last);
        CHECK(value_of(*after, "k2") == "second");
        CHECK(value_of(*after, "k3") == (last == 2 ? "(absent)" : "again"));
        if (last == 2) REQUIRE(after->commit(3, putting("k3", "again")));
    }
}

TEST_CASE("A commit onto a full disk never becomes visible, and commits work again once there is space",
          "[rocksdb]") {
    SmallDisk disk("size=96m");
    if (!disk.mounted) return;
    auto engine = open(disk.place.path / "store");
    const bool first_of_its_log = GENERATE(true, false);
    std::uint64_t seq = 0;
    if (!first_of_its_log) {
        REQUIRE(engine->commit(++seq, putting("kept", "before")));
        REQUIRE(engine->commit(++seq, putting("log", "before", Table::log)));
    }
    disk.fill(first_of_its_log ? 0 : 64 * 1024);
    Batch large = putting("kept", "half");
    large.trim_feed(1);
    for (int i = 0; i < 60; ++i) large.put(Table::value, "new" + std::to_string(i), Bytes(1024 * 1024, 'n'));

    const auto failed = engine->commit(seq + 1, large);

    REQUIRE_FALSE(failed);
    CHECK(failed.error().kind == base::ErrorKind::unavailable);
    CHECK(failed.error().code == "storage.unavailable");
    CHECK(engine->last_commit() == seq);
    const auto untouched = [&] {
        CHECK(value_of(*engine, "kept") == (first_of_its_log ? "(absent)" : "before"));
        CHECK(value_of(*engine, "new0", Table::value) == "(absent)");
        CHECK(value_of(*engine, "new59", Table::value) == "(absent)");
        CHECK(engine->changes_after(0, [](std::uint64_t, Table, ByteView) { return true; }));
    };
    untouched();

    SECTION("while it is full, nothing works but reading") {
        disk.fill(0);
        CHECK_FALSE(engine->recover());
        CHECK_FALSE(engine->commit(seq + 1, putting("kept", "again")));
        untouched();
    }
    SECTION("after space returns, the same engine goes on") {
        disk.free_up();
        CHECK_FALSE(engine->commit(seq + 1, putting("kept", "again")));  // not before recover()
        REQUIRE(engine->recover());
        untouched();
        CHECK(engine->last_commit() == seq);
        REQUIRE(engine->commit(seq + 1, putting("kept", "after")));
        CHECK(value_of(*engine, "kept") == "after");
        engine.reset();
        engine = open(disk.place.path / "store");
        CHECK(engine->last_commit() == seq + 1);
        CHECK(value_of(*engine, "kept") == "after");
        CHECK(value_of(*engine, "new0", Table::value) == "(absent)");
    }
    SECTION("a restart instead of recover() does not bring it back either") {
        engine.reset();
        disk.free_up();
        engine = open(disk.place.path / "store");
        CHECK(engine->last_commit() == seq);
        untouched();
        CHECK(engine->commit(seq + 1, putting("kept", "after")));
    }
}

TEST_CASE("Recovery waits for a running scan, and a commit inside the scan does not wait for recovery",
          "[rocksdb]") {
    SmallDisk disk("size=96m");
    if (!disk.mounted) return;
    const auto engine = open(disk.place.path / "store");
    REQUIRE(engine->commit(1, putting("a", "1")));
    disk.fill(0);
    REQUIRE_FALSE(engine->commit(2, putting("b", Bytes(60 * 1024 * 1024, 'x'))));
    disk.free_up();
    std::thread recovery;
    std::atomic<bool> recovered = false;
    bool recovered_during_scan = true;
    std::string refusal;

    REQUIRE(engine->scan(Table::meta, "", "", Order::ascending, [&](ByteView, ByteView value, std::uint64_t) {
        recovery = std::thread([&] { recovered = engine->recover().has_value(); });
        while (engine->get(Table::meta, "a"))
            std::this_thread::yield();  // until recovery has closed the door
        const auto committed = engine->commit(2, putting("c", "3"));
        refusal = committed ? "" : std::string(committed.error().code);
        recovered_during_scan = recovered;
        return value == "1";
    }));
    recovery.join();

    CHECK(refusal == "storage.unavailable");
    CHECK_FALSE(recovered_during_scan);
    CHECK(recovered);
    CHECK(engine->commit(2, putting("c", "3")));
    CHECK(value_of(*engine, "b") == "(absent)");
}

TEST_CASE("A disk that fills up and is freed over and over loses nothing that was acknowledged",
          "[rocksdb]") {
    SmallDisk disk("size=160m");
    if (!disk.mounted) return;
    auto engine = open(disk.place.path / "store");
    std::atomic<bool> done = false;
    std::atomic<std::size_t> wrong = 0;
    std::thread reader([&] {  // readers go on while the engine recovers; at worst they are told to come back
        while (!done) {
            const auto row = engine->get(Table::value, "row");
            if (!row && row.error().code != "storage.unavailable") ++wrong;
            if (row && *row && (*row)->value.size() != 50'000) ++wrong;
        }
    });

    std::uint64_t acknowledged = 0;
    std::size_t failures = 0;
    for (int round = 0; round < 4; ++round) {
        disk.fill((round % 2) * 300'000 + 100'000);
        bool failed = false;
        for (int i = 0; i < 4000 && !failed; ++i) {
            Batch batch = putting("n" + std::to_string(acknowledged + 1), "x");
            batch.put(Table::value, "row", Bytes(50'000, 'r'));
            const auto committed = engine->commit(acknowledged + 1, batch);
            if (committed)
                ++acknowledged;
            else
                failed = true;
        }
        if (failed) ++failures;
        disk.free_up();
        const auto recovered = engine->recover();
        if (!recovered) UNSCOPED_INFO(recovered.error().detail);
        CHECK(recovered);
        CHECK(engine->last_commit() == acknowledged);
    }
    done = true;
    reader.join();
    CHECK(failures == 4);
    CHECK(wrong == 0);

    engine.reset();
    engine = open(disk.place.path / "store");
    CHECK(engine->last_commit() == acknowledged);
    std::size_t rows = 0;
    REQUIRE(engine->scan(Table::meta, "n", "", Order::ascending, [&](ByteView, ByteView, std::uint64_t) {
        ++rows;
        return true;
    }));
    CHECK(rows == acknowledged);
}

bool some_file_holds(const fs::path& folder, std::string_view bytes) {
    for (const auto& entry : fs::directory_iterator(folder)) {
        std::ifstream in(entry.path(), std::ios::binary);
        const std::string content{std::istreambuf_iterator<char>(in), {}};
        if (content.find(bytes) != std::string::npos) return true;
    }
    return false;
}

TEST_CASE("A checkpoint is the store of one commit, and opens by itself", "[rocksdb]") {
    const Directory place;
    const auto engine = open(place.path / "store");
    std::uint64_t seq = 0;
    const auto put = [&](int from, int to) {
        for (int i = from; i < to; ++i)
            REQUIRE(engine->commit(++seq, putting("k" + std::to_string(i), std::to_string(i), Table::log)));
    };
    put(0, 50);
    std::atomic<bool> done = false;
    std::thread writer([&] {
        for (int i = 50; !done; ++i)
            if (!engine->commit(++seq, putting("k" + std::to_string(i), std::to_string(i), Table::log)))
                return;
    });
    const auto copied = engine->checkpoint(place.path / "copy");
    done = true;
    writer.join();
    REQUIRE(copied);
    CHECK_FALSE(engine->checkpoint(place.path / "copy"));  // never over what is there

    const auto copy = open(place.path / "copy");
    CHECK(copy->last_commit() >= 50);
    CHECK(copy->last_commit() <= seq);
    std::uint64_t rows = 0;
    REQUIRE(copy->scan(Table::log, {}, {}, Order::ascending, [&](ByteView, ByteView, std::uint64_t) {
        ++rows;
        return true;
    }));
    CHECK(rows == copy->last_commit());
}

TEST_CASE("What was erased or replaced is gone from every file once it is purged", "[rocksdb]") {
    const Directory place;
    const auto engine = open(place.path);
    const std::string erased = "the erased row's bytes", replaced = "the replaced row's bytes",
                      kept = "the kept row's bytes";
    REQUIRE(engine->commit(1, putting("a1", erased, Table::value)));
    REQUIRE(engine->commit(2, putting("a2", replaced, Table::value)));
    REQUIRE(engine->commit(3, putting("b", kept, Table::value)));
    REQUIRE(engine->purge_erased({{Table::value, ""}}));  // into a table file, where tombstones do not reach
    Batch batch;
    batch.erase(Table::value, "a1");
    batch.put(Table::value, "a2", "other");
    REQUIRE(engine->commit(4, batch));
    CHECK(some_file_holds(place.path, erased));
    CHECK(some_file_holds(place.path, replaced));

    REQUIRE(engine->purge_erased({{Table::value, "a"}}));

    CHECK_FALSE(some_file_holds(place.path, erased));
    CHECK_FALSE(some_file_holds(place.path, replaced));
    CHECK(some_file_holds(place.path, kept));
    CHECK(value_of(*engine, "a2", Table::value) == "other");
    REQUIRE(engine->purge_erased({{Table::value, "a"}}));  // nothing left to do is no failure
    REQUIRE(engine->commit(5, putting("c", "more")));
}

}  // namespace
}  // namespace claviger::vault
