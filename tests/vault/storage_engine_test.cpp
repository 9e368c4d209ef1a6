// The storage contract, the same for every engine.
#include "vault/storage_engine.h"
#include "tests/support/spec.h"
#include "tests/support/vault_fault_engine.h"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

namespace claviger::vault {
namespace {

enum class Kind { in_memory, rocksdb, fault_around_in_memory };

/// An empty engine and, where it needs one, a directory that is removed with it.
struct Store {
    explicit Store(Kind kind) {
        if (kind == Kind::in_memory) engine = open_in_memory();
        if (kind == Kind::fault_around_in_memory) engine = std::make_unique<test::FaultEngine>();
        if (kind != Kind::rocksdb) return;
        char name[] = "/tmp/claviger-store-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        directory = name;
        auto opened = open_rocksdb(directory / "store");
        REQUIRE(opened);
        engine = std::move(*opened);
    }
    ~Store() {
        engine.reset();
        if (!directory.empty()) std::filesystem::remove_all(directory);
    }
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    /// Commits as the next number.
    base::Status commit(const Batch& batch) { return engine->commit(engine->last_commit() + 1, batch); }

    std::filesystem::path directory;
    std::unique_ptr<StorageEngine> engine;
};

Kind every_engine() { return GENERATE(Kind::in_memory, Kind::rocksdb, Kind::fault_around_in_memory); }

Batch putting(std::initializer_list<std::pair<ByteView, ByteView>> rows, Table table = Table::meta) {
    Batch batch;
    for (const auto& [key, value] : rows) batch.put(table, key, Bytes(value));
    return batch;
}

std::string value_of(const StorageEngine& engine, Table table, ByteView key) {
    const auto row = engine.get(table, key);
    REQUIRE(row);
    return *row ? (*row)->value : "(absent)";
}

std::vector<std::string> keys_of(const StorageEngine& engine, ByteView prefix, ByteView from = {},
                                 Order order = Order::ascending, Table table = Table::meta) {
    std::vector<std::string> keys;
    const auto scanned = engine.scan(table, prefix, from, order, [&](ByteView key, ByteView, std::uint64_t) {
        keys.emplace_back(key);
        return true;
    });
    REQUIRE(scanned);
    return keys;
}

using Keys = std::vector<std::string>;

/// "seq table key", in the order of the feed.
Keys changes_of(const StorageEngine& engine, std::uint64_t after) {
    Keys changes;
    const auto visited = engine.changes_after(after, [&](std::uint64_t seq, Table table, ByteView key) {
        changes.push_back(std::to_string(seq) + " " + std::to_string(static_cast<int>(table)) + " " +
                          std::string(key));
        return true;
    });
    REQUIRE(visited);
    return changes;
}

TEST_CASE("A committed row can be read back with the commit that wrote it", "[storage]") {
    Store store(every_engine());
    REQUIRE(store.commit(putting({{"a", "one"}})));
    REQUIRE(store.commit(putting({{"b", "two"}})));

    const auto row = store.engine->get(Table::meta, "b");

    REQUIRE(row);
    REQUIRE(*row);
    CHECK((*row)->value == "two");
    CHECK((*row)->version == 2);
    CHECK(store.engine->last_commit() == 2);
}

TEST_CASE("An absent row is an answer, not an error", "[storage]") {
    Store store(every_engine());
    CHECK(store.engine->last_commit() == 0);

    const auto row = store.engine->get(Table::value, "nothing");

    REQUIRE(row);
    CHECK_FALSE(*row);
}

TEST_CASE("Tables do not see each other's rows", "[storage]") {
    Store store(every_engine());
    Batch batch;
    for (std::size_t table = 0; table < kTables; ++table)
        batch.put(static_cast<Table>(table), "same key", std::to_string(table));
    REQUIRE(store.commit(batch));

    for (std::size_t table = 0; table < kTables; ++table) {
        CHECK(value_of(*store.engine, static_cast<Table>(table), "same key") == std::to_string(table));
        CHECK(keys_of(*store.engine, "", "", Order::ascending, static_cast<Table>(table)) ==
              Keys{"same key"});
        CHECK(keys_of(*store.engine, "", "", Order::descending, static_cast<Table>(table)) ==
              Keys{"same key"});
    }
}

TEST_CASE("Any bytes can be a key or a value", "[storage]") {
    Store store(every_engine());
    const struct {
        const char* what;
        std::string key;
        std::string value;
    } rows[] = {
        {"an empty value", "k", ""},
        {"zero bytes", std::string(16, '\0'), std::string(3, '\0')},
        {"0xff bytes", std::string(16, '\xff'), std::string(9, '\xff')},
        {"a megabyte", "large", std::string(1024 * 1024, 'x')},
        {"an empty key", "", "at the root"},
    };
    Batch batch;
    for (const auto& row : rows) batch.put(Table::value, row.key, row.value);
    REQUIRE(store.commit(batch));

    for (const auto& row : rows) {
        INFO(row.what);
        CHECK((value_of(*store.engine, Table::value, row.key) == row.value));
    }
    CHECK(keys_of(*store.engine, "\xff", "", Order::ascending, Table::value) ==
          Keys{std::string(16, '\xff')});
    CHECK(keys_of(*store.engine, "\xff", "", Order::descending, Table::value) ==
          Keys{std::string(16, '\xff')});
}

TEST_CASE("The last write of a batch to a key wins", "[storage]") {
    Store store(every_engine());
    Batch batch = putting({{"twice", "first"}, {"erased", "x"}, {"twice", "second"}});
    batch.erase(Table::meta, "erased");
    batch.erase(Table::meta, "revived");
    batch.put(Table::meta, "revived", "here");
    REQUIRE(store.commit(batch));

    CHECK(value_of(*store.engine, Table::meta, "twice") == "second");
    CHECK(value_of(*store.engine, Table::meta, "erased") == "(absent)");
    CHECK(value_of(*store.engine, Table::meta, "revived") == "here");
    CHECK(keys_of(*store.engine, "") == Keys{"revived", "twice"});
}

TEST_CASE("An erased row is gone from reads and scans and can be written anew", "[storage]") {
    Store store(every_engine());
    REQUIRE(store.commit(putting({{"a", "1"}, {"b", "2"}})));
    Batch erasing;
    erasing.erase(Table::meta, "a");
    erasing.erase(Table::meta, "never there");
    REQUIRE(store.commit(erasing));

    CHECK(value_of(*store.engine, Table::meta, "a") == "(absent)");
    CHECK(keys_of(*store.engine, "") == Keys{"b"});

    Batch again = putting({{"a", "3"}});
    again.require(Table::meta, "a", 0);
    REQUIRE(store.commit(again));
    CHECK(value_of(*store.engine, Table::meta, "a") == "3");
}

TEST_CASE("A commit must bear the number after the last one", "[storage]") {
    Store store(every_engine());
    REQUIRE(store.commit(putting({{"a", "1"}})));
    const auto wrong = GENERATE(0u, 1u, 3u);

    const auto committed = store.engine->commit(wrong, putting({{"a", "2"}}));

    REQUIRE_FALSE(committed);
    CHECK(committed.error().kind == base::ErrorKind::conflict);
    CHECK(committed.error().code == "storage.conflict");
    CHECK(value_of(*store.engine, Table::meta, "a") == "1");
    CHECK(store.engine->last_commit() == 1);
}

TEST_CASE("A precondition that does not hold leaves everything as it was", "[storage]") {
    Store store(every_engine());
    REQUIRE(store.commit(putting({{"a", "1"}})));
    REQUIRE(store.commit(putting({{"b", "2"}})));
    Batch batch = putting({{"a", "changed"}, {"c", "new"}});
    SECTION("the row was written by another commit") { batch.require(Table::meta, "a", 2); }
    SECTION("the row should be absent") { batch.require(Table::meta, "b", 0); }
    SECTION("the row should be there") { batch.require(Table::meta, "c", 1); }
    SECTION("one of several") {
        batch.require(Table::meta, "a", 1);
        batch.require(Table::value, "a", 1);
    }

    const auto committed = store.commit(batch);

    REQUIRE_FALSE(committed);
    CHECK(committed.error().code == "storage.conflict");
    CHECK(value_of(*store.engine, Table::meta, "a") == "1");
    CHECK(value_of(*store.engine, Table::meta, "c") == "(absent)");
    CHECK(store.engine->last_commit() == 2);
    CHECK(changes_of(*store.engine, 2).empty());

    Batch right = putting({{"a", "changed"}});
    right.require(Table::meta, "a", 1);
    right.require(Table::meta, "c", 0);
    CHECK(store.commit(right));
}

TEST_CASE("A commit without rows still takes its number", "[storage]") {
    Store store(every_engine());

    REQUIRE(store.commit(Batch()));

    CHECK(store.engine->last_commit() == 1);
    CHECK(changes_of(*store.engine, 0).empty());
}

TEST_CASE("A scan follows prefix, start and order", "[storage]") {
    Store store(every_engine());
    Batch batch = putting({{"a", ""}, {"b1", ""}, {"b3", ""}, {"b5", ""}, {"c", ""}});
    batch.put(Table::state, "zz", "");  // neighbours in the same family
    batch.put(Table::data_key, "b0", "");
    REQUIRE(store.commit(batch));
    const auto& engine = *store.engine;

    const struct {
        const char* what;
        const char* prefix;
        const char* from;
        Order order;
        Keys keys;
    } cases[] = {
        {"all", "", "", Order::ascending, {"a", "b1", "b3", "b5", "c"}},
        {"all, backwards", "", "", Order::descending, {"c", "b5", "b3", "b1", "a"}},
        {"a prefix", "b", "", Order::ascending, {"b1", "b3", "b5"}},
        {"a prefix, backwards", "b", "", Order::descending, {"b5", "b3", "b1"}},
        {"from a key", "b", "b3", Order::ascending, {"b3", "b5"}},
        {"from a key, backwards", "b", "b3", Order::descending, {"b3", "b1"}},
        {"from between keys", "b", "b2", Order::ascending, {"b3", "b5"}},
        {"from between keys, backwards", "b", "b2", Order::descending, {"b1"}},
        {"from before the prefix", "b", "a", Order::ascending, {"b1", "b3", "b5"}},
        {"from before the prefix, backwards", "b", "a", Order::descending, {}},
        {"from after the prefix", "b", "c", Order::ascending, {}},
        {"from after the prefix, backwards", "b", "c", Order::descending, {"b5", "b3", "b1"}},
        {"from a key, no prefix", "", "b5", Order::ascending, {"b5", "c"}},
        {"from a key, no prefix, backwards", "", "b5", Order::descending, {"b5", "b3", "b1", "a"}},
        {"an unknown prefix", "bb", "", Order::ascending, {}},
        {"an unknown prefix, backwards", "bb", "", Order::descending, {}},
        {"a key as its own prefix", "c", "", Order::descending, {"c"}},
    };
    for (const auto& scan : cases) {
        INFO(scan.what);
        CHECK(keys_of(engine, scan.prefix, scan.from, scan.order) == scan.keys);
    }
}

TEST_CASE("A scan ends when the visitor has seen enough", "[storage]") {
    Store store(every_engine());
    REQUIRE(store.commit(putting({{"a", "1"}, {"b", "2"}, {"c", "3"}})));
    std::vector<std::string> seen;

    REQUIRE(store.engine->scan(
        Table::meta, "", "", Order::ascending, [&](ByteView key, ByteView value, std::uint64_t version) {
            seen.push_back(std::string(key) + std::string(value) + std::to_string(version));
            return seen.size() < 2;
        }));

    CHECK(seen == Keys{"a11", "b21"});
}

TEST_CASE("A scan of many prefixes sees the rows of each and none between", "[storage]") {
    Store store(every_engine());
    REQUIRE(
        store.commit(putting({{"a1", "1"}, {"a2", "2"}, {"b", "3"}, {"c1", "4"}, {"e", "5"}, {"z", "6"}})));
    REQUIRE(store.commit(putting({{"f", "of another table"}}, Table::value)));
    const auto seen = [&](const std::vector<Bytes>& prefixes, std::size_t most = 100) {
        std::string rows;
        REQUIRE(store.engine->scan_each(Table::meta, prefixes,
                                        [&](ByteView key, ByteView value, std::uint64_t version) {
                                            CHECK(version == 1);
                                            rows += Bytes(key) + "=" + Bytes(value) + " ";
                                            return --most > 0;
                                        }));
        return rows;
    };
    CHECK(seen({}) == "");
    CHECK(seen({"a", "c", "d", "e", "f"}) == "a1=1 a2=2 c1=4 e=5 ");

    CHECK(seen({"a2", "a3", "b", "zz"}) == "a2=2 b=3 ");
    CHECK(seen({"a0", "a1", "c"}, 1) == "a1=1 ");
}

TEST_CASE("A scan sees one moment, whatever is committed while it runs", "[storage]") {
    Store store(every_engine());
    REQUIRE(store.commit(putting({{"a", "old"}, {"b", "old"}, {"c", "old"}, {"d", "old"}})));
    const auto order = GENERATE(Order::ascending, Order::descending);
    Keys seen;

    REQUIRE(store.engine->scan(
        Table::meta, "", "", order, [&](ByteView key, ByteView value, std::uint64_t version) {
            seen.push_back(std::string(key) + " " + std::string(value) + " " + std::to_string(version));
            if (seen.size() == 1) {
                Batch meanwhile = putting({{"b", "new"}, {"bb", "new"}, {"b", "newer"}});
                meanwhile.erase(Table::meta, "c");
                REQUIRE(store.commit(meanwhile));
                REQUIRE(store.commit(putting({{"d", "new"}, {"a", "new"}})));
            }
            return true;
        }));

    Keys then = {"a old 1", "b old 1", "c old 1", "d old 1"};
    if (order == Order::descending) std::reverse(then.begin(), then.end());
    CHECK(seen == then);
    CHECK(value_of(*store.engine, Table::meta, "b") == "newer");
    CHECK(keys_of(*store.engine, "") == Keys{"a", "b", "bb", "d"});
}

TEST_CASE("The feed names every changed key once, in commit order, without the rows of the log",
          "[storage]") {
    Store store(every_engine());
    Batch first = putting({{"b", "1"}, {"a", "1"}, {"b", "2"}});
    first.put(Table::log, "entry", "x");
    first.put(Table::tile, "tile", "x");
    first.put(Table::log_index, "block", "x");
    first.put(Table::state, "head", "x");
    first.put(Table::state, "instance", "x");
    REQUIRE(store.commit(first));
    Batch only_log;
    only_log.put(Table::log, "entry 2", "x");
    only_log.put(Table::state, "head", "y");
    REQUIRE(store.commit(only_log));
    Batch erasing;
    erasing.erase(Table::meta, "a");
    REQUIRE(store.commit(erasing));

    auto whole = changes_of(*store.engine, 0);
    REQUIRE(whole.size() == 4);
    CHECK(std::set<std::string>(whole.begin(), whole.end() - 1) ==
          std::set<std::string>{"1 0 instance", "1 1 a", "1 1 b"});
    CHECK(whole.back() == "3 1 a");
    CHECK(changes_of(*store.engine, 1) == Keys{"3 1 a"});
    CHECK(changes_of(*store.engine, 3).empty());

    std::size_t visits = 0;
    REQUIRE(store.engine->changes_after(0, [&](std::uint64_t, Table, ByteView) { return ++visits < 2; }));
    CHECK(visits == 2);
}

TEST_CASE("A trimmed feed says so instead of leaving changes out", "[storage]") {
    Store store(every_engine());
    const auto& engine = *store.engine;
    for (const char* key : {"a", "b", "c"}) REQUIRE(store.commit(putting({{key, "x"}})));
    const auto committed_trimming = [&](const char* key, std::uint64_t upto) {
        Batch batch = putting({{key, "x"}});
        batch.trim_feed(upto);
        return store.commit(batch);
    };

    REQUIRE(committed_trimming("d", 2));
    REQUIRE(committed_trimming("e", 1));  // less than before: nothing to do

    const auto too_far_back = engine.changes_after(1, [](std::uint64_t, Table, ByteView) { return true; });
    REQUIRE_FALSE(too_far_back);
    CHECK(too_far_back.error().kind == base::ErrorKind::conflict);
    CHECK(too_far_back.error().code == "storage.feed_trimmed");
    CHECK(changes_of(engine, 2) == Keys{"3 1 c", "4 1 d", "5 1 e"});
    CHECK(keys_of(engine, "") == Keys{"a", "b", "c", "d", "e"});

    Batch refused = putting({{"f", "x"}});
    refused.require(Table::meta, "a", 0);
    refused.trim_feed(4);
    CHECK_FALSE(store.commit(refused));
    CHECK(changes_of(engine, 2) == Keys{"3 1 c", "4 1 d", "5 1 e"});

    REQUIRE(committed_trimming("f", 99));  // everything before this commit, and nothing that is to come
    CHECK_FALSE(engine.changes_after(4, [](std::uint64_t, Table, ByteView) { return true; }));
    CHECK(changes_of(engine, 5) == Keys{"6 1 f"});
    REQUIRE(store.commit(putting({{"g", "x"}})));
    CHECK(changes_of(engine, 5) == Keys{"6 1 f", "7 1 g"});
}

TEST_CASE("recover() on a healthy engine changes nothing", "[storage]") {
    Store store(every_engine());
    REQUIRE(store.commit(putting({{"a", "1"}})));

    REQUIRE(store.engine->recover());

    CHECK(value_of(*store.engine, Table::meta, "a") == "1");
    CHECK(store.commit(putting({{"b", "2"}})));
}

TEST_CASE("Readers beside a committer only ever see whole commits", "[storage]") {
    Store store(every_engine());
    auto& engine = *store.engine;
    REQUIRE(store.commit(putting({{"left", "1"}, {"right", "1"}})));
    constexpr std::uint64_t kCommits = 300;
    std::atomic<bool> done = false;
    std::atomic<std::size_t> torn = 0, failed = 0, scans = 0;

    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i)
        readers.emplace_back([&] {
            for (bool last = false; !last;) {
                last = done;
                Keys values;
                const auto scanned = engine.scan(Table::meta, "", "", Order::ascending,
                                                 [&](ByteView, ByteView value, std::uint64_t version) {
                                                     values.emplace_back(value);
                                                     if (value != std::to_string(version)) ++torn;
                                                     return true;
                                                 });
                if (!scanned) ++failed;
                if (values.size() != 2 || values[0] != values[1]) ++torn;
                const auto at_least = engine.last_commit();
                const auto left = engine.get(Table::meta, "left");
                if (!left || !*left || (*left)->version < at_least) ++torn;
                if (!engine.changes_after(at_least, [](std::uint64_t, Table, ByteView) { return true; }))
                    ++failed;
                ++scans;
            }
        });
    bool committed = true;
    for (std::uint64_t seq = 2; seq <= kCommits && committed; ++seq) {
        const auto text = std::to_string(seq);
        committed = engine.commit(seq, putting({{"left", text}, {"right", text}})).has_value();
    }
    done = true;
    for (auto& reader : readers) reader.join();

    CHECK(committed);
    CHECK(torn == 0);
    CHECK(failed == 0);
    CHECK(scans >= 3);
    CHECK(value_of(engine, Table::meta, "right") == std::to_string(kCommits));
}

TEST_CASE("Writers that race for a number: exactly one gets it", "[storage]") {
    Store store(every_engine());
    auto& engine = *store.engine;
    std::atomic<std::uint64_t> won = 0, other_errors = 0;

    std::vector<std::thread> writers;
    for (int i = 0; i < 4; ++i)
        writers.emplace_back([&, i] {
            for (int n = 0; n < 50; ++n) {
                const auto committed = engine.commit(
                    engine.last_commit() + 1, putting({{std::to_string(i) + "-" + std::to_string(n), "x"}}));
                if (committed)
                    ++won;
                else if (committed.error().code != "storage.conflict")
                    ++other_errors;
            }
        });
    for (auto& writer : writers) writer.join();

    CHECK(won == engine.last_commit());
    CHECK(won == keys_of(engine, "").size());
    CHECK(other_errors == 0);
}

TEST_CASE("Engines over the same rows are several writers of one store", "[storage]") {
    const auto rows = new_shared_rows();
    const auto one = open_in_memory(rows);
    const auto other = open_in_memory(rows);
    REQUIRE(one->commit(1, putting({{"a", "one"}})));

    const auto late = other->commit(1, putting({{"a", "other"}}));

    REQUIRE_FALSE(late);
    CHECK(late.error().code == "storage.conflict");
    CHECK(other->last_commit() == 1);
    CHECK(value_of(*other, Table::meta, "a") == "one");
    CHECK(changes_of(*other, 0) == Keys{"1 1 a"});
    CHECK(other->commit(2, putting({{"a", "other"}})));
    CHECK(value_of(*one, Table::meta, "a") == "other");
}

TEST_CASE("The fault engine fails the commit it was told to, and insists on recover()", "[storage]") {
    test::FaultEngine engine;
    engine.fail_commit(2);
    REQUIRE(engine.commit(1, putting({{"a", "1"}})));

    const auto failed = engine.commit(2, putting({{"a", "2"}}));

    REQUIRE_FALSE(failed);
    CHECK(failed.error().kind == base::ErrorKind::unavailable);
    CHECK(failed.error().code == "storage.unavailable");
    CHECK(value_of(engine, Table::meta, "a") == "1");
    CHECK_FALSE(engine.commit(2, putting({{"a", "2"}})));
    REQUIRE(engine.recover());
    CHECK(engine.commit(2, putting({{"a", "2"}})));
    CHECK(engine.commits() == 4);
    CHECK(engine.reads() == 1);
}

TEST_CASE("The fault engine stays broken until it is healed", "[storage]") {
    test::FaultEngine engine;
    engine.fail_commits();
    engine.fail_reads();

    CHECK_FALSE(engine.commit(1, putting({{"a", "1"}})));
    CHECK_FALSE(engine.recover());
    CHECK_FALSE(engine.get(Table::meta, "a"));
    CHECK_FALSE(engine.scan(Table::meta, "", "", Order::ascending,
                            [](ByteView, ByteView, std::uint64_t) { return true; }));
    CHECK_FALSE(engine.changes_after(0, [](std::uint64_t, Table, ByteView) { return true; }));

    engine.heal();
    CHECK_FALSE(engine.commit(1, putting({{"a", "1"}})));
    REQUIRE(engine.recover());
    CHECK(engine.commit(1, putting({{"a", "1"}})));
    CHECK(value_of(engine, Table::meta, "a") == "1");
}

TEST_CASE("After a power cut the fault engine is dead and the disk lacks the last commits", "[storage]") {
    test::FaultEngine engine;
    for (std::uint64_t seq = 1; seq <= 5; ++seq)
        REQUIRE(engine.commit(seq, putting({{"a", std::to_string(seq)}})));

    const auto disk = engine.cut_power(2);

    CHECK(disk->last_commit() == 3);
    CHECK(value_of(*disk, Table::meta, "a") == "3");
    CHECK_FALSE(engine.commit(6, putting({{"a", "6"}})));
    CHECK_FALSE(engine.recover());
    CHECK_FALSE(engine.get(Table::meta, "a"));
}

}  // namespace
}  // namespace claviger::vault
