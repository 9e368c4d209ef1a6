// Questions to the access log, answered as a reader of every entry would answer them.
#include "vault/access_log.h"
#include "tests/support/spec.h"
#include "tests/support/vault_fault_engine.h"
#include "tests/support/vault_test_store.h"
#include "vault/index_block.h"
#include "vault/log_rows.h"

#include <map>
#include <random>

namespace claviger::vault {
namespace {

using test::id_of;
using test::OpenStore;

constexpr unsigned kEntries = 13'500;  // three full blocks and a tail

const char* const kServers[] = {"github", "linear", "slack"};
const char* const kTools[] = {"create_issue", "list", "search", "delete", "post"};

/// A log with random entries in it, and the same entries in a plain vector.
struct BusyLog {
    BusyLog() {
        test::make_store(*engine, clock);
        store.emplace(*engine, clock);
        written.push_back(*store->ledger->read(0));
        std::mt19937 random(42);
        while (written.size() < kEntries) append_some(random, 97);
    }

    void append_some(std::mt19937& random, unsigned count) {
        clock.advance(std::chrono::milliseconds(random() % 50));
        std::vector<std::pair<LogEntry, std::array<NamedFingerprint, 3>>> entries;
        for (unsigned i = 0; i < count; ++i) entries.push_back(random_entry(random));
        const auto before = store->ledger->head().size;
        for (const auto& [entry, names] : entries) store->ledger->append(entry, names, nullptr);
        REQUIRE(test::append(*store->ledger, random_entry(random).first));
        for (auto at = before; at < store->ledger->head().size; ++at)
            written.push_back(*store->ledger->read(at));
    }

    std::pair<LogEntry, std::array<NamedFingerprint, 3>> random_entry(std::mt19937& random) {
        LogEntry entry;
        const EntryKind kinds[] = {EntryKind::use_intent, EntryKind::use_intent, EntryKind::use_outcome,
                                   EntryKind::deny, EntryKind::write};
        entry.kind = kinds[random() % 5];
        entry.verdict = entry.kind == EntryKind::deny ? Verdict::denied : static_cast<Verdict>(random() % 2);
        entry.workspace = random() % 20 == 0 ? base::RawId{} : id_of(1 + random() % 3);
        if (random() % 4) entry.vault = id_of(100 + random() % 5);
        if (random() % 4) entry.credential = id_of(200 + random() % 40);
        if (random() % 4) entry.credential_version = 1 + random() % 12;
        if (random() % 4) entry.session = id_of(300 + random() % 500);
        if (random() % 4) entry.agent = id_of(400 + random() % 7);
        if (random() % 4) entry.environment = id_of(500 + random() % 3);
        std::array<NamedFingerprint, 3> names{};
        if (random() % 4) {
            names[0] = {{}, kServers[random() % 3]};
            names[1] = {{}, kTools[random() % 5]};
            names[2] = {{}, "tools/call"};
            entry.server = names[0].fingerprint = store->access_log->fingerprint("server", names[0].name);
            entry.tool = names[1].fingerprint = store->access_log->fingerprint("tool", names[1].name);
            entry.method = names[2].fingerprint = store->access_log->fingerprint("method", names[2].name);
        }
        return {entry, names};
    }

    test::ManualClock clock;
    std::unique_ptr<StorageEngine> engine = open_in_memory();
    std::optional<OpenStore> store;
    std::vector<LogEntry> written;
};

/// Built once, for the tests that only read it.
const BusyLog& busy_log() {
    static const BusyLog log;
    return log;
}

/// The answer of a reader of every entry.
std::vector<std::uint64_t> naive(const BusyLog& log, const LogQuery& query) {
    const auto fingerprint = [&](const char* domain, const std::string& name) {
        return log.store->access_log->fingerprint(domain, name);
    };
    const auto server = query.server ? fingerprint("server", *query.server) : Fingerprint{};
    const auto tool = query.tool ? fingerprint("tool", *query.tool) : Fingerprint{};
    std::vector<std::uint64_t> found;
    for (auto entry = log.written.rbegin(); entry != log.written.rend() && found.size() < query.limit;
         ++entry) {
        if (query.scope == LogQuery::Scope::workspace && entry->workspace != query.workspace) continue;
        if (query.vault && entry->vault != *query.vault) continue;
        if (query.credential && entry->credential != *query.credential) continue;
        if (query.session && entry->session != *query.session) continue;
        if (query.agent && entry->agent != *query.agent) continue;
        if (query.environment && entry->environment != *query.environment) continue;
        if (query.server && entry->server != server) continue;
        if (query.tool && entry->tool != tool) continue;
        if (query.verdict && entry->verdict != *query.verdict) continue;
        if (query.kind && entry->kind != *query.kind) continue;
        if (query.from && entry->time < *query.from) continue;
        if (query.to && entry->time >= *query.to) continue;
        if (query.below && entry->position >= *query.below) continue;
        found.push_back(entry->position);
    }
    return found;
}

std::vector<std::uint64_t> positions(const LogPage& page) {
    std::vector<std::uint64_t> found;
    for (const auto& named : page.entries) found.push_back(named.entry.position);
    return found;
}

LogQuery random_query(std::mt19937& random, const BusyLog& log) {
    LogQuery query;
    query.workspace = id_of(1 + random() % 3);
    if (random() % 3 == 0) query.scope = LogQuery::Scope::all_workspaces;
    if (random() % 4 == 0) query.vault = id_of(100 + random() % 6);
    if (random() % 4 == 0) query.credential = id_of(200 + random() % 41);
    if (random() % 6 == 0) query.session = id_of(300 + random() % 501);
    if (random() % 4 == 0) query.agent = id_of(400 + random() % 8);
    if (random() % 4 == 0) query.environment = id_of(500 + random() % 4);
    if (random() % 4 == 0) query.server = kServers[random() % 3];
    if (random() % 4 == 0) query.tool = random() % 9 == 0 ? "never_called" : kTools[random() % 5];
    if (random() % 4 == 0) query.verdict = static_cast<Verdict>(random() % 3);
    if (random() % 4 == 0) query.kind = static_cast<EntryKind>(1 + random() % 5);
    const auto time = [&] { return log.written[random() % log.written.size()].time; };
    if (random() % 4 == 0) query.from = time();
    if (random() % 4 == 0) query.to = time();
    if (random() % 4 == 0) query.below = random() % (kEntries + 100);
    query.limit = 1 + random() % 60;
    return query;
}

TEST_CASE("queries answer like a reader of every entry, page by page", "[vault][access_log]") {
    const BusyLog& log = busy_log();
    std::mt19937 random(1);
    std::size_t hits = 0;
    for (int round = 0; round < 200; ++round) {
        auto query = random_query(random, log);
        INFO("round " << round);
        const auto page = log.store->access_log->query(query);
        REQUIRE(page);
        const auto expected = naive(log, query);
        REQUIRE(positions(*page) == expected);
        hits += expected.size();
        // A next page exactly when there is more.
        auto everything = query;
        everything.limit = kEntries;
        REQUIRE(page->next_below.has_value() == (naive(log, everything).size() > expected.size()));
    }
    REQUIRE(hits > 1000);

    for (int round = 0; round < 5; ++round) {
        auto query = random_query(random, log);
        query.session.reset();
        query.limit = 250;
        std::vector<std::uint64_t> walked;
        auto rest = query;
        for (int pages = 0; pages < 100; ++pages) {
            const auto page = log.store->access_log->query(rest);
            REQUIRE(page);
            REQUIRE(page->entries.size() <= 250);
            for (const auto position : positions(*page)) walked.push_back(position);
            if (!page->next_below) break;
            rest.below = page->next_below;
        }
        query.limit = kEntries;
        REQUIRE(walked == naive(log, query));
    }
}

TEST_CASE("pages carry the names behind the fingerprints", "[vault][access_log]") {
    const BusyLog& log = busy_log();
    LogQuery query;
    query.scope = LogQuery::Scope::all_workspaces;
    query.server = "linear";
    query.tool = "search";
    query.below = 5000;
    const auto page = log.store->access_log->query(query);
    REQUIRE(page);
    REQUIRE(page->entries.size() == 20);
    for (const auto& named : page->entries) {
        REQUIRE(named.server == "linear");
        REQUIRE(named.tool == "search");
        REQUIRE(named.method == "tools/call");
    }
}

TEST_CASE("entries of the instance and of other workspaces stay out of sight", "[vault][access_log]") {
    const BusyLog& log = busy_log();
    LogQuery query;
    query.workspace = id_of(2);
    query.limit = 1000;
    const auto page = log.store->access_log->query(query);
    REQUIRE(page);
    for (const auto& named : page->entries) REQUIRE(named.entry.workspace == id_of(2));
    query.workspace = {};  // nobody's workspace: not a way to the instance's entries
    REQUIRE(log.store->access_log->query(query)->entries.empty());
    query.workspace = id_of(77);
    REQUIRE(log.store->access_log->query(query)->entries.empty());
}

TEST_CASE("use counts are exact, through restarts and failed commits", "[vault][access_log]") {
    BusyLog log;
    const auto check = [&] {
        std::map<base::RawId, CredentialUse> expected;
        for (const auto& entry : log.written) {
            if (entry.kind != EntryKind::use_intent || entry.credential == base::RawId{}) continue;
            auto& use = expected[entry.credential];
            ++use.count;
            use.last = entry.time;
            if (entry.credential_version == 0) continue;
            std::erase_if(use.versions,
                          [&](const auto& one) { return one.number == entry.credential_version; });
            use.versions.insert(use.versions.begin(), {entry.credential_version, entry.time});
        }
        REQUIRE(expected.size() == 40);
        for (const auto& [credential, use] : expected) {
            REQUIRE(log.store->access_log->use_of(credential).count == use.count);
            REQUIRE(log.store->access_log->use_of(credential).last == use.last);
            auto versions = use.versions;
            versions.resize(std::min(versions.size(), CredentialUse::kMostVersions));
            REQUIRE(log.store->access_log->use_of(credential).versions == versions);
        }
        REQUIRE(log.store->access_log->use_of(id_of(9999)).count == 0);
    };
    check();
    std::mt19937 random(5);
    for (int round = 0; round < 4; ++round) {
        log.store.reset();
        log.store.emplace(*log.engine, log.clock);
        check();
        for (int i = 0; i < 13; ++i) log.append_some(random, 97);
        check();
    }
}

TEST_CASE("the last use of a version is known behind any number of uses of another", "[vault][access_log]") {
    test::ManualClock clock;
    const auto engine = vault::open_in_memory();
    test::make_store(*engine, clock);
    std::optional<OpenStore> store;
    store.emplace(*engine, clock);
    auto use = test::entry_of(EntryKind::use_intent);
    use.credential_version = 1;
    REQUIRE(test::append(*store->ledger, use));
    const auto first_used = clock.now();
    clock.advance(std::chrono::hours(1));
    use.credential_version = 2;
    test::append_all(*store->ledger, std::vector<LogEntry>(9'000, use));
    for (int restart = 0; restart < 2; ++restart) {
        const auto versions = store->access_log->use_of(use.credential).versions;
        REQUIRE(versions == std::vector<CredentialUse::Version>{{2, clock.now()}, {1, first_used}});
        store.reset();
        store.emplace(*engine, clock);
    }
}

TEST_CASE("a failed commit that would have completed a block is forgotten", "[vault][access_log][fault]") {
    test::ManualClock clock;
    test::FaultEngine engine;
    test::make_store(engine, clock);
    OpenStore store(engine, clock);
    const auto entry = test::entry_of(EntryKind::use_intent);
    test::append_all(*store.ledger,
                     std::vector<LogEntry>(4093, entry));  // and one that waits for them: 4095 with the first
    REQUIRE(store.ledger->head().size == 4095);
    engine.fail_commit(1);
    REQUIRE_FALSE(test::append(*store.ledger, entry));
    REQUIRE_FALSE(*engine.get(Table::log_index, Bytes(8, '\0')));
    REQUIRE(store.access_log->use_of(entry.credential).count == 4094);
    REQUIRE(test::append(*store.ledger, entry) == 4095);
    REQUIRE(*engine.get(Table::log_index, Bytes(8, '\0')));
    REQUIRE(store.access_log->use_of(entry.credential).count == 4095);
    LogQuery query;
    query.workspace = entry.workspace;
    query.below = 3;
    REQUIRE(positions(*store.access_log->query(query)) == std::vector<std::uint64_t>{2, 1});
}

TEST_CASE("the use count of an erased credential stays erased", "[vault][access_log]") {
    test::ManualClock clock;
    const auto engine = vault::open_in_memory();
    test::make_store(*engine, clock);
    std::optional<OpenStore> store;
    store.emplace(*engine, clock);
    const auto use = test::entry_of(EntryKind::use_intent);
    test::append_all(*store->ledger, std::vector<LogEntry>(100, use));
    REQUIRE(test::submit(*store->ledger, [&](vault::Transaction& now) -> base::Status {
        auto erased = test::entry_of(EntryKind::write);
        erased.action = vault::Action::erase;
        erased.object = vault::ObjectKind::credential;
        erased.object_id = use.credential;
        now.batch().erase(Table::usage, vault::id_view(use.credential));
        now.note(erased);
        return {};
    }));
    const auto forgotten = [&] {
        CHECK(store->access_log->use_of(use.credential).count == 0);
        CHECK_FALSE(*engine->get(Table::usage, vault::id_view(use.credential)));
    };
    forgotten();
    store.reset();
    store.emplace(*engine, clock);
    forgotten();
    auto other = use;
    other.credential = test::id_of(77);
    test::append_all(*store->ledger, std::vector<LogEntry>(4095, other));  // completes the block
    forgotten();
    CHECK(store->access_log->use_of(other.credential).count == 4096);
    CHECK(*engine->get(Table::usage, vault::id_view(other.credential)));
}

TEST_CASE("a rare value in a long log costs a bounded search", "[vault][access_log]") {
    test::ManualClock clock;
    const auto engine = open_in_memory();
    test::make_store(*engine, clock);
    OpenStore store(*engine, clock);
    auto rare = test::entry_of(EntryKind::deny);
    rare.session = id_of(5'000);
    REQUIRE(test::append(*store.ledger, rare) == 1);
    auto common = rare;
    common.session = id_of(5'001);
    for (int i = 0; i < 34; ++i) {  // 34 blocks on top of it
        clock.advance(std::chrono::seconds(1));
        test::append_all(*store.ledger, std::vector<LogEntry>(4095, common));
    }
    LogQuery query;
    query.workspace = rare.workspace;
    query.session = rare.session;
    const auto first = store.access_log->query(query);
    REQUIRE(first);
    REQUIRE(first->entries.empty());
    REQUIRE(first->next_below == 2 * 4096);
    query.below = first->next_below;
    const auto second = store.access_log->query(query);
    REQUIRE(second);
    REQUIRE(positions(*second) == std::vector<std::uint64_t>{1});
    REQUIRE_FALSE(second->next_below);

    // A window of time far back is found without walking there.
    query.session = common.session;
    query.below.reset();
    query.from = store.ledger->read(2)->time;
    query.to = *query.from + std::chrono::milliseconds(1);
    query.limit = 3;
    REQUIRE(positions(*store.access_log->query(query)) == std::vector<std::uint64_t>{4097, 4096, 4095});
}

TEST_CASE("fingerprints and digests are keyed, stable and apart", "[vault][access_log]") {
    test::ManualClock clock;
    const auto engine = open_in_memory(), other_engine = open_in_memory();
    test::make_store(*engine, clock);
    test::make_store(*other_engine, clock);
    OpenStore other(*other_engine, clock);
    Fingerprint tool{};
    std::array<unsigned char, 16> digest{};
    {
        OpenStore store(*engine, clock);
        tool = store.access_log->fingerprint("tool", "search");
        digest = store.access_log->digest("body");
        REQUIRE(tool != store.access_log->fingerprint("server", "search"));
        REQUIRE(tool != store.access_log->fingerprint("tool", "Search"));
        REQUIRE(store.access_log->digest(std::string("\4toolsearch")) != tool);
        REQUIRE(digest != store.access_log->digest("body "));
    }
    OpenStore again(*engine, clock);
    REQUIRE(again.access_log->fingerprint("tool", "search") == tool);
    REQUIRE(again.access_log->digest("body") == digest);
    REQUIRE(other.access_log->fingerprint("tool", "search") != tool);
    REQUIRE(other.access_log->digest("body") != digest);
}

TEST_CASE("an index block's bytes are these", "[vault][access_log]") {
    std::vector<LogEntry> entries(kBlockEntries);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        entries[i].time = base::Time(std::chrono::milliseconds(1000 + i));
        entries[i].kind = EntryKind::deny;
    }
    entries[1].vault.fill(0xbb);
    entries[300].vault.fill(0xbb);
    entries[2].vault.fill(0xaa);
    const auto bytes = encode_index_block(entries);
    const std::string empty =
        "00000001"
        "00";
    std::string expected =
        "00000000000003e8"
        "00000000000013e7";
    expected += "01" + empty;
    expected +=
        "02"
        "00000027"
        "02" +
        std::string(32, 'a') +
        "01"
        "02" +
        std::string(32, 'b') +
        "02"
        "01"
        "ab02";
    for (const char* dimension : {"03", "04", "05", "06", "07", "08"}) expected += dimension + empty;
    REQUIRE(base::to_hex(base::ByteView(bytes).substr(0, expected.size() / 2)) == expected);

    const auto block = IndexBlock::parse(bytes);
    REQUIRE(block);
    REQUIRE(block->find(Dimension::vault, Bytes(16, '\xbb')) == Offsets{1, 300});
    REQUIRE(block->find(Dimension::vault, Bytes(16, '\xcc')) == Offsets{});
    REQUIRE(block->find(Dimension::kind, Bytes(1, '\3'))->size() == kBlockEntries);
    for (std::size_t size = 0; size < bytes.size(); size += 7)
        REQUIRE(IndexBlock::parse(bytes.substr(0, size)).error().code == "log.index_refused");
}

}  // namespace
}  // namespace claviger::vault
