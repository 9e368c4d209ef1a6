// The refresh engine: who asks for a token, when, and what comes of the answer.
#include "tests/oauth/refresher_world.h"

namespace claviger::oauth {
namespace {

TEST_CASE("A hundred callers of an expired grant make one token request", "[oauth][refresher]") {
    std::atomic<bool> looked = false;  // outlives the server
    World world;
    world.endpoint.answers = {[&](Peer& peer, const std::string&) {
        test::soon([&] { return looked.load(); });
        peer.write(tokens("1"));
    }};
    world.store(-1s);
    world.start();
    CHECK_FALSE(world.refresher->usable(*world.now()));  // even if its renewal has begun
    looked = true;
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

TEST_CASE("Who saw that tokens have ended, and comes when there are others, asks for none",
          "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1")), TokenEndpoint::says(tokens("2"))};
    world.store(-1s);
    world.start();
    test::Loop elsewhere;
    world.clock.stops = elsewhere.thread.get_id();
    auto late = std::async(std::launch::async, [&] {
        return elsewhere.await<base::Status>(
            [&](net::Worker& worker) { return world.refresher->make_usable(worker, world.credential.id); });
    });
    world.clock.stopped.get_future().wait();  // it has read the grant
    CHECK(world.make_usable());
    world.clock.go_on.set_value();
    CHECK(late.get());
    CHECK(world.endpoint.count() == 1);
    CHECK(world.token() == "access-1");
    CHECK(world.facts().state == GrantState::ready);
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

TEST_CASE("What somebody waited for is in use before the log says so", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.store(-1s);
    world.start();
    REQUIRE(world.make_usable());
    const auto next = world.refresher->next_step(world.credential.id);
    REQUIRE(next);
    CHECK(*next < *world.facts().expires_at);
}

TEST_CASE("What nobody has used yet is planned for from its first use on", "[oauth][refresher]") {
    World world;
    world.endpoint.answers = {TokenEndpoint::says(tokens("1"))};
    world.store(100s);
    world.start();
    world.clock.advance(99s);  // it was connected just now, so it is renewed once
    REQUIRE(test::soon([&] { return world.token() == "access-1"; }));
    CHECK(test::soon([&] { return !world.refresher->next_step(world.credential.id); }));
    CHECK(world.refresher->usable(*world.now()));
    const auto next = world.refresher->next_step(world.credential.id);
    REQUIRE(next);
    CHECK(*next < *world.facts().expires_at);
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
Begun die_in_attempt(World& world, std::chrono::seconds later = 0s) {
    Begun begun;
    const GrantHooks hooks;
    const RefreshSettings settings;
    world.change([&](vault::Change& change) {
        world.clock.advance(later);  // here, so that nobody else can begin by then
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
    CHECK(test::soon([&] { return world.journal_files() == 0; }));
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
    die_in_attempt(world, 3600s);
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
