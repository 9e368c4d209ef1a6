#include "vault/rotation.h"

#include "crypto/random.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"
#include "vault/sealed_rows.h"
#include "vault/store_examination.h"

#include <future>

using namespace claviger;
using namespace claviger::vault;
using std::chrono::hours;

namespace {

SecretParts parts_of(std::string_view token) {
    SecretParts parts;
    parts.token = crypto::Secret::copy_of(token);
    return parts;
}

/// One credential in one vault of a store in memory, and its rotation step by step.
struct Rotating {
    test::ManualClock clock;
    std::unique_ptr<StorageEngine> engine = open_in_memory();
    std::unique_ptr<Records> records;
    base::CredentialId id = crypto::random_id<base::CredentialId>();

    Rotating() {
        std::vector<SealInput> inputs;
        inputs.push_back(test::key_file());
        REQUIRE(Records::initialise(*engine, inputs, crypto::PassphraseStrength::only_for_tests, clock));
        reopen();
        Vault vault;
        vault.id = crypto::random_id<base::VaultId>();
        vault.workspace = records->catalog().page<Workspace>({}).front()->id;
        Credential credential;
        credential.id = id;
        credential.workspace = vault.workspace;
        credential.vault = vault.id;
        credential.normal_url = credential.mcp_server_url = "https://api.github.com/mcp";
        REQUIRE(change([&](Change& now) -> base::Status {
            now.create_key_of(vault.workspace.raw, vault.id.raw);
            if (auto stored = now.store(vault); !stored) return stored;
            return now.store_with_secret(credential, parts_of("v1"));
        }));
    }

    void reopen() {
        records.reset();
        auto keys = KeyRing::unseal(*engine, test::key_file());
        REQUIRE(keys);
        auto opened = Records::open(*engine, std::move(*keys), clock);
        REQUIRE(opened);
        records = std::move(*opened);
    }

    base::Status change(const std::function<base::Status(Change&)>& apply) {
        std::promise<base::Status> promise;
        auto answer = promise.get_future();
        records->change(
            {.kind = ActorKind::api_key, .id = test::id_of(7)},
            [&](Change& now) {
                now.note(EntryKind::rotate, Action::update, ObjectKind::credential, id.raw);
                return apply(now);
            },
            [&](base::Status status) { promise.set_value(std::move(status)); });
        return answer.get();
    }
    /// A step that gives the rotation; its refusal's code, or "".
    std::string step(const std::function<base::Result<Rotation>(Change&, Credential&)>& apply) {
        const auto done = change([&](Change& now) -> base::Status {
            auto credential = *now.catalog().find<Credential>(id);
            auto rotation = apply(now, credential);
            return rotation ? base::Status() : std::unexpected(std::move(rotation).error());
        });
        return done ? "" : std::string(done.error().code);
    }
    std::string stage(std::string_view token) {
        return step([&](Change& now, Credential& credential) {
            return stage_value(now, credential, parts_of(token), {});
        });
    }
    std::string promote(std::uint64_t version, base::Time::duration kept = hours(24)) {
        return step([&](Change& now, Credential& credential) {
            return promote_value(now, credential, version,
                                 {.verified = true, .kept_until = now.now() + kept});
        });
    }
    std::string roll_back() {
        return step([&](Change& now, Credential& credential) {
            return roll_value_back(now, credential, now.now() + hours(24));
        });
    }
    std::string retire(ValueState state) {
        return step(
            [&](Change& now, Credential& credential) { return retire_value(now, credential, state); });
    }

    Credential credential() const { return *records->catalog().find<Credential>(id); }
    Rotation rotation() const {
        const auto found = records->catalog().find<Rotation>(id);
        return found ? *found : Rotation{};
    }
    std::string opened(const Credential& wanted) const {
        const auto sealed = records->sealed_secret(wanted);
        if (!sealed) return std::string(sealed.error().code);
        const auto token = records->open_token(*sealed);
        if (!token) return std::string(token.error().code);
        return token->expose([](auto bytes) { return std::string(base::as_view(bytes)); });
    }
    std::string in_use() const { return opened(credential()); }
    std::string kept(ValueState state) const {
        const auto now = rotation();
        const auto* found = now.find(state);
        return found == nullptr ? "(none)" : opened(as_of(credential(), *found));
    }
    std::size_t rows(Table table) const {
        std::size_t count = 0;
        REQUIRE(engine->scan(table, {}, {}, Order::ascending, [&](auto, auto, auto) { return ++count > 0; }));
        return count;
    }
    /// The store opens again, and everything in it is as the log has it.
    void examine() {
        reopen();
        auto keys = KeyRing::unseal(*engine, test::key_file());
        REQUIRE(keys);
        const auto examined = examine_store(*engine, **keys, {});
        REQUIRE(examined);
        for (const auto& fault : examined->named)
            FAIL_CHECK(fault.place << " " << fault.code << " " << fault.why);
        CHECK(examined->secrets == rows(Table::value));
    }
};

}  // namespace

TEST_CASE("A staged value is not used until it is promoted, and the one before stays for a while",
          "[vault]") {
    Rotating store;
    REQUIRE(store.stage("v2").empty());
    CHECK(store.in_use() == "v1");
    CHECK(store.credential().version == 1);
    CHECK(store.kept(ValueState::staged) == "v2");
    store.examine();

    REQUIRE(store.promote(2).empty());
    CHECK(store.in_use() == "v2");
    CHECK(store.credential().version == 2);
    CHECK(store.kept(ValueState::previous) == "v1");
    CHECK(store.kept(ValueState::staged) == "(none)");
    CHECK(store.rotation().verified == store.clock.now());
    store.examine();
    CHECK(store.in_use() == "v2");
}

TEST_CASE("An overlap of nothing erases the value before in the same commit", "[vault]") {
    Rotating store;
    REQUIRE(store.stage("v2").empty());
    REQUIRE(store.promote(2, hours(0)).empty());
    CHECK(store.rows(Table::value) == 1);
    CHECK(store.rows(Table::data_key) == 1);
    REQUIRE(store.rotation().past.size() == 1);
    CHECK(store.rotation().past[0].version == 1);
    CHECK(store.roll_back() == "credential.nothing_kept");
    store.examine();
}

TEST_CASE("A roll-back is a version of its own and can itself be rolled back", "[vault]") {
    Rotating store;
    REQUIRE(store.stage("v2").empty());
    REQUIRE(store.promote(2).empty());
    REQUIRE(store.roll_back().empty());
    CHECK(store.in_use() == "v1");
    CHECK(store.credential().version == 3);
    CHECK(store.kept(ValueState::previous) == "v2");
    store.examine();
    REQUIRE(store.roll_back().empty());
    CHECK(store.in_use() == "v2");
    CHECK(store.credential().version == 4);
    CHECK(store.rows(Table::value) == 2);
    store.examine();
}

TEST_CASE("Staging again replaces what was staged; only what is staged can be promoted", "[vault]") {
    Rotating store;
    CHECK(store.promote(2) == "credential.nothing_staged");
    REQUIRE(store.stage("wrong").empty());
    REQUIRE(store.stage("right").empty());
    CHECK(store.promote(2) == "credential.nothing_staged");
    CHECK(store.rows(Table::value) == 2);
    REQUIRE(store.promote(3).empty());
    CHECK(store.in_use() == "right");
    CHECK(store.retire(ValueState::staged) == "credential.nothing_staged");
    REQUIRE(store.retire(ValueState::previous).empty());
    CHECK(store.rows(Table::value) == 1);
    store.examine();
}

TEST_CASE("No version's number is used twice, whatever is replaced in between", "[vault]") {
    Rotating store;
    REQUIRE(store.stage("staged").empty());  // 2
    REQUIRE(store.change([&](Change& now) {
        return now.store_with_secret(*now.catalog().find<Credential>(store.id), parts_of("replaced"));
    }));
    CHECK(store.credential().version == 3);
    CHECK(store.in_use() == "replaced");
    REQUIRE(store.promote(2).empty());
    CHECK(store.in_use() == "staged");
    REQUIRE(store.stage("next").empty());
    REQUIRE(store.promote(4).empty());
    CHECK(store.in_use() == "next");
    store.examine();
}

TEST_CASE("What is kept follows a change of where the secret may go", "[vault]") {
    Rotating store;
    REQUIRE(store.stage("v2").empty());
    REQUIRE(store.promote(2).empty());
    REQUIRE(store.stage("v3").empty());
    REQUIRE(store.change([&](Change& now) -> base::Status {
        const auto before = *now.catalog().find<Credential>(store.id);
        auto after = before;
        after.allowed_tools = {"only_this"};
        if (auto kept = update_rotation(now, before, after, Deadline{now.now() + hours(1)}); !kept)
            return kept;
        return now.store_with_secret(after, parts_of("v2"));
    }));
    CHECK(store.kept(ValueState::previous) == "v1");
    CHECK(store.kept(ValueState::staged) == "v3");
    CHECK(store.rotation().rotate_by == store.clock.now() + hours(1));
    store.examine();

    // A row of before, put back by somebody who can write to the store, does not open.
    auto widened = store.credential();
    widened.allowed_tools.clear();
    const auto rotation = store.rotation();
    CHECK(store.opened(as_of(widened, *rotation.find(ValueState::previous))) == "envelope.refused");
}

TEST_CASE("Deadlines belong to values: a promotion brings its own, a roll-back the old one", "[vault]") {
    Rotating store;
    const auto first = store.clock.now() + hours(10), second = store.clock.now() + hours(20);
    REQUIRE(store.change([&](Change& now) {
        const auto credential = *now.catalog().find<Credential>(store.id);
        return update_rotation(now, credential, credential, Deadline{first});
    }));
    CHECK(store.rotation().rotate_by == first);
    REQUIRE(store
                .step([&](Change& now, Credential& credential) {
                    return stage_value(now, credential, parts_of("v2"), second);
                })
                .empty());
    CHECK(store.rotation().rotate_by == first);
    REQUIRE(store.promote(2).empty());
    CHECK(store.rotation().rotate_by == second);
    REQUIRE(store.roll_back().empty());
    CHECK(store.rotation().rotate_by == first);
}

TEST_CASE("Archiving and deleting a credential leave none of its values behind", "[vault]") {
    const auto erased = GENERATE(true, false);
    Rotating store;
    REQUIRE(store.stage("v2").empty());
    REQUIRE(store.promote(2).empty());
    REQUIRE(store.stage("v3").empty());
    CHECK(store.rows(Table::value) == 3);
    REQUIRE(store.change([&](Change& now) {
        const auto credential = *now.catalog().find<Credential>(store.id);
        return erased ? now.erase(credential) : now.purge_secret(credential);
    }));
    CHECK(store.rows(Table::value) == 0);
    CHECK(store.rows(Table::data_key) == 0);
    CHECK(store.records->catalog().find<Rotation>(store.id) == nullptr);
    store.examine();
}
