// Somebody with write access to the disk and real objects on it: rows moved between credentials, versions,
// vaults and workspaces, old ones put back, policies, bindings, limits and hashes edited. Each is noticed
// twice: by the sums when the store is opened, and by the place in the seal when the row itself is. Rows of
// secrets have the second alone: secret_tamper_test.cpp.
#include "tests/support/spec.h"
#include "tests/support/vault_object_world.h"
#include "tests/support/vault_tampered_engine.h"
#include "vault/sealed_rows.h"

namespace claviger::vault {
namespace {

struct World {
    World() {
        records = test::new_records(*engine, clock);
        REQUIRE(records);
        const auto add = [&](const char* name) {
            const auto made =
                test::add_tenant(*records, name, {std::string(name) + " 1", std::string(name) + " 2"});
            REQUIRE(made);
            return *made;
        };
        one = add("one");
        other = add("other");
        old_environment = row(Table::meta, key_of(MetaKind::environment, one.environment.id.raw));
        old_value = row(Table::value, secret_key(one.first));
        old_data_key = row(Table::data_key, secret_key(one.first));
        auto changed = one.environment;
        changed.tool_rules.push_back(
            {.name = "and nobody reads", .effect = base::RuleEffect::deny, .agents = {}, .when = {}});
        REQUIRE(test::change(*records, [&](Change& change) -> base::Status {
            change.note(EntryKind::write, Action::update, ObjectKind::environment, changed.id.raw);
            change.note(EntryKind::rotate, Action::update, ObjectKind::credential, one.first.id.raw);
            if (auto stored = change.store(changed); !stored) return stored;
            return change.store_with_secret(one.first, test::token_parts("one 1, rotated"));
        }));
        one.first = *records->catalog().find<Credential>(one.first.id);
        keys = KeyRing::unseal(*engine, test::key_file()).value();
        records.reset();
    }
    static Bytes key_of(MetaKind kind, const base::RawId& id) { return meta_key(kind, id); }
    Row row(Table table, ByteView key) const {
        const auto found = engine->get(table, key);
        REQUIRE(found);
        REQUIRE(*found);
        return **found;
    }

    test::ManualClock clock;
    std::unique_ptr<StorageEngine> engine = open_in_memory();
    std::unique_ptr<Records> records;
    std::unique_ptr<KeyRing> keys;
    test::Tenant one, other;
    Row old_environment, old_value, old_data_key;
};

const World& world() {
    static const World made;
    return made;
}

/// What opening the store answers.
std::string start_code(test::TamperedEngine& engine) {
    const auto opened = test::open_records(engine, world().clock);
    return opened ? "(opened)" : std::string(opened.error().code);
}

/// What opening one object's row answers.
std::string row_code(const test::TamperedEngine& engine, const Bytes& key) {
    const auto found = engine.get(Table::meta, key);
    REQUIRE(found);
    REQUIRE(*found);
    const auto opened = open_row(engine, *world().keys, key, (*found)->value);
    return opened ? "(opened)" : std::string(opened.error().code);
}

/// What opening a credential for use answers, as a running server would.
std::string use_code(const test::TamperedEngine& engine, const Credential& credential) {
    const auto sealed = read_sealed(engine, *world().keys, credential);
    if (!sealed) return std::string(sealed.error().code);
    const auto opened = open_joined(*sealed);
    return opened ? "(opened)" : std::string(opened.error().code);
}

void swap_rows(test::TamperedEngine& engine, Table table, const Bytes& one, const Bytes& other) {
    engine.replace(table, one, world().row(table, other));
    engine.replace(table, other, world().row(table, one));
}

TEST_CASE("An untouched store opens, and so does each row", "[vault][tamper]") {
    test::TamperedEngine engine(*world().engine);
    CHECK(use_code(engine, world().one.first) == "(opened)");
    CHECK(row_code(engine, meta_key(MetaKind::environment, world().one.environment.id.raw)) == "(opened)");
    CHECK(start_code(engine) == "(opened)");
}

TEST_CASE("Secrets swapped between credentials, vaults and workspaces do not open", "[vault][tamper]") {
    const auto& [one, other] = std::pair(world().one, world().other);
    for (const auto& [mine, theirs] : {std::pair{one.first, one.second}, std::pair{one.first, other.first}}) {
        test::TamperedEngine engine(*world().engine);
        swap_rows(engine, Table::value, secret_key(mine), secret_key(theirs));
        CHECK(use_code(engine, mine) == "envelope.refused");  // the value alone
        swap_rows(engine, Table::data_key, secret_key(mine), secret_key(theirs));
        CHECK(use_code(engine, mine) == "envelope.refused");  // with its data key
        CHECK(use_code(engine, theirs) == "envelope.refused");
    }
}

TEST_CASE("An old version of a secret does not open as the new one", "[vault][tamper]") {
    test::TamperedEngine engine(*world().engine);
    const auto now = secret_key(world().one.first);
    engine.replace(Table::value, now, world().old_value);
    CHECK(use_code(engine, world().one.first) == "envelope.refused");
    engine.replace(Table::data_key, now, world().old_data_key);
    CHECK(use_code(engine, world().one.first) == "envelope.refused");
}

TEST_CASE("Objects moved to another id, vault or workspace do not open", "[vault][tamper]") {
    const auto& one = world().one;
    const auto& other = world().other;
    const std::pair<Bytes, Bytes> moves[] = {
        {meta_key(MetaKind::credential, one.first.id.raw), meta_key(MetaKind::credential, one.second.id.raw)},
        {meta_key(MetaKind::credential, one.first.id.raw),
         meta_key(MetaKind::credential, other.first.id.raw)},
        {meta_key(MetaKind::vault, one.vault.id.raw), meta_key(MetaKind::vault, other.vault.id.raw)},
        {meta_key(MetaKind::workspace, one.workspace.raw),
         meta_key(MetaKind::workspace, other.workspace.raw)},
    };
    for (const auto& [mine, theirs] : moves) {
        test::TamperedEngine engine(*world().engine);
        swap_rows(engine, Table::meta, mine, theirs);
        INFO("kind " << static_cast<int>(mine[0]));
        CHECK(row_code(engine, mine) == "envelope.refused");
        CHECK(row_code(engine, theirs) == "envelope.refused");
        CHECK(start_code(engine) == "ledger.rows_changed");
    }
}

TEST_CASE("Policies, bindings, limits and API key hashes cannot be edited", "[vault][tamper]") {
    const auto& one = world().one;
    // Rules, bindings and limits of an environment stand in one row; the hash in that of the key.
    for (const auto& key : {meta_key(MetaKind::environment, one.environment.id.raw),
                            meta_key(MetaKind::api_key, one.key.id.raw)}) {
        const auto good = world().row(Table::meta, key);
        for (std::size_t byte = 0; byte < good.value.size(); ++byte) {
            test::TamperedEngine engine(*world().engine);
            auto edited = good;
            edited.value[byte] = static_cast<char>(edited.value[byte] ^ 1);
            engine.replace(Table::meta, key, edited);
            INFO("kind " << static_cast<int>(key[0]) << ", byte " << byte);
            const auto code = row_code(engine, key);
            // A changed generation names a key that there is none of.
            CHECK((code == "envelope.refused" || code == "key.missing"));
            if (byte % 16 == 0) CHECK(start_code(engine) == "ledger.rows_changed");
        }
    }
}

TEST_CASE("Another's policy, binding or key hash does not open as mine", "[vault][tamper]") {
    const auto& one = world().one;
    const auto& other = world().other;
    for (const auto& [mine, theirs] : {std::pair{meta_key(MetaKind::environment, one.environment.id.raw),
                                                 meta_key(MetaKind::environment, other.environment.id.raw)},
                                       std::pair{meta_key(MetaKind::api_key, one.key.id.raw),
                                                 meta_key(MetaKind::api_key, other.key.id.raw)}}) {
        test::TamperedEngine engine(*world().engine);
        engine.replace(Table::meta, mine, world().row(Table::meta, theirs));
        CHECK(row_code(engine, mine) == "envelope.refused");
        CHECK(start_code(engine) == "ledger.rows_changed");
    }
}

TEST_CASE("An old policy put back opens by itself, and is betrayed by the sums", "[vault][tamper]") {
    test::TamperedEngine engine(*world().engine);
    const auto key = meta_key(MetaKind::environment, world().one.environment.id.raw);
    engine.replace(Table::meta, key, world().old_environment);
    CHECK(start_code(engine) == "ledger.rows_changed");
}

TEST_CASE("Keys swapped between vaults and workspaces do not open", "[vault][tamper]") {
    const auto& one = world().one;
    const auto& other = world().other;
    const auto row_of = [](const base::RawId& owner) {
        Bytes key(reinterpret_cast<const char*>(owner.data()), owner.size());
        base::append_big_endian(key, kFirstGeneration);
        return key;
    };
    for (const auto& [mine, theirs, workspace] :
         {std::tuple{one.vault.id.raw, other.vault.id.raw, one.workspace.raw},
          std::tuple{one.workspace.raw, other.workspace.raw, one.workspace.raw}}) {
        test::TamperedEngine engine(*world().engine);
        swap_rows(engine, Table::owner_key, row_of(mine), row_of(theirs));
        const auto fresh = KeyRing::unseal(*world().engine, test::key_file());
        REQUIRE(fresh);
        const auto opened = (*fresh)->owner_key(engine, workspace, mine, kFirstGeneration);
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == "key.refused");
        const auto code = start_code(engine);
        CHECK((code == "ledger.rows_changed" || code == "key.refused"));
    }
}

}  // namespace
}  // namespace claviger::vault
