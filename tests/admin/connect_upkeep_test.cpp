#include "oauth/connect_upkeep.h"

#include "crypto/random.h"
#include "oauth/connect_device.h"
#include "oauth/connect_journal.h"
#include "oauth/connect_secrets.h"
#include "tests/support/connect_world.h"

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace claviger;
using namespace std::chrono_literals;
using test::Browser;
using test::change_flow;
using test::Connecting;
using test::json;
using test::json_answer;
using test::parts_of;
using test::text_of;

namespace {

/// A folder that goes with the test.
struct Folder {
    Folder()
        : path(std::filesystem::temp_directory_path() / ("claviger-connect-" + std::to_string(::getpid()))) {
        std::filesystem::remove_all(path);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    const std::filesystem::path path;
    std::size_t files() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), {}));
    }
};

/// As a process opens it that has just started.
std::unique_ptr<oauth::ConnectJournal> journal_in(const Folder& folder, Connecting& it) {
    auto files = oauth::Journal::open(folder.path, *it.world.engine, it.world.records->keys());
    REQUIRE(files);
    auto opened = oauth::ConnectJournal::open(std::move(*files));
    REQUIRE(opened);
    return std::move(*opened);
}

vault::Ref<vault::ConnectFlow> flow_of(Connecting& it) {
    return it.world.records->catalog().find<vault::ConnectFlow>(
        *base::ConnectLinkId::parse(it.link["id"].get<std::string>()));
}

/// The flow as a process leaves it that dies between the answer and the store.
void leave_exchanging(Connecting& it) {
    Browser browser(it.world);
    browser.leave(it.link["url"]);
    change_flow(it.world, flow_of(it)->id,
                [](vault::ConnectFlow& flow) { flow.state = vault::ConnectState::exchanging; });
}

oauth::ExchangeAnswer answer_of(const json& body) {
    oauth::ExchangeAnswer answer;
    answer.delivery = oauth::Delivery::complete;
    answer.status = 200;
    answer.headers.add("Content-Type", "application/json");
    answer.body = body.dump();
    return answer;
}

net::awaitable<bool> keep_it(oauth::ConnectJournal& journal, net::Worker& worker,
                             const vault::ConnectFlow& flow, const oauth::ExchangeAnswer& answer) {
    const auto kept = co_await journal.keep(worker, flow, answer);
    co_return kept.has_value();
}

net::awaitable<bool> take_it_up(Connecting& it, net::Worker& worker, base::ConnectLinkId id) {
    const vault::ConnectFlow nobody;
    const auto flow = it.world.records->catalog().find<vault::ConnectFlow>(id);
    const auto out = oauth::outbound_of(*it.world.connect, worker, *it.world.pool, flow ? *flow : nobody);
    co_return co_await oauth::take_up_answer(*it.world.connect, out, id);
}

void end_in_time(Connecting& it, const base::ConnectLinkId& id) {
    const auto done = it.world.loop.await<base::Status>([&](net::Worker& worker) {
        return oauth::commit(worker, *it.world.records, {}, [&](vault::Change& change) {
            return oauth::end_in_time(*it.world.connect, change, id);
        });
    });
    REQUIRE(done);
}

bool comes_true(const std::function<bool()>& what) {
    for (const auto until = std::chrono::steady_clock::now() + 15s;
         std::chrono::steady_clock::now() < until;) {
        if (what()) return true;
        std::this_thread::sleep_for(20ms);
    }
    return false;
}

}  // namespace

TEST_CASE("An answer that a dead process left in the journal connects the account", "[admin]") {
    Connecting it;
    const Folder folder;
    leave_exchanging(it);
    const auto id = flow_of(it)->id;
    {
        const auto journal = journal_in(folder, it);
        const auto answer = answer_of(it.server.tokens());
        REQUIRE(it.world.loop.await<bool>(
            [&](net::Worker& worker) { return keep_it(*journal, worker, *flow_of(it), answer); }));
    }
    CHECK(folder.files() == 1);
    const auto journal = journal_in(folder, it);
    it.world.connect->journal = journal.get();
    REQUIRE(journal->left() == std::vector{id});
    const auto take_up = [&] {
        return it.world.loop.await<bool>([&](net::Worker& worker) { return take_it_up(it, worker, id); });
    };
    SECTION("whole") {
        CHECK(take_up());
        CHECK(it.status()["status"] == "connected");
        CHECK(text_of(parts_of(it.world, it.status()["credential_id"]).token) == "CANARY-access");
        CHECK(it.server.count("/token") == 0);
    }
    SECTION("but not when the link was taken away meanwhile") {
        it.world.remove(it.links() + "/" + it.link["id"].get<std::string>());
        CHECK(take_up());
        CHECK(it.world.get("/v1/vaults/" + it.vault + "/credentials")["data"].empty());
    }
    SECTION("but not a second time") {
        change_flow(it.world, id, [](auto& flow) { flow.state = vault::ConnectState::failed; });
        CHECK(take_up());
        CHECK(it.status()["status"] == "failed");
    }
    CHECK(folder.files() == 0);
    CHECK(journal->left().empty());
    it.world.connect->journal = nullptr;
}

TEST_CASE("A device that was asked about too early is asked about again after a crash", "[admin]") {
    Connecting it;
    it.link = it.make({{"grant", "device_code"}});
    const Folder folder;
    const auto journal = journal_in(folder, it);
    it.world.connect->journal = journal.get();
    const auto id = flow_of(it)->id;
    const auto left = [&](const json& body) {
        const auto answer = answer_of(body);
        REQUIRE(it.world.loop.await<bool>(
            [&](net::Worker& worker) { return keep_it(*journal, worker, *flow_of(it), answer); }));
        CHECK(it.world.loop.await<bool>([&](net::Worker& worker) { return take_it_up(it, worker, id); }));
        CHECK(folder.files() == 0);
    };
    left({{"error", "authorization_pending"}});  // as GitHub says it, with status 200
    CHECK(it.status()["status"] == "started");
    SECTION("and connected by the answer that has tokens") {
        left(it.server.tokens());
        CHECK(it.status()["status"] == "connected");
    }
    SECTION("but not after a refusal") {
        left({{"error", "access_denied"}});
        CHECK(it.status()["status"] == "failed");
    }
    it.world.connect->journal = nullptr;
}

TEST_CASE("What came of a code is on disk before it is read, and gone when it is stored", "[admin]") {
    Connecting it;
    const Folder folder;
    const auto journal = journal_in(folder, it);
    it.world.connect->journal = journal.get();
    std::size_t files = 99;
    auto& room = it.world.connect->check_room;
    room = [&, usual = room](const vault::Catalog& catalog, const vault::Credential& credential) {
        files = folder.files();  // asked by the commit that stores what came
        return usual(catalog, credential);
    };
    Browser browser(it.world);
    SECTION("tokens") {
        CHECK(it.connect(browser).status == 200);
        CHECK(files == 1);
    }
    SECTION("a refusal holds nothing that could be lost") {
        it.server.script("/token", json_answer(400, {{"error", "invalid_grant"}}));
        CHECK(it.connect(browser).status == 400);
        CHECK(files == 99);
    }
    CHECK(folder.files() == 0);
    it.world.connect->journal = nullptr;
}

TEST_CASE("A link that nobody was done with is ended, and its secrets with it", "[admin]") {
    Connecting it({{"issuer", "https://as.example"},
                   {"client", {{"client_id", "c"}, {"client_secret", "CANARY-secret"}}},
                   {"expires_in", 60}});
    const auto id = flow_of(it)->id;
    REQUIRE_FALSE(flow_of(it)->secrets.empty());
    it.world.clock.advance(59s);
    end_in_time(it, id);
    CHECK_FALSE(flow_of(it)->secrets.empty());

    it.world.clock.advance(1s);
    end_in_time(it, id);
    CHECK(flow_of(it)->secrets.empty());
    CHECK(it.status()["status"] == "expired");
    CHECK(it.status()["problem"]["code"] == "connect.expired");

    it.world.clock.advance(24h);
    end_in_time(it, id);
    CHECK_FALSE(flow_of(it));
}

TEST_CASE("A code whose answer nobody took is given up in the end, unless the answer is here", "[admin]") {
    Connecting it;
    leave_exchanging(it);
    const auto id = flow_of(it)->id;
    end_in_time(it, id);
    CHECK(it.status()["status"] == "started");
    it.world.clock.advance(21min);
    SECTION("nobody has it") {
        end_in_time(it, id);
        CHECK(it.status()["problem"]["code"] == "connect.outcome_unknown");
        CHECK(flow_of(it)->secrets.empty());
    }
    SECTION("it waits in the journal") {
        const Folder folder;
        const auto journal = journal_in(folder, it);
        it.world.connect->journal = journal.get();
        journal->leave(id);
        end_in_time(it, id);
        CHECK_FALSE(flow_of(it)->secrets.empty());
        it.world.connect->journal = nullptr;
    }
}

TEST_CASE("Codes that a dead process was exchanging are given up at the next start", "[admin]") {
    Connecting it;
    leave_exchanging(it);
    const Folder folder;
    const auto journal = journal_in(folder, it);
    it.world.connect->journal = journal.get();
    SECTION("when the answer is nowhere") {
        oauth::ConnectUpkeep upkeep(*it.world.connect, it.world.loop.worker, {});
        upkeep.start();
        CHECK(comes_true([&] { return it.status()["status"] == "failed"; }));
        CHECK(it.status()["problem"]["code"] == "connect.outcome_unknown");
        upkeep.drain();
    }
    SECTION("but not when it waits here") {
        const auto answer = answer_of(it.server.tokens());
        REQUIRE(it.world.loop.await<bool>(
            [&](net::Worker& worker) { return keep_it(*journal, worker, *flow_of(it), answer); }));
        journal->leave(flow_of(it)->id);
        oauth::ConnectUpkeep upkeep(*it.world.connect, it.world.loop.worker, [&](const auto& flow) {
            return oauth::outbound_of(*it.world.connect, it.world.loop.worker, *it.world.pool, flow);
        });
        upkeep.start();
        CHECK(comes_true([&] { return it.status()["status"] == "connected"; }));
        upkeep.drain();
    }
    CHECK(folder.files() == 0);
    it.world.connect->journal = nullptr;
}

TEST_CASE("A code whose answer may still come is not given up because the clock jumped ahead", "[admin]") {
    Connecting it;
    oauth::ConnectUpkeep upkeep(*it.world.connect, it.world.loop.worker, {});
    leave_exchanging(it);  // as this process does, not one before
    it.world.clock.advance(5h);
    upkeep.start();
    std::this_thread::sleep_for(2s);  // a sweep
    CHECK(flow_of(it)->state == vault::ConnectState::exchanging);
    upkeep.drain();
}

TEST_CASE("A device may be asked about at its time, and at once when that lies further off than any pause",
          "[admin]") {
    const base::Time now{1'790'000'000s};
    vault::DeviceWait device;
    device.interval_s = 5;
    device.next_poll = now;
    CHECK(oauth::poll_is_due(device, now));
    CHECK(oauth::poll_is_due(device, now + 5h));
    CHECK_FALSE(oauth::poll_is_due(device, now - 1s));
    CHECK_FALSE(oauth::poll_is_due(device, now - 300s));
    CHECK(oauth::poll_is_due(device, now - 301s));
    device.interval_s = 600;
    CHECK_FALSE(oauth::poll_is_due(device, now - 301s));
}

TEST_CASE("What was left for links that are gone is removed at a start, once it is old", "[admin]") {
    Connecting it;
    leave_exchanging(it);
    const Folder folder;
    const auto answer = answer_of(it.server.tokens());
    auto stranger = *flow_of(it);
    stranger.id = crypto::random_id<base::ConnectLinkId>();
    const auto keep = [&](const vault::ConnectFlow& flow) {
        const auto journal = journal_in(folder, it);
        REQUIRE(it.world.loop.await<bool>(
            [&](net::Worker& worker) { return keep_it(*journal, worker, flow, answer); }));
    };
    keep(stranger);
    for (const auto& file : std::filesystem::directory_iterator(folder.path)) {
        std::filesystem::resize_file(file, file.file_size() - 1);  // it opens no more
    }
    keep(*flow_of(it));
    auto age = oauth::kOrphansKept - 1h;
    SECTION("not before") {}
    SECTION("and those of others stay") { age = oauth::kOrphansKept; }
    const auto written =
        std::chrono::duration_cast<std::chrono::seconds>((it.world.clock.now() - age).time_since_epoch());
    for (const auto& file : std::filesystem::directory_iterator(folder.path)) {
        const timespec time{.tv_sec = written.count(), .tv_nsec = 0};
        const std::array times{time, time};
        REQUIRE(::utimensat(AT_FDCWD, file.path().c_str(), times.data(), 0) == 0);
    }
    const auto journal = journal_in(folder, it);
    it.world.connect->journal = journal.get();
    CHECK(journal->left().size() == 2);
    oauth::ConnectUpkeep upkeep(*it.world.connect, it.world.loop.worker, [&](const auto& flow) {
        return oauth::outbound_of(*it.world.connect, it.world.loop.worker, *it.world.pool, flow);
    });
    upkeep.start();
    const bool removed = age == oauth::kOrphansKept;
    CHECK(comes_true([&] { return it.status()["status"] == "connected"; }));
    CHECK(comes_true([&] { return folder.files() == (removed ? 0 : 1); }));
    upkeep.drain();
    it.world.connect->journal = nullptr;
}

TEST_CASE("A start that a dead process began holds nobody up", "[admin]") {
    Connecting it;
    change_flow(it.world, flow_of(it)->id, [&](vault::ConnectFlow& flow) {
        flow.starting_until = it.world.clock.now() + oauth::kStartTakes;
    });
    oauth::ConnectUpkeep upkeep(*it.world.connect, it.world.loop.worker, {});
    upkeep.start();
    CHECK(comes_true([&] { return !flow_of(it)->starting_until; }));
    upkeep.drain();
    Browser browser(it.world);
    CHECK(it.connect(browser).status == 200);
}

TEST_CASE("Links are looked after while nobody looks, and what runs is waited for", "[admin]") {
    Connecting it;
    it.link = it.make({{"grant", "device_code"}});
    std::atomic<bool> broken{false}, slow{false};
    it.server.script("/token", [&](const net::Request&) {
        if (slow) std::this_thread::sleep_for(500ms);
        return slow ? json_answer(200, it.server.tokens())
                    : json_answer(400, {{"error", "authorization_pending"}});
    });
    oauth::ConnectUpkeep upkeep(*it.world.connect, it.world.loop.worker, [&](const vault::ConnectFlow& flow) {
        if (broken) throw std::runtime_error("no way");
        return oauth::outbound_of(*it.world.connect, it.world.loop.worker, *it.world.pool, flow);
    });
    SECTION("a device is asked about when it is due, and not before") {
        upkeep.start();
        it.world.clock.advance(2s);
        REQUIRE(comes_true([&] { return it.server.count("/token") == 1; }));
        REQUIRE(comes_true([&] { return flow_of(it)->device->next_poll > it.world.clock.now(); }));
        slow = true;
        it.world.clock.advance(2s);
        REQUIRE(comes_true([&] { return it.server.count("/token") == 2; }));
        upkeep.drain();
        CHECK(it.status()["status"] == "connected");
    }
    SECTION("and when the clock was put back since it was last asked about") {
        upkeep.start();
        it.world.clock.advance(2s);
        REQUIRE(comes_true([&] { return it.server.count("/token") == 1; }));
        REQUIRE(comes_true([&] { return flow_of(it)->device->next_poll > it.world.clock.now(); }));
        it.world.clock.advance(-5h);
        CHECK(comes_true([&] { return it.server.count("/token") >= 2; }));
        CHECK(comes_true([&] { return flow_of(it)->device->next_poll < it.world.clock.now() + 1h; }));
    }
    SECTION("what breaks holds nobody up") {
        broken = true;
        upkeep.start();
        it.world.clock.advance(2s);
        std::this_thread::sleep_for(1'500ms);
        const auto begun = std::chrono::steady_clock::now();
        upkeep.drain();
        CHECK(std::chrono::steady_clock::now() - begun < 5s);
        CHECK(it.status()["status"] == "started");
    }
    upkeep.drain();
}
