#include "oauth/json_document.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

namespace claviger::oauth {
namespace {

TEST_CASE("Documents from strangers are parsed strictly", "[oauth]") {
    struct Row {
        const char* text;
        const char* code;  // empty: accepted
    };
    const Row rows[] = {
        {R"({"a":1})", ""},
        {R"({"a":{"a":1},"b":{"a":1}})", ""},
        {"", "json.invalid"},
        {"[]", "json.not_an_object"},
        {"7", "json.not_an_object"},
        {R"({"a":1,"a":2})", "json.invalid"},
        {R"({"b":{"a":1,"a":2}})", "json.invalid"},
        {R"({"a":1} x)", "json.invalid"},
        {R"({"a":NaN})", "json.invalid"},
        {"{\"a\":\"\xff\"}", "json.invalid"},
        {"{\"a\":\"\n\"}", "json.invalid"},
    };
    for (const auto& row : rows) {
        INFO(row.text);
        const auto parsed = parse_object(row.text);
        CHECK((parsed ? "" : parsed.error().code) == row.code);
    }
    const std::string deep = "{\"a\":" + std::string(40, '[') + std::string(40, ']') + "}";
    CHECK_FALSE(parse_object(deep));
    const std::string large = "{\"a\":\"" + std::string(65'536, 'x') + "\"}";
    CHECK(parse_object(large).error().code == "json.too_large");
    CHECK(parse_object(large, {.bytes = 100'000}));
}

TEST_CASE("Members of another type are no members", "[oauth]") {
    const auto parsed = parse_object(
        R"({"s":"x","n":5,"t":true,"list":["a","b"],"mixed":["a",1],"big":18446744073709551615})");
    REQUIRE(parsed);
    CHECK(string_in(*parsed, "s") == "x");
    CHECK(string_in(*parsed, "n") == std::nullopt);
    CHECK(bool_in(*parsed, "t") == true);
    CHECK(bool_in(*parsed, "s") == std::nullopt);
    CHECK(integer_in(*parsed, "n") == 5);
    CHECK(integer_in(*parsed, "big") == std::nullopt);
    CHECK(strings_in(*parsed, "list") == std::vector<std::string>{"a", "b"});
    CHECK(strings_in(*parsed, "none") == std::vector<std::string>{});
    CHECK(strings_in(*parsed, "mixed") == std::nullopt);
}

}  // namespace
}  // namespace claviger::oauth
