// An ID token tells who consented; every word of it is checked first.
#include "oauth/jose_claims.h"
#include "tests/oauth/jose_vectors.h"

namespace claviger::oauth {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

const base::Time kNow{1'795'255'200s};

json good() {
    return {{"iss", "https://issuer.example"},
            {"aud", "client"},
            {"sub", "alice"},
            {"exp", 1795258800},
            {"iat", 1795255200},
            {"nonce", "the-nonce"}};
}
IdTokenRules rules() {
    IdTokenRules rules{};
    rules.issuer = "https://issuer.example";
    rules.client_id = "client";
    rules.nonce = "the-nonce";
    return rules;
}

TEST_CASE("An ID token must be ours, fresh and an answer to our request", "[oauth]") {
    struct Row {
        const char* what;
        json patch;  // RFC 7396
        const char* code;
    };
    const Row rows[] = {
        {"good", json::object(), ""},
        {"issuer with a slash", {{"iss", "https://issuer.example/"}}, "id_token.wrong_issuer"},
        {"no issuer", {{"iss", nullptr}}, "id_token.wrong_issuer"},
        {"audience in a list", {{"aud", {"client"}}}, ""},
        {"another audience", {{"aud", "other"}}, "id_token.wrong_audience"},
        {"no audience", {{"aud", nullptr}}, "id_token.wrong_audience"},
        {"odd audience", {{"aud", {"client", 7}}}, "id_token.wrong_audience"},
        {"several audiences, ours asked", {{"aud", {"other", "client"}}, {"azp", "client"}}, ""},
        {"several audiences, other asked",
         {{"aud", {"other", "client"}}, {"azp", "other"}},
         "id_token.wrong_party"},
        {"several audiences, nobody asked", {{"aud", {"other", "client"}}}, "id_token.wrong_party"},
        {"expired within leeway", {{"exp", 1795255200 - 59}}, ""},
        {"expired", {{"exp", 1795255200 - 60}}, "id_token.expired"},
        {"no end", {{"exp", nullptr}}, "id_token.no_times"},
        {"end is a text", {{"exp", "1795258800"}}, "id_token.no_times"},
        {"no begin", {{"iat", nullptr}}, "id_token.no_times"},
        {"a little early", {{"iat", 1795255200 + 60}}, ""},
        {"from the future", {{"iat", 1795255200 + 61}}, "id_token.from_the_future"},
        {"no subject", {{"sub", nullptr}}, "id_token.no_subject"},
        {"another nonce", {{"nonce", "another"}}, "id_token.wrong_nonce"},
        {"no nonce", {{"nonce", nullptr}}, "id_token.wrong_nonce"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        json claims = good();
        claims.merge_patch(row.patch);
        const auto status = check_id_token(claims, rules(), kNow);
        CHECK((status ? "" : status.error().code) == row.code);
        if (!status) CHECK(status.error().kind == base::ErrorKind::unauthenticated);
    }
}

TEST_CASE("After a refresh the nonce may go but the account may not change", "[oauth]") {
    auto after_refresh = rules();
    after_refresh.nonce.reset();
    after_refresh.subject = "alice";
    json claims = good();
    claims.erase("nonce");
    CHECK(check_id_token(claims, after_refresh, kNow));
    claims["sub"] = "mallory";
    CHECK(check_id_token(claims, after_refresh, kNow).error().code == "id_token.other_subject");
}

TEST_CASE("A recent login is proven when it was asked for", "[oauth]") {
    auto recent = rules();
    recent.max_age = 300s;
    json claims = good();
    CHECK(check_id_token(claims, recent, kNow).error().code == "id_token.stale_login");
    claims["auth_time"] = 1795255200 - 360;
    CHECK(check_id_token(claims, recent, kNow));
    claims["auth_time"] = 1795255200 - 361;
    CHECK(check_id_token(claims, recent, kNow).error().code == "id_token.stale_login");
}

TEST_CASE("at_hash ties the ID token to its access token", "[oauth]") {
    // OpenID Connect Core A.3: the access token of its examples and the at_hash of its ID token.
    const auto token = secret("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y");
    auto tied = rules();
    tied.access_token = &token;
    tied.algorithm = Algorithm::rs256;
    json claims = good();
    CHECK(check_id_token(claims, tied, kNow));  // the claim is optional in the code flow
    claims["at_hash"] = "77QmUPtjPfzWtF2AnpK9RQ";
    CHECK(check_id_token(claims, tied, kNow));
    tied.algorithm = Algorithm::es512;
    CHECK(check_id_token(claims, tied, kNow).error().code == "id_token.wrong_access_token");
    const auto other = secret("other");
    tied.algorithm = Algorithm::rs256;
    tied.access_token = &other;
    CHECK(check_id_token(claims, tied, kNow).error().code == "id_token.wrong_access_token");
    claims["at_hash"] = 7;
    CHECK(check_id_token(claims, tied, kNow).error().code == "id_token.wrong_access_token");
}

}  // namespace
}  // namespace claviger::oauth
