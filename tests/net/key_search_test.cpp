#include "net/key_search.h"

#include "net/http.h"
#include "tests/support/spec.h"

#include <random>
#include <string>
#include <string_view>

using namespace claviger;

TEST_CASE("A key is found wherever it stands, in any case, and nothing else is", "[net][key_search]") {
    const std::string key = "nextcursor";
    for (const std::size_t before : {0U, 1U, 62U, 63U, 64U, 65U, 126U, 127U, 200U})
        for (const auto* spelled : {"nextcursor", "nextCursor", "NEXTCURSOR"})
            for (std::size_t rare = 0; rare + 1 < key.size(); ++rare) {
                INFO(before << spelled << rare);
                const auto text = std::string(before, 'x') + spelled;
                CHECK(net::find_ignoring_case(text, {key, rare}) == before);
                CHECK(net::find_ignoring_case(text + std::string(100, 'x'), {key, rare}) == before);
                CHECK(net::find_ignoring_case(text.substr(0, text.size() - 1), {key, rare}) == text.npos);
            }
    CHECK(net::find_ignoring_case("nextcurso nextcurzor xtextcursor nextcursornextcursor", {key, 2}) == 33);
    CHECK(net::find_ignoring_case({}, {key, 2}) == std::string::npos);
    CHECK(net::find_ignoring_case(R"({"jsonrpc":"2.0","id":7})", {R"("id")", 0}) == 17);
}

TEST_CASE("A key is found first where reading byte by byte finds it", "[net][key_search]") {
    const net::Key key{"aba", 1};
    constexpr std::string_view letters = "aAbB!";  // hardly anything but near misses
    std::mt19937 random(7);
    for (int round = 0; round < 20'000; ++round) {
        std::string text(random() % 140, ' ');
        for (char& c : text) c = letters[random() % letters.size()];
        std::size_t first = text.npos;
        for (std::size_t at = 0; at + 3 <= text.size() && first == text.npos; ++at)
            if (net::equal_ignoring_case(text.substr(at, 3), key.text)) first = at;
        INFO(text);
        REQUIRE(net::find_ignoring_case(text, key) == first);
    }
}

TEST_CASE("Any of four keys is found wherever it stands, in any case", "[net][key_search]") {
    constexpr net::FourKeys keys{
        {{"taskid", 3}, {"nextcursor", 3}, {"requeststate", 2}, {"related-task", 7}}};
    for (const std::size_t before : {0U, 1U, 15U, 16U, 62U, 63U, 64U, 126U, 127U, 200U})
        for (const std::string spelled : {"taskid", "taskId", "nextCursor", "NEXTCURSOR", "requestState",
                                          "related-task", "Related-Task"}) {
            INFO(before << spelled);
            const auto text = std::string(before, 't') + spelled;
            CHECK(net::holds_ignoring_case(text, keys));
            CHECK(net::holds_ignoring_case(text + std::string(100, 'k'), keys));
            CHECK_FALSE(net::holds_ignoring_case(text.substr(0, text.size() - 1), keys));
            CHECK_FALSE(net::holds_ignoring_case(text.substr(before + 1), keys));
        }
    CHECK_FALSE(net::holds_ignoring_case("task id, next cursor, request state, related task, tasq", keys));
    CHECK_FALSE(net::holds_ignoring_case({}, keys));
    CHECK_FALSE(net::holds_ignoring_case("k", keys));
}
