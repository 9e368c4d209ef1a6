#include "oauth/identity.h"

#include "base/bytes.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

using namespace claviger;
using namespace claviger::oauth;

namespace {

const std::string kCommon = "https://login.example/common/v2.0";
const std::string kTenant = "9188040d-6c67-4c5b-b112-36a304b66dad";

std::string of_tenant(const std::string& tenant) { return "https://login.example/" + tenant + "/v2.0"; }

ProviderProfile many_tenants() {
    ProviderProfile profile;
    profile.templated_issuer = true;
    return profile;
}

const std::string kIssuer = "https://as.example";
constexpr std::string_view kAccessToken = "a";

/// What a good ID token says, for the terms of its_terms().
nlohmann::json good_claims(const std::string& issuer = kIssuer) {
    const auto now =
        std::chrono::duration_cast<std::chrono::seconds>(base::SystemClock().now().time_since_epoch())
            .count();
    return {{"iss", issuer},  {"aud", "client"}, {"sub", "alice"},
            {"nonce", "n-1"}, {"iat", now},      {"exp", now + 300}};
}

vault::ConnectTerms its_terms(const std::string& issuer = kIssuer) {
    vault::ConnectTerms terms;
    terms.issuer = issuer;
    terms.client_id = "client";
    terms.token_endpoint = "https://as.example/token";
    return terms;
}

TokenSet with_id_token(const nlohmann::json& header, const nlohmann::json& claims) {
    const auto token = base::to_base64url(header.dump()) + "." + base::to_base64url(claims.dump()) + ".c2ln";
    return TokenSet{.access_token = crypto::Secret::copy_of(kAccessToken),
                    .refresh_token = {},
                    .id_token = crypto::Secret::copy_of(std::string_view(token)),
                    .expires_at = {},
                    .refresh_expires_at = {},
                    .scopes = {},
                    .issued_token_type = {},
                    .rest = crypto::Secret::copy_of(std::string_view("{}"))};
}

/// The word of the error; empty when the identity is good.
std::string verdict(const vault::ConnectTerms& terms, const ProviderProfile& profile,
                    const nlohmann::json& claims, const nlohmann::json& header = {{"alg", "RS256"}},
                    const std::optional<std::string>& nonce = "n-1") {
    test::Loop loop;
    auto pool = loop.call(
        [&] { return std::make_unique<net::ClientPool>(loop.worker, net::ClientLimits{}, nullptr); });
    const base::SystemClock clock;
    const Outbound out{.worker = loop.worker, .pool = *pool, .clock = clock, .reach = {}};
    const auto tokens = with_id_token(header, claims);
    const auto known = loop.await<base::Status>(
        [&](net::Worker&) { return check_identity(out, terms, profile, tokens, nonce, clock.now()); });
    loop.call([&] {
        pool.reset();
        return true;
    });
    return known ? std::string() : std::string(known.error().code);
}

}  // namespace

TEST_CASE("An issuer for many tenants is the same but for one segment of its path", "[oauth]") {
    CHECK(tenant_of(kCommon, of_tenant(kTenant)) == kTenant);
    for (const char* other :
         {"https://evil.example/t/v2.0", "http://login.example/t/v2.0", "https://login.example/t/v1.0",
          "https://login.example/t", "https://login.example/t/v2.0/", "https://login.example//v2.0",
          "https://login.example/a/b/v2.0", "https://login.example/common/v2.0", ""}) {
        INFO(other);
        CHECK_FALSE(tenant_of(kCommon, other));
    }
}

TEST_CASE("Only a name that stands for tenants leaves open which one answers", "[oauth]") {
    const auto profile = many_tenants();
    CHECK(leaves_tenant_open(profile, kCommon));
    CHECK(leaves_tenant_open(profile, of_tenant("contoso.example")));
    CHECK_FALSE(leaves_tenant_open(profile, of_tenant(kTenant)));
    CHECK_FALSE(leaves_tenant_open(ProviderProfile(), kCommon));
}

TEST_CASE("A token of an issuer for many tenants is from the tenant that it names and that answered",
          "[oauth]") {
    const auto profile = many_tenants();
    auto terms = its_terms(kCommon);
    const auto claims = [](const std::string& issuer, const std::string& tenant) {
        auto said = good_claims(issuer);
        said["tid"] = tenant;
        return said;
    };
    CHECK(verdict(terms, profile, claims(of_tenant(kTenant), kTenant)).empty());
    CHECK(verdict(terms, profile, claims(kCommon, kTenant)).empty());
    CHECK(verdict(terms, profile, claims(of_tenant(kTenant), "another")) == "id_token.issuer");
    CHECK(verdict(terms, profile, good_claims(of_tenant(kTenant))) == "id_token.issuer");
    CHECK(verdict(terms, profile, claims("https://evil.example/" + kTenant + "/v2.0", kTenant)) ==
          "id_token.issuer");
    SECTION("the browser was answered by one of them") {
        terms.answered_by = of_tenant(kTenant);
        CHECK(verdict(terms, profile, claims(of_tenant(kTenant), kTenant)).empty());
        CHECK(verdict(terms, profile, claims(of_tenant("b"), "b")) == "id_token.issuer");
    }
    SECTION("the tenant was chosen beforehand") {
        terms.issuer = of_tenant(kTenant);
        CHECK(verdict(terms, profile, claims(of_tenant(kTenant), kTenant)).empty());
        CHECK(verdict(terms, profile, claims(of_tenant("b"), "b")) == "id_token.wrong_issuer");
    }
}

TEST_CASE("Where an issuer publishes no keys, all that its token says is checked all the same", "[oauth]") {
    const ProviderProfile profile;
    const auto terms = its_terms();
    const auto but = [](const char* claim, const nlohmann::json& value) {
        auto claims = good_claims();
        if (value.is_null())
            claims.erase(claim);
        else
            claims[claim] = value;
        return claims;
    };
    const auto now = good_claims()["iat"].get<std::int64_t>();
    CHECK(verdict(terms, profile, good_claims()).empty());
    for (const auto& value : {nlohmann::json(kIssuer + "/"), nlohmann::json("http://as.example"),
                              nlohmann::json(7), nlohmann::json()})
        CHECK(verdict(terms, profile, but("iss", value)) == "id_token.wrong_issuer");
    for (const auto& value : {nlohmann::json("other"), nlohmann::json::array({"other"}), nlohmann::json()})
        CHECK(verdict(terms, profile, but("aud", value)) == "id_token.wrong_audience");
    CHECK(verdict(terms, profile, but("aud", {"client", "other"})) == "id_token.wrong_party");
    auto several = but("aud", {"client", "other"});
    several["azp"] = "client";
    CHECK(verdict(terms, profile, several).empty());
    several["azp"] = "other";
    CHECK(verdict(terms, profile, several) == "id_token.wrong_party");
    const auto leeway = profile.lifetime.skew.count();
    CHECK(verdict(terms, profile, but("exp", now - leeway - 1)) == "id_token.expired");
    CHECK(verdict(terms, profile, but("exp", now - leeway / 2)).empty());
    CHECK(verdict(terms, profile, but("exp", {})) == "id_token.no_times");
    CHECK(verdict(terms, profile, but("iat", now + leeway + 300)) == "id_token.from_the_future");
    CHECK(verdict(terms, profile, but("iat", now + leeway / 2)).empty());
    CHECK(verdict(terms, profile, but("iat", {})) == "id_token.no_times");
    CHECK(verdict(terms, profile, but("sub", {})) == "id_token.no_subject");
    for (const auto& value : {nlohmann::json("n-2"), nlohmann::json("n-1 "), nlohmann::json()})
        CHECK(verdict(terms, profile, but("nonce", value)) == "id_token.wrong_nonce");
    CHECK(verdict(terms, profile, but("nonce", {}), {{"alg", "RS256"}}, std::nullopt).empty());
}

TEST_CASE("An ID token without published keys belongs to its access token, by the digest that it names",
          "[oauth]") {
    const ProviderProfile profile;
    const auto terms = its_terms();
    // The left half of each digest of "a", as `printf a | openssl dgst -binary` gives it.
    const std::vector<std::pair<const char*, std::string>> digests{
        {"RS256", "ypeBEsobvcr6wjGzmiPcTQ"},
        {"HS256", "ypeBEsobvcr6wjGzmiPcTQ"},
        {"HS384", "VKWbnyKwuAiA2EJ-VIt8I6vYc0huHwNd"},
        {"RS512", "H0D8ktokFpR1CXnubPWC8tXX0o4YM13gWrxU0FYOD1M"},
    };
    for (const auto& [name, digest] : digests) {
        INFO(name);
        auto claims = good_claims();
        claims["at_hash"] = digest;
        CHECK(verdict(terms, profile, claims, {{"alg", name}}).empty());
        claims["at_hash"] = "ypeBEsobvcr6wjGzmiPcTA";
        CHECK(verdict(terms, profile, claims, {{"alg", name}}) == "id_token.wrong_access_token");
    }
}

TEST_CASE("TLS to the token endpoint stands for a signature, not for a token that claims to have none",
          "[oauth]") {
    const ProviderProfile profile;
    const auto terms = its_terms();
    for (const auto& header :
         std::vector<nlohmann::json>{{{"alg", "none"}},
                                     {{"alg", "NONE"}},
                                     {{"alg", ""}},
                                     {{"alg", 7}},
                                     {{"typ", "JWT"}},
                                     {{"alg", "HS257"}},
                                     {{"alg", "RS1"}},
                                     {{"alg", "dir"}},
                                     {{"alg", "RS256"}, {"crit", {"exp"}}, {"exp", 1}}}) {
        INFO(header.dump());
        CHECK(verdict(terms, profile, good_claims(), header) == "jwt.algorithm_refused");
    }
    auto plain = terms;
    plain.token_endpoint = "http://as.example/token";
    CHECK(verdict(plain, profile, good_claims()) == "id_token.no_proof");
    plain.token_endpoint = "http://127.0.0.1:8080/token";  // nobody stands in between
    CHECK(verdict(plain, profile, good_claims()).empty());
}
