// Counting the calls that run with each version of a credential's value.
#include "vault/version_calls.h"
#include "crypto/random.h"
#include "tests/support/spec.h"

#include <thread>

namespace claviger::vault {
namespace {

using Sessions = std::vector<base::SessionId>;

TEST_CASE("A call counts as running from its beginning to its end, on whichever thread",
          "[vault][version_calls]") {
    RunningCalls running;
    const auto credential = crypto::random_id<base::CredentialId>();
    const auto first = running.of(credential, 1), second = running.of(credential, 2);
    REQUIRE(running.of(credential, 1) == first);
    {
        const VersionCalls::One one(*first, std::nullopt);
        std::thread([&] {
            const VersionCalls::One other(*first, std::nullopt);
            CHECK(running.find(credential, 1)->running() == 2);
        }).join();
        CHECK(first->running() == 1);
        CHECK(second->running() == 0);
    }
    CHECK(first->running() == 0);
}

TEST_CASE("Calls that may last are known by their sessions", "[vault][version_calls]") {
    RunningCalls running;
    const auto calls = running.of(crypto::random_id<base::CredentialId>(), 1);
    const auto older = crypto::random_id<base::SessionId>(), newer = crypto::random_id<base::SessionId>();
    std::optional<VersionCalls::One> stream;
    stream.emplace(*calls, older);
    const VersionCalls::One other(*calls, newer), again(*calls, older), short_one(*calls, std::nullopt);
    CHECK(calls->lasting() == Sessions{older, newer, older});
    stream.reset();
    CHECK(calls->lasting() == Sessions{newer, older});
    CHECK(calls->running() == 3);
}

TEST_CASE("A version that nobody holds is forgotten", "[vault][version_calls]") {
    RunningCalls running;
    const auto held = crypto::random_id<base::CredentialId>();
    const auto kept = running.of(held, 1);
    for (std::uint64_t version = 2; version < 10'000; ++version) running.of(held, version);
    CHECK_FALSE(running.find(held, 2));
    CHECK_FALSE(running.find(crypto::random_id<base::CredentialId>(), 1));
    CHECK(running.find(held, 1) == kept);
    CHECK(running.size() < 2'000);
}

}  // namespace
}  // namespace claviger::vault
