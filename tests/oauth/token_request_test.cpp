#include "oauth/token_request.h"
#include "tests/oauth/jose_vectors.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

constexpr base::Time kNow{std::chrono::seconds(1'795'255'200)};

crypto::Secret hidden(std::string_view text) { return crypto::Secret::copy_of(text); }

std::string shown(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

std::string header_of(const TokenRequest& request, std::string_view name) {
    for (const auto& header : request.headers)
        if (header.name == name) return shown(header.value);
    return {};
}

TokenRequest sent(RequestFields fields, const ClientIdentity& client, BodyFormat format = BodyFormat::form) {
    auto request = authenticated(std::move(fields), client, format, kNow);
    REQUIRE(request);
    return std::move(*request);
}

TEST_CASE("Fields are encoded as RFC 6749 appendix B shows", "[oauth]") {
    RequestFields fields;
    fields.add("x", " %&+\xC2\xA3\xE2\x82\xAC").add("empty", "").add("y", "a-b.c_d*e~");
    CHECK(shown(fields.form()) == "x=+%25%26%2B%C2%A3%E2%82%AC&y=a-b.c_d*e%7E");
}

TEST_CASE("Each grant asks in its own words", "[oauth]") {
    const auto code = hidden("c"), verifier = hidden("v"), token = hidden("t"), actor = hidden("a");
    const Wanted wanted{.scope = "r w", .resources = {"https://m.example/", "https://n.example/"}};
    const std::string tail =
        "&scope=r+w&resource=https%3A%2F%2Fm.example%2F&resource=https%3A%2F%2Fn.example%2F";
    CHECK(shown(authorization_code_grant(code, "http://127.0.0.1/cb", verifier, {}).form()) ==
          "grant_type=authorization_code&code=c&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&code_verifier=v");
    CHECK(shown(refresh_token_grant(token, wanted).form()) ==
          "grant_type=refresh_token&refresh_token=t" + tail);
    CHECK(shown(client_credentials_grant({.audience = "api"}).form()) ==
          "grant_type=client_credentials&audience=api");
    CHECK(shown(device_code_grant(code).form()) ==
          "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=c");
    CHECK(shown(jwt_bearer_grant(token, {}).form()) ==
          "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=t");
    CHECK(shown(token_exchange_grant({.subject_token = token,
                                      .subject_token_type = "st",
                                      .actor_token = &actor,
                                      .actor_token_type = "at",
                                      .wanted = {.scope = "r"}})
                    .form()) ==
          "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t"
          "&subject_token_type=st&actor_token=a&actor_token_type=at&scope=r");
    CHECK(shown(id_jag_grant(token, "st", "https://as.example", {}).form()) ==
          "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t"
          "&subject_token_type=st&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid-jag"
          "&audience=https%3A%2F%2Fas.example");
    CHECK(shown(revocation(token, "refresh_token").form()) == "token=t&token_type_hint=refresh_token");
    CHECK(shown(introspection(token, "").form()) == "token=t");
    CHECK(shown(device_authorization({.scope = "r"}).form()) == "scope=r");
}

TEST_CASE("Each client proves itself in its own way", "[oauth]") {
    const auto secret = hidden("s:e c%");
    ClientIdentity client{.client_id = "id/1", .secret = &secret};
    const auto fields = [] { return client_credentials_grant({}); };

    CHECK(shown(sent(fields(), client).body) == "grant_type=client_credentials&client_id=id%2F1");
    client.method = ClientAuthMethod::tls_client_auth;
    CHECK(shown(sent(fields(), client).body) == "grant_type=client_credentials&client_id=id%2F1");
    client.method = ClientAuthMethod::client_secret_post;
    CHECK(shown(sent(fields(), client).body) ==
          "grant_type=client_credentials&client_id=id%2F1&client_secret=s%3Ae+c%25");

    client.method = ClientAuthMethod::client_secret_basic;
    const auto basic = sent(fields(), client);
    CHECK(shown(basic.body) == "grant_type=client_credentials");
    CHECK(basic.content_type == "application/x-www-form-urlencoded");
    CHECK(header_of(basic, "Accept") == "application/json");
    CHECK(header_of(basic, "Authorization") == "Basic " + base::to_base64("id%2F1:s%3Ae+c%25"));
    client.basic_encoding = BasicEncoding::raw;
    CHECK(header_of(sent(fields(), client), "Authorization") == "Basic " + base::to_base64("id/1:s:e c%"));

    const auto stripe = hidden("sk_test_1");
    client = {.client_id = "x", .method = ClientAuthMethod::secret_as_user_name, .secret = &stripe};
    CHECK(header_of(sent(fields(), client), "Authorization") == "Basic " + base::to_base64("sk_test_1:"));

    const auto key = SigningKey::generate_p256();
    client = {.client_id = "id",
              .method = ClientAuthMethod::private_key_jwt,
              .signer = {.key = &key, .audience = "a"}};
    const auto first = shown(sent(fields(), client).body);
    CHECK(
        first.find("client_id=id&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3A"
                   "jwt-bearer&client_assertion=ey") != std::string::npos);
    CHECK(first != shown(sent(fields(), client).body));
}

TEST_CASE("A pushed authorization request names its client once", "[oauth]") {
    const auto pushed = [] { return pushed_authorization({{"client_id", "id"}, {"response_type", "code"}}); };
    CHECK(shown(sent(pushed(), {.client_id = "id"}).body) == "client_id=id&response_type=code");
    const auto secret = hidden("s");
    CHECK(shown(sent(pushed(),
                     {.client_id = "id", .method = ClientAuthMethod::client_secret_basic, .secret = &secret})
                    .body) == "client_id=id&response_type=code");
}

TEST_CASE("A JSON body says the same", "[oauth]") {
    RequestFields fields;
    fields.add("code", "a\"b\\c\x01").add("resource", "r1").add("resource", "r2");
    const auto request = sent(std::move(fields), {.client_id = "id"}, BodyFormat::json);
    CHECK(request.content_type == "application/json");
    CHECK(nlohmann::json::parse(shown(request.body)) ==
          nlohmann::json{{"code", "a\"b\\c\x01"}, {"resource", {"r1", "r2"}}, {"client_id", "id"}});
}

TEST_CASE("What would break a request is refused before anything is sent", "[oauth]") {
    const auto good = hidden("s"), broken = hidden("s\n");
    const auto code_of = [](RequestFields fields, const ClientIdentity& client) {
        const auto request = authenticated(std::move(fields), client, BodyFormat::form, kNow);
        return std::string(request ? "" : request.error().code);
    };
    const auto plain = [] { return client_credentials_grant({}); };
    for (const auto value :
         {std::string_view("a\rb"), std::string_view("a\nb"), std::string_view("a\0b", 3)}) {
        CHECK(code_of(client_credentials_grant({.scope = value}), {.client_id = "id"}) ==
              "token_request.control_character");
        CHECK(code_of(plain(), {.client_id = std::string(value)}) == "client_auth.control_character");
    }
    using enum ClientAuthMethod;
    CHECK(code_of(plain(), {.client_id = "id", .method = client_secret_basic, .secret = &broken}) ==
          "client_auth.control_character");
    CHECK(code_of(plain(), {.client_id = "id", .method = client_secret_post}) == "client_auth.no_secret");
    ClientIdentity colon{.client_id = "a:b", .method = client_secret_basic, .secret = &good};
    CHECK(code_of(plain(), colon).empty());
    colon.basic_encoding = BasicEncoding::raw;
    CHECK(code_of(plain(), colon) == "client_auth.colon_in_id");
    const auto foreign = authenticated(client_credentials_grant({.scope = "\xC2\xA3"}), {.client_id = "id"},
                                       BodyFormat::json, kNow);
    REQUIRE_FALSE(foreign);
    CHECK(foreign.error().code == "token_request.not_ascii");
    CHECK(code_of(plain(), {.client_id = "id", .method = private_key_jwt}) == "client_auth.no_key");
    CHECK(code_of(client_credentials_grant({.scope = std::string(70'000, 'x')}), {.client_id = "id"}) ==
          "token_request.too_large");
}

TEST_CASE("Headers of a profile are added whole or not at all", "[oauth]") {
    auto request = sent(client_credentials_grant({}), {.client_id = "id"});
    CHECK(add_header(request, "Notion-Version", "2022-06-28"));
    CHECK(header_of(request, "Notion-Version") == "2022-06-28");
    const auto headers = request.headers.size();
    for (const auto& [name, value] : {std::pair{"X", "a\r\nEvil: 1"}, std::pair{"X", "a\x7f"},
                                      std::pair{"X: 1\r\nY", "a"}, std::pair{"", "a"}}) {
        const auto status = add_header(request, name, value);
        REQUIRE_FALSE(status);
        CHECK(status.error().code == "token_request.header_invalid");
    }
    CHECK_FALSE(add_header(request, "X", std::string_view("a\0b", 3)));
    CHECK(request.headers.size() == headers);
}

TEST_CASE("Special characters in Basic credentials are known before the server stumbles", "[oauth]") {
    const auto plain = hidden("s3cret-_."), special = hidden("s%");
    ClientIdentity client{
        .client_id = "id", .method = ClientAuthMethod::client_secret_basic, .secret = &plain};
    CHECK_FALSE(basic_is_ambiguous(client));
    client.secret = &special;
    CHECK(basic_is_ambiguous(client));
    client.method = ClientAuthMethod::client_secret_post;
    CHECK_FALSE(basic_is_ambiguous(client));
}

}  // namespace
}  // namespace claviger::oauth
