#include "vault/records.h"

#include "crypto/random.h"
#include "tests/support/spec.h"
#include "tests/support/vault_fault_engine.h"
#include "tests/support/vault_forwarding_engine.h"
#include "tests/support/vault_tampered_engine.h"
#include "tests/support/vault_test_store.h"
#include "vault/sealed_rows.h"

#include <atomic>
#include <future>
#include <map>
#include <thread>

using namespace claviger;
using namespace claviger::vault;

namespace {

base::Result<Records::FirstKey> initialise(StorageEngine& engine, const base::Clock& clock) {
    std::vector<SealInput> inputs;
    inputs.push_back(test::key_file());
    return Records::initialise(engine, inputs, crypto::PassphraseStrength::only_for_tests, clock);
}

base::Result<std::unique_ptr<Records>> open_records(StorageEngine& engine, const base::Clock& clock) {
    auto keys = KeyRing::unseal(engine, test::key_file());
    if (!keys) return std::unexpected(std::move(keys).error());
    return Records::open(engine, std::move(*keys), clock);
}

base::Status change(Records& records, const std::function<base::Status(Change&)>& apply) {
    std::promise<base::Status> promise;
    auto answer = promise.get_future();
    records.change({.kind = ActorKind::api_key, .id = test::id_of(77)}, apply,
                   [&](base::Status status) { promise.set_value(std::move(status)); });
    return answer.get();
}

/// A change that stores one object and notes it.
template <class T>
base::Status store(Records& records, T object, Action action = Action::update) {
    return change(records, [&](Change& now) {
        now.note(EntryKind::write, action, ObjectKind::none, object.id.raw);
        return now.store(object);
    });
}

SecretParts parts_of(std::string_view token) {
    SecretParts parts;
    parts.token = crypto::Secret::copy_of(token);
    return parts;
}

base::Status store_secret(Records& records, const Credential& credential, std::string_view token) {
    return change(records, [&](Change& now) {
        now.note(EntryKind::rotate, Action::update, ObjectKind::credential, credential.id.raw,
                 credential.vault.raw);
        return now.store_with_secret(credential, parts_of(token));
    });
}

std::string text_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

/// The token as it would be injected, or the code of the refusal.
std::string token_of(const Records& records, const base::CredentialId& id) {
    const auto current = records.current_secret(id);
    if (!current) return std::string(current.error().code);
    const auto token = records.open_token(current->sealed);
    return token ? text_of(*token) : std::string(token.error().code);
}

/// A vault with two credentials, and one object of every other kind.
struct Objects {
    Vault vault;
    Credential github, linear;
    Environment environment;
    Agent agent;
    Session session;
    SessionToken token;

    explicit Objects(Records& records) {
        const auto workspace = records.catalog().page<Workspace>({}).front()->id;
        const auto begin = [&](auto& object) {
            object.id = crypto::random_id<std::remove_cvref_t<decltype(object.id)>>();
            object.workspace = workspace;
        };
        begin(vault);
        vault.display_name = "Tresor für Übung";
        vault.metadata = {{"a", "1"}, {"", "empty key"}};
        for (auto* credential : {&github, &linear}) {
            begin(*credential);
            credential->vault = vault.id;
            credential->normal_url = credential->mcp_server_url =
                credential == &github ? "https://api.github.com/mcp" : "https://mcp.linear.app/mcp";
        }
        linear.type = AuthType::mcp_oauth;
        linear.expires = base::Time(std::chrono::milliseconds(1'800'000'000'123));
        linear.refresh = Refresh{
            .token_endpoint = "https://linear.app/token", .client_id = "c", .scope = "read", .resource = {}};
        begin(environment);
        environment.name = "production";
        environment.vault_bindings = {vault.id};
        environment.network = {
            .limited = true, .allow_mcp_servers = true, .allowed_hosts = {"*.example.com"}};
        environment.tool_rules = {{.name = "r",
                                   .effect = base::RuleEffect::ask,
                                   .agents = {"agent_1"},
                                   .when = {{"/a", base::ArgumentCondition::Test::matches, "x*"}}}};
        begin(agent);
        agent.name = "ci-bot";
        agent.model = R"({"id":"m"})";
        agent.mcp_servers = {{"gh", github.mcp_server_url, github.normal_url}};
        agent.toolsets = {{.server = "gh", .configs = {{"drop", false, base::ToolPolicy::always_allow}}}};
        begin(session);
        session.agent = agent;
        session.environment = environment.id;
        session.vaults = {vault.id};
        session.title = "t";
        begin(token);
        token.session = session.id;
        token.hash = token_hash("the agent's token");

        const auto made = change(records, [&](Change& now) -> base::Status {
            now.note(EntryKind::write, Action::create, ObjectKind::vault, vault.id.raw);
            now.create_key_of(workspace.raw, vault.id.raw);
            for (auto stored : {now.store(vault), now.store_with_secret(github, parts_of("ghp_1")),
                                now.store_with_secret(linear, parts_of("lin_1")), now.store(environment),
                                now.store(agent), now.store(session), now.store(token)})
                if (!stored) return stored;
            return {};
        });
        REQUIRE(made);
        github = *records.catalog().find<Credential>(github.id);
        linear = *records.catalog().find<Credential>(linear.id);
        environment = *records.catalog().find<Environment>(environment.id);
        agent = *records.catalog().find<Agent>(agent.id);
    }
};

std::map<std::string, std::string> everything_in(const Catalog& catalog, const Objects& objects) {
    std::map<std::string, std::string> found;
    const auto note = [&](const auto& ref) {
        if (ref) found[ref->id.text()] = encode_object(*ref);
    };
    note(catalog.find<Vault>(objects.vault.id));
    note(catalog.find<Credential>(objects.github.id));
    note(catalog.find<Credential>(objects.linear.id));
    note(catalog.find<Environment>(objects.environment.id));
    note(catalog.find<Agent>(objects.agent.id));
    note(catalog.find<Session>(objects.session.id));
    note(catalog.find<SessionToken>(objects.token.id));
    return found;
}

/// Every row of a table, as on disk.
std::map<base::Bytes, Row> rows_of(const StorageEngine& engine, Table table) {
    std::map<base::Bytes, Row> rows;
    REQUIRE(engine.scan(table, {}, {}, vault::Order::ascending,
                        [&](ByteView key, ByteView value, std::uint64_t version) {
                            rows[base::Bytes(key)] = {base::Bytes(value), version};
                            return true;
                        }));
    return rows;
}

/// A store on some engine, closed and opened at will.
struct Disk {
    test::TemporaryDirectory directory;
    test::ManualClock clock;
    bool rocksdb;
    std::shared_ptr<SharedRows> rows = new_shared_rows();
    std::unique_ptr<StorageEngine> engine;
    std::unique_ptr<Records> records;

    explicit Disk(bool on_rocksdb = false) : rocksdb(on_rocksdb) {
        open_engine();
        REQUIRE(initialise(*engine, clock));
        open();
    }
    void open_engine() {
        if (rocksdb) {
            auto opened = open_rocksdb(directory.path() / "store");
            REQUIRE(opened);
            engine = std::move(*opened);
        } else {
            engine = open_in_memory(rows);
        }
    }
    void open() {
        auto opened = open_records(*engine, clock);
        if (!opened) FAIL(opened.error().code << ": " << opened.error().detail);
        records = std::move(*opened);
    }
    void close() {
        records.reset();
        engine.reset();
    }
    void reopen() {
        close();
        open_engine();
        open();
    }
};

}  // namespace

TEST_CASE("Everything stored is there after a restart", "[vault][records]") {
    for (const bool rocksdb : {false, true}) {
        INFO((rocksdb ? "RocksDB" : "in memory"));
        Disk disk(rocksdb);
        const Objects objects(*disk.records);
        const auto before = everything_in(disk.records->catalog(), objects);
        REQUIRE(before.size() == 7);

        disk.clock.advance(std::chrono::hours(24 * 400));
        disk.reopen();

        CHECK(everything_in(disk.records->catalog(), objects) == before);
        CHECK(token_of(*disk.records, objects.github.id) == "ghp_1");
        CHECK(token_of(*disk.records, objects.linear.id) == "lin_1");
        CHECK(disk.records->catalog().session_token_by_hash(token_hash("the agent's token"))->session ==
              objects.session.id);
        CHECK(disk.records->catalog().count<ApiKey>() == 1);
        CHECK(store(*disk.records, objects.vault));
        disk.reopen();
        CHECK(disk.records->catalog().find<Vault>(objects.vault.id)->display_name == "Tresor für Übung");
    }
}

TEST_CASE("A store is made once, and its first key is shown once", "[vault][records]") {
    const auto engine = open_in_memory();
    const test::ManualClock clock;
    const auto first = initialise(*engine, clock);
    REQUIRE(first);
    CHECK(first->api_key.starts_with("clv_admin_"));

    const auto again = initialise(*engine, clock);
    REQUIRE_FALSE(again);
    CHECK(again.error().code == "store.not_empty");

    const auto records = open_records(*engine, clock);
    REQUIRE(records);
    const auto key = (*records)->catalog().api_key_by_hash(token_hash(first->api_key));
    REQUIRE(key);
    CHECK(key->role == Role::admin);
    CHECK(key->workspace == first->workspace);
    CHECK((*records)->ledger().read(0)->action == Action::initialise);
    for (const auto table : {Table::state, Table::meta, Table::owner_key, Table::log})
        for (const auto& [row_key, row] : rows_of(*engine, table)) {
            CHECK(row.value.find(first->api_key) == std::string::npos);
            CHECK(row.value.find("first admin key") == std::string::npos);
        }
}

TEST_CASE("Nothing readable rests on disk", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    for (std::size_t table = 0; table < kTables; ++table)
        for (const auto& [key, row] : rows_of(*disk.engine, static_cast<Table>(table)))
            for (const std::string_view text : {"ghp_1", "lin_1", "github", "linear", "Tresor", "production",
                                                "ci-bot", "example.com", "the agent's token"})
                CHECK(row.value.find(text) == std::string::npos);
}

TEST_CASE("A new value replaces the old one, and leaves nothing of it", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    REQUIRE(store_secret(*disk.records, objects.github, "ghp_2"));
    const auto second = *disk.records->catalog().find<Credential>(objects.github.id);
    CHECK(second.version == 2);
    CHECK(second.value_commit_seq == disk.engine->last_commit());
    REQUIRE(store_secret(*disk.records, second, "ghp_3"));
    CHECK(token_of(*disk.records, objects.github.id) == "ghp_3");
    CHECK(rows_of(*disk.engine, Table::value).size() == 2);
    CHECK(rows_of(*disk.engine, Table::data_key).size() == 2);
    CHECK(token_of(*disk.records, objects.linear.id) == "lin_1");
    disk.reopen();
    CHECK(token_of(*disk.records, objects.github.id) == "ghp_3");
}

TEST_CASE("A grant keeps its parts apart", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    REQUIRE(change(*disk.records, [&](Change& now) {
        auto parts = parts_of("access");
        parts.refresh_token = crypto::Secret::copy_of(std::string_view("refresh"));
        parts.client_secret = crypto::Secret::copy_of(std::string_view(""));
        parts.previous_refresh_token = crypto::Secret::copy_of(std::string_view("refresh before"));
        now.note(EntryKind::write, Action::update, ObjectKind::credential, objects.linear.id.raw);
        return now.store_with_secret(objects.linear, parts);
    }));
    CHECK(token_of(*disk.records, objects.linear.id) == "access");
    const auto credential = disk.records->catalog().find<Credential>(objects.linear.id);
    const auto parts = disk.records->open_parts(*disk.records->sealed_secret(*credential));
    REQUIRE(parts);
    CHECK(text_of(*parts->refresh_token) == "refresh");
    CHECK(text_of(*parts->client_secret).empty());
    CHECK(text_of(*parts->previous_refresh_token) == "refresh before");

    std::string seen;
    REQUIRE(change(*disk.records, [&](Change& now) -> base::Status {
        now.note(EntryKind::write, Action::update, ObjectKind::credential, objects.linear.id.raw);
        auto kept = now.open_secret(*credential);
        if (!kept) return std::unexpected(kept.error());
        seen = text_of(*kept->refresh_token);
        kept->token = crypto::Secret::copy_of(std::string_view("next access"));
        return now.store_with_secret(*credential, *kept);
    }));
    CHECK(seen == "refresh");
    CHECK(token_of(*disk.records, objects.linear.id) == "next access");
}

TEST_CASE("What is known of a grant rests beside its credential and goes with it", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    const auto id = objects.linear.id;
    const auto note = [&](Change& now) {
        now.note(EntryKind::grant, Action::refreshed, ObjectKind::credential, id.raw,
                 objects.linear.vault.raw);
    };
    const auto before = disk.records->catalog().revision();
    REQUIRE(change(*disk.records, [&](Change& now) {
        note(now);
        return now.store(Grant{.id = id,
                               .workspace = objects.linear.workspace,
                               .vault = objects.linear.vault,
                               .facts = "{\"state\":\"ready\"}"});
    }));
    CHECK(disk.records->catalog().revision() == before);  // no session has to be resolved again
    const auto held = [&] {
        std::size_t rows = 0;
        for (const auto& [key, value] : rows_of(*disk.engine, Table::meta)) {
            CHECK(value.value.find("ready") == std::string::npos);
            rows += key[0] == 10 ? 1 : 0;
        }
        return rows;
    };
    CHECK(held() == 1);
    disk.reopen();
    const auto grant = disk.records->catalog().find<Grant>(id);
    REQUIRE(grant);
    CHECK(grant->facts == "{\"state\":\"ready\"}");
    CHECK(grant->vault == objects.linear.vault);

    REQUIRE(change(*disk.records, [&](Change& now) {
        now.note(EntryKind::write, Action::erase, ObjectKind::credential, id.raw);
        return now.erase(*now.catalog().find<Credential>(id));
    }));
    CHECK_FALSE(disk.records->catalog().find<Grant>(id));
    CHECK(held() == 0);
}

TEST_CASE("A value opens only at its place and for its purpose", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    auto wanted = objects.github;
    SECTION("not for another server") { wanted.normal_url = "https://evil.example/mcp"; }
    SECTION("not in another header") { wanted.injection.header = "X-Echo"; }
    SECTION("not with another scheme") { wanted.injection.scheme = ""; }
    SECTION("not for other tools") { wanted.allowed_tools = {"anything"}; }
    SECTION("not as another type") { wanted.type = AuthType::mcp_oauth; }
    SECTION("not as of another commit") { ++wanted.value_commit_seq; }
    SECTION("not with another writer") { wanted.value_writer = test::id_of(1); }
    SECTION("not with another age") { wanted.value_created += std::chrono::milliseconds(1); }
    const auto sealed = disk.records->sealed_secret(wanted);
    REQUIRE(sealed);
    const auto token = disk.records->open_token(*sealed);
    REQUIRE_FALSE(token);
    CHECK(token.error().kind == base::ErrorKind::corrupt);
    CHECK(token.error().code == "envelope.refused");
    CHECK(token.error().message == "The credential cannot be opened.");
    CHECK(token.error().detail.find(objects.github.id.text()) != std::string::npos);
}

TEST_CASE("What is not there cannot be opened", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    auto next = objects.github;
    ++next.version;
    CHECK(disk.records->sealed_secret(next).error().code == "envelope.refused");
    auto elsewhere = objects.github;
    elsewhere.vault.raw = test::id_of(9);
    CHECK_FALSE(disk.records->sealed_secret(elsewhere));
    next.version = 0;
    CHECK(disk.records->sealed_secret(next).error().code == "credential.no_secret");
}

TEST_CASE("A purged secret is gone, and its credential stays", "[vault][records]") {
    Disk disk(true);
    const Objects objects(*disk.records);
    REQUIRE(change(*disk.records, [&](Change& now) {
        auto archived = objects.github;
        archived.archived = now.now();
        now.note(EntryKind::write, Action::archive, ObjectKind::credential, archived.id.raw);
        return now.purge_secret(archived);
    }));
    CHECK(token_of(*disk.records, objects.github.id) == "credential.no_secret");
    CHECK(rows_of(*disk.engine, Table::value).size() == 1);
    CHECK(rows_of(*disk.engine, Table::data_key).size() == 1);
    disk.reopen();
    CHECK(disk.records->catalog().find<Credential>(objects.github.id)->archived);
    CHECK(token_of(*disk.records, objects.linear.id) == "lin_1");
}

TEST_CASE("An erased vault takes its key and everything sealed under it along", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    const auto backup =
        *disk.records->sealed_secret(*disk.records->catalog().find<Credential>(objects.github.id));
    const auto keys_before = rows_of(*disk.engine, Table::owner_key).size();
    REQUIRE(change(*disk.records, [&](Change& now) -> base::Status {
        now.note(EntryKind::write, Action::erase, ObjectKind::vault, objects.vault.id.raw);
        for (const auto& credential : {objects.github, objects.linear})
            if (auto erased = now.erase(credential); !erased) return erased;
        if (auto forgotten = now.forget_key_of(objects.vault.id.raw); !forgotten) return forgotten;
        return now.erase(objects.vault);
    }));
    CHECK(rows_of(*disk.engine, Table::value).empty());
    CHECK(rows_of(*disk.engine, Table::data_key).empty());
    CHECK(rows_of(*disk.engine, Table::owner_key).size() == keys_before - 1);
    CHECK_FALSE(disk.records->catalog().find<Vault>(objects.vault.id));
    CHECK_FALSE(disk.records->catalog().find<Credential>(objects.github.id));
    CHECK_FALSE(disk.records->sealed_secret(objects.github));
    // Who kept the rows still has no key for them.
    CHECK_FALSE(
        disk.records->keys().owner_key(*disk.engine, objects.vault.workspace.raw, objects.vault.id.raw, 1));
    CHECK_FALSE(backup.value.empty());
    disk.reopen();
    CHECK(disk.records->catalog().count<Vault>() == 0);
    CHECK(disk.records->catalog().find<Environment>(objects.environment.id));
}

TEST_CASE("A change that fails leaves no trace", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    const auto before = everything_in(disk.records->catalog(), objects);
    const auto revision = disk.records->catalog().revision();
    const auto entries = disk.records->ledger().head().size;

    const auto refused = change(*disk.records, [&](Change& now) -> base::Status {
        auto renamed = objects.vault;
        renamed.display_name = "renamed";
        now.note(EntryKind::write, Action::update, ObjectKind::vault, renamed.id.raw);
        if (auto stored = now.store(renamed); !stored) return stored;
        return base::failure(base::ErrorKind::invalid_request, "request.invalid", "no");
    });
    CHECK(refused.error().code == "request.invalid");
    const auto untold = change(*disk.records, [&](Change& now) { return now.store(objects.vault); });
    CHECK(untold.error().code == "ledger.change_without_entry");
    const auto crowd = change(*disk.records, [&](Change& now) -> base::Status {
        now.note(EntryKind::write, Action::create, ObjectKind::vault, objects.vault.id.raw);
        for (int i = 0; i < 256;
             ++i) {  // the last would share its place in lists with the next commit's first
            auto vault = objects.vault;
            vault.id = crypto::random_id<base::VaultId>();
            vault.created_seq = 0;
            if (auto stored = now.store(vault); !stored) return stored;
        }
        return {};
    });
    CHECK(crowd.error().code == "change.too_large");

    CHECK(everything_in(disk.records->catalog(), objects) == before);
    CHECK(disk.records->catalog().revision() == revision);
    CHECK(disk.records->ledger().head().size == entries);
}

TEST_CASE("A change that the disk refuses is not seen by anybody", "[vault][records]") {
    test::FaultEngine engine;
    const test::ManualClock clock;
    REQUIRE(initialise(engine, clock));
    auto records = open_records(engine, clock);
    REQUIRE(records);
    const Objects objects(**records);
    engine.fail_commits();
    auto renamed = objects.vault;
    renamed.display_name = "renamed";
    const auto refused = store(**records, renamed);
    CHECK(refused.error().code == "log.not_durable");
    CHECK((*records)->catalog().find<Vault>(objects.vault.id)->display_name != "renamed");
    CHECK(token_of(**records, objects.github.id) == "ghp_1");  // reading goes on
    engine.heal();
    bool stored = false;
    for (int i = 0; i < 1200 && !stored; ++i) {
        stored = store(**records, renamed).has_value();
        if (!stored) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    CHECK((*records)->catalog().find<Vault>(objects.vault.id)->display_name == "renamed");
}

/// The disk has each commit long before whoever made it hears of it.
class LingeringEngine final : public test::ForwardingEngine {
public:
    using ForwardingEngine::ForwardingEngine;
    base::Status commit(std::uint64_t commit_seq, const Batch& batch) override {
        auto committed = ForwardingEngine::commit(commit_seq, batch);
        if (linger) std::this_thread::sleep_for(std::chrono::milliseconds(200));
        return committed;
    }
    std::atomic<bool> linger = false;
};

TEST_CASE("A value that is replaced is found while memory has not followed the disk", "[vault][records]") {
    test::FaultEngine inner;
    LingeringEngine engine(inner);
    const test::ManualClock clock;
    REQUIRE(initialise(engine, clock));
    const auto records = open_records(engine, clock);
    REQUIRE(records);
    const Objects objects(**records);
    const auto before = *(*records)->catalog().find<Credential>(objects.github.id);
    const auto commits = engine.last_commit();
    engine.linger = true;
    std::promise<void> done;
    (*records)->change(
        {},
        [&](Change& now) {
            SecretParts parts;
            parts.token = crypto::Secret::copy_of(std::string_view("ghp_2"));
            now.note(EntryKind::rotate, Action::update, ObjectKind::credential, before.id.raw,
                     before.vault.raw);
            return now.store_with_secret(before, parts);
        },
        [&](const base::Status&) { done.set_value(); });
    while (engine.last_commit() == commits) std::this_thread::yield();
    CHECK((*records)->sealed_secret(before).error().code == "envelope.refused");  // gone from the disk

    const auto current = (*records)->current_secret(before.id);

    REQUIRE(current);
    CHECK(current->credential->version == before.version + 1);
    CHECK(text_of(*(*records)->open_token(current->sealed)) == "ghp_2");
    done.get_future().wait();
    CHECK((*records)->current_secret(crypto::random_id<base::CredentialId>()).error().code ==
          "credential.not_found");
}

TEST_CASE("Every version of an agent can be read", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    auto agent = objects.agent;
    for (std::uint64_t version = 2; version <= 3; ++version) {
        agent.version = version;
        agent.name = "bot " + std::to_string(version);
        REQUIRE(store(*disk.records, agent));
    }
    disk.reopen();
    const auto newest = *disk.records->catalog().find<Agent>(agent.id);
    CHECK(newest.name == "bot 3");
    CHECK(disk.records->agent_version(newest, 1)->name == "ci-bot");
    CHECK(disk.records->agent_version(newest, 2)->name == "bot 2");
    CHECK(disk.records->agent_version(newest, 3)->name == "bot 3");
    CHECK(disk.records->agent_version(newest, 4).error().code == "agent.version_not_found");
    CHECK(disk.records->catalog().count<Agent>() == 1);
}

TEST_CASE("A list comes page by page, in order of creation, from both ends", "[vault][catalog]") {
    Disk disk;
    Objects objects(*disk.records);
    std::vector<std::string> names;
    for (int i = 0; i < 7; ++i) {
        auto vault = objects.vault;
        vault.id = crypto::random_id<base::VaultId>();
        vault.created_seq = 0;
        vault.display_name = "v" + std::to_string(i);
        if (i % 2) vault.archived = disk.clock.now();
        REQUIRE(store(*disk.records, vault, Action::create));
        names.push_back(vault.display_name);
    }
    auto foreign = objects.vault;
    foreign.id = crypto::random_id<base::VaultId>();
    foreign.created_seq = 99;
    Catalog other;
    other.put(foreign);

    using Query = PageQuery<Vault>;
    const auto walk = [&](Query query) {
        std::string found;
        for (int pages = 0; pages < 20; ++pages) {
            auto page = disk.records->catalog().page(query);
            const bool more = page.size() > query.limit;
            if (more) page.pop_back();
            for (const auto& vault : page) found += vault->display_name + " ";
            if (!more) return found;
            query.after = page.back()->created_seq;
        }
        return found + "...";
    };
    Query query{.scope = objects.vault.workspace.raw};
    query.wanted = [&](const Vault& vault) { return vault.id != objects.vault.id; };
    for (std::size_t limit = 1; limit <= 9; ++limit) {
        query.limit = limit;
        query.order = Query::Order::newest_first;
        CHECK(walk(query) == "v6 v5 v4 v3 v2 v1 v0 ");
        query.order = Query::Order::oldest_first;
        CHECK(walk(query) == "v0 v1 v2 v3 v4 v5 v6 ");
    }
    query.limit = 2;
    query.wanted = [](const Vault& vault) { return vault.archived.has_value(); };
    CHECK(walk(query) == "v1 v3 v5 ");
    query.scope = test::id_of(5);
    CHECK(walk(query).empty());
    query.scope = objects.vault.workspace.raw;
    query.wanted = {};
    query.after = ~std::uint64_t{0};
    CHECK(walk(query).empty());
    disk.reopen();
    CHECK(walk({.scope = objects.vault.workspace.raw, .limit = 3}) ==
          "v6 v5 v4 v3 v2 v1 v0 Tresor für Übung ");
}

TEST_CASE("A long list is searched to its end, whatever is wanted of it", "[vault][catalog]") {
    Catalog catalog;
    constexpr std::uint64_t kVaults = 5'000;
    for (std::uint64_t i = 1; i <= kVaults; ++i) {
        Vault vault;
        vault.id = crypto::random_id<base::VaultId>();
        vault.created_seq = i;
        catalog.put(std::move(vault));
    }
    using Query = PageQuery<Vault>;
    const auto found = [&](Query::Order order, std::uint64_t every, std::size_t limit) {
        std::vector<std::uint64_t> seqs;
        for (const auto& vault :
             catalog.page<Vault>({.order = order, .limit = limit, .wanted = [&](const Vault& candidate) {
                                      return candidate.created_seq % every == 0;
                                  }}))
            seqs.push_back(vault->created_seq);
        return seqs;
    };
    using Seqs = std::vector<std::uint64_t>;
    CHECK(found(Query::Order::oldest_first, 1'024, 20) == Seqs{1'024, 2'048, 3'072, 4'096});
    CHECK(found(Query::Order::newest_first, 1'000, 20) == Seqs{5'000, 4'000, 3'000, 2'000, 1'000});
    CHECK(found(Query::Order::newest_first, 1'000, 1) == Seqs{5'000, 4'000});
    CHECK(found(Query::Order::oldest_first, 7'000, 20).empty());
    CHECK(found(Query::Order::newest_first, 1, kVaults).size() == kVaults);
    CHECK(found(Query::Order::oldest_first, 1, 1'023).size() == 1'024);
}

TEST_CASE("A walk sees every object of a kind once, then begins anew", "[vault][catalog]") {
    Catalog catalog;
    for (std::uint64_t i = 1; i <= 25; ++i) {
        Rotation rotation;
        rotation.id = crypto::random_id<base::CredentialId>();
        rotation.vault.raw = test::id_of(static_cast<unsigned char>(i % 3));
        rotation.created_seq = i;
        catalog.put(std::move(rotation));
    }
    std::optional<Catalog::Age> place;
    const auto steps = [&](std::size_t most) {
        std::map<std::uint64_t, int> seen;
        int steps = 0;
        do {
            catalog.walk<Rotation>(place, most, [&](const Rotation& each) { ++seen[each.created_seq]; });
            ++steps;
        } while (place && steps < 100);
        CHECK(seen.size() == 25);
        CHECK(std::ranges::all_of(seen, [](const auto& each) { return each.second == 1; }));
        return steps;
    };
    CHECK(steps(10) == 3);
    CHECK(steps(25) == 1);
    CHECK(steps(1'000) == 1);
    CHECK(steps(1) == 25);
}

TEST_CASE("The catalog says when something changed that concerns running sessions", "[vault][catalog]") {
    Disk disk;
    Objects objects(*disk.records);
    const auto& catalog = disk.records->catalog();
    const auto changes = [&](auto object) {
        const auto before = catalog.revision();
        REQUIRE(store(*disk.records, object));
        return catalog.revision() != before;
    };
    auto session = objects.session;
    session.id = crypto::random_id<base::SessionId>();
    CHECK_FALSE(changes(session));  // a new one concerns nobody else
    CHECK(changes(session));
    auto token = objects.token;
    token.id = crypto::random_id<base::SessionTokenId>();
    token.hash = token_hash("another");
    CHECK_FALSE(changes(token));
    token.revoked = disk.clock.now();
    CHECK(changes(token));
    CHECK(changes(objects.environment));
    CHECK(changes(objects.github));
    CHECK(changes(objects.vault));

    const auto before = catalog.revision();
    REQUIRE(change(*disk.records, [&](Change& now) {
        now.note(EntryKind::write, Action::erase, ObjectKind::session_token, token.id.raw);
        return now.erase(token);
    }));
    CHECK(catalog.revision() != before);
    CHECK_FALSE(catalog.session_token_by_hash(token_hash("another")));
    CHECK(catalog.session_token_by_hash(token_hash("the agent's token")));
}

TEST_CASE("A store whose rows somebody edited does not open, and only our log learns where",
          "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    const auto old_environment =
        rows_of(*disk.engine, Table::meta).at(meta_key(MetaKind::environment, objects.environment.id.raw));
    const auto old_github =
        rows_of(*disk.engine, Table::meta).at(meta_key(MetaKind::credential, objects.github.id.raw));
    const auto old_value = rows_of(*disk.engine, Table::value).at(secret_key(objects.github));
    const auto old_data_key = rows_of(*disk.engine, Table::data_key).at(secret_key(objects.github));
    auto narrowed = objects.environment;
    narrowed.vault_bindings.clear();
    REQUIRE(store(*disk.records, narrowed));
    REQUIRE(store_secret(*disk.records, objects.github, "ghp_2"));
    const auto github = *disk.records->catalog().find<Credential>(objects.github.id);
    disk.records.reset();

    test::TamperedEngine tampered(*disk.engine);
    const auto put = [&](Table table, ByteView key, const Row& row) { tampered.replace(table, key, row); };
    const auto at = [&](Table table, ByteView key) {
        return rows_of(*disk.engine, table).at(base::Bytes(key));
    };
    std::vector<base::Bytes> named;  // rows that the detail must name
    SECTION("the rows of an old version are put back") {
        const auto credential_key = meta_key(MetaKind::credential, github.id.raw);
        put(Table::meta, credential_key, old_github);
        put(Table::value, secret_key(objects.github), old_value);
        put(Table::data_key, secret_key(objects.github), old_data_key);
        tampered.remove(Table::value, secret_key(github));
        tampered.remove(Table::data_key, secret_key(github));
        named = {base::to_hex(credential_key)};
    }
    SECTION("a binding is widened by putting back the environment of before") {
        const auto key = meta_key(MetaKind::environment, narrowed.id.raw);
        put(Table::meta, key, old_environment);
        named = {base::to_hex(key)};
    }
    SECTION("the same, as if written by the commit that narrowed it") {
        const auto key = meta_key(MetaKind::environment, narrowed.id.raw);
        auto row = old_environment;
        row.version = at(Table::meta, key).version;
        put(Table::meta, key, row);
        named = {base::to_hex(key)};
    }
    SECTION("a byte of an environment is changed") {
        const auto key = meta_key(MetaKind::environment, narrowed.id.raw);
        auto row = at(Table::meta, key);
        SECTION("in its head") { row.value[30] = static_cast<char>(row.value[30] ^ 1); }
        SECTION("in its content") {
            row.value[row.value.size() / 2] = static_cast<char>(row.value[row.value.size() / 2] ^ 1);
        }
        SECTION("in its tag") { row.value.back() = static_cast<char>(row.value.back() ^ 1); }
        SECTION("by cutting it") { row.value.resize(40); }
        put(Table::meta, key, row);
        named = {base::to_hex(key)};
    }
    SECTION("a row stands in another's place") {
        const auto key = meta_key(MetaKind::vault, objects.vault.id.raw);
        put(Table::meta, key, at(Table::meta, meta_key(MetaKind::environment, narrowed.id.raw)));
        named = {base::to_hex(key)};
    }
    SECTION("a revoked token's row is taken away") {
        const auto key = meta_key(MetaKind::session_token, objects.token.id.raw);
        tampered.remove(Table::meta, key);
        named = {"meta"};
    }
    SECTION("an admin key is added by copying one") {
        auto copy = *rows_of(*disk.engine, Table::meta)
                         .lower_bound(base::Bytes(1, static_cast<char>(MetaKind::api_key)));
        const auto key = meta_key(MetaKind::api_key, test::id_of(4));
        put(Table::meta, key, copy.second);
        named = {base::to_hex(key)};
    }
    const auto opened = open_records(tampered, disk.clock);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().kind == base::ErrorKind::corrupt);
    INFO(opened.error().detail);
    for (const auto& row : named) {
        CHECK(opened.error().detail.find(row) != std::string::npos);
        if (row.size() > 10) CHECK(opened.error().message.find(row) == std::string::npos);
    }
    CHECK_FALSE(opened.error().hint.empty());
    CHECK(open_records(*disk.engine, disk.clock));  // what was not edited still opens
}

TEST_CASE("A store with a row that adds up and does not open is refused with its place", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    const auto key = meta_key(MetaKind::vault, test::id_of(9));
    std::promise<base::Status> stored;
    disk.records->change(
        {},
        [&](Change& change) -> base::Status {
            change.note(EntryKind::write, Action::create, ObjectKind::vault, test::id_of(9));
            change.transaction().batch().put(Table::meta, key, base::Bytes(200, 'x'));
            return {};
        },
        [&](base::Status status) { stored.set_value(std::move(status)); });
    REQUIRE(stored.get_future().get());
    disk.records.reset();
    const auto opened = open_records(*disk.engine, disk.clock);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == "envelope.refused");
    CHECK(opened.error().detail.find(base::to_hex(key)) != std::string::npos);
}

TEST_CASE("A credential's row that adds up and does not open is as good as none", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    const auto key = meta_key(MetaKind::credential, objects.github.id.raw);
    const auto rewrite = [&](const std::function<void(base::Bytes&)>& alter) {
        auto row = rows_of(*disk.engine, Table::meta).at(key).value;
        alter(row);
        std::promise<base::Status> stored;
        disk.records->change(
            {},
            [&](Change& change) -> base::Status {
                change.note(EntryKind::write, Action::update, ObjectKind::credential, objects.github.id.raw);
                change.transaction().batch().put(Table::meta, key, row);
                return {};
            },
            [&](base::Status status) { stored.set_value(std::move(status)); });
        REQUIRE(stored.get_future().get());
    };
    SECTION("its seal is broken") {
        rewrite([](base::Bytes& row) { row.back() = static_cast<char>(row.back() ^ 1); });
    }
    SECTION("its header says another age than the object") {
        rewrite([](base::Bytes& row) { row[14] = static_cast<char>(row[14] ^ 1); });
    }
    disk.reopen();
    const auto& catalog = disk.records->catalog();
    CHECK_FALSE(catalog.find<Credential>(objects.github.id));
    CHECK(disk.records->current_secret(objects.github.id).error().kind == base::ErrorKind::not_found);
    const auto page = catalog.page<Credential>({.scope = objects.vault.id.raw});
    REQUIRE(page.size() == 1);
    CHECK(page[0]->id == objects.linear.id);
    CHECK(token_of(*disk.records, objects.linear.id) == "lin_1");
    CHECK(catalog.count<Credential>() == 2);
    CHECK(catalog.ids_of<Credential>(objects.vault.id.raw).size() == 2);
}

TEST_CASE("Credentials and grants are opened when they are asked for, by many at once", "[vault][records]") {
    Disk disk;
    const Objects objects(*disk.records);
    std::vector<base::CredentialId> ids;
    for (int i = 0; i < 200; ++i) {
        auto credential = objects.github;
        credential.id = crypto::random_id<base::CredentialId>();
        credential.created_seq = credential.version = 0;
        credential.display_name = "number " + std::to_string(i);
        REQUIRE(store_secret(*disk.records, credential, "token " + std::to_string(i)));
        REQUIRE(change(*disk.records, [&](Change& now) {
            now.note(EntryKind::write, Action::update, ObjectKind::credential, credential.id.raw);
            return now.store(Grant{.id = credential.id,
                                   .workspace = credential.workspace,
                                   .vault = credential.vault,
                                   .facts = "facts of " + std::to_string(i)});
        }));
        ids.push_back(credential.id);
    }
    disk.reopen();
    const auto& catalog = disk.records->catalog();
    std::atomic<int> wrong = 0;
    std::vector<std::jthread> readers;
    for (std::size_t reader = 0; reader < 4; ++reader)
        readers.emplace_back([&, reader] {
            for (std::size_t at = 0; at < ids.size(); ++at) {
                const auto i = reader % 2 == 0 ? at : ids.size() - 1 - at;
                const auto credential = catalog.find<Credential>(ids[i]);
                const auto grant = catalog.find<Grant>(ids[i]);
                if (!credential || credential->display_name != "number " + std::to_string(i) || !grant ||
                    grant->facts != "facts of " + std::to_string(i))
                    ++wrong;
            }
        });
    // Meanwhile some are replaced and some erased: nobody may get back what the start found.
    for (std::size_t i = 0; i < ids.size(); i += 10) {
        const auto credential = *catalog.find<Credential>(ids[i]);
        if (i % 20 == 0) {
            auto renamed = credential;
            renamed.mcp_server_url = "https://elsewhere.example/mcp";
            REQUIRE(store(*disk.records, renamed));
            CHECK(catalog.find<Credential>(ids[i])->mcp_server_url == renamed.mcp_server_url);
        }
    }
    readers.clear();
    CHECK(wrong == 0);
    for (std::size_t i = 0; i < ids.size(); i += 10)
        CHECK((catalog.find<Credential>(ids[i])->mcp_server_url == "https://elsewhere.example/mcp") ==
              (i % 20 == 0));
    REQUIRE(change(*disk.records, [&](Change& now) {
        now.note(EntryKind::write, Action::erase, ObjectKind::credential, ids[7].raw);
        return now.erase(*now.catalog().find<Credential>(ids[7]));
    }));
    CHECK_FALSE(catalog.find<Credential>(ids[7]));
    CHECK_FALSE(catalog.find<Grant>(ids[7]));
    std::size_t listed = 0;
    catalog.each<Credential>(objects.vault.id.raw, [&](const Credential&) { ++listed; });
    CHECK(listed == ids.size() + 1);  // with github and linear, without the one that is gone
}

TEST_CASE("Rows edited while the program runs are refused when they are used", "[vault][records]") {
    const auto engine = open_in_memory();
    const test::ManualClock clock;
    REQUIRE(initialise(*engine, clock));
    test::TamperedEngine tampered(*engine);
    auto records = open_records(tampered, clock);
    REQUIRE(records);
    const Objects objects(**records);
    const auto first = *engine->get(Table::value, secret_key(objects.github));
    const auto second = *engine->get(Table::value, secret_key(objects.linear));
    tampered.replace(Table::value, secret_key(objects.github), *second);
    tampered.replace(Table::value, secret_key(objects.linear), *first);
    CHECK(token_of(**records, objects.github.id) == "envelope.refused");
    CHECK(token_of(**records, objects.linear.id) == "envelope.refused");

    auto agent = objects.agent;
    agent.version = 2;
    REQUIRE(store(**records, agent));
    const auto old = meta_key(MetaKind::agent_version, agent.id.raw, 1);
    tampered.replace(Table::meta, old,
                     **engine->get(Table::meta, meta_key(MetaKind::agent_version, agent.id.raw, 2)));
    CHECK((*records)->agent_version(agent, 1).error().kind == base::ErrorKind::corrupt);
}

TEST_CASE("A stored object that says what we do not know is refused", "[vault][model]") {
    Vault vault;
    vault.display_name = "v";
    vault.metadata = {{"a", "1"}, {"b", "2"}};
    vault.archived = base::Time(std::chrono::milliseconds(7));
    const auto good = encode_object(vault);
    REQUIRE(decode_object<Vault>(good));
    CHECK(encode_object(*decode_object<Vault>(good)) == good);
    CHECK(good == base::Bytes(16 + 8 + 16, '\0') + "\1v" + "\2\1a\0011\1b\0012" + base::Bytes(3 + 16, '\0') +
                      "\1" + base::Bytes(7, '\0') + "\7");
    for (std::size_t size = 0; size < good.size(); ++size)
        CHECK_FALSE(decode_object<Vault>(good.substr(0, size)));

    // id 16, created_seq 8, workspace 16, name 1 + 1, then the number of metadata and each as two texts.
    constexpr std::size_t kCountAt = 42, kSecondKeyAt = 48;
    const auto with = [&](std::size_t at, char byte) {
        auto bytes = good;
        bytes[at] = byte;
        return bytes;
    };
    for (const auto& bad : {good + '\0', with(kCountAt, 1), with(kCountAt, 3), with(kCountAt, '\xff'),
                            with(kSecondKeyAt, 'a'), with(kSecondKeyAt + 3, 2), with(good.size() - 9, 2)}) {
        INFO(base::to_hex(bad));
        const auto decoded = decode_object<Vault>(bad);
        REQUIRE_FALSE(decoded);
        CHECK(decoded.error().code == "row.malformed");
    }
}
