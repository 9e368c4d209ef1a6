// The refresh engine over a real store, a real journal and a token endpoint on a socket.
#include "oauth/refresher.h"

#include "base/bytes.h"
#include "oauth/dpop.h"
#include "oauth/refresh_commit.h"
#include "tests/net/raw_upstream.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;
using test::Peer;

std::string json_answer(unsigned status, const std::string& body, const std::string& more = {}) {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n" + more +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string tokens(const std::string& name, int expires_in = 3600) {
    return json_answer(200, R"({"access_token":"access-)" + name + R"(","refresh_token":"refresh-)" + name +
                                R"(","token_type":"Bearer","expires_in":)" + std::to_string(expires_in) +
                                "}");
}
std::string text_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

/// A token endpoint that answers request after request as it is told; the last answer repeats.
struct TokenEndpoint {
    using Answer = std::function<void(Peer&, const std::string& request)>;

    std::vector<Answer> answers;
    std::mutex guard;
    std::vector<std::string> requests;
    /// What it says of a token (RFC 7662), by request; null: its metadata name no place to ask.
    std::function<std::string(const std::string& request)> introspection;
    std::vector<std::string> questions;
    test::RawUpstream server{[this](Peer& peer) {
        for (;;) {
            const auto request = peer.request();
            if (request.empty()) return;
            if (request.starts_with("GET ")) {
                peer.write(metadata());
                continue;
            }
            if (request.starts_with("POST /introspect ")) {
                const std::lock_guard hold(guard);
                questions.push_back(request);
                peer.write(introspection(request));
                continue;
            }
            Answer answer;
            {
                const std::lock_guard hold(guard);
                requests.push_back(request);
                answer = answers.at(std::min(requests.size(), answers.size()) - 1);
            }
            if (!answer) return;  // closes without an answer
            answer(peer, request);
        }
    }};

    static Answer says(std::string text) {
        return [text](Peer& peer, const std::string&) { peer.write(text); };
    }
    std::string metadata() const {
        if (!introspection) return json_answer(404, "{}");
        const auto origin = "http://127.0.0.1:" + std::to_string(server.port());
        return json_answer(200, R"({"issuer":")" + origin + R"(","token_endpoint":")" + url() +
                                    R"(","introspection_endpoint":")" + origin + R"(/introspect"})");
    }
    std::size_t count() {
        const std::lock_guard hold(guard);
        return requests.size();
    }
    std::size_t asked() {
        const std::lock_guard hold(guard);
        return questions.size();
    }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(server.port()) + "/token"; }
};

struct World {
    World() {
        test::make_store(*engine, clock);
        open();
        workspace.raw = test::id_of(6);
        vault.id.raw = test::id_of(7);
        vault.workspace = workspace;
        credential.id.raw = test::id_of(8);
        credential.workspace = workspace;
        credential.vault = vault.id;
        credential.type = vault::AuthType::mcp_oauth;
        credential.mcp_server_url = credential.normal_url = "https://mcp.example.com/mcp";
        vault::Refresh refresh;
        refresh.token_endpoint = endpoint.url();
        refresh.client_id = "client";
        credential.refresh = refresh;
        vault::Workspace home;
        home.id = workspace;
        change([&](vault::Change& change) -> base::Status {
            change.create_key_of(workspace.raw, workspace.raw);
            change.create_key_of(workspace.raw, vault.id.raw);
            change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::vault,
                        vault.id.raw);
            if (auto stored = change.store(home); !stored) return stored;
            return change.store(vault);
        });
    }
    ~World() { close(); }

    void open() {
        auto ring = vault::KeyRing::unseal(*engine, test::key_file());
        REQUIRE(ring);
        auto opened = vault::Records::open(*engine, std::move(*ring), clock);
        REQUIRE(opened);
        records = std::move(*opened);
    }
    void close() {
        if (refresher) refresher->drain();
        if (loop) loop->stop();
        refresher.reset();
        pool.reset();
        loop.reset();
        records.reset();
    }
    void start() {
        loop.emplace();
        pool.emplace(loop->worker, net::ClientLimits{}, nullptr);
        auto journal = Journal::open(place.path() / "journal", *engine, records->keys());
        REQUIRE(journal);
        GrantHooks hooks;
        hooks.reach = [](const vault::Credential&, std::string_view) { return net::PrivateAddresses::allow; };
        hooks.tell = [this](vault::Change&, const vault::Credential&, const StoredGrant&,
                            const Transition& transition) -> base::Status {
            const std::lock_guard hold(guard);
            told.emplace_back(transition.webhook);
            return {};
        };
        hooks.revoke = [this](vault::Change&, const vault::Credential&, const StoredGrant&,
                              vault::SecretParts parts) -> base::Status {
            const std::lock_guard hold(guard);
            revoked.push_back(text_of(*parts.token));
            return {};
        };
        RefreshSettings settings;
        settings.request_timeout = 3s;
        settings.patience = patience;
        settings.store_is_shared = store_is_shared;
        refresher = std::make_unique<Refresher>(*records, std::move(*journal), providers,
                                                std::vector<Refresher::Lane>{{loop->worker, *pool}}, settings,
                                                std::move(hooks));
        REQUIRE(refresher->start());
    }
    void change(std::function<base::Status(vault::Change&)> apply) {
        std::promise<base::Status> done;
        records->change({vault::ActorKind::system, {}, workspace.raw}, std::move(apply),
                        [&](base::Status status) { done.set_value(std::move(status)); });
        const auto status = done.get_future().get();
        INFO((status ? std::string() : status.error().message));
        REQUIRE(status);
    }
    /// Stores the credential with "access-0" and "refresh-0".
    void store(std::optional<std::chrono::seconds> expires_in) {
        change([&](vault::Change& change) -> base::Status {
            if (expires_in) credential.expires = change.now() + *expires_in;
            if (auto granted =
                    store_grant(change, credential, handed_over(credential, nullptr, change.now()));
                !granted)
                return granted;
            vault::SecretParts parts;
            parts.token = crypto::Secret::copy_of("access-0");
            parts.refresh_token = crypto::Secret::copy_of("refresh-0");
            change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::credential,
                        credential.id.raw, vault.id.raw);
            return change.store_with_secret(credential, parts);
        });
    }
    vault::Ref<vault::Credential> now() const {
        return records->catalog().find<vault::Credential>(credential.id);
    }
    GrantFacts facts() const {
        const auto grant = grant_of(records->catalog(), *now());
        REQUIRE(grant);
        return grant->facts;
    }
    /// The disk has a new version a moment before the catalog: then the old one's rows are gone already.
    vault::SecretParts parts() const {
        auto sealed = records->sealed_secret(*now());
        for (int look = 0; !sealed && look < 1000; ++look) {
            std::this_thread::sleep_for(1ms);
            sealed = records->sealed_secret(*now());
        }
        REQUIRE(sealed);
        auto opened = records->open_parts(*sealed);
        REQUIRE(opened);
        return std::move(*opened);
    }
    std::string token() const { return text_of(*parts().token); }
    base::Status make_usable() {
        return loop->await<base::Status>(
            [&](net::Worker& worker) { return refresher->make_usable(worker, credential.id); });
    }
    base::Status replace_refused(std::uint64_t version, std::string claims = {}) {
        return loop->await<base::Status>([&](net::Worker& worker) {
            return refresher->replace_refused(worker, credential.id, version, claims);
        });
    }
    StoredGrant grant() const { return *grant_of(records->catalog(), *now()); }
    /// Reasons of the grant's entries in the access log, newest first, those without one left out.
    std::vector<std::string> reasons() const {
        vault::LogQuery query;
        query.workspace = workspace.raw;
        query.kind = vault::EntryKind::grant;
        std::vector<std::string> found;
        for (const auto& named : records->access_log().query(query)->entries)
            if (named.entry.reason != 0) found.emplace_back(vault::reason_code(named.entry.reason));
        return found;
    }
    std::size_t entries(vault::Action action) const {
        vault::LogQuery query;
        query.workspace = workspace.raw;
        query.kind = vault::EntryKind::grant;
        const auto page = records->access_log().query(query);
        return static_cast<std::size_t>(std::ranges::count_if(
            page->entries, [&](const auto& named) { return named.entry.action == action; }));
    }
    std::size_t journal_files() const {
        std::size_t files = 0;
        for ([[maybe_unused]] const auto& file :
             std::filesystem::directory_iterator(place.path() / "journal"))
            ++files;
        return files;
    }

    test::TemporaryDirectory place;
    test::ManualClock clock;
    TokenEndpoint endpoint;
    std::unique_ptr<vault::StorageEngine> engine = vault::open_in_memory();
    std::unique_ptr<vault::Records> records;
    ProviderCatalog providers = ProviderCatalog::built_in();
    std::optional<test::Loop> loop;
    std::optional<net::ClientPool> pool;
    std::unique_ptr<Refresher> refresher;
    std::chrono::milliseconds patience = 10s;
    bool store_is_shared = false;
    base::WorkspaceId workspace;
    vault::Vault vault;
    vault::Credential credential;
    std::mutex guard;
    std::vector<std::string> told, revoked;
};

TEST_CASE("A hundred callers of an expired grant make one token request", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.store(-1s);
    world.start();
    CHECK_FALSE(world.refresher->usable(*world.now()));
    std::atomic<int> good = 0, ended = 0;
    for (int i = 0; i < 100; ++i)
        world.loop->begin(
            [](World& on, std::atomic<int>& well, std::atomic<int>& done) -> net::awaitable<void> {
                if (co_await on.refresher->make_usable(on.loop->worker, on.credential.id)) ++well;
                ++done;
            }(world, good, ended));
    CHECK(test::soon([&] { return ended == 100; }));
    CHECK(good == 100);
    CHECK(world.endpoint.count() == 1);
    CHECK(world.endpoint.requests.at(0).find("grant_type=refresh_token&refresh_token=refresh-0") !=
          std::string::npos);
    CHECK(world.endpoint.requests.at(0).find("client_id=client") != std::string::npos);
    CHECK(world.refresher->usable(*world.now()));
    CHECK(world.token() == "access-1");
    const auto parts = world.parts();
    CHECK(text_of(*parts.refresh_token) == "refresh-1");
    CHECK(text_of(*parts.previous_refresh_token) == "refresh-0");
    const auto facts = world.facts();
    CHECK(facts.state == GrantState::ready);
    CHECK(facts.epoch == 1);
    CHECK(facts.gen == 2);
    CHECK(world.now()->expires == facts.expires_at);
    CHECK(world.now()->version == 2);
    CHECK(test::soon([&] { return world.journal_files() == 0; }));
}

TEST_CASE("An answer without a refresh token keeps the one in use", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {
        TokenEndpoint::says(json_answer(200, R"({"access_token":"a","expires_in":60})"))};
    world.store(-1s);
    world.start();
    REQUIRE(world.make_usable());
    CHECK(world.token() == "a");
    CHECK(text_of(*world.parts().refresh_token) == "refresh-0");
    CHECK_FALSE(world.parts().previous_refresh_token);
}

TEST_CASE("A token that is about to expire is used while the next one is fetched", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.store(3600s);
    world.start();
    CHECK(world.refresher->usable(*world.now()));
    CHECK(world.endpoint.count() == 0);
    REQUIRE(world.refresher->next_step(world.credential.id));
    const auto due = *world.refresher->next_step(world.credential.id);
    CHECK(due < *world.now()->expires - 6min);
    CHECK(due >= *world.now()->expires - 9min);
    world.clock.set(due + 1s);  // the background notices by itself
    CHECK(test::soon([&] { return world.token() == "access-1"; }));
    CHECK(world.endpoint.count() == 1);
}

TEST_CASE("What nobody uses is not renewed in the background", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.store(30 * 24h);
    world.start();
    world.clock.advance(29 * 24h + 23h + 59min);
    std::this_thread::sleep_for(600ms);
    CHECK(world.endpoint.count() == 0);
    world.clock.advance(1h);
    REQUIRE(world.make_usable());
    CHECK(world.endpoint.count() == 1);
}

TEST_CASE("A dead grant needs a person, and is asked about once", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(json_answer(400, R"({"error":"invalid_grant"})"))};
    world.store(-1s);
    world.start();
    for (int i = 0; i < 3; ++i) {
        const auto usable = world.make_usable();
        REQUIRE_FALSE(usable);
        CHECK(usable.error().kind == base::ErrorKind::denied);
        CHECK(usable.error().code == "grant.needs_reauth");
    }
    CHECK(world.endpoint.count() == 1);
    CHECK(world.facts().reason == "invalid_grant");
    CHECK(world.told == std::vector<std::string>{"connection.needs_reauth"});
    CHECK(world.token() == "access-0");  // nothing is deleted
    CHECK(text_of(*world.parts().refresh_token) == "refresh-0");
}

TEST_CASE("A server in trouble is left alone for as long as it asks, while the old token lives",
          "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(json_answer(503, "{}", "Retry-After: 120\r\n")),
                              TokenEndpoint::says(tokens("1"))};
    world.store(100s);
    world.start();
    world.clock.advance(99s);  // the last tenth of a short life, or five seconds
    const auto usable = world.make_usable();
    REQUIRE_FALSE(usable);
    CHECK(usable.error().code == "grant.transient");
    CHECK(usable.error().hint == "The token has run out; try again in 120 s.");
    CHECK(world.facts().state == GrantState::backoff);
    REQUIRE_FALSE(world.make_usable());
    CHECK(world.endpoint.count() == 1);
    world.clock.advance(121s);
    REQUIRE(world.make_usable());
    CHECK(world.endpoint.count() == 2);
    CHECK(world.facts().fail_count == 0);
}

TEST_CASE("An attempt without an answer is repeated, and a refusal then is ours", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {nullptr, TokenEndpoint::says(json_answer(400, R"({"error":"invalid_grant"})"))};
    world.store(-1s);
    world.start();
    std::string code;
    CHECK(test::soon([&] {
        const auto usable = world.make_usable();
        code = usable ? "" : usable.error().code;
        return code == "grant.refresh_outcome_lost";
    }));
    CHECK(world.endpoint.count() == 2);
    CHECK(world.facts().reason == "refresh_outcome_lost");
}

TEST_CASE("A refused client is an operator's business, for all of its grants", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(json_answer(401, R"({"error":"invalid_client"})")),
                              TokenEndpoint::says(tokens("1"))};
    world.store(-1s);
    auto sibling = world.credential;
    sibling.id.raw = test::id_of(9);
    world.change([&](vault::Change& change) -> base::Status {
        sibling.expires = change.now() + 1h;
        if (auto granted = store_grant(change, sibling, handed_over(sibling, nullptr, change.now()));
            !granted)
            return granted;
        vault::SecretParts parts;
        parts.token = crypto::Secret::copy_of("other");
        parts.refresh_token = crypto::Secret::copy_of("other-refresh");
        change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::credential,
                    sibling.id.raw, world.vault.id.raw);
        return change.store_with_secret(sibling, parts);
    });
    world.start();
    const auto usable = world.make_usable();
    REQUIRE_FALSE(usable);
    CHECK(usable.error().code == "grant.needs_config");
    const auto of_sibling = [&] {
        const auto grant =
            grant_of(world.records->catalog(), *world.records->catalog().find<vault::Credential>(sibling.id));
        return grant ? grant->facts.state : GrantState::initial;
    };
    CHECK(test::soon([&] { return of_sibling() == GrantState::needs_config; }));
    CHECK(world.told == std::vector<std::string>{"client.needs_attention"});
    CHECK(world.refresher->usable(*world.records->catalog().find<vault::Credential>(sibling.id)));

    // A day later it is tried again.
    world.clock.advance(24h + 1s);
    CHECK(test::soon([&] { return world.token() == "access-1"; }));
}

TEST_CASE("A plan from before a client was refused does not try it again; a day later it is tried once",
          "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.store(60s);
    world.start();
    REQUIRE(world.refresher->usable(*world.now()));  // from here on its renewal is planned
    world.change([&](vault::Change& change) -> base::Status {
        auto grant = grant_of(change.catalog(), *world.now());
        if (!grant) return std::unexpected(std::move(grant).error());
        grant->facts.state = GrantState::needs_config;
        grant->facts.reason = "invalid_client";
        change.note_grant(vault::Action::refresh_failed, *world.now());
        return store_grant(change, *world.now(), *grant);
    });
    world.clock.advance(59s);
    std::this_thread::sleep_for(800ms);  // a few ticks, of which one finds the plan due
    CHECK(world.facts().state == GrantState::needs_config);
    CHECK(world.endpoint.count() == 0);
    world.clock.advance(24h);
    CHECK(test::soon([&] { return world.facts().state == GrantState::ready; }));
    CHECK(world.endpoint.count() == 1);
}

TEST_CASE("A token that the server refuses is replaced once", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1")), TokenEndpoint::says(tokens("2"))};
    world.store(std::nullopt);
    world.start();
    CHECK(world.refresher->usable(*world.now()));
    REQUIRE(world.replace_refused(1));
    CHECK(world.token() == "access-1");
    REQUIRE(world.replace_refused(1));  // another call that had the old one
    CHECK(world.endpoint.count() == 1);
    const auto fresh = world.replace_refused(2);
    REQUIRE_FALSE(fresh);
    CHECK(fresh.error().code == "upstream.unauthorized");
    CHECK(world.endpoint.count() == 1);
    CHECK(test::soon([&] { return world.facts().reason == "upstream_rejects_fresh_token"; }));
    world.clock.advance(2min);
    REQUIRE(world.replace_refused(2));
    CHECK(world.token() == "access-2");
}

TEST_CASE("Who cannot wait longer is told to come back, and the attempt goes on", "[oauth][refresher]") {
    std::promise<void> go_on;  // outlives the server
    World world;
    world.patience = 300ms;
    auto wait = go_on.get_future().share();
    world.endpoint.answers = {[wait](Peer& peer, const std::string&) {
        wait.wait();
        peer.write(tokens("1"));
    }};
    world.store(-1s);
    world.start();
    const auto usable = world.make_usable();
    go_on.set_value();
    REQUIRE_FALSE(usable);
    CHECK(usable.error().code == "grant.refreshing");
    CHECK(test::soon([&] { return world.token() == "access-1"; }));
}

TEST_CASE("Tokens that come after the account was connected anew are revoked, not used",
          "[oauth][refresher]") {
    std::promise<void> asked, go_on;  // outlive the server
    World world;
    auto wait = go_on.get_future().share();
    world.endpoint.answers = {[&, wait](Peer& peer, const std::string&) {
        asked.set_value();
        wait.wait();
        peer.write(tokens("late"));
    }};
    world.store(-1s);
    world.start();
    world.loop->begin([](World& on) -> net::awaitable<void> {
        [[maybe_unused]] const auto ignored =
            co_await on.refresher->make_usable(on.loop->worker, on.credential.id);
    }(world));
    asked.get_future().wait();
    world.change([&](vault::Change& change) -> base::Status {
        auto credential = *change.catalog().find<vault::Credential>(world.credential.id);
        const auto before = grant_of(change.catalog(), credential);
        credential.expires = change.now() + 1h;
        if (auto granted = store_grant(change, credential, handed_over(credential, &*before, change.now()));
            !granted)
            return granted;
        auto parts = change.open_secret(credential);
        parts->token = crypto::Secret::copy_of("by hand");
        change.note(vault::EntryKind::rotate, vault::Action::update, vault::ObjectKind::credential,
                    credential.id.raw, world.vault.id.raw);
        return change.store_with_secret(credential, *parts);
    });
    go_on.set_value();
    CHECK(test::soon([&] {
        const std::lock_guard hold(world.guard);
        return world.revoked == std::vector<std::string>{"access-late"};
    }));
    CHECK(world.token() == "by hand");
    CHECK(world.facts().epoch == 2);
    CHECK(world.facts().gen == 1);
}

/// What a process leaves that dies between its attempt's commit and the answer's.
Begun die_in_attempt(World& world) {
    Begun begun;
    const GrantHooks hooks;
    const RefreshSettings settings;
    world.change([&](vault::Change& change) {
        return begin_attempt(change,
                             {.id = world.credential.id,
                              .clock = world.clock,
                              .providers = world.providers,
                              .hooks = hooks,
                              .settings = settings,
                              .attempt = test::id_of(77),
                              .epoch = 1,
                              .gen = world.facts().gen,
                              .refused_gen = {}},
                             begun);
    });
    REQUIRE(begun.refusal.empty());
    return begun;
}

TEST_CASE("An answer in the journal of a process that died is committed by the next", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("again"))};
    world.store(-1s);
    const auto begun = die_in_attempt(world);
    {
        auto journal = Journal::open(world.place.path() / "journal", *world.engine, world.records->keys());
        REQUIRE(journal);
        JournalEntry entry;
        entry.attempt = begun.attempt.id;
        entry.credential = world.credential.id;
        entry.workspace = world.workspace;
        entry.vault = world.vault.id;
        entry.epoch = 1;
        entry.parent_gen = 1;
        entry.sent_at = world.clock.now();
        entry.status = 200;
        entry.content_type = "application/json";
        entry.body = crypto::Secret::copy_of(
            R"({"access_token":"kept","refresh_token":"kept-refresh","expires_in":3600})");
        REQUIRE(journal->write(entry));
    }
    world.close();
    world.open();
    world.start();
    CHECK(world.token() == "kept");
    CHECK(text_of(*world.parts().refresh_token) == "kept-refresh");
    CHECK(world.facts().state == GrantState::ready);
    CHECK(world.journal_files() == 0);
    CHECK(world.make_usable());
    CHECK(world.endpoint.count() == 0);
}

TEST_CASE("An answer that the store refuses stays in the journal until it is taken, and nothing else is sent",
          "[oauth][refresher]") {
    World world;
    world.store(-1s);
    const auto store_row = [&](std::string facts) {
        world.change([&](vault::Change& change) {
            auto row = *change.catalog().find<vault::Grant>(world.credential.id);
            row.facts = std::move(facts);
            change.note_grant(vault::Action::update, *world.now());
            return change.store(std::move(row));
        });
    };
    std::string good;
    world.endpoint.answers = {[&](Peer& peer, const std::string&) {
        good = world.records->catalog().find<vault::Grant>(world.credential.id)->facts;
        store_row("what nobody can read");
        peer.write(tokens("1"));
    }};
    world.start();
    CHECK_FALSE(world.make_usable());
    CHECK(world.journal_files() == 1);
    CHECK_FALSE(world.make_usable());
    store_row(good);
    CHECK(world.make_usable());
    CHECK(world.token() == "access-1");
    CHECK(text_of(*world.parts().refresh_token) == "refresh-1");
    CHECK(world.facts().state == GrantState::ready);
    CHECK(world.journal_files() == 0);
    CHECK(world.endpoint.count() == 1);
    CHECK(world.revoked.empty());
}

TEST_CASE("An attempt of a process that died without an answer is repeated", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("again"))};
    world.store(-1s);
    die_in_attempt(world);
    CHECK(world.facts().state == GrantState::refreshing);
    world.close();
    world.open();
    world.start();
    CHECK(world.make_usable());
    CHECK(world.token() == "access-again");
    CHECK(world.endpoint.count() == 1);
}

TEST_CASE("A grant without a refresh token ends with its token", "[oauth][refresher]") {
    World world;
    world.credential.refresh.reset();
    world.store(100s);
    world.start();
    CHECK(world.refresher->usable(*world.now()));
    world.clock.advance(85s);
    CHECK(test::soon([&] { return world.facts().expiry_warned; }));
    world.clock.advance(20s);
    const auto usable = world.make_usable();
    REQUIRE_FALSE(usable);
    CHECK(usable.error().code == "grant.needs_reauth");
    CHECK(test::soon([&] { return world.facts().state == GrantState::needs_reauth; }));
    CHECK(world.told == std::vector<std::string>{"connection.expiring", "connection.needs_reauth"});
}

TEST_CASE("A line break in a token reaches nobody's header", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {
        TokenEndpoint::says(json_answer(200, R"({"access_token":"a\r\nX-Evil: 1","expires_in":60})"))};
    world.store(-1s);
    world.start();
    CHECK_FALSE(world.make_usable());
    CHECK(world.token() == "access-0");
}

TEST_CASE("Tokens that are bound to a key are renewed with a proof, and the server's nonce",
          "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {
        TokenEndpoint::says(json_answer(400, R"({"error":"use_dpop_nonce"})", "DPoP-Nonce: n-1\r\n")),
        TokenEndpoint::says(json_answer(
            200, R"({"access_token":"bound","token_type":"DPoP","refresh_token":"r","expires_in":60})"))};
    world.credential.injection.scheme = "DPoP";
    world.store(-1s);
    const auto key = DpopKey::generate();
    world.change([&](vault::Change& change) -> base::Status {
        const auto credential = change.catalog().find<vault::Credential>(world.credential.id);
        auto parts = change.open_secret(*credential);
        parts->dpop_key = key.exported();
        change.note(vault::EntryKind::rotate, vault::Action::update, vault::ObjectKind::credential,
                    credential->id.raw, world.vault.id.raw);
        return change.store_with_secret(*credential, *parts);
    });
    world.start();
    REQUIRE(world.make_usable());
    CHECK(world.token() == "bound");
    CHECK(world.parts().dpop_key == key.exported());  // kept with the new tokens
    REQUIRE(world.endpoint.count() == 2);
    const auto claims_of = [&](std::size_t request) {
        const auto& text = world.endpoint.requests.at(request);
        const auto at = text.find("DPoP: ");
        REQUIRE(at != text.npos);
        const auto first = text.find('.', at), second = text.find('.', first + 1);
        return base::from_base64url(text.substr(first + 1, second - first - 1)).value_or("");
    };
    CHECK(claims_of(0).find("nonce") == std::string::npos);
    CHECK(claims_of(1).find(R"("nonce":"n-1")") != std::string::npos);
    CHECK(claims_of(1).find(R"("htu":")" + world.endpoint.url() + '"') != std::string::npos);
    CHECK(world.facts().fail_count == 0);
}

TEST_CASE("Eight processes on one store make one token request, and the lease of a dead one ends",
          "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {[](Peer& peer, const std::string&) {
        std::this_thread::sleep_for(300ms);
        peer.write(tokens("1"));
    }};
    world.store(-1s);
    world.store_is_shared = true;
    world.start();
    std::vector<std::unique_ptr<Refresher>> processes;
    RefreshSettings settings;
    settings.store_is_shared = true;
    for (int i = 0; i < 8; ++i) {
        auto journal = Journal::open(world.place.path() / ("journal-" + std::to_string(i)), *world.engine,
                                     world.records->keys());
        REQUIRE(journal);
        GrantHooks hooks;
        hooks.reach = [](const vault::Credential&, std::string_view) { return net::PrivateAddresses::allow; };
        processes.push_back(std::make_unique<Refresher>(
            *world.records, std::move(*journal), world.providers,
            std::vector<Refresher::Lane>{{world.loop->worker, *world.pool}}, settings, hooks));
        REQUIRE(processes.back()->start());
    }
    const auto all_ask = [&] {
        std::atomic<int> good = 0, ended = 0;
        for (const auto& process : processes)
            world.loop->begin([](World& on, Refresher& own, std::atomic<int>& well,
                                 std::atomic<int>& done) -> net::awaitable<void> {
                if (co_await own.make_usable(on.loop->worker, on.credential.id)) ++well;
                ++done;
            }(world, *process, good, ended));
        CHECK(test::soon([&] { return ended == 8; }));
        return good.load();
    };
    CHECK(all_ask() == 8);
    CHECK(world.endpoint.count() == 1);
    CHECK(world.facts().gen == 2);

    // One begins and is never heard of again; until its lease is over nobody else tries.
    world.clock.advance(3600s);
    die_in_attempt(world);
    world.clock.advance(30s);
    std::atomic<bool> ended = false;
    world.loop->begin([](World& on, Refresher& own, std::atomic<bool>& done) -> net::awaitable<void> {
        CHECK(co_await own.make_usable(on.loop->worker, on.credential.id));
        done = true;
    }(world, *processes[0], ended));
    std::this_thread::sleep_for(600ms);
    CHECK(world.endpoint.count() == 1);
    world.clock.advance(46s);
    CHECK(test::soon([&] { return ended.load(); }));
    CHECK(world.endpoint.count() == 2);
    for (auto& process : processes) process->drain();
    world.refresher->drain();
    world.loop->stop();
}

TEST_CASE("A token that died without anybody knowing is renewed before another is exchanged for it",
          "[oauth][refresher]") {
    World world;
    const auto is = [](const std::string& request, const char* what) {
        return request.find(what) != std::string::npos;
    };
    unsigned refused = 400;
    std::string refusal = R"({"error":"invalid_grant"})", dead = "subject_token=access-0";
    bool renews = true;
    world.endpoint.answers = {[&](Peer& peer, const std::string& request) {
        if (is(request, "grant_type=refresh_token"))
            peer.write(renews ? tokens("1") : json_answer(503, "{}"));
        else
            peer.write(is(request, dead.c_str()) ? json_answer(refused, refusal) : tokens("exchanged"));
    }};
    world.store(1h);
    const auto subject = world.credential.id;
    world.credential.id.raw = test::id_of(9);
    world.credential.mcp_server_url = world.credential.normal_url = "https://other.example.com/mcp";
    world.credential.refresh->grant = "token_exchange";
    world.credential.refresh->exchange =
        vault::Exchange{.credential = subject,
                        .token_type = "urn:ietf:params:oauth:token-type:access_token",
                        .audience = {},
                        .requested_type = {},
                        .issuer = {}};
    world.store(100s);
    world.start();
    world.clock.advance(101s);
    const auto version_of_subject = [&] {
        return world.records->catalog().find<vault::Credential>(subject)->version;
    };
    const auto before = version_of_subject();
    SECTION("and exchanged again, once") {
        CHECK(world.make_usable());
        CHECK(world.token() == "access-exchanged");
        CHECK(world.endpoint.count() == 3);
        CHECK(version_of_subject() == before + 1);
        CHECK(world.journal_files() == 0);
    }
    SECTION("also where the server calls the request invalid (RFC 8693 2.2.2)") {
        refusal = R"({"error":"invalid_request"})";
        CHECK(world.make_usable());
        CHECK(world.token() == "access-exchanged");
    }
    SECTION("and only when the new one is refused as well somebody is asked") {
        dead = "subject_token=";
        const auto usable = world.make_usable();
        REQUIRE_FALSE(usable);
        CHECK(usable.error().code == "grant.needs_reauth");
        CHECK(world.facts().reason == "subject_refused");
        CHECK(world.endpoint.count() == 3);
        CHECK(version_of_subject() == before + 1);
    }
    SECTION("and while it cannot be renewed nobody is") {
        renews = false;
        const auto usable = world.make_usable();
        REQUIRE_FALSE(usable);
        CHECK(usable.error().code == "grant.transient");
        CHECK(world.facts().reason == "subject_unusable");
        CHECK(world.endpoint.count() == 2);
    }
}

/// A signed JWT as far as anybody can tell who does not verify it.
std::string token_with(const char* claims) {
    return base::to_base64url(R"({"alg":"ES256"})") + "." + base::to_base64url(claims) + ".c2ln";
}

TEST_CASE("Who acts for a subject is named by a token of its own, kept fresh like the subject's",
          "[oauth][refresher]") {
    World world;
    const auto is = [](const std::string& request, const std::string& what) {
        return request.find(what) != std::string::npos;
    };
    std::string dead = "no token", refusal = R"({"error":"invalid_request"})";
    std::string acted = token_with(R"({"act":{"sub":"agent","act":{"sub":"broker"}}})");
    unsigned renewals = 0;
    world.endpoint.answers = {[&](Peer& peer, const std::string& request) {
        if (is(request, "grant_type=refresh_token"))
            peer.write(tokens("renewed" + std::to_string(++renewals)));
        else if (is(request, dead))
            peer.write(json_answer(400, refusal));
        else
            peer.write(json_answer(
                200, R"({"token_type":"Bearer","expires_in":3600,"access_token":")" + acted + R"("})"));
    }};
    const auto on_server = [&](unsigned id, const char* server) {
        world.credential.id.raw = test::id_of(static_cast<unsigned char>(id));
        world.credential.mcp_server_url = world.credential.normal_url = server;
        world.credential.version = 0;
    };
    world.store(1h);
    const auto subject = world.credential.id;
    on_server(9, "https://actor.example.com/mcp");
    world.store(10min);
    const auto actor = world.credential.id;
    on_server(10, "https://other.example.com/mcp");
    world.credential.refresh->grant = "token_exchange";
    constexpr const char* kAccessToken = "urn:ietf:params:oauth:token-type:access_token";
    world.credential.refresh->exchange = vault::Exchange{.credential = subject,
                                                         .token_type = kAccessToken,
                                                         .audience = {},
                                                         .requested_type = {},
                                                         .issuer = {},
                                                         .actor = actor,
                                                         .actor_type = kAccessToken};
    world.store(100s);
    const auto change_actor = [&](const std::function<void(vault::Credential&)>& with) {
        world.change([&](vault::Change& change) -> base::Status {
            auto changed = *change.catalog().find<vault::Credential>(actor);
            const auto parts = change.open_secret(changed);  // sealed for where it may go
            if (!parts) return std::unexpected(parts.error());
            with(changed);
            change.note(vault::EntryKind::write, vault::Action::update, vault::ObjectKind::credential,
                        actor.raw, world.vault.id.raw);
            return change.store_with_secret(std::move(changed), *parts);
        });
    };
    const auto requests = [&](const std::string& what) {
        const std::lock_guard hold(world.endpoint.guard);
        return std::ranges::count_if(world.endpoint.requests,
                                     [&](const auto& request) { return is(request, what); });
    };
    SECTION("both are sent, and whom the new token names is kept for people") {
        world.start();
        world.clock.advance(101s);
        REQUIRE(world.make_usable());
        CHECK(requests("subject_token=access-0&") == 1);
        CHECK(requests("&actor_token=access-0&actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A"
                       "access_token") == 1);
        const auto grant = grant_of(world.records->catalog(), *world.now());
        REQUIRE(grant);
        CHECK(grant->act_chain == std::vector<std::string>{"agent", "broker"});
        // Not longer than the shorter of both.
        CHECK(grant->facts.expires_at == world.records->catalog().find<vault::Credential>(actor)->expires);
        vault::LogQuery query;
        query.workspace = world.workspace.raw;
        query.credential = actor.raw;
        query.kind = vault::EntryKind::grant;
        const auto page = world.records->access_log().query(query);
        REQUIRE(page);
        REQUIRE_FALSE(page->entries.empty());
        CHECK(vault::reason_code(page->entries.front().entry.reason) == "grant.exchanged_as_actor");
        acted = "opaque";  // says nothing of actors: then nothing is said of them
        world.clock.advance(10min);
        REQUIRE(world.make_usable());
        CHECK(grant_of(world.records->catalog(), *world.now())->act_chain.empty());
    }
    SECTION("the actor's is renewed first where it has run out") {
        world.start();
        world.clock.advance(11min);
        REQUIRE(world.make_usable());
        CHECK(requests("&actor_token=access-renewed1&") == 1);
        CHECK(requests("subject_token=access-0&") == 1);
    }
    SECTION("and both when the server takes one of them no more") {
        dead = "actor_token=access-0&";
        world.start();
        world.clock.advance(101s);
        REQUIRE(world.make_usable());
        CHECK(renewals == 2);
        CHECK(requests("subject_token=access-renewed") == 1);
        CHECK(requests("actor_token=access-renewed") == 1);
    }
    SECTION("and who cannot act any more even so is not left out") {
        dead = "actor_token=";
        refusal = R"({"error":"invalid_grant"})";
        world.start();
        world.clock.advance(101s);
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_reauth);
        CHECK(world.facts().reason == "exchange_refused");
        CHECK(requests("grant-type%3Atoken-exchange") == 2);
        CHECK(requests("subject_token=") == requests("actor_token="));
    }
    SECTION("nothing is sent without it") {
        const bool archived = GENERATE(true, false);
        change_actor([&](vault::Credential& changed) {
            if (archived)
                changed.archived = world.clock.now();
            else
                changed.refresh->token_endpoint = "https://elsewhere.example/token";
        });
        world.start();
        world.clock.advance(101s);
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_config);
        CHECK(world.facts().reason == (archived ? "actor_gone" : "actor_elsewhere"));
        CHECK(world.endpoint.count() == 0);
    }
    SECTION("a refusal for what the subject lets nobody do is as any other") {
        dead = "actor_token=";
        refusal = R"({"error":"unauthorized_client","error_description":"may_act"})";
        world.start();
        world.clock.advance(101s);
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_config);
        CHECK(renewals == 0);
    }
}

TEST_CASE("A clock that jumps ahead renews each grant once, and one that jumps back loses none",
          "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1")), TokenEndpoint::says(tokens("2")),
                              TokenEndpoint::says(tokens("3"))};
    world.store(1h);
    world.start();
    REQUIRE(world.refresher->usable(*world.now()));
    SECTION("ahead: its time is up, so there is another token, and no third") {
        world.clock.advance(5h);
        REQUIRE(world.make_usable());
        CHECK(test::soon([&] { return world.token() == "access-1"; }));
        std::this_thread::sleep_for(600ms);  // ticks
        CHECK(world.endpoint.count() == 1);
    }
    SECTION("ahead and back: the token from the future is used until the server refuses it, then replaced") {
        world.clock.advance(5h);
        REQUIRE(world.make_usable());
        world.clock.advance(-5h);
        CHECK(world.refresher->usable(*world.now()));
        std::this_thread::sleep_for(600ms);
        CHECK(world.endpoint.count() == 1);
        REQUIRE(world.replace_refused(world.now()->version));  // its end is five hours later than it thinks
        CHECK(world.token() == "access-2");
        CHECK(world.endpoint.count() == 2);
        CHECK(world.facts().obtained_at <= world.clock.now());
        CHECK_FALSE(world.replace_refused(world.now()->version));  // this one is fresh by the right clock
        CHECK(world.endpoint.count() == 2);
    }
}

TEST_CASE("A grant that waits a moment does not wait for the hours that the clock was put back",
          "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(json_answer(503, "{}", "Retry-After: 120\r\n")),
                              TokenEndpoint::says(tokens("1"))};
    world.store(std::nullopt);  // no clock says when it ends: the server does
    const auto version = world.now()->version;
    SECTION("after a server asked for it") {
        world.start();
        REQUIRE_FALSE(world.replace_refused(version));
        REQUIRE(world.facts().state == GrantState::backoff);
        SECTION("and nobody calls") { world.clock.advance(-5h); }
        SECTION("and somebody calls") {
            world.clock.advance(-5h);
            CHECK(world.replace_refused(version));
        }
        SECTION("but the few seconds of a correction end nothing") {
            world.clock.advance(-5s);
            REQUIRE_FALSE(world.replace_refused(version));
            CHECK(world.endpoint.count() == 1);
            return;
        }
    }
    SECTION("after an answer got lost") {
        world.endpoint.answers = {nullptr, nullptr, TokenEndpoint::says(tokens("1"))};
        world.start();
        REQUIRE_FALSE(world.replace_refused(version));
        REQUIRE(test::soon([&] { return world.facts().fail_count == 2; }));  // the second goes out at once
        REQUIRE(world.facts().state == GrantState::uncertain);
        world.clock.advance(-5h);
    }
    CHECK(test::soon([&] { return world.facts().state == GrantState::ready; }));
    CHECK(world.token() == "access-1");
}

TEST_CASE("A call waits by a clock that nobody sets", "[oauth][refresher]") {
    World world;
    std::atomic<bool> go = false;
    world.endpoint.answers = {[&](Peer& peer, const std::string&) {
        test::soon([&] { return go.load(); });
        peer.write(tokens("1"));
    }};
    world.store(-1s);
    world.start();
    const auto jump = GENERATE(-5h, 5h);
    std::atomic<bool> good = false, ended = false;
    world.loop->begin(
        [](World& on, std::atomic<bool>& well, std::atomic<bool>& done) -> net::awaitable<void> {
            well = (co_await on.refresher->make_usable(on.loop->worker, on.credential.id)).has_value();
            done = true;
        }(world, good, ended));
    REQUIRE(test::soon([&] { return world.endpoint.count() == 1; }));
    world.clock.advance(jump);
    std::this_thread::sleep_for(600ms);  // ticks, which find plans made by the other time
    CHECK_FALSE(ended);
    CHECK(world.endpoint.count() ==
          1);  // its lease is over by the new time: the attempt is ours all the same
    go = true;
    CHECK(test::soon([&] { return ended.load(); }));
    CHECK(good);
    // What was asked for before the clock jumped ahead is hours old by the new one: there is another.
    const std::size_t requests = jump > 0h ? 2 : 1;
    CHECK(world.endpoint.count() == requests);
    CHECK(world.facts().gen == 1 + requests);
}

TEST_CASE("A token without successor that a wrong clock ended lives on when the clock is right again",
          "[oauth][refresher]") {
    World world;
    world.credential.refresh->grant = "none";
    world.store(1h);
    world.start();
    world.clock.advance(5h);
    CHECK(test::soon([&] { return world.facts().state == GrantState::needs_reauth; }));
    REQUIRE(world.facts().reason == "expired_no_refresh");
    SECTION("while it runs") {
        world.clock.advance(-5h);
        CHECK(test::soon([&] { return world.facts().state == GrantState::ready; }));
    }
    SECTION("or when it starts") {
        world.close();
        world.clock.advance(-5h);
        world.open();
        world.start();
        CHECK(test::soon([&] { return world.facts().state == GrantState::ready; }));
    }
    CHECK(test::soon([&] { return world.refresher->usable(*world.now()); }));  // a moment after the store
    CHECK(world.endpoint.count() == 0);
}

TEST_CASE("No token is asked for whose answer could not be kept", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.store(100s);
    world.start();
    const auto folder = world.place.path() / "journal", away = world.place.path() / "away";
    std::filesystem::rename(folder, away);
    std::ofstream(folder) << "no folder";
    world.clock.advance(90s);  // it is due, and still good
    CHECK(world.refresher->usable(*world.now()));
    REQUIRE(test::soon([&] { return world.refresher->journal_trouble().has_value(); }));
    CHECK(world.refresher->journal_trouble()->code == "journal.no_room");
    CHECK_FALSE(world.refresher->counters().journal_writable);
    CHECK(world.refresher->usable(*world.now()));
    world.clock.advance(20s);
    const auto refused = world.make_usable();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().kind == base::ErrorKind::unavailable);
    CHECK(refused.error().code == "grant.journal_unavailable");
    const auto replaced = world.replace_refused(world.now()->version);
    REQUIRE_FALSE(replaced);
    CHECK(replaced.error().code == "grant.journal_unavailable");
    CHECK(world.endpoint.count() == 0);
    CHECK(world.facts().state == GrantState::ready);  // nothing has happened to the grant
    CHECK(world.facts().fail_count == 0);
    CHECK(text_of(*world.parts().refresh_token) == "refresh-0");

    std::filesystem::remove(folder);
    SECTION("the folder is put back") { std::filesystem::rename(away, folder); }
    SECTION("the folder is gone, and made anew") {}
    SECTION("and nobody calls") {
        std::filesystem::rename(away, folder);
        CHECK(test::soon([&] { return world.refresher->counters().journal_writable.load(); }));
        world.clock.advance(10s);
        CHECK(test::soon([&] { return world.endpoint.count() == 1; }));
    }
    REQUIRE(world.make_usable());
    CHECK(world.endpoint.count() == 1);
    CHECK(world.token() == "access-1");
    CHECK_FALSE(world.refresher->journal_trouble());
    CHECK(test::soon([&] { return world.journal_files() == 0; }));
}

TEST_CASE("An identity provider that refuses a dead subject token is asked once more with its next one",
          "[oauth][refresher]") {
    World world;
    TokenEndpoint
        resource;  // the authorization server of the MCP server; the world's is the identity provider
    const auto is = [](const std::string& request, const std::string& what) {
        return request.find(what) != std::string::npos;
    };
    const std::string kind = GENERATE("access", "refresh");
    INFO("the subject token is the " << kind << " token");
    std::string dead = "subject_token=" + kind + "-0&", refusal = R"({"error":"invalid_grant"})";
    bool renews = true;
    unsigned assertions = 0;
    world.endpoint.answers = {[&](Peer& peer, const std::string& request) {
        if (is(request, "grant_type=refresh_token"))
            return peer.write(renews ? tokens("1") : json_answer(503, "{}"));
        if (is(request, dead)) return peer.write(json_answer(400, refusal));
        peer.write(json_answer(200, R"({"issued_token_type":"urn:ietf:params:oauth:token-type:id-jag",)"
                                    R"("token_type":"N_A","expires_in":300,"access_token":"assertion-)" +
                                        std::to_string(++assertions) + R"("})"));
    }};
    resource.answers = {TokenEndpoint::says(tokens("of-resource"))};
    world.store(1h);
    const auto subject = world.credential.id;
    world.credential.id.raw = test::id_of(9);
    world.credential.mcp_server_url = world.credential.normal_url = "https://other.example.com/mcp";
    world.credential.version = 0;
    world.credential.refresh->token_endpoint = resource.url();
    world.credential.refresh->grant = "id_jag";
    world.credential.refresh->exchange =
        vault::Exchange{.credential = subject,
                        .token_type = "urn:ietf:params:oauth:token-type:" + kind + "_token",
                        .audience = {},
                        .requested_type = {},
                        .issuer = {}};
    world.store(100s);
    world.start();
    world.clock.advance(101s);
    const auto version_of_subject = [&] {
        return world.records->catalog().find<vault::Credential>(subject)->version;
    };
    const auto before = version_of_subject();
    const auto asked = [](TokenEndpoint& endpoint, std::size_t number) {
        const std::lock_guard hold(endpoint.guard);
        return endpoint.requests.at(number);
    };
    SECTION("and the chain goes on with what comes of it") {
        REQUIRE(world.make_usable());
        CHECK(world.token() == "access-of-resource");
        REQUIRE(world.endpoint.count() == 3);
        CHECK(is(asked(world.endpoint, 0), "subject_token=" + kind + "-0&"));
        CHECK(is(asked(world.endpoint, 1), "grant_type=refresh_token&refresh_token=refresh-0"));
        CHECK(is(asked(world.endpoint, 2), "subject_token=" + kind + "-1&"));
        REQUIRE(resource.count() == 1);
        CHECK(is(asked(resource, 0), "assertion=assertion-1"));
        CHECK(version_of_subject() == before + 1);
    }
    SECTION("also where it calls the request invalid (RFC 8693 2.2.2)") {
        refusal = R"({"error":"invalid_request"})";
        REQUIRE(world.make_usable());
        CHECK(world.token() == "access-of-resource");
    }
    SECTION("and when that is refused, too, the chain ends, and nobody is asked for tokens") {
        dead = "subject_token=";
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_reauth);
        CHECK(world.facts().reason == "subject_refused");
        CHECK(world.endpoint.count() == 3);
        CHECK(version_of_subject() == before + 1);
        CHECK(resource.count() == 0);
    }
    SECTION("and while it cannot be renewed the chain waits") {
        renews = false;
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::backoff);
        CHECK(world.facts().reason == "subject_unusable");
        CHECK(resource.count() == 0);
    }
    SECTION("but an assertion that is refused is fresh, so no renewal would mend it") {
        dead = "no token";
        resource.answers = {TokenEndpoint::says(json_answer(400, R"({"error":"invalid_grant"})"))};
        REQUIRE_FALSE(world.make_usable());
        CHECK(world.facts().state == GrantState::needs_reauth);
        CHECK(world.facts().reason == "invalid_grant");
        CHECK(world.endpoint.count() == 1);
        CHECK(resource.count() == 1);
        CHECK(version_of_subject() == before);
    }
}

std::string inactive(const std::string&) { return json_answer(200, R"({"active":false})"); }
std::string active(const std::string&) { return json_answer(200, R"({"active":true})"); }

TEST_CASE("A lifetime that nobody stated is asked for, once, and nothing waits for the answer",
          "[oauth][refresher][introspection]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(json_answer(200, R"({"access_token":"a"})"))};
    const auto end = std::chrono::floor<std::chrono::seconds>(world.clock.now()) + 2h;
    world.endpoint.introspection = [&](const std::string&) {
        return json_answer(200, R"({"active":true,"scope":"read","client_id":"client","sub":"x","exp":)" +
                                    std::to_string(end.time_since_epoch() / 1s) + "}");
    };
    world.store(-1s);
    world.start();
    REQUIRE(world.make_usable());
    CHECK(world.token() == "a");
    CHECK(test::soon([&] { return world.facts().expires_at == end; }));
    CHECK(world.grant().lifetime == LifetimeSource::introspection);
    CHECK(world.grant().scopes_granted == Scopes{"read"});
    CHECK(world.now()->expires == end);
    CHECK(world.now()->version == 2);  // what is known of a token is no other token
    CHECK(test::soon([&] { return world.refresher->next_step(world.credential.id) < end; }));
    REQUIRE(world.endpoint.asked() == 1);
    CHECK(world.endpoint.questions[0].ends_with("token=a&token_type_hint=access_token&client_id=client"));
    CHECK(world.entries(vault::Action::introspect) == 1);
    CHECK(test::soon([&] { return world.journal_files() == 0; }));
}

TEST_CASE("What an authorization server says otherwise of a new token invents no lifetime and fails nothing",
          "[oauth][refresher][introspection]") {
    const std::vector<std::string> answers{
        json_answer(200, R"({"active":false})"),
        json_answer(200, R"({"active":true})"),
        json_answer(200, R"({"active":"true","exp":1900000000})"),
        json_answer(200, R"({"active":true,"exp":1})"),
        json_answer(200, R"({"active":true,"exp":99999999999})"),
        json_answer(200, "not JSON"),
        json_answer(401, R"({"error":"invalid_client"})"),
        json_answer(503, "{}"),
        "HTTP/1.1 200 OK\r\nContent-Type: application/token-introspection+jwt\r\nContent-Length: "
        "5\r\n\r\na.b.c",
    };
    for (const auto& answer : answers) {
        INFO(answer);
        World world;
        world.endpoint.answers = {TokenEndpoint::says(json_answer(200, R"({"access_token":"a"})"))};
        world.endpoint.introspection = [&](const std::string&) { return answer; };
        world.store(-1s);
        world.start();
        REQUIRE(world.make_usable());
        CHECK(test::soon([&] { return world.endpoint.asked() == 1; }));
        world.refresher->drain();
        CHECK(world.token() == "a");
        CHECK(world.facts().state == GrantState::ready);
        CHECK(world.facts().expires_at == std::nullopt);
        CHECK(world.grant().lifetime == LifetimeSource::unknown);
    }
}

TEST_CASE("A token that states its life is not asked about", "[oauth][refresher][introspection]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.endpoint.introspection = inactive;
    world.store(-1s);
    world.start();
    REQUIRE(world.make_usable());
    world.refresher->drain();
    CHECK(world.endpoint.asked() == 0);
}

TEST_CASE("A refused token that nothing renews is revoked when its authorization server says so",
          "[oauth][refresher][introspection]") {
    World world;
    world.credential.refresh->grant = "none";
    world.endpoint.introspection = inactive;
    SECTION("and its life was not over") {
        world.store(1h);
        world.start();
        const auto told = world.replace_refused(1);
        REQUIRE_FALSE(told);
        CHECK(told.error().code == "grant.needs_reauth");
        CHECK(world.facts().state == GrantState::needs_reauth);
        CHECK(world.facts().reason == "revoked_upstream");
        CHECK(world.told == std::vector<std::string>{"connection.needs_reauth"});
        CHECK(world.reasons() == std::vector<std::string>{"grant.revoked_upstream"});
        CHECK(world.entries(vault::Action::introspect) == 1);
        CHECK(world.endpoint.questions.at(0).find("token=access-0&token_type_hint=access_token") !=
              std::string::npos);
        CHECK_FALSE(world.refresher->usable(*world.now()));
        CHECK(world.token() == "access-0");  // nothing is deleted
        CHECK(world.refresher->counters().needs_reauth == 1);
    }
    SECTION("or has simply ended when nobody knew its life") {
        world.store(std::nullopt);
        world.start();
        const auto told = world.replace_refused(1);
        REQUIRE_FALSE(told);
        CHECK(told.error().code == "grant.needs_reauth");
        CHECK(world.facts().reason == "expired_no_refresh");
    }
    SECTION("and is kept when it says that the token is good") {
        world.endpoint.introspection = active;
        world.store(1h);
        world.start();
        for (int i = 0; i < 3; ++i) {
            const auto told = world.replace_refused(1);
            REQUIRE_FALSE(told);
            CHECK(told.error().code == "upstream.unauthorized");
        }
        CHECK(world.facts().state == GrantState::ready);
        REQUIRE(world.grant().introspected);
        CHECK(world.grant().introspected->active);
        CHECK(world.endpoint.asked() == 1);  // in a minute
        world.clock.advance(61s);
        REQUIRE_FALSE(world.replace_refused(1));
        CHECK(world.endpoint.asked() == 2);
    }
    SECTION("and is kept when nobody can be asked") {
        world.endpoint.introspection = nullptr;
        world.store(1h);
        world.start();
        const auto told = world.replace_refused(1);
        REQUIRE_FALSE(told);
        CHECK(told.error().code == "upstream.unauthorized");
        CHECK(world.facts().state == GrantState::ready);
        CHECK(world.entries(vault::Action::introspect) == 0);
    }
}

TEST_CASE("A grant that can be renewed is revoked only when both of its tokens are dead",
          "[oauth][refresher][introspection]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    std::string alive = "nothing";
    world.endpoint.introspection = [&](const std::string& request) {
        return request.find("token=" + alive + "&") == request.npos ? inactive(request) : active(request);
    };
    world.store(std::nullopt);
    world.start();
    REQUIRE(world.replace_refused(1));
    CHECK(world.endpoint.asked() == 0);  // a token that is replaced needs no question
    const auto refused_again = [&] {
        return world.loop->await<base::Error>([&](net::Worker& worker) {
            return world.refresher->refused_again(worker, world.credential.id, world.now()->version);
        });
    };
    SECTION("as when access was withdrawn while the call was under way") {
        CHECK(refused_again().code == "grant.needs_reauth");
        CHECK(world.facts().reason == "revoked_upstream");
        CHECK(world.endpoint.asked() == 2);
        CHECK(world.endpoint.questions.at(0).find("token=refresh-1&token_type_hint=refresh_token") !=
              std::string::npos);
    }
    SECTION("and not while its refresh token lives") {
        alive = "refresh-1";
        CHECK(refused_again().code == "upstream.unauthorized");
        CHECK(world.facts().state == GrantState::ready);
        const auto next = world.replace_refused(world.now()->version);
        REQUIRE_FALSE(next);
        CHECK(test::soon([&] { return world.facts().reason == "upstream_rejects_fresh_token"; }));
        CHECK(world.endpoint.asked() == 1);
    }
    SECTION("nor where the server tells nothing of refresh tokens") {
        alive = "access-1";
        CHECK(refused_again().code == "upstream.unauthorized");
        CHECK(world.facts().state == GrantState::ready);
        CHECK(world.endpoint.asked() == 2);
    }
}

TEST_CASE("Claims that a server wants travel into the next token request, once a minute",
          "[oauth][refresher][introspection]") {
    World world;
    const std::string claims = R"({"access_token":{"nbf":{"essential":true,"value":"1"}}})";
    const std::string sent = "claims=%7B%22access_token%22%3A%7B%22nbf%22%3A%7B%22essential%22%3Atrue%2C";
    world.endpoint.answers = {TokenEndpoint::says(tokens("1")), TokenEndpoint::says(tokens("2"))};
    world.store(1h);
    world.start();
    SECTION("also of a token that is new, and no later request has them") {
        REQUIRE(world.replace_refused(1));
        CHECK(world.endpoint.requests.at(0).find("claims=") == std::string::npos);
        REQUIRE(world.replace_refused(2, claims));
        CHECK(world.token() == "access-2");
        CHECK(world.endpoint.requests.at(1).find(sent) != std::string::npos);
        REQUIRE(world.grant().claims);
        CHECK(world.grant().claims->met);
        // A server that wants something else each time gets no token request for each call.
        REQUIRE_FALSE(world.replace_refused(3, R"({"other":1})"));
        CHECK(world.endpoint.count() == 2);
        world.clock.advance(61s);
        REQUIRE(world.replace_refused(3));
        CHECK(world.endpoint.requests.at(2).find("claims=") == std::string::npos);
    }
    SECTION("and are kept for the person who has to come") {
        world.endpoint.answers = {
            TokenEndpoint::says(json_answer(400, R"({"error":"interaction_required"})"))};
        const auto refused = world.replace_refused(1, claims);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "grant.needs_reauth");
        CHECK(refused.error().message.find("nbf") == std::string::npos);
        CHECK(world.facts().reason == "interaction_required");
        REQUIRE(world.grant().claims);
        CHECK_FALSE(world.grant().claims->met);
        CHECK(world.grant().claims->claims == claims);
    }
    SECTION("and where nothing renews the token people are told") {
        world.change([&](vault::Change& change) -> base::Status {
            auto grant = world.grant();
            grant.facts.renewable = false;
            change.note_grant(vault::Action::update, *world.now());
            return store_grant(change, *world.now(), grant);
        });
        REQUIRE_FALSE(world.replace_refused(1, claims));
        CHECK(world.endpoint.count() == 0);
        CHECK(world.facts().state == GrantState::ready);
        CHECK(world.facts().reason == "insufficient_claims");
        CHECK(world.told == std::vector<std::string>{"connection.degraded"});
    }
}

TEST_CASE("People are told when most of what a provider gives a grant is over", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1", 400 * 24 * 3600))};
    world.store(500 * 24h);
    world.change([&](vault::Change& change) -> base::Status {
        auto grant = world.grant();
        grant.provider = "atlassian";
        change.note_grant(vault::Action::update, *world.now());
        return store_grant(change, *world.now(), grant);
    });
    world.start();
    const auto& profile = world.refresher->profile_of(*world.now(), world.grant());
    const auto absolute = profile.refresh_token.absolute_lifetime;
    REQUIRE(absolute);
    REQUIRE(certain_end_of(*world.now(), world.grant(), profile) == *world.facts().granted_at + *absolute);
    CHECK_FALSE(world.facts().end_warned);
    world.clock.set(*world.facts().granted_at + *absolute / 5 * 4 + 1s);
    CHECK(test::soon([&] { return world.facts().end_warned; }));
    CHECK(world.facts().state != GrantState::needs_reauth);
    const std::lock_guard hold(world.guard);
    CHECK(std::ranges::count(world.told, "connection.expiring") == 1);
}

TEST_CASE("Only a few attempts at one server run at a time", "[oauth][refresher]") {
    std::atomic<int> inside = 0, most = 0;  // outlives the server
    World world;
    world.endpoint.answers = {[&](Peer& peer, const std::string&) {
        const int here = ++inside;
        for (int seen = most; here > seen && !most.compare_exchange_weak(seen, here);) {
        }
        std::this_thread::sleep_for(30ms);
        --inside;
        peer.write(tokens("1"));
    }};
    world.store(-1s);
    std::vector<base::CredentialId> ids;
    world.change([&](vault::Change& change) -> base::Status {
        for (unsigned i = 0; i < 40; ++i) {
            auto other = world.credential;
            other.id.raw = test::id_of(100 + i);
            other.version = 0;
            ids.push_back(other.id);
            if (auto granted = store_grant(change, other, handed_over(other, nullptr, change.now()));
                !granted)
                return granted;
            vault::SecretParts parts;
            parts.token = crypto::Secret::copy_of("access-0");
            parts.refresh_token = crypto::Secret::copy_of("refresh-0");
            change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::credential,
                        other.id.raw, world.vault.id.raw);
            if (auto stored = change.store_with_secret(other, parts); !stored) return stored;
        }
        return {};
    });
    world.start();  // all of them are due at once
    CHECK(test::soon([&] { return world.endpoint.count() == 41; }));
    CHECK(most <= 4);
    CHECK(most >= 2);
}

}  // namespace
}  // namespace claviger::oauth
