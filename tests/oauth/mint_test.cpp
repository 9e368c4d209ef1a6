#include "oauth/mint.h"

#include "base/bytes.h"
#include "oauth/grant_client.h"
#include "oauth/jose.h"
#include "oauth/provider_catalog.h"
#include "tests/oauth/jose_vectors.h"
#include "tests/support/oauth_scripted_server.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

using nlohmann::json;

constexpr base::Time kNow{std::chrono::seconds(1'795'255'200)};

std::string text_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

crypto::Secret private_key() {
    return crypto::Secret::copy_of(
        std::string_view(signed_vector("jose RS256")["pem"]["pkcs8"].get_ref<const std::string&>()));
}

vault::Refresh block(GrantType grant) {
    vault::Refresh refresh;
    refresh.token_endpoint = "https://as.example/token";
    refresh.client_id = "robot";
    refresh.scope = "a b";
    refresh.resource = "https://h.example/mcp";
    refresh.auth = vault::TokenEndpointAuth::client_secret_post;
    refresh.grant = word_of(grant);
    return refresh;
}

std::string header(const TokenRequest& request, std::string_view name) {
    for (const auto& each : request.headers)
        if (each.name == name) return text_of(each.value);
    return {};
}

TEST_CASE("Only some grants get a new token without a refresh token and without a person", "[oauth]") {
    CHECK(minting_grant(block(GrantType::client_credentials)) == GrantType::client_credentials);
    CHECK(minting_grant(block(GrantType::github_installation)) == GrantType::github_installation);
    auto none = block(GrantType::client_credentials);
    for (const auto* word : {"none", "authorization_code", "device_code", "else"}) {
        none.grant = word;
        CHECK_FALSE(minting_grant(none));
    }
    none.grant.reset();
    CHECK_FALSE(minting_grant(none));
    const auto catalog = ProviderCatalog::built_in();
    CHECK(mint_request(none, nullptr, *catalog.find("mcp"), "", kNow).error().code == "mint.not_this_grant");
}

TEST_CASE("A client asks in its own name for what its block says", "[oauth]") {
    const auto catalog = ProviderCatalog::built_in();
    const auto secret = crypto::Secret::copy_of(std::string_view("s3cret"));
    const auto request = mint_request(block(GrantType::client_credentials), &secret, *catalog.find("mcp"),
                                      "https://as.example", kNow);
    REQUIRE(request);
    CHECK(text_of(request->body) ==
          "grant_type=client_credentials&scope=a+b&resource=https%3A%2F%2Fh.example%2Fmcp&client_id=robot&"
          "client_secret=s3cret");
    const auto no_resource = mint_request(block(GrantType::client_credentials), &secret,
                                          *catalog.find("microsoft-entra"), "https://as.example", kNow);
    REQUIRE(no_resource);
    CHECK(text_of(no_resource->body).find("resource") == std::string::npos);
    CHECK(mint_request(block(GrantType::client_credentials), nullptr, *catalog.find("mcp"), "", kNow)
              .error()
              .code == "client_auth.no_secret");
}

TEST_CASE("A resource that a profile fixes is asked for as it was when the account was connected",
          "[oauth]") {
    ProviderProfile profile;
    profile.resource = {.use = ResourceUse::fixed, .value = "https://{host}/api"};
    auto refresh = block(GrantType::client_credentials);
    refresh.resource = "https://eu.example/api";
    CHECK(resources_of(refresh, profile) == std::vector<std::string>{"https://eu.example/api"});
    const auto secret = crypto::Secret::copy_of(std::string_view("s3cret"));
    const auto request = mint_request(refresh, &secret, profile, "https://as.example", kNow);
    REQUIRE(request);
    CHECK(text_of(request->body).find("resource=https%3A%2F%2Feu.example%2Fapi") != std::string::npos);
    profile.resource.use = ResourceUse::omit;
    CHECK(resources_of(refresh, profile).empty());
    refresh.resource.reset();
    profile.resource.use = ResourceUse::send;
    CHECK(resources_of(refresh, profile).empty());
}

TEST_CASE("A GitHub App shows a signed assertion where others show a token", "[oauth]") {
    const auto catalog = ProviderCatalog::built_in();
    const auto key = private_key();
    const auto request = mint_request(block(GrantType::github_installation), &key,
                                      *catalog.find("github-app-installation"), "", kNow);
    REQUIRE(request);
    CHECK(request->content_type == "application/json");
    CHECK(text_of(request->body) == "{}");
    CHECK(header(*request, "X-GitHub-Api-Version") == "2022-11-28");
    const auto shown = header(*request, "Authorization");
    REQUIRE(shown.starts_with("Bearer "));
    CHECK(unverified_claims(std::string_view(shown).substr(7))->at("iss") == "robot");
    CHECK(mint_request(block(GrantType::github_installation), nullptr,
                       *catalog.find("github-app-installation"), "", kNow)
              .error()
              .code == "client_auth.no_key");
    const auto no_key = crypto::Secret::copy_of(std::string_view("no key"));
    CHECK_FALSE(mint_request(block(GrantType::github_installation), &no_key,
                             *catalog.find("github-app-installation"), "", kNow));
}

TEST_CASE("A service account's assertion is the only proof it sends", "[oauth]") {
    const auto catalog = ProviderCatalog::built_in();
    const auto key = private_key();
    auto refresh = block(GrantType::google_service_account);
    refresh.subject = "alice@example.com";
    refresh.key_id = "k1";
    const auto request = mint_request(refresh, &key, *catalog.find("google-service-account"),
                                      "https://accounts.google.com", kNow);
    REQUIRE(request);
    const auto body = text_of(request->body);
    const std::string start = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    REQUIRE(body.starts_with(start));
    const auto claims = unverified_claims(body.substr(start.size()));
    REQUIRE(claims);
    CHECK(claims->at("iss") == "robot");
    CHECK(claims->at("sub") == "alice@example.com");
    CHECK(claims->at("scope") == "a b");
}

TEST_CASE("A token is asked for with the one that is exchanged for it", "[oauth]") {
    const auto catalog = ProviderCatalog::built_in();
    const auto secret = crypto::Secret::copy_of(std::string_view("s3cret"));
    const auto subject = crypto::Secret::copy_of(std::string_view("subject-1"));
    const auto& profile = *catalog.find("mcp");
    const auto body_of = [&](const vault::Refresh& refresh) {
        const auto request =
            mint_request(refresh, &secret, profile, "https://as.example", kNow, {.subject = &subject});
        REQUIRE(request);
        return text_of(request->body);
    };
    auto refresh = block(GrantType::token_exchange);
    refresh.exchange = vault::Exchange{.credential = {},
                                       .token_type = "urn:ietf:params:oauth:token-type:access_token",
                                       .audience = "api",
                                       .requested_type = "urn:ietf:params:oauth:token-type:jwt",
                                       .issuer = {}};
    CHECK(body_of(refresh) ==
          "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=subject-1&"
          "subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&"
          "requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&scope=a+b&"
          "resource=https%3A%2F%2Fh.example%2Fmcp&audience=api&client_id=robot&client_secret=s3cret");
    SECTION("and with the one of who acts for it") {
        const auto actor = crypto::Secret::copy_of(std::string_view("actor-1"));
        refresh.exchange->actor = base::CredentialId{};
        refresh.exchange->actor_type = "urn:ietf:params:oauth:token-type:access_token";
        const auto acted = mint_request(refresh, &secret, profile, "https://as.example", kNow,
                                        {.subject = &subject, .actor = &actor});
        REQUIRE(acted);
        const auto fields = test::form_fields(text_of(acted->body));
        CHECK(fields.at("subject_token") == "subject-1");
        CHECK(fields.at("actor_token") == "actor-1");
        CHECK(fields.at("actor_token_type") == "urn:ietf:params:oauth:token-type:access_token");
        const auto alone =
            mint_request(refresh, &secret, profile, "https://as.example", kNow, {.subject = &subject});
        REQUIRE_FALSE(alone);  // the subject alone may do more
        CHECK(alone.error().code == "mint.no_actor");
        return;
    }
    for (const auto grant : {GrantType::id_jag, GrantType::jwt_bearer}) {
        refresh.grant = word_of(grant);
        CHECK(
            body_of(refresh) ==
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=subject-1&scope=a+b&"
            "resource=https%3A%2F%2Fh.example%2Fmcp&client_id=robot&client_secret=s3cret");
    }
    const auto without = mint_request(refresh, &secret, profile, "https://as.example", kNow);
    REQUIRE_FALSE(without);
    CHECK(without.error().code == "mint.no_subject");
}

json assertion_header(const TokenRequest& request) {
    const auto assertion = test::form_fields(text_of(request.body)).at("client_assertion");
    return json::parse(base::from_base64url(assertion.substr(0, assertion.find('.'))).value());
}

TEST_CASE("An assertion names its key as the provider looks for it", "[oauth]") {
    const auto catalog = ProviderCatalog::built_in();
    const auto key = private_key();
    const auto both = crypto::Secret::copy_of(std::string(kCertificate) + text_of(key));
    auto refresh = block(GrantType::client_credentials);
    refresh.auth = vault::TokenEndpointAuth::private_key_jwt;
    const auto asked = [&](const char* provider, const crypto::Secret& secret) {
        return mint_request(refresh, &secret, *catalog.find(provider), "https://as.example", kNow);
    };
    const auto by_thumbprint = asked("microsoft-entra", both);
    REQUIRE(by_thumbprint);
    CHECK(assertion_header(*by_thumbprint) ==
          json{{"alg", "PS256"}, {"typ", "JWT"}, {"x5t#S256", kCertificateSha256}});
    CHECK(text_of(by_thumbprint->body).find("CERTIFICATE") == std::string::npos);
    const auto nameless = asked("microsoft-entra", key);
    REQUIRE_FALSE(nameless);
    CHECK(nameless.error().code == "client_auth.no_certificate");
    refresh.key_id = "k1";
    CHECK(assertion_header(asked("microsoft-entra", key).value()) ==
          json{{"alg", "RS256"}, {"typ", "JWT"}, {"kid", "k1"}});
    CHECK(assertion_header(asked("mcp", both).value()) ==
          json{{"alg", "RS256"}, {"typ", "JWT"}, {"kid", "k1"}});
}

}  // namespace
}  // namespace claviger::oauth
