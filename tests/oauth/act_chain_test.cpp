#include "oauth/act_chain.h"

#include "base/bytes.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

namespace claviger::oauth {
namespace {

using nlohmann::json;
using Chain = std::vector<std::string>;

Chain chain_of(const json& claims) {
    const auto token =
        base::to_base64url(R"({"alg":"ES256"})") + "." + base::to_base64url(claims.dump()) + ".c2lnbmF0dXJl";
    return act_chain_of(crypto::Secret::copy_of(std::string_view(token)));
}

TEST_CASE("Who acts by a token is read from the outside to the inside (RFC 8693 4.1)", "[oauth]") {
    CHECK(chain_of({{"sub", "alice"}, {"act", {{"sub", "agent"}, {"act", {{"sub", "broker"}}}}}}) ==
          Chain{"agent", "broker"});
    CHECK(chain_of({{"sub", "alice"}}).empty());
    for (const auto& odd : {json("agent"), json::array({"agent"}), json(nullptr), json(1)})
        CHECK(chain_of({{"act", odd}}).empty());
    CHECK(chain_of({{"act", {{"client_id", "x"}, {"act", {{"sub", 7}, {"act", {{"sub", "last"}}}}}}}}) ==
          Chain{"?", "?", "last"});
    for (const char* opaque : {"", "opaque", "a.b.c", "..", "e30.W10.x"})
        CHECK(act_chain_of(crypto::Secret::copy_of(std::string_view(opaque))).empty());
}

TEST_CASE("What a token says of its actors is short, printable, and no deeper than people read", "[oauth]") {
    CHECK(chain_of({{"act", {{"sub", "a\n\x1b[2J\u00e9"}}}}) == Chain{"a??[2J??"});
    const auto longest = chain_of({{"act", {{"sub", std::string(5'000, 'x')}}}});
    REQUIRE(longest.size() == 1);
    CHECK(longest[0].size() == kLongestActorName);
    json actor{{"sub", "innermost"}};
    for (int i = 11; i > 0; --i) actor = {{"sub", std::to_string(i)}, {"act", actor}};
    const auto chain = chain_of({{"act", actor}});
    REQUIRE(chain.size() == kMostActors);
    CHECK(chain.front() == "1");
    CHECK(chain.back() == "8");
    for (int i = 0; i < 100; ++i) actor = {{"sub", "x"}, {"act", actor}};
    CHECK(chain_of({{"act", actor}}).empty());  // JSON that deep is not read at all
}

}  // namespace
}  // namespace claviger::oauth
