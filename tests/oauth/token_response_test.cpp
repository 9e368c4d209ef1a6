#include "oauth/token_response.h"
#include "base/bytes.h"
#include "oauth/answer_body.h"
#include "oauth/lifetime_text.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;
constexpr base::Time kSent{1'800'000'000s};
constexpr std::string_view kJson = "application/json";

std::string text(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

base::Result<TokenSet> parse(std::string_view body, const TokenShape& shape = {},
                             std::string_view type = kJson) {
    return parse_token_response(type, body, shape, {.sent_at = kSent});
}

std::string_view code(const base::Result<TokenSet>& result) {
    return result ? std::string_view() : result.error().code;
}

TEST_CASE("A token response as RFC 6749 writes it", "[oauth]") {
    const auto tokens = parse(
        R"({"access_token":"at-1","token_type":"bearer","expires_in":3600,"refresh_token":"rt-1","scope":"b a",
            "id_token":"a.b.c","instance_url":"https://x","nested":{"k":[1]}})");
    REQUIRE(tokens);
    CHECK(text(tokens->access_token) == "at-1");
    REQUIRE(tokens->refresh_token);
    CHECK(text(*tokens->refresh_token) == "rt-1");
    REQUIRE(tokens->id_token);
    CHECK(text(*tokens->id_token) == "a.b.c");
    CHECK(tokens->type == TokenType::bearer);
    CHECK(tokens->expires_at == kSent + 3600s);
    CHECK(tokens->scopes == Scopes{"b", "a"});
    CHECK(text(tokens->rest) == R"({"instance_url":"https://x","nested":{"k":[1]}})");
}

TEST_CASE("What is absent keeps what was", "[oauth]") {
    for (const char* body : {R"({"access_token":"a"})", R"({"access_token":"a","refresh_token":""})",
                             R"({"access_token":"a","refresh_token":null,"scope":null,"token_type":null})"}) {
        INFO(body);
        const auto tokens = parse(body);
        REQUIRE(tokens);
        CHECK_FALSE(tokens->refresh_token);
        CHECK_FALSE(tokens->scopes);
        CHECK_FALSE(tokens->expires_at);
        CHECK(tokens->type == TokenType::bearer);
        CHECK(text(tokens->rest) == "{}");
    }
}

TEST_CASE("Lifetimes are read strictly, and an unreadable one is unknown, never invented", "[oauth]") {
    struct Row {
        const char* expires_in;
        std::optional<base::Time> expires_at;
    };
    const Row rows[] = {
        {"3600", kSent + 3600s},
        {"\"3600\"", kSent + 3600s},
        {"0", kSent},
        {"\"0\"", kSent},
        {"-1", kSent},
        {"-9223372036854775808", kSent},
        {"315360000", kSent + 315'360'000s},
        {"315360001", std::nullopt},
        {"1000000000000", std::nullopt},
        {"1e12", std::nullopt},
        {"18446744073709551615", std::nullopt},
        {"3600.5", std::nullopt},
        {"3600.0", std::nullopt},
        {"\"3600abc\"", std::nullopt},
        {"\"abc\"", std::nullopt},
        {"\" 3600\"", std::nullopt},
        {"\"+3600\"", std::nullopt},
        {"\"\"", std::nullopt},
        {"null", std::nullopt},
        {"true", std::nullopt},
        {"[3600]", std::nullopt},
    };
    for (const auto& row : rows) {
        INFO(row.expires_in);
        const auto tokens = parse(std::string(R"({"access_token":"a","expires_in":)") + row.expires_in + "}");
        REQUIRE(tokens);  // a rotated refresh token must not be lost over it
        CHECK(tokens->expires_at == row.expires_at);
    }
}

TEST_CASE("Points in time count where no lifetime is given", "[oauth]") {
    struct Row {
        const char* members;
        TokenShape::Unit unit;
        std::optional<base::Time> expires_at;
    };
    using enum TokenShape::Unit;
    const Row rows[] = {
        {R"("expires_at":"2027-01-15T09:00:00Z")", seconds, kSent + 3600s},
        {R"("expires_at":1800003600)", seconds, kSent + 3600s},
        {R"("expires_at":"1800003600")", seconds, kSent + 3600s},
        {R"("expires_at":1800003600000)", milliseconds, kSent + 3600s},
        {R"("expires_in":7,"expires_at":1800003600)", seconds, kSent + 7s},
        {R"("expires_in":7000)", milliseconds, kSent + 7s},
        {R"("expires_in":"?","expires_at":1800003600)", seconds, kSent + 3600s},
        {R"("expires_at":1700000000)", seconds, base::Time(1'700'000'000s)},
        {R"("expires_at":2800003600)", seconds, std::nullopt},
        {R"("expires_at":1800003600000)", seconds, std::nullopt},
        {R"("expires_at":"tomorrow")", seconds, std::nullopt},
        {R"("expires_at":-5)", seconds, std::nullopt},
    };
    for (const auto& row : rows) {
        INFO(row.members);
        const auto tokens =
            parse(std::string(R"({"access_token":"a",)") + row.members + "}", {.unit = row.unit});
        REQUIRE(tokens);
        CHECK(tokens->expires_at == row.expires_at);
    }
}

TEST_CASE("A token that cannot be sent safely is refused, and so is one of an unknown type", "[oauth]") {
    struct Row {
        const char *body, *code;
    };
    const Row rows[] = {
        {"{}", "token_response.no_access_token"},
        {R"({"access_token":""})", "token_response.no_access_token"},
        {R"({"access_token":null})", "token_response.no_access_token"},
        {R"({"error":"invalid_grant"})", "token_response.no_access_token"},
        {R"({"access_token":7})", "token_response.unusable_token"},
        {R"({"access_token":{"a":1}})", "token_response.unusable_token"},
        {R"({"access_token":"a\r\nX-Evil: 1"})", "token_response.unusable_token"},
        {R"({"access_token":"a\nb"})", "token_response.unusable_token"},
        {R"({"access_token":"a\u0000b"})", "token_response.unusable_token"},
        {R"({"access_token":"a b"})", "token_response.unusable_token"},
        {R"({"access_token":"a\u007f"})", "token_response.unusable_token"},
        {R"({"access_token":"a\u00e9"})", "token_response.unusable_token"},
        {R"({"access_token":"a","refresh_token":"r\n"})", "token_response.unusable_token"},
        {R"({"access_token":"a","refresh_token":7})", "token_response.unusable_token"},
        {R"({"access_token":"a","token_type":"mac"})", "token_response.unknown_type"},
        {R"({"access_token":"a","token_type":"DPoP"})", "token_response.unknown_type"},
        {R"({"access_token":"a","token_type":"N_A"})", "token_response.unknown_type"},
        {R"({"access_token":"a","token_type":7})", "token_response.unknown_type"},
        {R"({"access_token":"a","access_token":"b"})", "json.invalid"},
        {R"({"access_token":"a")", "json.invalid"},
        {"", "answer.empty"},
        {"<html><body>hello</body></html>", "answer.unreadable"},
        {"access_token", "answer.unreadable"},
    };
    for (const auto& row : rows) {
        INFO(row.body);
        CHECK(code(parse(row.body)) == row.code);
    }
    CHECK(code(parse(R"({"access_token":")" + std::string(65'536, 'a') + "\"}")) == "answer.too_large");
    CHECK(parse(R"({"access_token":")" + std::string(60'000, 'a') + "\"}"));
}

TEST_CASE("DPoP and N_A tokens are usable for who asked for them", "[oauth]") {
    const auto dpop = parse_token_response(kJson, R"({"access_token":"a","token_type":"dpop"})", {},
                                           {.sent_at = kSent, .has_dpop_key = true});
    REQUIRE(dpop);
    CHECK(dpop->type == TokenType::dpop);
    const auto jag = parse_token_response(
        kJson,
        R"({"access_token":"a","token_type":"N_A","issued_token_type":"urn:ietf:params:oauth:token-type:id-jag"})",
        {}, {.sent_at = kSent, .asked_for_id_jag = true});
    REQUIRE(jag);
    CHECK(jag->type == TokenType::not_applicable);
    CHECK(jag->issued_token_type == "urn:ietf:params:oauth:token-type:id-jag");
}

TEST_CASE("Form bodies are read whatever the content type claims, and JSON too", "[oauth]") {
    for (const std::string_view type : {"application/x-www-form-urlencoded; charset=utf-8", "text/plain", "",
                                        "application/json", "text/html"}) {
        INFO(type);
        const auto form =
            parse("access_token=gho_a%2Bb&scope=repo%2Cuser+x&token_type=bearer&expires_in=10&team=%7Ba%7D",
                  {.scope_separators = " ,"}, type);
        REQUIRE(form);
        CHECK(text(form->access_token) == "gho_a+b");
        CHECK(form->scopes == Scopes{"repo", "user", "x"});
        CHECK(form->expires_at == kSent + 10s);
        CHECK(text(form->rest) == R"({"team":"{a}"})");
        const auto json = parse("\xef\xbb\xbf \r\n{\"access_token\":\"a\"}\n", {}, type);
        REQUIRE(json);
        CHECK(text(json->access_token) == "a");
    }
    for (const char* body :
         {"access_token=a&access_token=b", "access_token=%zz", "access_token=%4", "=a", "a", "&&"}) {
        INFO(body);
        CHECK(code(parse(body, {}, "application/x-www-form-urlencoded")) == "answer.unreadable");
    }
    CHECK(code(parse("access_token=a%0d%0ab", {}, "")) == "token_response.unusable_token");
}

TEST_CASE("Profiles say where a provider puts its tokens", "[oauth]") {
    const TokenShape slack_user{
        .nested = "authed_user", .bearer_aliases = {"bot", "user"}, .scope_separators = ","};
    const auto slack = parse(
        R"({"ok":true,"access_token":"xoxb-bot","token_type":"bot","team":{"id":"T1"},
            "authed_user":{"id":"U1","access_token":"xoxp-user","token_type":"user","scope":"a,b",
                           "refresh_token":"xoxe-1","expires_in":43200}})",
        slack_user);
    REQUIRE(slack);
    CHECK(text(slack->access_token) == "xoxp-user");
    CHECK(slack->scopes == Scopes{"a", "b"});
    CHECK(slack->expires_at == kSent + 43'200s);
    CHECK(
        text(slack->rest) ==
        R"({"access_token":"xoxb-bot","authed_user":{"id":"U1"},"ok":true,"team":{"id":"T1"},"token_type":"bot"})");
    CHECK(code(parse(R"({"access_token":"a"})", slack_user)) == "token_response.no_access_token");

    const TokenShape sentry{
        .access_token = "token", .refresh_token = "refreshToken", .expires_at = "expiresAt"};
    const auto camel =
        parse(R"({"token":"t","refreshToken":"r","expiresAt":"2027-01-15T16:00:00.000Z"})", sentry);
    REQUIRE(camel);
    CHECK(text(camel->access_token) == "t");
    REQUIRE(camel->refresh_token);
    CHECK(text(*camel->refresh_token) == "r");
    CHECK(camel->expires_at == kSent + 8h);

    const auto github_app = parse(
        R"({"access_token":"ghu_1","expires_in":28800,"refresh_token":"ghr_1","refresh_token_expires_in":15897600})");
    REQUIRE(github_app);
    CHECK(github_app->refresh_expires_at == kSent + 15'897'600s);
    const auto list = parse(R"({"access_token":"a","scope":["x","y z"]})");
    REQUIRE(list);
    CHECK(list->scopes == Scopes{"x", "y z"});
}

TEST_CASE("What is done with an answer wipes every string in it", "[oauth]") {
    auto value = nlohmann::json::parse(R"({"a":"secret-1","b":{"c":["secret-2",7,null]}})");
    wipe_strings(value);
    CHECK(value["a"] == std::string(8, '\0'));
    CHECK(value["b"]["c"][0] == std::string(8, '\0'));
    CHECK(value["b"]["c"][1] == 7);
}

TEST_CASE("HTTP dates come in three forms, and Retry-After in two", "[oauth]") {
    const base::Time rfc{784'111'777s};
    CHECK(http_date("Sun, 06 Nov 1994 08:49:37 GMT", kSent) == rfc);
    CHECK(http_date("Sunday, 06-Nov-94 08:49:37 GMT", kSent) == rfc);
    CHECK(http_date("Sun Nov  6 08:49:37 1994", kSent) == rfc);
    for (const char* text :
         {"", "Sun", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET",
          "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT",
          "Sun, 06 Nov 1994 08:49:37 GMT x", "06 Nov 1994", "Sun, 06 Nov 0094 08:49:37 GMT"}) {
        INFO(text);
        CHECK_FALSE(http_date(text, kSent));
    }
    struct Row {
        const char* text;
        std::optional<std::chrono::seconds> wait;
    };
    const Row rows[] = {
        {"", std::nullopt},
        {"0", 0s},
        {"120", 120s},
        {"3600", 3600s},
        {"3601", 3600s},
        {"99999999999999999999999", 3600s},
        {"-1", std::nullopt},
        {"1.5", std::nullopt},
        {"soon", std::nullopt},
        {"Fri, 15 Jan 2027 08:02:00 GMT", 120s},
        {"Fri, 15 Jan 2027 07:00:00 GMT", 0s},
        {"Sat, 16 Jan 2027 08:00:00 GMT", 3600s},
    };
    for (const auto& row : rows) {
        INFO(row.text);
        CHECK(retry_after(row.text, kSent) == row.wait);
    }
}

}  // namespace
}  // namespace claviger::oauth
