#include "admin/api/replay.h"
#include "tests/support/spec.h"

using namespace claviger;
using admin::api::Answer;
using admin::api::Replay;
using Means = Replay::Entry::Means;
using Attempt = Replay::Attempt;

namespace {

const Replay::Clock::time_point kNow{std::chrono::hours(1)};

net::Request request(std::string method, std::string target, std::string body) {
    net::Request made;
    made.method = std::move(method);
    made.target = std::move(target);
    made.body = std::move(body);
    return made;
}

Answer answer(std::string body) { return {.body = std::move(body), .shown_once = {}, .shown_as = {}}; }

}  // namespace

TEST_CASE("Two requests are the same when key, method, target and body are", "[admin]") {
    const Replay replay;
    const base::ApiKeyId key{{1}}, other{{2}};
    const auto name = replay.name_of(key, request("POST", "/v1/a", "{}"));
    CHECK(name == replay.name_of(key, request("POST", "/v1/a", "{}")));
    CHECK(name != replay.name_of(other, request("POST", "/v1/a", "{}")));
    CHECK(name != replay.name_of(key, request("DELETE", "/v1/a", "{}")));
    CHECK(name != replay.name_of(key, request("POST", "/v1/a", "{ }")));
    CHECK(name != replay.name_of(key, request("POST", "/v1/a{", "}")));
    CHECK(name != Replay().name_of(key, request("POST", "/v1/a", "{}")));
}

TEST_CASE("An answer is kept for a minute, and only for who asks again", "[admin]") {
    Replay replay;
    const crypto::Digest name{1};
    {
        auto entry = replay.enter(name, Attempt::first, kNow);
        REQUIRE(entry.means == Means::run);
        CHECK(replay.enter(name, Attempt::repeated, kNow).means == Means::busy);
        entry.running->answered(answer("{1}"), kNow);
    }
    const auto again = replay.enter(name, Attempt::repeated, kNow + std::chrono::seconds(60));
    REQUIRE(again.means == Means::replay);
    CHECK(again.answer->body == "{1}");
    CHECK(replay.enter(name, Attempt::first, kNow).means == Means::run);
    CHECK(replay.enter(name, Attempt::repeated, kNow + std::chrono::seconds(61)).means == Means::run);
}

TEST_CASE("A failure is not kept, and leaves nothing busy", "[admin]") {
    Replay replay;
    const crypto::Digest name{1};
    try {
        const auto entry = replay.enter(name, Attempt::first, kNow);
        throw std::runtime_error("the route broke");
    } catch (const std::runtime_error&) {
        CHECK(replay.enter(name, Attempt::repeated, kNow).means == Means::run);
    }
}

TEST_CASE("The same request that runs twice is busy until both are done", "[admin]") {
    Replay replay;
    const crypto::Digest name{1};
    auto first = replay.enter(name, Attempt::first, kNow);
    {
        const auto second = replay.enter(name, Attempt::first, kNow);
    }
    CHECK(replay.enter(name, Attempt::repeated, kNow).means == Means::busy);
    first.running.reset();
    CHECK(replay.enter(name, Attempt::repeated, kNow).means == Means::run);
}

TEST_CASE("What is kept is bounded, the oldest goes first", "[admin]") {
    Replay replay;
    const auto keep = [&](unsigned number, const Answer& given) {
        crypto::Digest name{};
        name[0] = static_cast<unsigned char>(number & 0xff);
        name[1] = static_cast<unsigned char>(number >> 8);
        replay.enter(name, Attempt::first, kNow).running->answered(given, kNow);
        return name;
    };
    SECTION("by number") {
        const auto first = keep(0, answer("{}"));
        const auto second = keep(1, answer("{}"));
        for (unsigned i = 2; i <= Replay::kAnswers; ++i) keep(i, answer("{}"));
        CHECK(replay.enter(first, Attempt::repeated, kNow).means == Means::run);
        CHECK(replay.enter(second, Attempt::repeated, kNow).means == Means::replay);
    }
    SECTION("by bytes") {
        const auto large = answer(std::string(Replay::kBytes / 4, 'x'));
        const auto first = keep(0, large);
        for (unsigned i = 1; i <= 4; ++i) keep(i, large);
        CHECK(replay.enter(first, Attempt::repeated, kNow).means == Means::run);
        const auto huge = keep(9, answer(std::string(Replay::kBytes / 4 + 1, 'x')));
        CHECK(replay.enter(huge, Attempt::repeated, kNow).means == Means::run);
    }
}
