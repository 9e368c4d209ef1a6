#include "oauth/classify.h"
#include "base/bytes.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;
using enum AnswerClass;
constexpr base::Time kNow{1'800'000'000s};

const RefusalRules kPlain;
const RefusalRules kEntra{.aadsts_codes = true};
const RefusalRules kAtlassian{
    .markers = {{.member = "error", .value = "access_denied", .status = 401, .kind = client_dead}}};
const RefusalRules kLinear{
    .markers = {{.member = "error_description",
                 .value = "grant not found",
                 .test = RefusalMarker::Test::contains,
                 .kind = grant_dead,
                 .code = "grant_not_found"},
                {.member = "revoked", .value = "true", .kind = grant_dead, .code = "revoked"},
                {.member = "error", .value = "DEADLOCK", .kind = transient}}};

TEST_CASE("Every answer of a token endpoint has one meaning", "[oauth]") {
    struct Row {
        unsigned status;
        const char* body;
        AnswerClass kind;
        const char* code;
        const RefusalRules* rules = &kPlain;
        const char* sub_code = "";
    };
    const Row rows[] = {
        {200, R"({"access_token":"a"})", success, ""},
        {201, R"({"token":"a","error":null})", success, ""},
        {200, R"({"access_token":"a","error":""})", success, ""},
        // Somebody stands between us and the server.
        {200, "<html>sign in</html>", unknown_outcome, "unusable_answer"},
        {200, R"({"access_token":"a)", unknown_outcome, "unusable_answer"},
        {200, "", unknown_outcome, "unusable_answer"},
        {502, "<html>bad gateway</html>", unknown_outcome, "gateway"},
        {504, "", unknown_outcome, "gateway"},
        {502, R"({"error":"invalid_grant"})", unknown_outcome, "gateway"},
        {524, "", unknown_outcome, "gateway"},
        // It passes.
        {429, "", transient, "http_429"},
        {503, "busy", transient, "http_503"},
        {500, "<html>oops</html>", transient, "http_500"},
        {500, R"({"error":"server_error"})", transient, "server_error"},
        {503, R"({"error":"temporarily_unavailable"})", transient, "temporarily_unavailable"},
        {400, R"({"error":"temporarily_unavailable"})", transient, "temporarily_unavailable"},
        {400, R"({"error":"slow_down"})", transient, "slow_down"},
        {408, "", transient, "http_408"},
        {500, R"({"error":"invalid_grant"})", transient, "http_500"},  // a failing server knows nothing
        {500, R"({"error":"invalid_client"})", transient, "http_500"},
        {400, R"({"error":"DEADLOCK"})", transient, "deadlock", &kLinear},
        {200, R"({"ok":false,"error":"ratelimited"})", transient, "ratelimited"},
        // The grant is dead.
        {400, R"({"error":"invalid_grant"})", grant_dead, "invalid_grant"},
        {401, R"({"error":"invalid_grant"})", grant_dead, "invalid_grant"},
        {403, R"({"error":"invalid_grant","error_description":"Unknown or invalid refresh token."})",
         grant_dead, "invalid_grant", &kAtlassian},
        {404, R"({"error":"invalid_grant"})", grant_dead, "invalid_grant"},
        {400, R"({"error":"INVALID_GRANT"})", grant_dead, "invalid_grant"},
        {400, "error=invalid_grant&error_description=x", grant_dead, "invalid_grant"},
        {400, R"({"error":"invalid_grant","error_subtype":"invalid_rapt"})", grant_dead, "invalid_grant",
         &kPlain, "invalid_rapt"},
        {200, R"({"error":"bad_refresh_token"})", grant_dead, "bad_refresh_token"},
        {200, "error=bad_verification_code&error_uri=x", grant_dead, "bad_verification_code"},
        {200, R"({"ok":false,"error":"invalid_refresh_token"})", grant_dead, "invalid_refresh_token"},
        {200, R"({"ok":false,"error":"token_revoked"})", grant_dead, "token_revoked"},
        {200, R"({"ok":false,"error":"account_inactive"})", grant_dead, "account_inactive"},
        {400, R"({"status":"BAD_REFRESH_TOKEN","message":"missing or unknown refresh token"})", grant_dead,
         "bad_refresh_token"},
        {400, R"({"error":"interaction_required","suberror":"basic_action"})", grant_dead,
         "interaction_required", &kEntra, "basic_action"},
        {400, R"({"error":"login_required"})", grant_dead, "login_required"},
        {400, R"({"error":"consent_required"})", grant_dead, "consent_required"},
        {400, R"({"error":"invalid_grant","error_codes":[700082]})", grant_dead, "invalid_grant", &kEntra,
         "AADSTS700082"},
        {400, R"({"error":"interaction_required","error_description":"AADSTS50076: Due to a change"})",
         grant_dead, "interaction_required", &kEntra, "AADSTS50076"},
        {400, R"({"error":"x","error_description":"Grant Not Found"})", grant_dead, "grant_not_found",
         &kLinear},
        {400, R"({"revoked":true})", grant_dead, "revoked", &kLinear},
        // The client is dead.
        {401, R"({"error":"invalid_client"})", client_dead, "invalid_client"},
        {400, R"({"error":"invalid_client"})", client_dead, "invalid_client"},
        {400, R"({"error":"unauthorized_client"})", client_dead, "unauthorized_client"},
        {200, R"({"error":"incorrect_client_credentials"})", client_dead, "incorrect_client_credentials"},
        {401, R"({"error":"access_denied"})", client_dead, "access_denied", &kAtlassian},
        {400, R"({"error":"access_denied"})", transient, "unrecognized", &kAtlassian},
        {401, R"({"error":"invalid_request","error_codes":[7000215]})", client_dead, "invalid_client",
         &kEntra, "AADSTS7000215"},
        {401, R"({"error":"invalid_client","error_description":"AADSTS7000222: expired"})", client_dead,
         "invalid_client", &kEntra, "AADSTS7000222"},
        // What was asked for is wrong.
        {400, R"({"error":"invalid_scope"})", scope, "invalid_scope"},
        {403, R"({"error":"insufficient_scope"})", scope, "insufficient_scope"},
        {400, R"({"error":"invalid_target"})", target, "invalid_target"},
        {400, R"({"error":"invalid_request","error_description":"AADSTS9010010: resource"})", target,
         "invalid_target", &kEntra, "AADSTS9010010"},
        {400, R"({"error":"invalid_request","error_description":"AADSTS9010010: resource"})", bug,
         "invalid_request"},
        {400, R"({"error":"use_dpop_nonce"})", dpop_nonce, "use_dpop_nonce"},
        {400, R"({"error":"invalid_request"})", bug, "invalid_request"},
        {400, R"({"error":"unsupported_grant_type"})", bug, "unsupported_grant_type"},
        {404, "", bug, "http_404"},
        {405, "<html>", bug, "http_405"},
        {302, "", bug, "http_302"},
        // Nobody knows.
        {400, R"({"error":"own_code"})", transient, "unrecognized"},
        {400, R"({"error":{"code":190,"message":"x"}})", transient, "unrecognized"},
        {400, "", transient, "unrecognized"},
        {401, "no", transient, "unrecognized"},
        {403, R"({"message":"forbidden"})", transient, "unrecognized"},
        {200, R"({"ok":false,"error":"new_word"})", transient, "unrecognized"},
        {200, R"({"error":"new_word"})", transient, "unrecognized"},
        {403, "<html>blocked</html>", transient, "gateway"},
    };
    for (const auto& row : rows) {
        INFO(row.status << " " << row.body);
        const auto found = classify({.status = row.status, .body = row.body, .now = kNow}, *row.rules, {});
        CHECK(to_text(found.kind) == to_text(row.kind));
        CHECK(found.code == row.code);
        if (found.recognized) CHECK(found.sub_code == row.sub_code);
    }
}

TEST_CASE("What did not come back whole is not read", "[oauth]") {
    const TokenAnswer dead{.status = 400, .body = R"({"error":"invalid_grant"})"};
    for (const auto& [delivery, kind, code] :
         {std::tuple{Delivery::not_sent, not_sent, "not_sent"},
          std::tuple{Delivery::no_answer, unknown_outcome, "no_answer"},
          std::tuple{Delivery::truncated, unknown_outcome, "truncated"}}) {
        auto answer = dead;
        answer.delivery = delivery;
        const auto found = classify(answer, {}, {});
        CHECK(found.kind == kind);
        CHECK(found.code == code);
    }
}

TEST_CASE("An unknown refusal is a passing trouble, until it came three times over ten minutes", "[oauth]") {
    struct Row {
        unsigned before;
        std::optional<std::chrono::seconds> since;
        AnswerClass kind;
    };
    for (const auto& row : {Row{0, std::nullopt, transient}, Row{1, 3600s, transient},
                            Row{2, 599s, transient}, Row{2, 600s, grant_dead}, Row{7, 601s, grant_dead},
                            Row{7, 599s, transient}, Row{7, std::nullopt, transient}}) {
        UnrecognizedHistory history{.count = row.before};
        if (row.since) history.first_at = kNow - *row.since;
        INFO(row.before);
        const auto found = classify({.status = 400, .body = R"({"error":"what"})", .now = kNow}, {}, history);
        CHECK(found.kind == row.kind);
        CHECK(found.code == (row.kind == grant_dead ? "unrecognized_refusal" : "unrecognized"));
        CHECK_FALSE(found.recognized);
        CHECK(found.sub_code == "what");
        const auto page = classify(
            {.status = 403, .content_type = "text/html", .body = "blocked", .now = kNow}, {}, history);
        CHECK(page.kind == transient);
        CHECK(page.recognized);
        CHECK(classify({.status = 503, .now = kNow}, {}, history).kind == transient);
    }
}

TEST_CASE("The server may say when to come back, within an hour", "[oauth]") {
    const auto wait = [](unsigned status, std::string_view retry_after, std::string_view body = "") {
        return classify({.status = status, .retry_after = retry_after, .body = body, .now = kNow}, {}, {})
            .retry_after;
    };
    CHECK(wait(503, "7") == 7s);
    CHECK(wait(429, "Fri, 15 Jan 2027 08:00:30 GMT") == 30s);
    CHECK(wait(503, "86400") == 3600s);
    CHECK(wait(502, "7") == 7s);
    CHECK(wait(503, "") == std::nullopt);
    CHECK(wait(400, "7", R"({"error":"invalid_grant"})") == std::nullopt);
}

TEST_CASE("An explanation is kept without tokens, controls and length", "[oauth]") {
    const auto described = [](const std::string& body) {
        return classify({.status = 400, .body = body}, {}, {}).description;
    };
    CHECK(
        described(R"({"error":"invalid_grant","error_description":"Token has been expired or revoked."})") ==
        "Token has been expired or revoked.");
    CHECK(
        described(
            R"({"error":"invalid_grant","error_description":"token 1//0gCanary-Token_42 is bad\r\n\u001b[31m"})") ==
        "token [removed] is bad   [31m");
    CHECK(described(R"({"error":"invalid_grant","error_description":"na\u00efve \u202e"})") == "na?ve ?");
    CHECK(described(R"({"status":"BAD_REFRESH_TOKEN","message":"unknown"})") == "unknown");
    CHECK(described(R"({"error":{"message":"inner"}})") == "inner");
    CHECK(described(R"({"error":"invalid_grant","error_description":")" + std::string(9'000, ' ') + "\"}")
              .size() == 200);
    CHECK(scrubbed("AADSTS7000215: bad secret") == "AADSTS7000215: bad secret");
    CHECK(scrubbed("6b8b4567-327b-23c6-643c-98696633dead") == "[removed]");
    CHECK(scrubbed(std::string(40, 'a')) == "[removed]");
    CHECK(classify({.status = 400, .body = R"({"error":"ghr_1234567890abcdef"})"}, {}, {}).code ==
          "unrecognized");
}

TEST_CASE("Tokens that came are kept, and an answer without any has an unknown outcome", "[oauth]") {
    const TokenRequestFacts request{.sent_at = kNow};
    const auto read = [&](unsigned status, std::string_view body) {
        return read_token_answer({.status = status, .body = body, .now = kNow}, {}, request, {}, {});
    };
    const auto whole = read(200, R"({"access_token":"a","expires_in":60})");
    CHECK(whole.classification.kind == success);
    REQUIRE(whole.tokens);
    CHECK(whole.tokens->expires_at == kNow + 60s);

    const auto strange =
        read(200, R"({"access_token":"a","refresh_token":"r","error":"deprecated_endpoint"})");
    CHECK(strange.classification.kind == success);
    CHECK(strange.tokens);

    for (const char* body :
         {"{}", R"({"access_token":"a\nb"})", R"({"access_token":"a","token_type":"mac"})"}) {
        INFO(body);
        const auto unusable = read(200, body);
        CHECK(unusable.classification.kind == unknown_outcome);
        CHECK(unusable.classification.code == "unusable_answer");
        CHECK_FALSE(unusable.classification.description.empty());
        CHECK_FALSE(unusable.tokens);
    }
    CHECK(read(200, R"({"error":"bad_refresh_token"})").classification.kind == grant_dead);
    CHECK(read(200, R"({"ok":false,"error":"odd"})").classification.code == "unrecognized");
    CHECK_FALSE(read(400, R"({"access_token":"a"})").tokens);
    CHECK_FALSE(
        read_token_answer({.delivery = Delivery::truncated, .status = 200, .body = R"({"access_token":"a"})"},
                          {}, request, {}, {})
            .tokens);
}

}  // namespace
}  // namespace claviger::oauth
