// Conditions on arguments: an agent must not find a spelling that a rule misses and the server understands.
#include "policy/arguments.h"

#include "policy/quote.h"
#include "policy/wildcard.h"
#include "tests/support/spec.h"

#include <string>

using namespace claviger;
using policy::Arguments;
using Test = base::ArgumentCondition::Test;

namespace {

bool fulfilled(std::string_view json, const base::ArgumentCondition& condition) {
    const auto arguments = Arguments::parse(json);
    REQUIRE(arguments);
    const auto answer = arguments->fulfil(condition);
    REQUIRE(answer);
    return *answer;
}

}  // namespace

TEST_CASE("A condition compares the value that its pointer finds", "[policy][arguments]") {
    const struct {
        std::string_view json;
        base::ArgumentCondition condition;
        bool holds;
    } table[] = {
        {R"({"owner":"acme"})", {"/owner", Test::equals, "acme"}, true},
        {R"({"owner":"Acme"})", {"/owner", Test::equals, "acme"}, false},
        {R"({"owner":"acme"})", {"/owner", Test::not_equals, "acme"}, false},
        {R"({"owner":"evil"})", {"/owner", Test::not_equals, "acme"}, true},
        {R"({})", {"/owner", Test::equals, ""}, false},
        {R"({})", {"/owner", Test::not_equals, "acme"}, true},
        {R"({})", {"/owner", Test::matches, "*"}, false},
        {"", {"/owner", Test::not_equals, "acme"}, true},
        {R"({"owner":"acme-dev"})", {"/owner", Test::matches, "acme*"}, true},
        {R"({"owner":"not-acme"})", {"/owner", Test::matches, "acme*"}, false},
        {R"({"\u006fwner":"ac\u006de"})", {"/owner", Test::equals, "acme"}, true},
        {R"({"repo":{"owner":"acme"}})", {"/repo/owner", Test::equals, "acme"}, true},
        {R"({"repo":"acme"})", {"/repo/owner", Test::equals, "acme"}, false},
        {R"({"to":["a","b"]})", {"/to/1", Test::equals, "b"}, true},
        {R"({"to":["a","b"]})", {"/to/01", Test::equals, "b"}, false},
        {R"({"to":["a","b"]})", {"/to/-", Test::equals, "b"}, false},
        {R"({"to":["a","b"]})", {"/to/2", Test::equals, "b"}, false},
        {R"({"to":["a"]})", {"/to/99999999999999999999", Test::equals, "a"}, false},
        {R"({"a/b":{"c~d":1}})", {"/a~1b/c~0d", Test::equals, "1"}, true},
        {R"({"":{"":1}})", {"//", Test::equals, "1"}, true},
        {R"({"n":100})", {"/n", Test::equals, "100"}, true},
        {R"({"n":"100"})", {"/n", Test::equals, "100"}, true},
        {R"({"n":100.0})", {"/n", Test::equals, "100"}, true},
        {R"({"n":1e2})", {"/n", Test::equals, "100"}, true},
        {R"({"n":1000e-1})", {"/n", Test::equals, "100"}, true},
        {R"({"n":100.5})", {"/n", Test::equals, "100"}, false},
        {R"({"n":100})", {"/n", Test::equals, "1e2"}, true},
        {R"({"n":1e300})", {"/n", Test::equals, "1e300"}, true},
        {R"({"n":1e300})", {"/n", Test::equals, "1e200"}, false},
        {R"({"n":-0.0})", {"/n", Test::equals, "0"}, true},
        {R"({"n":9007199254740993})", {"/n", Test::equals, "9007199254740993"}, true},
        {R"({"n":9007199254740993})", {"/n", Test::equals, "9007199254740992"}, false},
        {R"({"on":true})", {"/on", Test::equals, "true"}, true},
        {R"({"on":null})", {"/on", Test::equals, "null"}, true},
        {R"({"o":{"b":1.0,"a":[2]}})", {"/o", Test::equals, R"({"a": [2], "b": 1})"}, true},
        {R"({"o":{"b":1,"a":[2]}})", {"/o", Test::matches, R"(*"a":[2]*)"}, true},
        {R"({"a":{"deep":"rm -rf"}})", {"", Test::matches, "*rm -rf*"}, true},
    };
    for (const auto& row : table) {
        INFO(row.json << " " << row.condition.pointer << " " << row.condition.value);
        CHECK(fulfilled(row.json, row.condition) == row.holds);
    }
}

TEST_CASE("Arguments that two readers could understand differently are refused", "[policy][arguments]") {
    const auto nested = [](int depth) {
        std::string text;
        for (int i = 0; i < depth; ++i) text += R"({"a":)";
        text += "1";
        return text + std::string(static_cast<std::size_t>(depth), '}');
    };
    const struct {
        std::string json;
        std::string because;
    } table[] = {
        {R"({"a":1,"a":2})", "'a' twice"},
        {R"({"a":1,"\u0061":2})", "'a' twice"},
        {R"({"a":{"b":1,"c":[{"d":1,"d":1}]}})", "'d' twice"},
        {R"([1])", "not a JSON object"},
        {R"("text")", "not a JSON object"},
        {"null", "not a JSON object"},
        {"{", "not valid JSON"},
        {R"({"a":1}x)", "not valid JSON"},
        {R"({'a':1})", "not valid JSON"},
        {R"({"a":1,})", "not valid JSON"},
        {R"({"a":01})", "not valid JSON"},
        {R"({"a":NaN})", "not valid JSON"},
        {R"({"a":/**/1})", "not valid JSON"},
        {"{\"a\":\"\xff\"}", "not valid JSON"},
        {R"({"a":"\ud800"})", "not valid JSON"},
        {" ", "not valid JSON"},
        {nested(65), "deeper than 64"},
        {nested(20000), "deeper than 64"},
        {R"({"a":)" + std::string(20000, '[') + std::string(20000, ']') + "}", "deeper than 64"},
    };
    for (const auto& row : table) {
        INFO(row.json.substr(0, 80));
        const auto arguments = Arguments::parse(row.json);
        REQUIRE_FALSE(arguments);
        CHECK(arguments.error().kind == base::ErrorKind::invalid_request);
        CHECK(arguments.error().code == "policy.arguments_invalid");
        CHECK_THAT(arguments.error().message, Catch::Contains(row.because));
    }
    CHECK(Arguments::parse(nested(64)));
    CHECK(Arguments::parse(R"({"a":{"x":1},"b":{"x":1}})"));  // the same name in two objects is fine
}

TEST_CASE("A name that differs only by case from one that a rule looks at is refused",
          "[policy][arguments]") {
    const base::ArgumentCondition condition{"/task/key", Test::equals, "x"};
    for (const auto* json :
         {R"({"Task":{"key":"x"}})", R"({"task":{"KEY":"x"}})", R"({"task":{"key":"y","Key":"x"}})",
          R"({"ta\u017fk":{"key":"x"}})", R"({"task":{"\u212aey":"x"}})"}) {
        INFO(json);
        const auto arguments = Arguments::parse(json);
        REQUIRE(arguments);
        const auto answer = arguments->fulfil(condition);
        REQUIRE_FALSE(answer);
        CHECK(answer.error().code == "policy.arguments_invalid");
        CHECK_THAT(answer.error().message, Catch::Contains("only by case"));
    }
    CHECK(fulfilled(R"({"task":{"key":"x"},"OTHER":1,"other":2})",
                    condition));  // names that no rule looks at are free
}

TEST_CASE("A star stands for any run of characters, and the whole text must match", "[policy][arguments]") {
    using policy::wildcard_matches;
    for (const auto& [pattern, text] : {std::pair{"*", ""},
                                        {"*", "x"},
                                        {"a*", "a"},
                                        {"a*c", "abc"},
                                        {"a*c", "ac"},
                                        {"*b*", "abc"},
                                        {"a**c", "abc"},
                                        {"*aab", "aaab"},
                                        {"a*b*c", "a-b-b-c"},
                                        {"exact", "exact"},
                                        {"*.*", "."}}) {
        INFO(pattern << " " << text);
        CHECK(wildcard_matches(pattern, text));
    }
    for (const auto& [pattern, text] : {std::pair{"", "x"},
                                        {"a", "A"},
                                        {"a*", "ba"},
                                        {"*a", "ab"},
                                        {"a*a", "a"},
                                        {"ab*bc", "abc"},
                                        {"*b*b*", "abc"},
                                        {"a?c", "abc"},
                                        {"exact", "exactly"}}) {
        INFO(pattern << " " << text);
        CHECK_FALSE(wildcard_matches(pattern, text));
    }
    CHECK_FALSE(wildcard_matches("*a*a*a*a*a*a*a*a*b",
                                 std::string(2'000'000, 'a')));  // ends soon, whatever an agent sends
}

TEST_CASE("Names of other people's making are shown short, whole and on one line", "[policy]") {
    using policy::in_quotes;
    CHECK(in_quotes("tool") == "'tool'");
    CHECK(in_quotes("a\r\nb\x7f") == "'a??b?'");
    CHECK(in_quotes(std::string(128, 'x')) == "'" + std::string(128, 'x') + "'");
    CHECK(in_quotes(std::string(129, 'x')) == "'" + std::string(128, 'x') + "...'");
    CHECK(in_quotes(std::string(127, 'x') + "\xc3\xa9") == "'" + std::string(127, 'x') + "...'");
}
