// Whoever edits the disk is noticed: each way of doing it, and the code that tells.
#include "tests/support/spec.h"
#include "tests/support/vault_tampered_engine.h"
#include "tests/support/vault_test_store.h"
#include "vault/log_rows.h"
#include "vault/log_tree.h"

namespace claviger::vault {
namespace {

using test::object_key;
using test::OpenStore;
using test::put_object;
using test::submit;
using test::TamperedEngine;

constexpr std::uint64_t kEntries =
    4096 + 2 * 256 + 40;  // an index block, two tiles behind it and an unfinished one

Bytes position_key(std::uint64_t position) {
    Bytes key;
    base::append_big_endian(key, position);
    return key;
}

ByteView view_of(const base::RawId& id) { return {reinterpret_cast<const char*>(id.data()), id.size()}; }

/// A store with rows in every table, built once; each test edits what it reads of it.
struct Original {
    Original() {
        test::make_store(*engine, clock);
        OpenStore store(*engine, clock);
        const auto require = [](const base::Status& status) { REQUIRE(status); };
        require(submit(*store.ledger, put_object(1, "one, first")));
        old_row = row(Table::meta, object_key(1));
        old_head = row(Table::state, "head");
        old_commit = engine->last_commit();
        require(submit(*store.ledger, put_object(1, "one, second")));
        require(submit(*store.ledger, put_object(2, "two")));
        require(submit(*store.ledger, [](Transaction& transaction) -> base::Status {
            transaction.note(test::entry_of(EntryKind::write));
            transaction.keys().create_owner_key({}, test::id_of(70), transaction.commit_seq(),
                                                transaction.now(), transaction.batch());
            return {};
        }));
        REQUIRE(test::append(*store.ledger, test::entry_of(EntryKind::use_intent),
                             {{{test::id_of(5), "github"}, {}, {}}}));
        std::vector<LogEntry> entries(kEntries - store.ledger->head().size - 1,
                                      test::entry_of(EntryKind::use_intent));
        test::append_all(*store.ledger, entries);
        REQUIRE(store.ledger->head().size == kEntries);
    }
    Row row(Table table, ByteView key) const {
        const auto found = engine->get(table, key);
        REQUIRE(found);
        REQUIRE(*found);
        return **found;
    }
    Bytes first_key(Table table) const {
        Bytes first;
        REQUIRE(engine->scan(table, {}, {}, Order::ascending, [&](ByteView key, ByteView, std::uint64_t) {
            first = key;
            return false;
        }));
        REQUIRE_FALSE(first.empty());
        return first;
    }

    test::ManualClock clock;
    std::unique_ptr<StorageEngine> engine = open_in_memory();
    Row old_row, old_head;
    std::uint64_t old_commit = 0;
};

const Original& original() {
    static const Original store;
    return store;
}

/// Where the row stands that holds the entry.
Bytes row_of(std::uint64_t position) {
    const auto row = find_row(*original().engine, position);
    REQUIRE(row);
    REQUIRE(*row);
    return position_key((*row)->first);
}
/// Where the row before that one stands.
Bytes row_before(std::uint64_t position) {
    return row_of(base::read_big_endian<std::uint64_t>(row_of(position).data()) - 1);
}

/// What opening the edited store answers.
base::Error open_error(StorageEngine& engine) {
    auto keys = KeyRing::unseal(engine, test::key_file());
    if (!keys) return keys.error();
    const auto ledger = Ledger::open(engine, **keys, original().clock);
    if (!ledger) return ledger.error();
    return {base::ErrorKind::internal, "(opened)", "", "", ""};
}

void require_refused(TamperedEngine& engine, std::string_view code) {
    const auto error = open_error(engine);
    INFO(error.code << ": " << error.detail);
    REQUIRE(error.code == code);
    REQUIRE(error.kind == base::ErrorKind::corrupt);
    REQUIRE_FALSE(error.message.empty());
}

void require_rows_changed(TamperedEngine& engine, std::initializer_list<std::string> said) {
    const auto error = open_error(engine);
    INFO(error.code << ": " << error.detail);
    REQUIRE(error.code == "ledger.rows_changed");
    for (const auto& text : said) {
        INFO("wanted: " << text);
        REQUIRE(error.detail.find(text) != std::string::npos);
    }
}

std::string named(unsigned object) { return "meta row " + base::to_hex(object_key(object)); }

Row edited(Row row, std::size_t byte) {
    row.value[byte] = static_cast<char>(row.value[byte] ^ 0x40);
    return row;
}

TEST_CASE("the store opens while nobody has edited it", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    REQUIRE(open_error(engine).code == "(opened)");
}

TEST_CASE("two rows swapped are noticed and named", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    engine.replace(Table::meta, object_key(1), original().row(Table::meta, object_key(2)));
    engine.replace(Table::meta, object_key(2), original().row(Table::meta, object_key(1)));
    require_rows_changed(engine, {"tables that do not add up: meta", named(1), named(2)});
}

TEST_CASE("an old row put back is noticed and named", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    engine.replace(Table::meta, object_key(1), original().old_row);
    require_rows_changed(engine, {named(1) + " is of commit 2 although commit 3 changed it"});
    // Also when the edit went through the engine, which then knows a newer version of the row.
    engine.replace(Table::meta, object_key(1), {original().old_row.value, original().engine->last_commit()});
    require_rows_changed(engine, {named(1) + " is of commit 2 but was put there by commit"});
}

TEST_CASE("a row removed is noticed and named", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    engine.remove(Table::meta, object_key(2));
    require_rows_changed(engine, {base::to_hex(view_of(test::id_of(2))) + " is gone"});
}

TEST_CASE("a row planted is noticed and named", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    engine.replace(Table::meta, object_key(3), {test::stamped(4, "planted"), 4});
    require_rows_changed(engine, {named(3) + " does not open"});
}

TEST_CASE("one bit changed in a row of any summed table is noticed", "[vault][tamper]") {
    for (const auto table : {Table::meta, Table::owner_key, Table::usage, Table::name}) {
        const auto key = original().first_key(table);
        const auto size = original().row(table, key).value.size();
        for (const auto byte : {std::size_t{0}, size / 2, size - 1}) {
            TamperedEngine engine(*original().engine);
            engine.replace(table, key, edited(original().row(table, key), byte));
            INFO("table " << static_cast<int>(table) << ", byte " << byte);
            const auto error = open_error(engine);
            REQUIRE(error.kind == base::ErrorKind::corrupt);
            REQUIRE((error.code == "ledger.rows_changed" || error.code == "key.refused"));
        }
        TamperedEngine engine(*original().engine);
        engine.remove(table, key);
        REQUIRE(open_error(engine).kind == base::ErrorKind::corrupt);
    }
}

TEST_CASE("a key cut from its end, or added to, is noticed", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    const auto key = original().first_key(Table::usage);
    engine.remove(Table::usage, key);
    engine.replace(Table::usage, key + "x", original().row(Table::usage, key));
    require_rows_changed(engine, {"tables that do not add up: usage"});
}

TEST_CASE("an older head is refused", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    engine.replace(Table::state, "head", original().old_head);
    require_refused(engine, "ledger.head_refused");
    // With the engine set back as well, the rows written since betray it.
    engine.pretend_last_commit(original().old_commit);
    require_refused(engine, "ledger.rows_changed");
    engine.remove(Table::state, "head");
    require_refused(engine, "ledger.head_refused");
    for (const std::size_t byte : {0, 9, 40, 80, 120}) {
        TamperedEngine flipped(*original().engine);
        flipped.replace(Table::state, "head", edited(original().row(Table::state, "head"), byte));
        require_refused(flipped, "ledger.head_refused");
    }
}

TEST_CASE("an older head over rows that did not change since still betrays itself by the log",
          "[vault][tamper]") {
    test::ManualClock clock;
    const auto engine = open_in_memory();
    test::make_store(*engine, clock);
    Row old_head;
    {
        OpenStore store(*engine, clock);
        REQUIRE(test::append(*store.ledger, test::entry_of(EntryKind::use_intent)));
        old_head = **engine->get(Table::state, "head");
        REQUIRE(test::append(*store.ledger, test::entry_of(EntryKind::use_intent)));
    }
    TamperedEngine rolled_back(*engine);
    rolled_back.replace(Table::state, "head", old_head);
    rolled_back.pretend_last_commit(2);
    require_refused(rolled_back, "ledger.log_forked");
}

TEST_CASE("a log cut at its end is noticed", "[vault][tamper]") {
    for (const std::uint64_t cut : {1, 39, 40, 41, 300}) {
        TamperedEngine engine(*original().engine);
        for (std::uint64_t i = 1; i <= cut; ++i) engine.remove(Table::log, row_of(kEntries - i));
        require_refused(engine, "ledger.log_truncated");
    }
    TamperedEngine engine(*original().engine);
    engine.remove(Table::log, row_of(kEntries - 600));  // a hole in a full tile
    require_refused(engine, "ledger.log_truncated");
}

TEST_CASE("a log entry replaced or added is noticed", "[vault][tamper]") {
    for (const std::uint64_t position : {kEntries - 1, kEntries - 41, kEntries - 300, kEntries - 4000}) {
        TamperedEngine engine(*original().engine);
        const auto key = row_of(position);
        engine.replace(Table::log, key, original().row(Table::log, row_before(position)));
        require_refused(engine, "ledger.log_forked");
        for (const std::size_t byte : {std::size_t{3}, std::size_t{16}, std::size_t{70}}) {
            engine.replace(Table::log, key, edited(original().row(Table::log, key), byte));
            const auto code = open_error(engine).code;  // a row that says it holds fewer misses the others
            REQUIRE((code == "ledger.log_forked" || code == "ledger.log_truncated"));
        }
        auto fewer = original().row(Table::log, key);
        fewer.value[18] = 2;
        engine.replace(Table::log, key, fewer);
        const auto code = open_error(engine).code;
        REQUIRE((code == "ledger.log_forked" || code == "ledger.log_truncated"));
    }
    TamperedEngine engine(*original().engine);
    engine.replace(Table::log, position_key(kEntries), original().row(Table::log, position_key(0)));
    require_refused(engine, "ledger.log_forked");
}

TEST_CASE("an entry older than what start-up reads does not open when it was changed", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    REQUIRE(row_of(40) == row_of(60));  // a row of many entries
    REQUIRE(row_of(150) != row_of(40));
    engine.replace(Table::log, position_key(3), original().row(Table::log, position_key(4)));
    engine.remove(Table::log, row_of(40));
    engine.replace(Table::log, row_of(150), edited(original().row(Table::log, row_of(150)), 3));
    auto more = original().row(Table::log, row_of(300));
    more.value[18] = static_cast<char>(more.value[18] - 1);
    engine.replace(Table::log, row_of(300), more);
    // A row of an entry's own, put in the middle of another's entries, is not taken for theirs.
    const auto first = base::read_big_endian<std::uint64_t>(row_of(220).data());
    engine.replace(Table::log, position_key(first + 9), original().row(Table::log, position_key(4)));
    OpenStore store(engine, original().clock);
    REQUIRE(store.ledger->read(2));
    REQUIRE(store.ledger->read(first + 8));
    for (const std::uint64_t position : std::vector<std::uint64_t>{3, 40, 60, 150, 300, first + 9}) {
        const auto entry = store.ledger->read(position);
        REQUIRE_FALSE(entry);
        REQUIRE(entry.error().kind == base::ErrorKind::corrupt);
        REQUIRE(entry.error().code == "log.entry_refused");
    }
}

TEST_CASE("a tile removed or changed is noticed", "[vault][tamper]") {
    for (const std::uint64_t index : {0, 1, 10, 17}) {
        TamperedEngine engine(*original().engine);
        const auto key = tile_key(0, index);
        engine.remove(Table::tile, key);
        require_refused(engine, "ledger.log_truncated");
        engine.replace(Table::tile, key, edited(original().row(Table::tile, key), 5000));
        require_refused(engine, "ledger.log_forked");
        engine.replace(Table::tile, key, original().row(Table::tile, tile_key(0, index == 0 ? 1 : 0)));
        require_refused(engine, "ledger.log_forked");
    }
    TamperedEngine engine(*original().engine);
    engine.replace(Table::tile, tile_key(0, kEntries / 256), original().row(Table::tile, tile_key(0, 0)));
    require_refused(engine, "ledger.log_forked");
}

TEST_CASE("an index block removed, changed or moved is never believed", "[vault][tamper]") {
    const auto key = position_key(0);
    LogQuery query;
    query.workspace = test::id_of(1);
    query.below = 4000;
    const auto answer = [&](TamperedEngine& engine) {
        OpenStore store(engine, original().clock);
        const auto page = store.access_log->query(query);
        return page ? std::string("(answered)") : std::string(page.error().code);
    };
    TamperedEngine untouched(*original().engine);
    REQUIRE(answer(untouched) == "(answered)");
    TamperedEngine engine(*original().engine);
    engine.remove(Table::log_index, key);
    REQUIRE(answer(engine) == "log.index_refused");
    const auto size = original().row(Table::log_index, key).value.size();
    for (const std::size_t byte : {std::size_t{3}, std::size_t{60}, size / 2, size - 1}) {
        engine.replace(Table::log_index, key, edited(original().row(Table::log_index, key), byte));
        REQUIRE(answer(engine) == "log.index_refused");
    }
    engine.replace(Table::log_index, key, original().row(Table::usage, original().first_key(Table::usage)));
    REQUIRE(answer(engine) == "log.index_refused");
}

TEST_CASE("rows edited while the store is open do not open", "[vault][tamper]") {
    TamperedEngine engine(*original().engine);
    OpenStore store(engine, original().clock);
    REQUIRE(*store.ledger->name_of(test::id_of(5)) == "github");
    const auto name = test::id_of(5);
    const auto key = view_of(name);
    engine.replace(Table::name, key, edited(original().row(Table::name, key), 100));
    REQUIRE(store.ledger->name_of(test::id_of(5)).error().code == "log.name_refused");
    engine.replace(Table::log, row_of(9), edited(original().row(Table::log, row_of(9)), 100));
    REQUIRE(store.ledger->read(9).error().code == "log.entry_refused");
}

TEST_CASE("a change of an edited row is not committed over it unseen", "[vault][tamper]") {
    // The store is open; somebody edits a row below it; the next change of that row makes the sums wrong for
    // good.
    test::ManualClock clock;
    const auto inner = open_in_memory();
    test::make_store(*inner, clock);
    TamperedEngine engine(*inner);
    {
        OpenStore store(engine, clock);
        REQUIRE(submit(*store.ledger, put_object(1, "one")));
        engine.replace(Table::meta, object_key(1), {test::stamped(2, "edited"), 2});
        REQUIRE(submit(*store.ledger, put_object(1, "two")));
    }
    require_refused(*std::make_unique<TamperedEngine>(*inner), "ledger.rows_changed");
}

}  // namespace
}  // namespace claviger::vault
