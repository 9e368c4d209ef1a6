#include "proxy/lane.h"

#include "tests/support/net_loop.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"
#include "vault/storage_engine.h"

#include <atomic>
#include <memory>

using namespace claviger;

namespace {

/// A worker with a log in memory.
struct Hand {
    std::unique_ptr<vault::StorageEngine> engine = vault::open_in_memory();
    test::ManualClock clock;
    std::unique_ptr<test::OpenStore> store;
    std::atomic<std::size_t> durable = 0;
    test::Loop loop;
    std::unique_ptr<proxy::OutgoingEntries> entries;

    Hand() {
        test::make_store(*engine, clock);
        store = std::make_unique<test::OpenStore>(*engine, clock);
        entries = std::make_unique<proxy::OutgoingEntries>(loop.worker, *store->ledger);
    }
    ~Hand() { loop.stop(); }
    Hand(const Hand&) = delete;
    Hand& operator=(const Hand&) = delete;

    /// On the worker, without letting anything else have its turn.
    void add(std::size_t count) {
        loop.call([&] {
            for (; count > 0; --count)
                entries->add({.entry = test::entry_of(vault::EntryKind::use_intent),
                              .appended = [this](auto position) { durable += position ? 1 : 0; }});
            return true;
        });
    }
    std::size_t largest_group() const { return store->ledger->counters().group_entries_max; }
};

}  // namespace

TEST_CASE("What one turn of a worker adds to the log shares a commit", "[proxy][log]") {
    Hand hand;
    const auto before = hand.store->ledger->counters().commits.load();
    hand.add(100);
    REQUIRE(test::soon([&] { return hand.durable == 100; }));
    CHECK(hand.largest_group() == 100);
    CHECK(hand.store->ledger->counters().commits == before + 1);
    hand.add(1);  // and a call alone waits for nobody
    CHECK(test::soon([&] { return hand.durable == 101; }));
}

TEST_CASE("A long turn of a worker does not keep the disk waiting", "[proxy][log]") {
    Hand hand;
    std::atomic<std::size_t> durable_within = 0;
    hand.loop.call([&] {
        for (int i = 0; i < 130; ++i)
            hand.entries->add({.entry = test::entry_of(vault::EntryKind::use_intent),
                               .appended = [&](auto position) { hand.durable += position ? 1 : 0; }});
        test::soon([&] { return hand.durable >= 128; });  // the worker is still at it
        durable_within = hand.durable.load();
        return true;
    });
    CHECK(durable_within == 128);
    CHECK(test::soon([&] { return hand.durable == 130; }));
}
