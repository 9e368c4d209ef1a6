// The one order of everything: commits, their entries, failures of the disk, and the tree that grows over it
// all.
#include "vault/ledger.h"
#include "tests/support/spec.h"
#include "tests/support/vault_fault_engine.h"
#include "tests/support/vault_forwarding_engine.h"
#include "tests/support/vault_test_store.h"
#include "vault/log_head.h"
#include "vault/log_rows.h"
#include "vault/log_tree.h"
#include "vault/log_writer.h"

#include <future>
#include <set>
#include <thread>

namespace claviger::vault {
namespace {

using test::append;
using test::append_all;
using test::entry_of;
using test::id_of;
using test::OpenStore;
using test::put_object;
using test::submit;

std::uint64_t rows_in(const StorageEngine& engine, Table table) {
    std::uint64_t rows = 0;
    REQUIRE(engine.scan(table, {}, {}, Order::ascending,
                        [&](ByteView, ByteView, std::uint64_t) { return ++rows > 0; }));
    return rows;
}

/// The leaf of an entry, from its row as it stands on the disk.
crypto::Digest leaf_on_disk(const StorageEngine& engine, std::uint64_t position) {
    const auto row = find_row(engine, position);
    REQUIRE(row);
    REQUIRE(*row);
    return RowLeaves((*row)->bytes).at(position - (*row)->first);
}

/// The root over the log's rows as they stand on the disk.
crypto::Digest root_on_disk(const StorageEngine& engine, std::uint64_t size) {
    const auto root = crypto::root_of(
        [&](std::uint64_t position) -> base::Result<crypto::Digest> {
            return leaf_on_disk(engine, position);
        },
        size);
    REQUIRE(root);
    return *root;
}

bool has_object(const StorageEngine& engine, unsigned object) {
    const auto row = engine.get(Table::meta, test::object_key(object));
    REQUIRE(row);
    return row->has_value();
}

/// Whether the log has an entry about the object.
bool has_entry(const Ledger& ledger, unsigned object) {
    for (std::uint64_t at = 0; at < ledger.head().size; ++at) {
        const auto entry = ledger.read(at);
        REQUIRE(entry);
        REQUIRE(entry->position == at);
        if (entry->object_id == id_of(object)) return true;
    }
    return false;
}

template <class Condition>
bool holds_soon(Condition condition) {
    for (int i = 0; i < 6000; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

/// An engine of each kind, empty.
struct EachEngine {
    EachEngine() {
        if (GENERATE(false, true)) {
            auto opened = open_rocksdb(directory.path() / "store");
            REQUIRE(opened);
            engine = std::move(*opened);
        } else {
            engine = open_in_memory();
        }
        test::make_store(*engine, clock);
    }
    test::ManualClock clock;
    test::TemporaryDirectory directory;
    std::unique_ptr<StorageEngine> engine;
};

TEST_CASE("the head's bytes are these", "[vault][ledger]") {
    StoredHead head;
    head.commit_seq = 0x0102;
    head.last_entry = base::Time(std::chrono::milliseconds(0x0304));
    head.sums.all()[0] = {1, 2};
    head.sums.all()[4] = {0xaa, 0xbb};
    crypto::Tree tree;
    tree.append({});
    head.frontier = tree.serialise();
    std::string expected =
        "0000000000000102"
        "0000000000000304"
        "05"
        "0000000000000002"
        "0000000000000001";
    expected += std::string(3 * 32, '0') +
                "00000000000000bb"
                "00000000000000aa"
                "0000000000000001" +
                std::string(64, '0');
    REQUIRE(base::to_hex(encode(head)) == expected);
}

TEST_CASE("a head that sums other tables is refused", "[vault][ledger]") {
    EachEngine each;
    auto keys = KeyRing::unseal(*each.engine, test::key_file());
    REQUIRE(keys);
    const auto stored = open_head(**keys, 1, read_head_row(*each.engine).value());
    REQUIRE(stored);
    const auto bytes = encode(*stored);
    const auto before = [&](char sums, std::string_view more) {
        auto plain = bytes;
        plain[16] = sums;
        plain.insert(17 + 2 * 16, more);  // behind those of state and meta
        const auto root = (*keys)->root_of_commit();
        crypto::Place place;
        place.type = crypto::ObjectType::state;
        place.instance = (*keys)->instance();
        place.version = place.commit_seq = 1;
        place.wrapping_key = root->epoch();
        return open_head(**keys, 1, crypto::seal(root->head_key(), place, base::as_span(plain)));
    };
    REQUIRE(before(5, ""));
    CHECK(before(7, std::string(32, 'x')).error().code ==
          "ledger.head_refused");  // as earlier versions wrote
}

TEST_CASE("a new store begins with its first entry", "[vault][ledger]") {
    EachEngine each;
    OpenStore store(*each.engine, each.clock);
    const auto head = store.ledger->head();
    REQUIRE(head.commit_seq == 1);
    REQUIRE(head.size == 1);
    REQUIRE(head.root == root_on_disk(*each.engine, 1));
    const auto first = store.ledger->read(0);
    REQUIRE(first);
    REQUIRE(first->action == Action::initialise);
    REQUIRE(first->time == each.clock.now());
    const auto next = store.ledger->read(1);
    REQUIRE_FALSE(next);
    REQUIRE(next.error().code == "log.entry_not_found");
}

TEST_CASE("entries of many threads are durable once each, in one order", "[vault][ledger]") {
    EachEngine each;
    constexpr unsigned kThreads = 8, kEach = 250;
    std::set<std::uint64_t> positions;
    {
        OpenStore store(*each.engine, each.clock);
        std::mutex mutex;
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < kThreads; ++t)
            threads.emplace_back([&, t] {
                for (unsigned i = 0; i < kEach; ++i) {
                    std::promise<std::uint64_t> promise;
                    store.ledger->append(
                        entry_of(EntryKind::use_intent, t * kEach + i), {},
                        [&](base::Result<std::uint64_t> at) { promise.set_value(at.value_or(0)); });
                    const auto position = promise.get_future().get();
                    const std::lock_guard lock(mutex);
                    positions.insert(position);
                }
            });
        for (auto& thread : threads) thread.join();
        REQUIRE(positions.size() == kThreads * kEach);
        REQUIRE(*positions.begin() == 1);
        REQUIRE(*positions.rbegin() == kThreads * kEach);
        REQUIRE(store.ledger->head().size == 1 + kThreads * kEach);
        REQUIRE(store.ledger->counters().entries == kThreads * kEach);
        REQUIRE(store.ledger->counters().commits <= kThreads * kEach);
    }
    OpenStore again(*each.engine, each.clock);
    std::vector<std::uint64_t> last_of(kThreads);
    std::set<std::uint64_t> numbers;
    for (const auto position : positions) {
        const auto entry = again.ledger->read(position);
        REQUIRE(entry);
        numbers.insert(entry->request_bytes);
        auto& last = last_of[entry->request_bytes / kEach];
        REQUIRE(entry->request_bytes >= last);  // of one caller, in the caller's order
        last = entry->request_bytes;
    }
    REQUIRE(numbers.size() == kThreads * kEach);
    REQUIRE(again.ledger->head().root == root_on_disk(*each.engine, 1 + kThreads * kEach));
}

TEST_CASE("nobody's entry waits for others", "[vault][ledger]") {
    EachEngine each;
    OpenStore store(*each.engine, each.clock);
    for (unsigned i = 0; i < 20; ++i) REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent, i)));
    REQUIRE(store.ledger->counters().commits == 20);
}

TEST_CASE("an entry or change that somebody waits for is committed at once", "[vault][ledger]") {
    const test::ManualClock clock;
    const auto engine = open_in_memory();
    test::make_store(*engine, clock);
    OpenStore store(*engine, clock);
    auto& ledger = *store.ledger;
    const auto outcome = [&] { ledger.append(entry_of(EntryKind::use_outcome), {}, nullptr); };
    std::function<void()> before, awaited;
    awaited = [&] { REQUIRE(append(ledger, entry_of(EntryKind::use_intent))); };
    SECTION("while the ledger rests") {
        before = [&] {
            const auto commits = ledger.counters().commits.load();
            outcome();
            REQUIRE(holds_soon([&] { return ledger.counters().commits > commits; }));
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        };
    }
    SECTION("while outcomes wait to be joined") { before = outcome; }
    SECTION("right behind another") { before = awaited; }
    SECTION("a change") {
        before = outcome;
        awaited = [&] { REQUIRE(submit(ledger, put_object(1, "x"))); };
    }
    // A wait for others would make every answer late; a busy machine makes only some of them so.
    constexpr auto kAtOnce = std::chrono::milliseconds(10);
    auto fastest = std::chrono::steady_clock::duration::max();
    for (int tries = 0; tries < 300 && fastest >= kAtOnce; ++tries) {
        before();
        const auto start = std::chrono::steady_clock::now();
        awaited();
        fastest = std::min(fastest, std::chrono::steady_clock::now() - start);
    }
    CHECK(fastest < kAtOnce);
}

TEST_CASE("commits of entries alone are not in the change feed", "[vault][ledger]") {
    EachEngine each;
    OpenStore store(*each.engine, each.clock);
    REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent)));  // may bring the key of its day
    const auto first = each.engine->last_commit();
    for (unsigned i = 0; i < 5; ++i) REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent, i)));
    REQUIRE(submit(*store.ledger, put_object(1, "x")));

    std::vector<std::pair<std::uint64_t, Bytes>> changes;
    REQUIRE(each.engine->changes_after(first, [&](std::uint64_t seq, Table, ByteView key) {
        changes.emplace_back(seq, key);
        return true;
    }));
    CHECK(changes == std::vector{std::pair{first + 6, test::object_key(1)}});
}

TEST_CASE("the change feed stays as short as it is said to be", "[vault][ledger]") {
    const test::ManualClock clock;
    const auto engine = open_in_memory();
    test::make_store(*engine, clock);
    OpenStore store(*engine, clock);
    const auto reaches_back = [&](std::uint64_t commits) {
        return engine
            ->changes_after(engine->last_commit() - commits,
                            [](std::uint64_t, Table, ByteView) { return false; })
            .has_value();
    };
    const auto most = kFeedCommits + kFeedTrimEvery;
    const auto commit_until = [&](std::uint64_t last) {
        std::vector<std::future<base::Status>> done;
        for (auto seq = engine->last_commit(); seq < last; ++seq) {
            auto promise = std::make_shared<std::promise<base::Status>>();
            done.push_back(promise->get_future());
            store.ledger->submit(put_object(seq % 8, "x"),
                                 [promise](base::Status s) { promise->set_value(s); });
        }
        for (auto& each : done) REQUIRE(each.get());
        REQUIRE(engine->last_commit() == last);
    };
    commit_until(most - 1);
    CHECK(reaches_back(most - 1));
    commit_until(most);
    CHECK(reaches_back(kFeedCommits));
    CHECK_FALSE(reaches_back(kFeedCommits + 1));
    commit_until(most + kFeedTrimEvery);
    CHECK(reaches_back(kFeedCommits));
    CHECK_FALSE(reaches_back(kFeedCommits + 1));
}

TEST_CASE("a change and its entry are one commit", "[vault][ledger]") {
    EachEngine each;
    OpenStore store(*each.engine, each.clock);
    std::uint64_t seen_by_action = 0;
    std::uint64_t seq = 0;
    const auto changed = submit(*store.ledger, [&](Transaction& transaction) -> base::Status {
        seq = transaction.commit_seq();
        transaction.when_durable([&] { seen_by_action = each.engine->last_commit(); });
        return put_object(7, "content")(transaction);
    });
    REQUIRE(changed);
    REQUIRE(seq == 2);
    REQUIRE(seen_by_action == 2);
    REQUIRE(has_object(*each.engine, 7));
    REQUIRE(has_entry(*store.ledger, 7));
    REQUIRE(store.ledger->head().commit_seq == 2);
}

TEST_CASE("a change that fails leaves no trace", "[vault][ledger]") {
    EachEngine each;
    OpenStore store(*each.engine, each.clock);
    bool acted = false;
    const auto failed = submit(*store.ledger, [&](Transaction& transaction) -> base::Status {
        if (auto put = put_object(7, "content")(transaction); !put) return put;
        transaction.keys().create_owner_key({}, id_of(70), transaction.commit_seq(), transaction.now(),
                                            transaction.batch());
        transaction.when_durable([&] { acted = true; });
        return base::failure(base::ErrorKind::conflict, "test.refused", "No.");
    });
    REQUIRE_FALSE(failed);
    REQUIRE(failed.error().code == "test.refused");
    REQUIRE_FALSE(acted);
    REQUIRE_FALSE(has_object(*each.engine, 7));
    REQUIRE(store.ledger->head().size == 1);
    REQUIRE(each.engine->last_commit() == 1);
    REQUIRE(store.keys->owner_key(*each.engine, {}, id_of(70), 1).error().code == "key.missing");
    REQUIRE(submit(*store.ledger, put_object(8, "content")));
    REQUIRE(store.ledger->head().size == 2);
}

TEST_CASE("a failing change does not spoil the entries beside it", "[vault][ledger]") {
    const auto engine = open_in_memory();
    test::ManualClock clock;
    test::make_store(*engine, clock);
    OpenStore store(*engine, clock);
    // Holds the commit thread until everything below is queued, so that it lands in one group.
    std::promise<void> queued;
    std::promise<base::Status> first, second;
    store.ledger->submit(
        [&](Transaction&) -> base::Status {
            queued.get_future().wait();
            return {};
        },
        [&](base::Status status) { first.set_value(std::move(status)); });
    store.ledger->submit(
        [](Transaction& transaction) -> base::Status {
            if (auto put = put_object(7, "content")(transaction); !put) return put;
            transaction.batch().require(Table::meta, test::object_key(7), 99);
            return {};
        },
        [&](base::Status status) { second.set_value(std::move(status)); });
    std::promise<base::Result<std::uint64_t>> appended;
    store.ledger->append(entry_of(EntryKind::use_intent), {},
                         [&](auto at) { appended.set_value(std::move(at)); });
    queued.set_value();
    REQUIRE(first.get_future().get());
    const auto refused = second.get_future().get();
    REQUIRE_FALSE(refused);
    REQUIRE(refused.error().kind == base::ErrorKind::conflict);
    REQUIRE(refused.error().code == "storage.conflict");
    REQUIRE(appended.get_future().get() == 1);
    REQUIRE_FALSE(has_object(*engine, 7));
}

TEST_CASE("rows without an entry, and rows of the log itself, are refused", "[vault][ledger]") {
    EachEngine each;
    OpenStore store(*each.engine, each.clock);
    const auto silent = submit(*store.ledger, [](Transaction& transaction) -> base::Status {
        transaction.batch().put(Table::meta, "key", "value");
        return {};
    });
    REQUIRE_FALSE(silent);
    REQUIRE(silent.error().kind == base::ErrorKind::internal);
    REQUIRE(silent.error().code == "ledger.change_without_entry");
    const std::pair<Table, ByteView> rows_of_the_log[] = {
        {Table::log, "key"}, {Table::state, "head"}, {Table::tile, "key"}};
    for (const auto& row : rows_of_the_log) {
        const auto reserved = submit(*store.ledger, [&](Transaction& transaction) -> base::Status {
            transaction.note(entry_of(EntryKind::write));
            transaction.batch().put(row.first, row.second, "value");
            return {};
        });
        REQUIRE_FALSE(reserved);
        REQUIRE(reserved.error().code == "ledger.reserved_row");
    }
    REQUIRE(each.engine->last_commit() == 1);
    // Nothing written, nothing noted: nothing to commit, and not an error.
    REQUIRE(submit(*store.ledger, [](Transaction&) -> base::Status { return {}; }));
    REQUIRE(each.engine->last_commit() == 1);
    // An entry alone is a change too.
    REQUIRE(submit(*store.ledger, [](Transaction& transaction) -> base::Status {
        transaction.note(entry_of(EntryKind::admin));
        return {};
    }));
    REQUIRE(store.ledger->head().size == 2);
}

TEST_CASE("the sums follow every kind of write", "[vault][ledger]") {
    EachEngine each;
    {
        OpenStore store(*each.engine, each.clock);
        REQUIRE(submit(*store.ledger, put_object(1, "one")));
        REQUIRE(submit(*store.ledger, put_object(1, "another")));
        REQUIRE(submit(*store.ledger, put_object(2, "two")));
        REQUIRE(submit(*store.ledger, [](Transaction& transaction) -> base::Status {
            auto& batch = transaction.batch();
            transaction.note(entry_of(EntryKind::write));
            batch.put(Table::meta, test::object_key(3), "first");  // later writes to a row win
            batch.put(Table::meta, test::object_key(3), "second");
            batch.put(Table::meta, test::object_key(4), "gone at once");
            batch.erase(Table::meta, test::object_key(4));
            batch.erase(Table::meta, test::object_key(2));
            batch.erase(Table::meta, test::object_key(5));  // never was
            batch.put(Table::value, "v", "value");
            batch.put(Table::data_key, "v", "data key");
            transaction.keys().create_owner_key({}, id_of(9), transaction.commit_seq(), transaction.now(),
                                                batch);
            return {};
        }));
    }
    const auto replaced = [&](const Row& was, const char* by) {
        OpenStore store(*each.engine, each.clock);
        return submit(*store.ledger, [&](Transaction& transaction) -> base::Status {
            transaction.note(entry_of(EntryKind::write));
            transaction.batch().replace(Table::meta, test::object_key(1), was, by);
            return {};
        });
    };
    const auto was = each.engine->get(Table::meta, test::object_key(1)).value().value();
    REQUIRE(replaced(was, "read before"));
    CHECK(replaced(was, "read too early").error().code == "storage.conflict");
    CHECK(each.engine->get(Table::meta, test::object_key(1)).value()->value == "read before");

    OpenStore again(*each.engine, each.clock);  // verifies them
    REQUIRE_FALSE(has_object(*each.engine, 2));
    REQUIRE(has_object(*each.engine, 3));
    REQUIRE(submit(*again.ledger, [](Transaction& transaction) -> base::Status {
        transaction.note(entry_of(EntryKind::write));
        transaction.keys().forget_owner(id_of(9), transaction.batch());
        return {};
    }));
}

TEST_CASE("times never go backwards, and each day has its key", "[vault][ledger]") {
    EachEngine each;
    const auto start = each.clock.now();
    const auto days = rows_in(*each.engine, Table::owner_key);
    {
        OpenStore store(*each.engine, each.clock);
        each.clock.advance(std::chrono::hours(48));
        REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent)));
        each.clock.set(start);  // somebody set the clock back
        REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent)));
        REQUIRE(store.ledger->read(2)->time == start + std::chrono::hours(48));
        REQUIRE(rows_in(*each.engine, Table::owner_key) == days + 1);
    }
    OpenStore again(*each.engine, each.clock);
    REQUIRE(append(*again.ledger, entry_of(EntryKind::use_intent)));
    REQUIRE(again.ledger->read(3)->time == start + std::chrono::hours(48));
    REQUIRE(again.ledger->read(0)->time == start);
    REQUIRE(rows_in(*each.engine, Table::owner_key) == days + 1);
}

TEST_CASE("names are learned once and told again", "[vault][ledger]") {
    EachEngine each;
    const std::string long_name(256, 'n');
    {
        OpenStore store(*each.engine, each.clock);
        const std::array<NamedFingerprint, 3> names{
            {{id_of(1), "github"}, {id_of(2), "create_issue"}, {id_of(3), long_name}}};
        for (int i = 0; i < 3; ++i) REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent), names));
        REQUIRE(*store.ledger->name_of(id_of(1)) == "github");
        REQUIRE(rows_in(*each.engine, Table::name) == 2);
    }
    OpenStore again(*each.engine, each.clock);
    REQUIRE(append(*again.ledger, entry_of(EntryKind::use_intent), {{{id_of(1), "github"}, {}, {}}}));
    REQUIRE(rows_in(*each.engine, Table::name) == 2);
    REQUIRE(*again.ledger->name_of(id_of(2)) == "create_issue");
    REQUIRE(*again.ledger->name_of(id_of(3)) == std::nullopt);
    REQUIRE_FALSE(again.ledger->name_of(id_of(4)).value());
    REQUIRE((**each.engine->get(Table::name, {reinterpret_cast<const char*>(id_of(1).data()), 16}))
                .value.find("github") == std::string::npos);
}

TEST_CASE("entries that are appended together share rows, and each is read by its position",
          "[vault][ledger]") {
    EachEngine each;
    constexpr std::uint64_t kTogether = 2 * kRowEntries + 10;
    {
        OpenStore store(*each.engine, each.clock);
        std::vector<LogEntry> entries;
        for (unsigned i = 0; i < kTogether; ++i) entries.push_back(entry_of(EntryKind::use_intent, i));
        append_all(*store.ledger, entries);
        REQUIRE(rows_in(*each.engine, Table::log) == 1 + 3 + 1);  // the store's first, theirs, the last alone
    }
    OpenStore again(*each.engine, each.clock);
    for (std::uint64_t at = 0; at < kTogether; ++at) {
        const auto entry = again.ledger->read(1 + at);
        REQUIRE(entry);
        REQUIRE(entry->position == 1 + at);
        REQUIRE(entry->credential == entry_of(EntryKind::use_intent, static_cast<unsigned>(at)).credential);
    }
    REQUIRE(again.ledger->head().root == root_on_disk(*each.engine, again.ledger->head().size));
    const auto beyond = again.ledger->read(kTogether + 2);
    REQUIRE_FALSE(beyond);
    REQUIRE(beyond.error().code == "log.entry_not_found");
}

TEST_CASE("the tree keeps growing over restarts, through full tiles of two levels", "[vault][ledger]") {
    test::ManualClock clock;
    const auto engine = open_in_memory();
    test::make_store(*engine, clock);
    std::uint64_t size = 1;
    for (const std::uint64_t target :
         {2, 3, 255, 256, 257, 258, 511, 512, 4096, 4097, 10'000, 65'535, 65'536, 65'537, 66'000}) {
        OpenStore store(*engine, clock);
        REQUIRE(store.ledger->head().size == size);
        std::vector<LogEntry> entries;
        for (; size < target - 1; ++size)
            entries.push_back(entry_of(EntryKind::use_intent, static_cast<unsigned>(size)));
        if (!entries.empty())
            append_all(*store.ledger, entries);
        else
            REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent)));
        size = target;
        REQUIRE(store.ledger->head().size == size);
        REQUIRE(store.ledger->head().root == root_on_disk(*engine, size));
    }
    REQUIRE(rows_in(*engine, Table::tile) == 66'000 / 256 + 1);
    // Tile 3 of level 0 is the hashes of entries 768 to 1023; tile 0 of level 1 the roots over 256 entries
    // each.
    const auto tile = **engine->get(Table::tile, tile_key(0, 3));
    const auto upper = **engine->get(Table::tile, tile_key(1, 0));
    REQUIRE(tile.value.size() == 8192);
    crypto::Tree tree;
    for (std::uint64_t i = 0; i < 256; ++i) {
        const auto leaf = leaf_on_disk(*engine, 768 + i);
        REQUIRE(ByteView(tile.value).substr(i * 32, 32) == crypto::view(leaf));
        tree.append(leaf);
    }
    REQUIRE(ByteView(upper.value).substr(3 * 32, 32) == crypto::view(tree.root()));
}

TEST_CASE("whichever commit fails, changes and entries stay together", "[vault][ledger][fault]") {
    constexpr unsigned kChanges = 12;
    for (unsigned nth = 1; nth <= kChanges; ++nth) {
        test::ManualClock clock;
        test::FaultEngine engine;
        test::make_store(engine, clock);
        std::set<unsigned> done;
        {
            OpenStore store(engine, clock);
            engine.fail_commit(nth);
            for (unsigned object = 1; object <= kChanges; ++object) {
                const auto changed = submit(*store.ledger, put_object(object, "content"));
                if (changed)
                    done.insert(object);
                else
                    REQUIRE(changed.error().code == "log.not_durable");
                const auto used = append(*store.ledger, entry_of(EntryKind::use_intent, object));
                if (!used) REQUIRE(used.error().code == "log.not_durable");
                REQUIRE(has_object(engine, object) == (done.count(object) == 1));
            }
            REQUIRE(store.ledger->counters().failed_commits == 1);
            REQUIRE(holds_soon([&] { return store.ledger->counters().writable.load(); }));
        }
        REQUIRE(done.size() >= kChanges - 1);
        OpenStore again(engine, clock);
        REQUIRE(again.ledger->head().root == root_on_disk(engine, again.ledger->head().size));
        for (unsigned object = 1; object <= kChanges; ++object) {
            REQUIRE(has_object(engine, object) == (done.count(object) == 1));
            REQUIRE(has_entry(*again.ledger, object) == (done.count(object) == 1));
        }
    }
}

TEST_CASE("while the disk refuses, callers get an answer at once, and it works again by itself",
          "[vault][ledger][fault]") {
    test::ManualClock clock;
    test::FaultEngine engine;
    test::make_store(engine, clock);
    {
        OpenStore store(engine, clock);
        REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent), {{{id_of(1), "before"}, {}, {}}}));
        engine.fail_commits();
        for (unsigned i = 0; i < 200; ++i) {
            const auto used =
                append(*store.ledger, entry_of(EntryKind::use_intent, i), {{{id_of(2), "during"}, {}, {}}});
            REQUIRE_FALSE(used);
            REQUIRE(used.error().kind == base::ErrorKind::unavailable);
            REQUIRE(used.error().code == "log.not_durable");
            REQUIRE(used.error().message ==
                    "The access log cannot be written right now, so the call was not made.");
            REQUIRE_FALSE(used.error().hint.empty());
        }
        const auto changed = submit(*store.ledger, put_object(1, "content"));
        REQUIRE_FALSE(changed);
        REQUIRE(changed.error().message ==
                "The access log cannot be written right now, so nothing was changed.");
        REQUIRE_FALSE(store.ledger->counters().writable);
        REQUIRE(engine.commits() < 100);  // answers come without waiting for the disk, which is not hammered
        REQUIRE(store.ledger->head().size == 2);

        engine.heal();
        REQUIRE(holds_soon([&] { return store.ledger->counters().writable.load(); }));  // with nobody asking
        REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent), {{{id_of(2), "during"}, {}, {}}}) ==
                2);
        REQUIRE(*store.ledger->name_of(id_of(2)) == "during");
        REQUIRE(store.access_log->use_of(entry_of(EntryKind::use_intent).credential).count == 2);
    }
    OpenStore again(engine, clock);
    REQUIRE(again.ledger->head().size == 3);
    REQUIRE(again.ledger->head().root == root_on_disk(engine, 3));
}

TEST_CASE("reads that fail during a commit fail that commit alone", "[vault][ledger][fault]") {
    test::ManualClock clock;
    test::FaultEngine engine;
    test::make_store(engine, clock);
    OpenStore store(engine, clock);
    engine.fail_reads();
    const auto changed = submit(*store.ledger, put_object(1, "content"));
    REQUIRE_FALSE(changed);
    REQUIRE(changed.error().kind == base::ErrorKind::unavailable);
    engine.heal();
    REQUIRE(holds_soon([&] { return append(*store.ledger, entry_of(EntryKind::use_intent)).has_value(); }));
    REQUIRE_FALSE(has_object(engine, 1));
    REQUIRE(submit(*store.ledger, put_object(1, "content")));
}

/// Says that commits failed although the disk has them.
class LyingEngine final : public test::ForwardingEngine {
public:
    explicit LyingEngine(std::unique_ptr<StorageEngine> engine = open_in_memory())
        : ForwardingEngine(*engine), owned_(std::move(engine)) {}

    base::Status commit(std::uint64_t commit_seq, const Batch& batch) override {
        auto committed = inner_.commit(commit_seq, batch);
        if (committed && lies-- == 1)
            return base::failure(base::ErrorKind::unavailable, "storage.unavailable", "No.");
        return committed;
    }

    std::atomic<int> lies = 0;  // 1: the next commit

private:
    std::unique_ptr<StorageEngine> owned_;
};

TEST_CASE("a commit that failed but is on disk is taken over", "[vault][ledger][fault]") {
    test::ManualClock clock;
    LyingEngine engine;
    test::make_store(engine, clock);
    OpenStore store(engine, clock);
    const auto acted = std::make_shared<std::atomic<bool>>(false);
    engine.lies = 1;
    const auto changed = submit(*store.ledger, [acted](Transaction& transaction) -> base::Status {
        transaction.when_durable([acted] { *acted = true; });
        transaction.note(entry_of(EntryKind::use_intent));
        return put_object(7, "content")(transaction);
    });
    REQUIRE_FALSE(changed);  // nothing better was known then
    REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent)) == 3);
    REQUIRE(*acted);
    REQUIRE(has_entry(*store.ledger, 7));
    REQUIRE(store.access_log->use_of(entry_of(EntryKind::use_intent).credential).count == 2);
    REQUIRE(store.ledger->head().root == root_on_disk(engine, 4));
}

TEST_CASE("two processes over one store: the second writer stops", "[vault][ledger]") {
    test::ManualClock clock;
    const auto rows = new_shared_rows();
    const auto engine = open_in_memory(rows), other = open_in_memory(rows);
    test::make_store(*engine, clock);
    OpenStore store(*engine, clock), second(*other, clock);
    REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent)) == 1);
    const auto refused = append(*second.ledger, entry_of(EntryKind::use_intent));
    REQUIRE_FALSE(refused);
    const auto stopped = append(*second.ledger, entry_of(EntryKind::use_intent));
    REQUIRE_FALSE(stopped);
    REQUIRE(stopped.error().kind == base::ErrorKind::corrupt);
    REQUIRE(stopped.error().code == "ledger.other_writer");
    REQUIRE(append(*store.ledger, entry_of(EntryKind::use_intent)) == 2);
}

TEST_CASE("what is queued when the ledger closes is still written", "[vault][ledger]") {
    EachEngine each;
    std::atomic<unsigned> durable{0};
    {
        OpenStore store(*each.engine, each.clock);
        for (unsigned i = 0; i < 5000; ++i)
            store.ledger->append(entry_of(EntryKind::use_intent, i), {},
                                 [&](const base::Result<std::uint64_t>& at) { durable += at ? 1 : 0; });
        store.ledger->append(entry_of(EntryKind::use_outcome), {}, nullptr);
        store.ledger->submit(put_object(1, "content"), nullptr);
    }
    REQUIRE(durable == 5000);
    OpenStore again(*each.engine, each.clock);
    REQUIRE(again.ledger->head().size == 5003);
    REQUIRE(has_object(*each.engine, 1));
}

TEST_CASE("after a power cut the log ends where the disk ends", "[vault][ledger][fault]") {
    for (std::size_t lost = 0; lost < 6; ++lost) {
        test::ManualClock clock;
        test::FaultEngine engine;
        test::make_store(engine, clock);
        std::unique_ptr<StorageEngine> left;
        {
            OpenStore store(engine, clock);
            for (unsigned i = 0; i < 4; ++i) REQUIRE(submit(*store.ledger, put_object(i, "content")));
            left = engine.cut_power(lost);
        }
        if (lost == 5) {
            REQUIRE_FALSE(*KeyRing::summary(*left));
            continue;
        }
        OpenStore again(*left, clock);
        REQUIRE(again.ledger->head().size == 5 - lost);
        for (unsigned i = 0; i < 4; ++i) {
            REQUIRE(has_object(*left, i) == (i < 4 - lost));
            REQUIRE(has_entry(*again.ledger, i) == (i < 4 - lost));
        }
        REQUIRE(submit(*again.ledger, put_object(9, "content")));
    }
}

}  // namespace
}  // namespace claviger::vault
