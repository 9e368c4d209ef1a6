#include "oauth/challenge.h"
#include "base/bytes.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

std::vector<Challenge> parse(std::vector<std::string_view> fields) {
    auto parsed = parse_challenges(fields);
    REQUIRE(parsed);
    return *std::move(parsed);
}

/// "bearer{error=x,scope=a b} negotiate[abc==]"
std::string shown(const std::vector<Challenge>& challenges) {
    std::string text;
    for (const auto& challenge : challenges) {
        text += (text.empty() ? "" : " ") + challenge.scheme;
        if (!challenge.token68.empty()) text += "[" + challenge.token68 + "]";
        if (challenge.parameters.empty()) continue;
        text += "{";
        for (const auto& one : challenge.parameters) text += one.name + "=" + one.value + ";";
        text += "}";
    }
    return text;
}

TEST_CASE("Challenges are read as RFC 9110 writes them, and as servers do", "[oauth]") {
    struct Row {
        const char* what;
        std::vector<std::string_view> fields;
        const char* expected;
    };
    const Row rows[] = {
        {"nothing", {}, ""},
        {"an empty field", {" , ,"}, ""},
        {"a scheme alone", {"Bearer"}, "bearer"},
        {"the RFC's own example",
         {R"(Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"")"},
         R"(basic{realm=simple;} newauth{realm=apps;type=1;title=Login to "apps";})"},
        {"a comma and an equals sign in quotes",
         {R"(Bearer error_description="a, b=c, Basic x=y", error="invalid_token")"},
         "bearer{error_description=a, b=c, Basic x=y;error=invalid_token;}"},
        {"several fields", {"Bearer a=1", "DPoP algs=\"ES256\""}, "bearer{a=1;} dpop{algs=ES256;}"},
        {"parameters do not cross fields", {"Bearer", "error=\"x\""}, "bearer"},
        {"names of any case", {"BEARER Error=X, SCOPE=\"a B\""}, "bearer{error=X;scope=a B;}"},
        {"blanks around =", {"Bearer a = 1 ,\tb\t=\t\"2\""}, "bearer{a=1;b=2;}"},
        {"token68 and then another",
         {"Negotiate YIIK/+==, Basic realm=x"},
         "negotiate[YIIK/+==] basic{realm=x;}"},
        {"no parameter joins a token68", {"Negotiate abc, a=1"}, "negotiate[abc]"},
        {"unknown schemes", {"X-Own a=1, Hawk, Bearer b=2"}, "x-own{a=1;} hawk bearer{b=2;}"},
        {"a missing comma", {R"(Bearer realm="x" error="y")"}, "bearer{realm=x;error=y;}"},
        {"an unquoted URL",
         {"Bearer resource_metadata=https://h/.well-known/x?a=b, error=z"},
         "bearer{resource_metadata=https://h/.well-known/x?a=b;error=z;}"},
        {"an empty quoted value", {"Bearer a=\"\", b=1"}, "bearer{a=;b=1;}"},
        {"an unterminated string ends its field",
         {"Bearer a=1, b=\"x, c=2", "Basic d=3"},
         "bearer{a=1;} basic{d=3;}"},
        {"a backslash at the end", {"Bearer a=\"x\\"}, "bearer"},
        {"after a fault parameters belong to nobody",
         {"Bearer a=1, @@, error=x, Basic b=2"},
         "bearer{a=1;} basic{b=2;}"},
        {"a control character is a fault", {std::string_view("Bearer a=\"x\0y\", b=2", 19)}, "bearer"},
        {"the first of two parameters of a name", {"Bearer a=1, a=2"}, "bearer{a=1;a=2;}"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        CHECK(shown(parse(row.fields)) == row.expected);
    }
    CHECK(parse({"Bearer a=1, a=2"})[0].find("a") == "1");
    CHECK(parse({"Bearer a=1"})[0].find("b") == std::nullopt);
}

TEST_CASE("A header larger than 32 KiB is not read", "[oauth]") {
    const std::string half = "Bearer a=\"" + std::string(16'380, 'x') + "\"";
    CHECK(parse_challenges(std::vector<std::string_view>{half, "Basic"}));
    const auto refused = parse_challenges(std::vector<std::string_view>{half, half, "Basic"});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "challenge.too_large");
}

TEST_CASE("An OAuth client takes what Bearer and DPoP challenges say, and nothing of others", "[oauth]") {
    net::Headers headers;
    headers.add("www-authenticate", R"(Basic error="no", scope="no")");
    headers.add("Content-Type", "Bearer error=no");
    headers.add("WWW-Authenticate", R"(DPoP algs="ES256")");
    headers.add(
        "WWW-Authenticate",
        R"(Bearer error="insufficient_scope", scope="a b  a", resource_metadata="https://h/m", scope="z")");
    const auto parsed = parse_challenges(headers);
    REQUIRE(parsed);
    const auto wanted = token_challenge(*parsed);
    CHECK(wanted.offered);
    CHECK(wanted.dpop);
    CHECK(wanted.error == "insufficient_scope");
    CHECK(wanted.resource_metadata == "https://h/m");
    CHECK(wanted.scopes == Scopes{"a", "b"});
    CHECK(insufficient_scope(403, wanted) == Scopes{"a", "b"});
    CHECK(insufficient_scope(401, wanted) == std::nullopt);
    CHECK_FALSE(token_challenge(parse({"Basic realm=x"})).offered);
    const auto nameless = token_challenge(parse({"Bearer error=insufficient_scope"}));
    CHECK(insufficient_scope(403, nameless) == Scopes{});
    CHECK(insufficient_scope(403, token_challenge(parse({"Bearer error=invalid_token"}))) == std::nullopt);
}

TEST_CASE("Claims of a challenge are decoded, and dropped when they are no JSON object", "[oauth]") {
    const std::string claims = R"({"access_token":{"nbf":{"essential":true,"value":"1"}}})";
    const auto of = [](const std::string& value) {
        return token_challenge(parse({"Bearer error=\"insufficient_claims\", claims=\"" + value + "\""}))
            .claims;
    };
    CHECK(of(base::to_base64(claims)) == claims);
    CHECK(of(base::to_base64url(claims)) == claims);
    CHECK(of("bm90IGpzb24=").empty());
    CHECK(of("!!").empty());
}

TEST_CASE("Claims that the next token must have are a stranger's word: one small object, in ASCII",
          "[oauth]") {
    const auto wanted = [](const std::string& claims, unsigned status = 401,
                           const std::string& error = "insufficient_claims") {
        return insufficient_claims(
            status, token_challenge(parse(
                        {"Bearer error=\"" + error + "\", claims=\"" + base::to_base64(claims) + "\""})));
    };
    CHECK(wanted(R"( { "a" : {"essential": true} } )") == R"({"a":{"essential":true}})");
    CHECK(wanted("{\"a\":\"\xc3\xa4\"}") == R"({"a":"\u00e4"})");
    CHECK(wanted("{\"a\":\"x\\ny\"}") == R"({"a":"x\ny"})");  // no line break goes out
    CHECK(wanted(R"({"a":1})", 403) == std::nullopt);
    CHECK(wanted(R"({"a":1})", 401, "invalid_token") == std::nullopt);
    CHECK(wanted("{}") == std::nullopt);
    CHECK(wanted("[1]") == std::nullopt);
    CHECK(wanted(R"({"a":1,"a":2})") == std::nullopt);
    CHECK(wanted(R"({"a":")" + std::string(4'096, 'x') + "\"}") == std::nullopt);
    std::string grows;
    for (int i = 0; i < 1'000; ++i) grows += "\xc3\xa4";  // each becomes six characters
    CHECK(wanted(R"({"a":")" + grows + "\"}") == std::nullopt);
    CHECK(wanted(R"({"a":[[[[[[[[[1]]]]]]]]]})") == std::nullopt);
}

TEST_CASE("Scopes are sets that keep their order", "[oauth]") {
    CHECK(split_scopes(" a  b a ") == Scopes{"a", "b"});
    CHECK(split_scopes("a,b c", " ,") == Scopes{"a", "b", "c"});
    CHECK(split_scopes("a,b c") == Scopes{"a,b", "c"});
    CHECK(split_scopes("").empty());
    CHECK(join_scopes({"a", "b"}) == "a b");
    CHECK(join_scopes({"a", "b"}, ",") == "a,b");
    CHECK(united({"a", "b"}, {"b", "c"}) == Scopes{"a", "b", "c"});
    CHECK(contains_all({"a", "b"}, {"b"}));
    CHECK_FALSE(contains_all({"a"}, {"a", "b"}));
}

}  // namespace
}  // namespace claviger::oauth
