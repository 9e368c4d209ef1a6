// The pin: an older copy of the whole store, a forked log and a lost pin are refused, and nothing else is.
#include "vault/log_pin.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"
#include "vault/log_prefix.h"
#include "vault/store_marks.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>

namespace claviger::vault {
namespace {

namespace fs = std::filesystem;
using test::OpenStore;

constexpr auto kPlace = 4'096;

crypto::Key key_of(const OpenStore& store, const StorageEngine& engine) {
    const auto key = store.keys->owner_key(engine, {}, store.keys->instance(), kFirstGeneration);
    REQUIRE(key);
    return pin_key(**key);
}

std::unique_ptr<LogPin> open_pin(const fs::path& folder, const OpenStore& store, const StorageEngine& engine,
                                 const base::Clock& clock) {
    auto pin = LogPin::open(folder, store.keys->instance(), key_of(store, engine), clock);
    if (!pin) FAIL(pin.error().code << ": " << pin.error().detail);
    return std::move(*pin);
}

/// A store on disk, so that it can be copied as a whole.
struct PinnedStore {
    PinnedStore() {
        auto made = open_rocksdb(data.path() / "store");
        REQUIRE(made);
        test::make_store(**made, clock);
    }
    /// Opens the store in `folder`, lets `use` work with it, pinned, and closes it.
    base::Result<PinVerdict> with(const fs::path& folder, const std::function<void(OpenStore&)>& use,
                                  bool was_pinned = true) {
        auto engine = open_rocksdb(folder);
        REQUIRE(engine);
        OpenStore store(**engine, clock);
        auto pin = open_pin(pins.path(), store, **engine, clock);
        auto verdict = check_pin(*pin, **engine, store.ledger->head(), {was_pinned, overruling});
        if (!verdict) return verdict;
        if (*verdict == PinVerdict::accepted) REQUIRE(pin->use_up(store.ledger->head().root));
        if (*verdict != PinVerdict::same) REQUIRE(pin->reset(store.ledger->head()));
        store.ledger->set_pin(pin.get());
        if (use) use(store);
        head = store.ledger->head();
        store.ledger.reset();
        return verdict;
    }
    base::Result<PinVerdict> with(const std::function<void(OpenStore&)>& use, bool was_pinned = true) {
        return with(data.path() / "store", use, was_pinned);
    }
    fs::path copy(std::string_view name) {
        const auto to = data.path() / name;
        fs::copy(data.path() / "store", to, fs::copy_options::recursive);
        return to;
    }
    fs::path pin_file() const { return fs::directory_iterator(pins.path())->path(); }

    static std::function<void(OpenStore&)> appending(std::size_t entries) {
        return [entries](OpenStore& store) {
            test::append_all(*store.ledger,
                             std::vector<LogEntry>(entries, test::entry_of(EntryKind::use_intent)));
        };
    }

    std::optional<Overruling> overruling = {};  // what the store says of one
    test::ManualClock clock;
    test::TemporaryDirectory data, pins;
    LogHead head;  // when it was closed
};

std::string code_of(const base::Result<PinVerdict>& verdict) {
    return verdict ? "(" + std::to_string(static_cast<int>(*verdict)) + ")"
                   : std::string(verdict.error().code);
}

TEST_CASE("Roots of the past are those that the tree had then", "[vault][pin]") {
    test::ManualClock clock;
    const auto engine = open_in_memory();
    test::make_store(*engine, clock);
    OpenStore store(*engine, clock);
    std::vector<LogHead> heads{store.ledger->head()};
    for (const std::size_t more : {1, 1, 5, 120, 128, 1, 255, 300, 700, 64})
        test::append_all(*store.ledger, std::vector<LogEntry>(more, test::entry_of(EntryKind::use_intent))),
            heads.push_back(store.ledger->head());

    for (const auto& now : heads)
        for (const auto& before : heads) {
            if (before.size > now.size) continue;
            const auto roots = roots_of(*engine, before.size, now.size);
            INFO(before.size << " of " << now.size);
            REQUIRE(roots);
            CHECK(roots->before == before.root);
            CHECK(roots->now == now.root);
        }
    CHECK(roots_of(*engine, 0, heads.back().size)->before == crypto::Tree().root());
    CHECK(roots_of(*engine, 3, heads.back().size + 1).error().code == "ledger.log_truncated");
}

TEST_CASE("A record opens with its key only, and with no bit changed", "[vault][pin]") {
    const auto key = crypto::Key::generate(), other = crypto::Key::generate();
    PinRecord record{test::id_of(7), base::Time(std::chrono::milliseconds(123'456)), {8, 9, {}}};
    record.head.root.fill(3);
    const auto bytes = encode(record, key);

    const auto read = decode_pin(bytes, &key);
    REQUIRE(read);
    CHECK(read->instance == record.instance);
    CHECK(read->time == record.time);
    CHECK(read->head.commit_seq == 8);
    CHECK(read->head.size == 9);
    CHECK(read->head.root == record.head.root);
    CHECK_FALSE(decode_pin(bytes, &other));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        auto changed = bytes;
        changed[i] = static_cast<char>(changed[i] ^ 1);
        CHECK_FALSE(decode_pin(changed, &key));
        CHECK_FALSE(decode_pin(ByteView(bytes).substr(0, i), &key));
    }
}

TEST_CASE("A store that goes on from its pin is taken, however it was closed", "[vault][pin]") {
    PinnedStore store;
    REQUIRE(code_of(store.with(PinnedStore::appending(3), false)) == "(1)");
    REQUIRE(code_of(store.with(PinnedStore::appending(700))) == "(0)");
    REQUIRE(code_of(store.with({})) == "(0)");
    // A power cut took the newest records of the pin: it is behind, which every state of the store is good
    // for.
    const auto file = store.pin_file();
    const auto behind = *read_file(file, 1 << 20);
    REQUIRE(code_of(store.with(PinnedStore::appending(900))) == "(0)");
    REQUIRE(replace_file(file, behind));
    REQUIRE(code_of(store.with({})) == "(0)");
}

TEST_CASE("An older copy of the whole store is refused, and named as one", "[vault][pin]") {
    PinnedStore store;
    REQUIRE(store.with(PinnedStore::appending(5), false));
    const auto older = store.copy("older");
    REQUIRE(store.with(PinnedStore::appending(2)));

    const auto refused = store.with(older, {});

    REQUIRE(code_of(refused) == "pin.store_older");
    CHECK(refused.error().kind == base::ErrorKind::corrupt);
    CHECK(refused.error().message.find("newest 3 entries") != std::string::npos);
    CHECK(refused.error().hint.find("claviger pin accept") != std::string::npos);
    REQUIRE(code_of(store.with({})) == "(0)");
}

TEST_CASE("Every acknowledged commit is pinned: a copy from just before it is refused", "[vault][pin]") {
    PinnedStore store;
    REQUIRE(store.with({}, false));
    for (int i = 0; i < 5; ++i) {
        const auto before = store.copy("before" + std::to_string(i));
        REQUIRE(store.with(PinnedStore::appending(1)));
        CHECK(code_of(store.with(before, {})) == "pin.store_older");
    }
}

TEST_CASE("Another history of the same store is refused, whether shorter, equal or longer", "[vault][pin]") {
    PinnedStore store;
    REQUIRE(store.with(PinnedStore::appending(300), false));
    const auto fork = store.copy("fork");
    REQUIRE(store.with(PinnedStore::appending(10)));
    for (const std::size_t more : {10, 1, 600}) {  // ten as well, then eleven, then many
        auto engine = open_rocksdb(fork);
        REQUIRE(engine);
        store.clock.advance(std::chrono::seconds(1));
        OpenStore forked(**engine, store.clock);
        PinnedStore::appending(more)(forked);
        forked.ledger.reset();
        engine->reset();
        CHECK(code_of(store.with(fork, {})) == "pin.log_forked");
    }
}

TEST_CASE("What the operator accepts is taken once, and is what counts from then on", "[vault][pin]") {
    PinnedStore store;
    REQUIRE(store.with(PinnedStore::appending(5), false));
    const auto older = store.copy("older");
    const auto accepted = store.head;
    REQUIRE(store.with(PinnedStore::appending(2)));
    REQUIRE(code_of(store.with(older, {})) == "pin.store_older");
    std::ofstream(store.pins.path() / acceptance_name(accepted.root)) << "";

    REQUIRE(code_of(store.with(older, {})) == "(2)");

    CHECK_FALSE(fs::exists(store.pins.path() / acceptance_name(accepted.root)));
    REQUIRE(code_of(store.with(older, PinnedStore::appending(1))) == "(0)");
    CHECK(code_of(store.with({})) == "pin.log_forked");  // the one that was abandoned
}

TEST_CASE("An acceptance that is on record holds until the pin has followed, and for no other pin",
          "[vault][pin]") {
    PinnedStore store;
    REQUIRE(store.with(PinnedStore::appending(5), false));
    const auto older = store.copy("older");
    REQUIRE(store.with(PinnedStore::appending(2)));
    const auto overruled = store.head;
    REQUIRE(code_of(store.with(older, {})) == "pin.store_older");

    store.overruling = Overruling{overruled.size, overruled.root, {}};
    CHECK(code_of(store.with(store.copy("right"), PinnedStore::appending(1))) == "(0)");
    CHECK(code_of(store.with(older, {})) == "pin.store_older");  // the pin is another one meanwhile
    store.overruling = Overruling{store.head.size, store.head.root, {}};
    CHECK(code_of(store.with(older, {})) == "(3)");
    CHECK(code_of(store.with(older, {})) == "(0)");

    fs::remove(store.pin_file());
    CHECK(code_of(store.with(older, {})) == "pin.missing");
    store.overruling = Overruling{};
    CHECK(code_of(store.with(older, {})) == "(3)");
}

TEST_CASE("A pin that is gone is noticed by a store that had one", "[vault][pin]") {
    PinnedStore store;
    REQUIRE(store.with(PinnedStore::appending(1), false));
    fs::remove(store.pin_file());
    CHECK(code_of(store.with({})) == "pin.missing");
    std::ofstream(store.pins.path() / acceptance_name(store.head.root)) << "";
    CHECK(code_of(store.with({})) == "(2)");
}

TEST_CASE("A torn record leaves the one before; a pin without any is refused", "[vault][pin]") {
    PinnedStore store;
    REQUIRE(store.with(PinnedStore::appending(4), false));
    REQUIRE(store.with(PinnedStore::appending(1)));
    const auto file = store.pin_file();
    const auto whole = *read_file(file, 1 << 20);
    for (const int place : {0, kPlace}) {
        auto torn = whole;
        torn.replace(static_cast<std::size_t>(place) + 50, 40, 40, '\0');
        REQUIRE(replace_file(file, torn));
        CHECK(code_of(store.with({})) == "(0)");
    }
    auto none = whole;
    none[60] = static_cast<char>(none[60] ^ 1);
    none[kPlace + 60] = static_cast<char>(none[kPlace + 60] ^ 1);
    REQUIRE(replace_file(file, none));
    auto engine = open_rocksdb(store.data.path() / "store");
    REQUIRE(engine);
    OpenStore opened(**engine, store.clock);
    const auto key = key_of(opened, **engine);
    auto refused =
        LogPin::open(store.pins.path(), opened.keys->instance(), key_of(opened, **engine), store.clock);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "pin.refused");
    refused = LogPin::open(store.pins.path() / "absent", opened.keys->instance(), key_of(opened, **engine),
                           store.clock);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "pin.folder");
}

TEST_CASE("Marks open at their place, are summed, and can be taken back", "[vault][pin]") {
    test::ManualClock clock;
    const auto engine = open_in_memory();
    test::make_store(*engine, clock);
    const auto set = [](ByteView mark, ByteView content) {
        return [=](Transaction& transaction) {
            transaction.note(test::entry_of(EntryKind::seal));
            return set_mark(transaction, mark, content);
        };
    };
    {
        OpenStore store(*engine, clock);
        CHECK_FALSE(*read_mark(*engine, *store.keys, kPinnedMark));
        REQUIRE(test::submit(*store.ledger, set(kPinnedMark, "")));
        REQUIRE(test::submit(*store.ledger, set(kFencedMark, "content")));
    }
    {
        OpenStore store(*engine, clock);  // sums and all
        CHECK(*read_mark(*engine, *store.keys, kPinnedMark) == Bytes());
        CHECK(*read_mark(*engine, *store.keys, kFencedMark) == Bytes("content"));
        REQUIRE(test::submit(*store.ledger, [](Transaction& transaction) -> base::Status {
            transaction.note(test::entry_of(EntryKind::seal));
            clear_mark(transaction, kFencedMark);
            return {};
        }));
        CHECK_FALSE(*read_mark(*engine, *store.keys, kFencedMark));
        const auto row = **engine->get(Table::state, kPinnedMark);
        Batch swapped;
        swapped.put(Table::state, kFencedMark, row.value);
        REQUIRE(engine->commit(engine->last_commit() + 1, swapped));
        CHECK(read_mark(*engine, *store.keys, kFencedMark).error().code == "mark.refused");
    }
    auto keys = KeyRing::unseal(*engine, test::key_file());
    REQUIRE(keys);
    REQUIRE_FALSE(Ledger::open(*engine, **keys, clock));  // a planted mark does not go unnoticed
}

}  // namespace
}  // namespace claviger::vault
