#include "oauth/lifetime.h"
#include "base/bytes.h"
#include "tests/support/spec.h"

#include <set>

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;
constexpr base::Time kSent{1'800'000'000s};

TEST_CASE("A lifetime comes from the best source that says something, or is unknown", "[oauth]") {
    LifetimeHints hints{.sent_at = kSent};
    CHECK(lifetime_of(hints).source == LifetimeSource::unknown);
    CHECK_FALSE(lifetime_of(hints).expires_at);
    hints.profile = 3600s;
    CHECK(lifetime_of(hints).source == LifetimeSource::profile);
    CHECK(lifetime_of(hints).expires_at == kSent + 3600s);
    hints.introspection = kSent + 3s;
    CHECK(lifetime_of(hints).expires_at == kSent + 3s);
    hints.jwt = kSent + 2s;
    CHECK(lifetime_of(hints).expires_at == kSent + 2s);
    hints.response = kSent;
    CHECK(lifetime_of(hints).source == LifetimeSource::response);
    CHECK(lifetime_of(hints).expires_at == kSent);
    hints.response = kSent + 24h * 3651;
    CHECK(lifetime_of(hints).source == LifetimeSource::jwt);
    for (const auto& [source, text] : {std::pair{LifetimeSource::response, "response"},
                                       {LifetimeSource::jwt, "jwt"},
                                       {LifetimeSource::introspection, "introspection"},
                                       {LifetimeSource::profile, "profile"},
                                       {LifetimeSource::unknown, "unknown"}})
        CHECK(to_text(source) == text);
}

TEST_CASE("The end of a JWT is read without trusting it", "[oauth]") {
    const auto expiry = [](std::string_view claims, std::string_view tail = ".c2ln") {
        return jwt_expiry(crypto::Secret::copy_of(
            std::string_view("eyJhbGciOiJSUzI1NiJ9." + base::to_base64url(claims) + std::string(tail))));
    };
    CHECK(expiry(R"({"exp":1800003600})") == kSent + 3600s);
    CHECK(expiry(R"({"exp":1800003600.9})") == kSent + 3600s);
    for (const char* claims : {R"({"exp":1e300})", R"({"exp":-1})", R"({"exp":-1.5})", R"({"exp":"soon"})",
                               "{}", "x", R"({"exp":9223372036854775807})", "[1]", R"({"exp":null})"}) {
        INFO(claims);
        CHECK_FALSE(expiry(claims));
    }
    CHECK_FALSE(expiry(R"({"exp":1800003600})", ""));
    CHECK_FALSE(expiry(R"({"exp":1800003600})", ".a.b.c"));
    for (const std::string_view token : {"opaque", "a.b.c", "..", ".", "xoxb.1-2.3"}) {
        INFO(token);
        CHECK_FALSE(jwt_expiry(crypto::Secret::copy_of(token)));
    }
}

TEST_CASE("The margin is a tenth of the life within bounds, and leaves half of it", "[oauth]") {
    struct Row {
        std::chrono::milliseconds lifetime, margin;
    };
    for (const auto& row : {Row{24h, 15min}, Row{8h, 15min}, Row{1h, 6min}, Row{10min, 60s}, Row{5min, 60s},
                            Row{299s, 74'750ms}, Row{2min, 30s}, Row{60s, 15s}, Row{30s, 15s}, Row{10s, 5s},
                            Row{0s, 0s}, Row{-5s, 0s}}) {
        INFO(row.lifetime.count());
        CHECK(refresh_margin(row.lifetime) == row.margin);
    }
}

TEST_CASE("Refreshes are due in time, spread out, and the same on every calculation", "[oauth]") {
    const RefreshFacts hour{.obtained_at = kSent, .expires_at = kSent + 1h, .last_refreshed_at = kSent};
    std::set<base::Time> dues;
    for (unsigned i = 0; i < 200; ++i) {
        const auto seed = jitter_seed("vcrd_" + std::to_string(i), 1);
        const auto due = refresh_due(hour, seed);
        REQUIRE(due);
        CHECK(*due <= kSent + 54min);
        CHECK(*due >= kSent + 51min);
        CHECK(refresh_due(hour, seed) == due);
        dues.insert(*due);
    }
    CHECK(dues.size() > 190);
    CHECK(*dues.rbegin() - *dues.begin() > 2min);
    CHECK(jitter_seed("a", 1) != jitter_seed("a", 2));
    CHECK(jitter_seed("a", 1) != jitter_seed("b", 1));

    const RefreshFacts unknown{.obtained_at = kSent, .last_refreshed_at = kSent};
    CHECK_FALSE(refresh_due(unknown, 1));
    auto idle = unknown;
    idle.refresh_token_idle_ttl = 30 * 24h;
    CHECK(refresh_due(idle, 1) == kSent + 24h);
    idle.refresh_token_idle_ttl = 3h;
    CHECK(refresh_due(idle, 1) == kSent + 1h);
    idle.expires_at = kSent + 30min;
    CHECK(*refresh_due(idle, 1) < kSent + 30min);
    const RefreshFacts short_lived{
        .obtained_at = kSent, .expires_at = kSent + 4s, .last_refreshed_at = kSent};
    for (std::uint64_t seed = 0; seed < 100; ++seed) CHECK(*refresh_due(short_lived, seed) >= kSent + 1s);
    CHECK(expiry_warning_at(kSent, kSent + 100s) == kSent + 80s);
}

TEST_CASE("Waiting doubles up to a quarter of an hour, unless the server says how long", "[oauth]") {
    for (unsigned failures = 1; failures <= 40; ++failures) {
        INFO(failures);
        const auto wait = backoff_wait(failures, {}, 7);
        const auto base = std::chrono::milliseconds(1000LL << std::min(failures, 10U));
        CHECK(wait >= std::min<std::chrono::milliseconds>(base, 15min));
        CHECK(wait <= std::min<std::chrono::milliseconds>(base * 3 / 2, 15min));
    }
    CHECK(backoff_wait(1, 90s, 7) == 90s);
    CHECK(backoff_wait(1, 0s, 7) == 1s);  // at once, again and again, is no advice
    CHECK(backoff_wait(9, 0s, 7) == 64s);
    CHECK(backoff_wait(1, 7200s, 7) == 1h);
    std::set<std::chrono::milliseconds> waits;
    for (std::uint64_t seed = 0; seed < 100; ++seed) waits.insert(backoff_wait(6, {}, seed));
    CHECK(waits.size() > 90);
}

}  // namespace
}  // namespace claviger::oauth
