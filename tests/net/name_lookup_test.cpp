#include "net/name_lookup.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace claviger {
namespace {

using net::NameLookup;
using test::soon;

/// A resolver whose answers about names that begin with "dead" come when the test says so.
struct SlowResolver {
    NameLookup::Found look_up(const std::string& host) {
        std::unique_lock lock(mutex);
        ++asked[host];
        changed.wait(lock, [&] { return !host.starts_with("dead") || answers; });
        ++answered;
        if (host == "unknown") return {.addresses = {}, .problem = "no such host"};
        return {.addresses = {net::asio::ip::make_address("192.0.2.7")}, .problem = {}};
    }
    int times_asked(const std::string& host) {
        const std::lock_guard lock(mutex);
        return asked[host];
    }
    int times_answered() {
        const std::lock_guard lock(mutex);
        return answered;
    }
    void answer() {
        const std::lock_guard lock(mutex);
        answers = true;
        changed.notify_all();
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, int> asked;
    int answered = 0;
    bool answers = false;
};

struct Lookups {
    test::Loop loop;
    std::shared_ptr<SlowResolver> resolver = std::make_shared<SlowResolver>();
    NameLookup names{loop.worker,
                     [resolver = resolver](const std::string& host) { return resolver->look_up(host); }};
    std::mutex mutex;
    std::map<std::string, std::vector<NameLookup::Found>> told;

    ~Lookups() {
        loop.stop();
        names.end();
        resolver->answer();
    }
    void find(const std::string& host) {
        loop.call([&] {
            names.find(host, [this, host](const NameLookup::Found& found) {
                const std::lock_guard lock(mutex);
                told[host].push_back(found);
            });
            return true;
        });
    }
    std::vector<NameLookup::Found> told_of(const std::string& host) {
        const std::lock_guard lock(mutex);
        return told[host];
    }
};

TEST_CASE("A name that nobody answers for holds up no other, and is asked for once", "[net]") {
    Lookups it;
    it.find("dead.example");
    it.find("dead.example");
    it.find("alive.example");
    it.find("unknown");
    REQUIRE(soon([&] { return !it.told_of("alive.example").empty() && !it.told_of("unknown").empty(); }));
    CHECK(it.told_of("alive.example")[0].addresses.at(0).to_string() == "192.0.2.7");
    CHECK(it.told_of("unknown")[0].problem == "no such host");
    CHECK(it.told_of("dead.example").empty());
    REQUIRE(soon([&] { return it.resolver->times_asked("dead.example") == 1; }));

    it.resolver->answer();
    REQUIRE(soon([&] { return it.told_of("dead.example").size() == 2; }));
    it.find("dead.example");  // nothing is kept
    REQUIRE(soon([&] { return it.told_of("dead.example").size() == 3; }));
    CHECK(it.resolver->times_asked("dead.example") == 2);
}

TEST_CASE("Names that are looked up at once are bounded", "[net]") {
    Lookups it;
    for (std::size_t i = 0; i < NameLookup::kMostNames; ++i) it.find("dead" + std::to_string(i));
    it.find("one.more");
    REQUIRE(soon([&] { return !it.told_of("one.more").empty(); }));
    CHECK(it.told_of("one.more")[0].problem == "too many names are being looked up");
    CHECK(it.resolver->times_asked("one.more") == 0);
    it.resolver->answer();
    REQUIRE(soon([&] { return it.told_of("dead0").size() == 1; }));
    it.find("one.more");
    REQUIRE(soon([&] { return it.told_of("one.more").size() == 2; }));
    CHECK(it.told_of("one.more")[1].problem.empty());
}

TEST_CASE("Who ends does not wait for a resolver, and hears nothing of it", "[net]") {
    Lookups it;
    it.find("dead.example");
    REQUIRE(soon([&] { return it.resolver->times_asked("dead.example") == 1; }));
    it.loop.call([&] {
        it.names.end();
        return true;
    });
    it.resolver->answer();
    REQUIRE(soon([&] { return it.resolver->times_answered() == 1; }));
    it.loop.call([] { return true; });
    CHECK(it.told_of("dead.example").empty());
}

TEST_CASE("The system knows this machine, and says why it does not know a name", "[net]") {
    const auto here = NameLookup::by_system("localhost");
    REQUIRE_FALSE(here.addresses.empty());
    CHECK(here.addresses[0].is_loopback());
    const auto nowhere = NameLookup::by_system("nowhere.invalid");
    CHECK(nowhere.addresses.empty());
    CHECK_FALSE(nowhere.problem.empty());
}

}  // namespace
}  // namespace claviger
