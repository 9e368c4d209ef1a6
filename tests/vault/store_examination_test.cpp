// Everything read again: a store as it was written is sound, and no byte of it can change unnoticed.
#include "vault/store_examination.h"
#include "tests/support/spec.h"
#include "tests/support/vault_tampered_engine.h"
#include "tests/support/vault_test_store.h"
#include "vault/log_rows.h"
#include "vault/records.h"

#include <future>

namespace claviger {
namespace {

using vault::Table;

constexpr std::string_view kTables[] = {"state", "meta", "value", "data_key", "owner_key",
                                        "usage", "name", "log",   "tile",     "log_index"};

/// A store with an object of many kinds, a secret, and a log of more than one index block.
struct World {
    World() {
        test::make_store(*engine, clock);
        auto ring = vault::KeyRing::unseal(*engine, test::key_file());
        REQUIRE(ring);
        auto opened = vault::Records::open(*engine, std::move(*ring), clock);
        REQUIRE(opened);
        auto& records = **opened;
        vault::Vault vault;
        vault.id.raw = test::id_of(7);
        vault.workspace.raw = test::id_of(6);
        vault::Workspace workspace;
        workspace.id = vault.workspace;
        vault::Credential credential;
        credential.id.raw = test::id_of(8);
        credential.workspace = vault.workspace;
        credential.vault = vault.id;
        credential.mcp_server_url = credential.normal_url = "https://mcp.example.com/mcp";
        std::promise<base::Status> done;
        records.change(
            {vault::ActorKind::system, {}, vault.workspace.raw},
            [&](vault::Change& change) -> base::Status {
                change.create_key_of(workspace.id.raw, workspace.id.raw);
                change.create_key_of(workspace.id.raw, vault.id.raw);
                if (auto stored = change.store(workspace); !stored) return stored;
                if (auto stored = change.store(vault); !stored) return stored;
                vault::SecretParts parts;
                parts.token = crypto::Secret::copy_of("secret");
                change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::credential,
                            credential.id.raw, vault.id.raw);
                return change.store_with_secret(credential, parts);
            },
            [&](base::Status status) { done.set_value(std::move(status)); });
        REQUIRE(done.get_future().get());
        auto entry = test::entry_of(vault::EntryKind::use_intent);
        entry.credential = credential.id.raw;
        entry.tool = records.access_log().fingerprint("tool", "hammer");
        REQUIRE(test::append(records.ledger(), entry, {{{entry.tool, "hammer"}, {}, {}}}));
        test::append_all(records.ledger(), std::vector<vault::LogEntry>(4'200, entry));
    }

    vault::StoreExamination examine(const vault::StorageEngine& read) {
        auto keys = vault::KeyRing::unseal(*engine, test::key_file());
        REQUIRE(keys);
        auto found = vault::examine_store(read, **keys, {});
        REQUIRE(found);
        return std::move(*found);
    }

    test::ManualClock clock;
    std::unique_ptr<vault::StorageEngine> engine = vault::open_in_memory();
};

struct FirstRow {
    base::Bytes key;
    vault::Row row;
};
std::optional<FirstRow> first_row(const vault::StorageEngine& engine, Table table, vault::Order order) {
    std::optional<FirstRow> found;
    const auto scanned = engine.scan(table, {}, {}, order,
                                     [&](base::ByteView key, base::ByteView value, std::uint64_t version) {
                                         found = FirstRow{base::Bytes(key), {base::Bytes(value), version}};
                                         return false;
                                     });
    REQUIRE(scanned);
    return found;
}

TEST_CASE("A store as it was written is sound", "[vault][fsck]") {
    World world;
    std::vector<std::string> told;
    auto keys = vault::KeyRing::unseal(*world.engine, test::key_file());
    REQUIRE(keys);
    const auto found = vault::examine_store(*world.engine, **keys,
                                            [&](std::string_view what, std::uint64_t, std::uint64_t total) {
                                                if (what == "log") CHECK(total == 4'204);
                                                told.emplace_back(what);
                                            });
    REQUIRE(found);
    for (const auto& fault : found->named) UNSCOPED_INFO(fault.place + ": " + fault.code + ": " + fault.why);
    CHECK(found->sound());
    CHECK(found->secrets == 1);
    CHECK(found->entries == 4'204);
    CHECK(found->index_blocks == 1);
    CHECK(found->tiles == 16);
    CHECK(found->names == 1);
    CHECK(found->keys >= 4);
    CHECK(found->objects >= 3);
    CHECK(std::ranges::find(told, "log") != told.end());
}

TEST_CASE("No row of any table can change or go unnoticed", "[vault][fsck]") {
    World world;
    for (std::size_t number = 0; number < vault::kTables; ++number) {
        const auto table = static_cast<Table>(number);
        INFO(kTables[number]);
        for (const auto order : {vault::Order::ascending, vault::Order::descending}) {
            const auto row = first_row(*world.engine, table, order);
            REQUIRE(row);
            // The state record opens the store in the first place; its own MAC refuses it before this.
            if (table == Table::state && row->key != "head") continue;
            for (const std::size_t at :
                 {std::size_t{0}, row->row.value.size() / 2, row->row.value.size() - 1}) {
                test::TamperedEngine tampered(*world.engine);
                auto changed = row->row;
                changed.value[at] = static_cast<char>(changed.value[at] ^ 1);
                tampered.replace(table, row->key, changed);
                INFO("byte " << at << " of row " << base::to_hex(row->key));
                CHECK_FALSE(world.examine(tampered).sound());
            }
            test::TamperedEngine cut(*world.engine);
            cut.remove(table, row->key);
            CHECK_FALSE(world.examine(cut).sound());
        }
    }
}

TEST_CASE("A fault is named with its place, and ends nothing", "[vault][fsck]") {
    World world;
    test::TamperedEngine tampered(*world.engine);
    const auto entry = world.engine->get(Table::log, vault::log_key(3));
    REQUIRE(entry);
    auto changed = **entry;
    changed.value.back() = static_cast<char>(changed.value.back() ^ 1);
    tampered.replace(Table::log, vault::log_key(3), changed);
    const auto value = first_row(*world.engine, Table::value, vault::Order::ascending);
    tampered.remove(Table::value, value->key);
    tampered.remove(Table::name, first_row(*world.engine, Table::name, vault::Order::ascending)->key);
    const auto found = world.examine(tampered);
    const auto named = [&](std::string_view place, std::string_view code) {
        return std::ranges::any_of(found.named, [&](const vault::StoreFault& fault) {
            return fault.place == place && fault.code == code;
        });
    };
    CHECK(named("log entry 3", "log.entry_refused"));
    CHECK(named("tile 0 of level 0", "ledger.log_forked"));
    CHECK(named("log", "ledger.log_forked"));
    CHECK(named("head", "ledger.rows_changed"));
    CHECK(
        named("credential " + base::CredentialId{test::id_of(8)}.text() + " version 1", "envelope.refused"));
    CHECK(found.entries == 4'204);
}

}  // namespace
}  // namespace claviger
