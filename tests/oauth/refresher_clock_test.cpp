// Clocks that jump, and a journal without a disk.
#include "tests/oauth/refresher_world.h"

namespace claviger::oauth {
namespace {

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

}  // namespace
}  // namespace claviger::oauth
