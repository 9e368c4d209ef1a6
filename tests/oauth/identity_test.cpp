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

TokenSet with_id_token(const nlohmann::json& claims) {
    const auto token =
        base::to_base64url(R"({"alg":"none"})") + "." + base::to_base64url(claims.dump()) + ".x";
    return TokenSet{.access_token = crypto::Secret::copy_of(std::string_view("a")),
                    .refresh_token = {},
                    .id_token = crypto::Secret::copy_of(std::string_view(token)),
                    .expires_at = {},
                    .refresh_expires_at = {},
                    .scopes = {},
                    .issued_token_type = {},
                    .rest = crypto::Secret::copy_of(std::string_view("{}"))};
}

/// The word of the error; empty when the identity is good.
std::string_view verdict(const vault::ConnectTerms& terms, const ProviderProfile& profile,
                         const nlohmann::json& claims) {
    test::Loop loop;
    auto pool = loop.call(
        [&] { return std::make_unique<net::ClientPool>(loop.worker, net::ClientLimits{}, nullptr); });
    const base::SystemClock clock;
    const Outbound out{.worker = loop.worker, .pool = *pool, .clock = clock, .reach = {}};
    const auto tokens = with_id_token(claims);
    const auto known = loop.await<base::Status>(
        [&](net::Worker&) { return check_identity(out, terms, profile, tokens, std::nullopt, clock.now()); });
    loop.call([&] {
        pool.reset();
        return true;
    });
    return known ? std::string_view() : known.error().code;
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
    vault::ConnectTerms terms;
    terms.issuer = kCommon;
    const auto claims = [](const std::string& issuer, const std::string& tenant) {
        return nlohmann::json{{"iss", issuer}, {"tid", tenant}, {"sub", "alice"}};
    };
    CHECK(verdict(terms, profile, claims(of_tenant(kTenant), kTenant)).empty());
    CHECK(verdict(terms, profile, claims(kCommon, kTenant)).empty());
    CHECK(verdict(terms, profile, claims(of_tenant(kTenant), "another")) == "id_token.issuer");
    CHECK(verdict(terms, profile, {{"iss", of_tenant(kTenant)}}) == "id_token.issuer");
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
        CHECK(verdict(terms, profile, claims(of_tenant("b"), "b")) == "id_token.issuer");
    }
}
