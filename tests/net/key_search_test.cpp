#include "net/key_search.h"

#include "net/http.h"
#include "tests/support/spec.h"

#include <random>
#include <string>
#include <string_view>

using namespace claviger;

namespace {

// Each search in both of its forms, where this processor has both.
std::size_t find(std::string_view text, const net::Key& key) {
    const auto found = net::find_ignoring_case(text, key);
    REQUIRE(net::find_ignoring_case(text, key, net::Vectors::baseline) == found);
    return found;
}

bool holds(std::string_view text, const net::FourKeys& keys) {
    const bool held = net::holds_ignoring_case(text, keys);
    REQUIRE(net::holds_ignoring_case(text, keys, net::Vectors::baseline) == held);
    return held;
}

}  // namespace

TEST_CASE("A key is found wherever it stands, in any case, and nothing else is", "[net][key_search]") {
    const std::string key = "nextcursor";
    for (const std::size_t before : {0U, 1U, 62U, 63U, 64U, 65U, 126U, 127U, 200U})
        for (const auto* spelled : {"nextcursor", "nextCursor", "NEXTCURSOR"})
            for (std::size_t rare = 0; rare + 1 < key.size(); ++rare) {
                INFO(before << spelled << rare);
                const auto text = std::string(before, 'x') + spelled;
                CHECK(find(text, {key, rare}) == before);
                CHECK(find(text + std::string(100, 'x'), {key, rare}) == before);
                CHECK(find(text.substr(0, text.size() - 1), {key, rare}) == text.npos);
            }
    CHECK(find("nextcurso nextcurzor xtextcursor nextcursornextcursor", {key, 2}) == 33);
    CHECK(find({}, {key, 2}) == std::string::npos);
    CHECK(find(R"({"jsonrpc":"2.0","id":7})", {R"("id")", 0}) == 17);
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
        REQUIRE(find(text, key) == first);
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
            CHECK(holds(text, keys));
            CHECK(holds(text + std::string(100, 'k'), keys));
            CHECK_FALSE(holds(text.substr(0, text.size() - 1), keys));
            CHECK_FALSE(holds(text.substr(before + 1), keys));
        }
    CHECK_FALSE(holds("task id, next cursor, request state, related task, tasq", keys));
    CHECK_FALSE(holds({}, keys));
    CHECK_FALSE(holds("k", keys));
}
