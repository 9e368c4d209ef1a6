#include "proxy/json_span.h"

#include "tests/support/spec.h"

#include <string>
#include <utility>
#include <vector>

using namespace claviger;

namespace {

std::vector<std::pair<std::string, std::string>> members(std::string_view object) {
    std::vector<std::pair<std::string, std::string>> found;
    proxy::for_each_member(object, [&](const std::string& key, std::string_view value) {
        found.emplace_back(key, value);
        return true;
    });
    return found;
}

std::vector<std::string> elements(std::string_view array) {
    std::vector<std::string> found;
    proxy::for_each_element(array, [&](std::string_view value) {
        found.emplace_back(value);
        return true;
    });
    return found;
}

}  // namespace

TEST_CASE("Members are found as they stand", "[proxy][json_span]") {
    CHECK(members(R"( { "a" : 1 ,"b":"}\"," , "\u0063\/":{"x":[1,"]"]},"d":[ ], "e":null,"a":-2.5e3} )") ==
          std::vector<std::pair<std::string, std::string>>{{"a", "1"},
                                                           {"b", R"("}\",")"},
                                                           {"c/", R"({"x":[1,"]"]})"},
                                                           {"d", "[ ]"},
                                                           {"e", "null"},
                                                           {"a", "-2.5e3"}});
    CHECK(members("{}").empty());
    CHECK(members("[1]").empty());
    CHECK(proxy::member(R"({"a":1,"a":2})", "a") == std::optional<std::string_view>("2"));
    CHECK_FALSE(proxy::member(R"({"a":{"b":1}})", "b"));
}

TEST_CASE("Elements are found as they stand", "[proxy][json_span]") {
    CHECK(elements(R"([1, "a,]" ,{"x":[2]},[],true ])") ==
          std::vector<std::string>{"1", R"("a,]")", R"({"x":[2]})", "[]", "true"});
    CHECK(elements("[]").empty());
    CHECK(elements(R"({"a":1})").empty());
    int visited = 0;
    proxy::for_each_element("[1,2,3]", [&](std::string_view) { return ++visited < 2; });
    CHECK(visited == 2);
}

TEST_CASE("What is no JSON finds nothing and reads nowhere else", "[proxy][json_span]") {
    const std::string good = R"({"a":{"b":["c\u0061\\",{"d":"\ud83d\udd11"}],"e":[[],{}]},"f":"g"})";
    REQUIRE(proxy::valid_json(good, 8));
    for (std::size_t cut = 0; cut <= good.size(); ++cut) {
        // The address sanitiser sees reads behind the end of an exactly sized block.
        const std::vector<char> block(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(cut));
        const std::string_view text(block.data(), block.size());
        for (const auto& [key, value] : members(text)) {
            members(value);
            elements(value);
            proxy::string_value(value);
        }
        elements(text);
        proxy::string_value(text);
        CHECK(proxy::valid_json(text, 8) == (cut == good.size()));
    }
    for (const char* text :
         {"", "{", "[", "\"", "\"\\", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{:1}", "{\"a\"1}", "[,,]", "}{",
          "][", "{a:1}", "{\"\\ud800\":1}", "[\"\\", "{\"a\":]"}) {
        members(text);
        elements(text);
        proxy::string_value(text);
        CHECK_FALSE(proxy::valid_json(text, 8));
    }
}

TEST_CASE("Depth is counted exactly", "[proxy][json_span]") {
    CHECK(proxy::valid_json("[[[]]]", 3));
    CHECK_FALSE(proxy::valid_json("[[[]]]", 2));
    CHECK(proxy::valid_json("1", 1));
    CHECK_FALSE(proxy::valid_json("1 2", 1));
}

TEST_CASE("Strings are decoded, and nothing else is one", "[proxy][json_span]") {
    const std::pair<std::string_view, std::string_view> rows[] = {
        {R"("")", ""},
        {R"("plain")", "plain"},
        {R"("\"\\\/\b\f\n\r\t")", "\"\\/\b\f\n\r\t"},
        {R"("\u0041\u00e9\u20AC")", "A\xc3\xa9\xe2\x82\xac"},
        {R"("\ud83d\udd11!")", "\xf0\x9f\x94\x91!"},
        {R"("\uD83D\uDD11")", "\xf0\x9f\x94\x91"},
    };
    for (const auto& [text, decoded] : rows) {
        INFO(text);
        CHECK(proxy::string_value(text) == std::optional<std::string>(decoded));
    }
    for (const std::string_view text : {"", "\"", "7", "null", "\"open", "\"\\x\"", "\"\\u00\"",
                                        "\"\\ud83d\"", "\"\\ud83dx\"", "\"\\ud83d\\u0041\"", "\"\\u00g0\""})
        CHECK_FALSE(proxy::string_value(text));
}
