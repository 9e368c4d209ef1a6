#include "oauth/client_auth.h"
#include "oauth/jose.h"
#include "tests/oauth/jose_vectors.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

using nlohmann::json;
using enum ClientAuthMethod;

constexpr base::Time kNow{std::chrono::seconds(1'795'255'200)};

SigningKey rsa_key() {
    return SigningKey::from_pem(
               crypto::Secret::copy_of(
                   signed_vector("jose RS256")["pem"]["pkcs8"].get_ref<const std::string&>()))
        .value();
}

json claims_in(const crypto::Secret& token) {
    return token
        .expose([](std::span<const std::byte> text) { return unverified_claims(base::as_view(text)); })
        .value();
}

json header_in(const crypto::Secret& token) {
    return token.expose([](std::span<const std::byte> bytes) {
        const auto text = base::as_view(bytes);
        return json::parse(base::from_base64url(text.substr(0, text.find('.'))).value());
    });
}

TEST_CASE("The method is the registered one, the profile's, or what the server advertises", "[oauth]") {
    using Names = std::vector<std::string>;
    struct Row {
        const char* what;
        MethodHints hints;
        ClientAuthMethod method;
    };
    const Row rows[] = {
        {"registered, nothing advertised",
         {.registered = client_secret_post, .has_secret = true},
         client_secret_post},
        {"registered and advertised",
         {.registered = client_secret_post,
          .advertised = Names{"client_secret_basic", "client_secret_post"},
          .has_secret = true},
         client_secret_post},
        {"registered, no longer advertised",
         {.registered = client_secret_post, .advertised = Names{"client_secret_basic"}, .has_secret = true},
         client_secret_basic},
        {"profile", {.profile = secret_as_user_name, .has_secret = true}, secret_as_user_name},
        {"basic when the list is absent", {.has_secret = true}, client_secret_basic},
        {"post when only post is listed",
         {.advertised = Names{"client_secret_post"}, .has_secret = true},
         client_secret_post},
        {"a key", {.advertised = Names{"private_key_jwt"}, .has_key = true}, private_key_jwt},
        {"none when listed", {.advertised = Names{"none"}, .has_secret = true}, none},
        {"public client, list without none", {.advertised = Names{"client_secret_basic"}}, none},
        {"public client, no list", {}, none},
        {"a certificate that is registered for assertions",
         {.registered = private_key_jwt, .has_certificate = true},
         private_key_jwt},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto chosen = choose_client_auth(row.hints);
        REQUIRE(chosen);
        CHECK(*chosen == row.method);
    }
    const auto stuck = choose_client_auth({.advertised = Names{"private_key_jwt"}, .has_secret = true});
    REQUIRE_FALSE(stuck);
    CHECK(stuck.error().code == "client_auth.no_method");
    for (const auto method : {none, client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth,
                              self_signed_tls_client_auth, secret_as_user_name})
        CHECK(client_auth_method_named(name_of(method)) == method);
    CHECK_FALSE(client_auth_method_named("client_secret_jwt"));
}

TEST_CASE("A client with a certificate shows that, or nothing at all", "[oauth]") {
    using Names = std::vector<std::string>;
    const auto chosen = [](std::optional<ClientAuthMethod> registered, std::optional<Names> advertised,
                           std::optional<ClientAuthMethod> profile = {}) {
        return choose_client_auth({.registered = registered,
                                   .profile = profile,
                                   .advertised = std::move(advertised),
                                   .has_certificate = true});
    };
    CHECK(chosen(self_signed_tls_client_auth, {}) == self_signed_tls_client_auth);
    CHECK(chosen({}, Names{"client_secret_basic", "tls_client_auth"}) == tls_client_auth);
    CHECK(chosen({}, Names{"self_signed_tls_client_auth"}) == self_signed_tls_client_auth);
    CHECK(chosen({}, {}, tls_client_auth) == tls_client_auth);
    CHECK(chosen(tls_client_auth, Names{"client_secret_basic", "none"}).error().code ==
          "client_auth.no_method");
    CHECK(chosen({}, Names{"none"}).error().code == "client_auth.no_method");
    CHECK(chosen({}, {}, client_secret_post) == tls_client_auth);
}

TEST_CASE("A client assertion names client and server, lives briefly, and is never the same", "[oauth]") {
    const auto key = rsa_key();
    const AssertionSigner signer{.key = &key, .key_id = "k1", .audience = "https://issuer.example"};
    const auto one = client_assertion("client", signer, kNow),
               other = client_assertion("client", signer, kNow);
    REQUIRE(one);
    REQUIRE(other);
    const auto claims = claims_in(*one);
    CHECK(claims["iss"] == "client");
    CHECK(claims["sub"] == "client");
    CHECK(claims["aud"] == "https://issuer.example");
    CHECK(claims["exp"].get<int>() - claims["iat"].get<int>() <= 300);
    CHECK(claims["jti"] != claims_in(*other)["jti"]);
    CHECK(header_in(*one) == json{{"alg", "RS256"}, {"kid", "k1"}, {"typ", "JWT"}});

    const auto entra = client_assertion(
        "client", {.key = &key, .algorithm = Algorithm::ps256, .certificate_sha256 = "abc", .audience = "a"},
        kNow);
    CHECK(header_in(*entra) == json{{"alg", "PS256"}, {"typ", "JWT"}, {"x5t#S256", "abc"}});
    CHECK(client_assertion("client", {}, kNow).error().code == "client_auth.no_key");
}

TEST_CASE("GitHub Apps and Google service accounts get the assertion that each wants", "[oauth]") {
    const auto key = rsa_key();
    const auto app = github_app_jwt(key, "12345", kNow);
    REQUIRE(app);
    const auto claims = claims_in(*app);
    CHECK(claims["iss"] == "12345");
    CHECK(claims["iat"] == numeric_date(kNow) - 60);
    CHECK(claims["exp"].get<int>() - claims["iat"].get<int>() <= 600);

    const auto google = google_assertion(
        key,
        {.email = "a@p.iam.gserviceaccount.com", .key_id = "k", .scope = "s1 s2", .subject = "u@x.example"},
        kNow);
    REQUIRE(google);
    CHECK(claims_in(*google) == json{{"iss", "a@p.iam.gserviceaccount.com"},
                                     {"aud", "https://oauth2.googleapis.com/token"},
                                     {"scope", "s1 s2"},
                                     {"sub", "u@x.example"},
                                     {"iat", numeric_date(kNow)},
                                     {"exp", numeric_date(kNow) + 3600}});
    CHECK_FALSE(claims_in(*google_assertion(key, {.email = "a", .scope = "s"}, kNow)).contains("sub"));
    const auto curve = SigningKey::generate_p256();
    CHECK(github_app_jwt(curve, "1", kNow).error().code == "key.algorithm_mismatch");
}

TEST_CASE("A certificate is named by its SHA-256, as openssl x509 -fingerprint counts it", "[oauth]") {
    CHECK(certificate_sha256(kCertificate) == kCertificateSha256);
    for (const auto broken : {std::string_view(), std::string_view("text"), kCertificate.substr(0, 200)}) {
        const auto digest = certificate_sha256(broken);
        REQUIRE_FALSE(digest);
        CHECK(digest.error().code == "client_auth.certificate_invalid");
    }
}

}  // namespace
}  // namespace claviger::oauth
