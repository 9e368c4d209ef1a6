// Tokens are believed only when a key of the issuer signed them, with an algorithm that we chose.
#include "oauth/jose.h"
#include "oauth/json_document.h"
#include "tests/oauth/jose_vectors.h"

namespace claviger::oauth {
namespace {

using nlohmann::json;

constexpr Algorithm kAll[] = {Algorithm::rs256, Algorithm::ps256, Algorithm::es256,
                              Algorithm::es384, Algorithm::es512, Algorithm::eddsa};

std::string signed_by(const SigningKey& key, json header, const json& claims) {
    auto token = sign_jwt(key, key.algorithm(), std::move(header), claims);
    REQUIRE(token);
    return text_of(*token);
}

/// A token with this header; its signature is a good one for the vector's key.
std::string with_header(const SigningKey& key, const std::string& header) {
    const std::string text = base::to_base64url(header) + "." + base::to_base64url(R"({"sub":"x"})");
    return text + "." + base::to_base64url(*key.sign(key.algorithm(), text));
}

TEST_CASE("Tokens of the RFCs and of npm jose verify with their keys, and with no other", "[oauth]") {
    std::vector<json> all;
    for (const auto& vector : jose_vectors()["signed"]) all.push_back(public_half(vector["jwk"]));
    for (const auto& vector : jose_vectors()["signed"]) {
        INFO(vector["name"]);
        const std::string token = vector["token"];
        const auto jws = verify_jws(token, keys_of({public_half(vector["jwk"])}), {.algorithms = kAll});
        REQUIRE(jws);
        CHECK(name_of(jws->algorithm) == vector["alg"].get<std::string>());
        CHECK(base::to_base64url(jws->payload) ==
              token.substr(token.find('.') + 1, token.rfind('.') - token.find('.') - 1));

        std::erase(all, public_half(vector["jwk"]));
        CHECK_FALSE(verify_jws(token, keys_of(all), {.algorithms = kAll}));
        all.push_back(public_half(vector["jwk"]));
    }
}

TEST_CASE("Deterministic signatures are those of the RFCs, byte for byte", "[oauth]") {
    for (const auto* name : {"RFC 7515 A.2", "RFC 8037 A.4"}) {
        INFO(name);
        const std::string token = signed_vector(name)["token"];
        const auto key = signing_key(name);
        const auto signature = key.sign(key.algorithm(), token.substr(0, token.rfind('.')));
        CHECK(base::to_base64url(*signature) == token.substr(token.rfind('.') + 1));
    }
}

TEST_CASE("What we sign verifies, for every algorithm", "[oauth]") {
    for (const auto algorithm : kAll) {
        INFO(name_of(algorithm));
        const auto key = signing_key("jose " + std::string(name_of(algorithm)));
        const auto token =
            sign_jwt(key, algorithm, {{"kid", key.public_key().id()}, {"typ", "JWT"}}, {{"sub", "Zoë"}});
        REQUIRE(token);
        std::vector<PublicKey> keys;
        keys.push_back(*PublicKey::from_jwk(
            public_half(signed_vector("jose " + std::string(name_of(algorithm)))["jwk"])));
        const Algorithm only[] = {algorithm};
        const auto jws = verify_jws(text_of(*token), KeySet(std::move(keys)), {.algorithms = only});
        REQUIRE(jws);
        CHECK(jws->key_id == key.public_key().id());
        CHECK(string_in(*claims_of(*jws), "sub") == "Zoë");
    }
}

TEST_CASE("A changed token does not verify, whichever byte it is", "[oauth]") {
    const std::string token = signed_vector("jose ES256")["token"];
    const auto keys = keys_of({public_half(signed_vector("jose ES256")["jwk"])});
    for (std::size_t at = 0; at < token.size(); ++at) {
        auto changed = token;
        changed[at] = changed[at] == 'A' ? 'B' : 'A';
        CHECK_FALSE(verify_jws(changed, keys, {.algorithms = kAll}));
    }
}

TEST_CASE("The token has no say in how it is verified", "[oauth]") {
    const auto key = signing_key("RFC 7515 A.3");
    auto jwk = public_half(signed_vector("RFC 7515 A.3")["jwk"]);
    jwk["kid"] = "one";
    const auto keys = keys_of({jwk});
    const auto attacker = SigningKey::generate_p256();
    const Algorithm es256[] = {Algorithm::es256};
    const Algorithm rs256[] = {Algorithm::rs256};
    const std::string payload = base::to_base64url("{}");
    const auto unsigned_token = [&](const char* header) {
        return base::to_base64url(header) + "." + payload + ".";
    };
    struct Row {
        const char* what;
        std::string token;
        std::span<const Algorithm> algorithms;
        const char* code;
    };
    const Row rows[] = {
        {"good", with_header(key, R"({"alg":"ES256","kid":"one"})"), es256, ""},
        {"good without kid", with_header(key, R"({"alg":"ES256"})"), es256, ""},
        {"key addresses are ignored",
         with_header(key, R"({"alg":"ES256","jku":"https://evil","x5u":"https://evil"})"), es256, ""},
        {"its own key", with_header(attacker, R"({"alg":"ES256","jwk":)" + attacker.public_key().jwk() + "}"),
         es256, "jwt.signature_wrong"},
        {"none", unsigned_token(R"({"alg":"none"})"), kAll, "jwt.algorithm_refused"},
        {"None", unsigned_token(R"({"alg":"None"})"), kAll, "jwt.algorithm_refused"},
        {"no algorithm", unsigned_token("{}"), kAll, "jwt.algorithm_refused"},
        {"a shared secret", unsigned_token(R"({"alg":"HS256"})"), kAll, "jwt.algorithm_refused"},
        {"not on the list", with_header(key, R"({"alg":"ES256"})"), rs256, "jwt.algorithm_refused"},
        {"no list", with_header(key, R"({"alg":"ES256"})"), {}, "jwt.algorithm_refused"},
        {"another key's algorithm", with_header(key, R"({"alg":"RS256"})"), kAll, "jwt.key_unknown"},
        {"empty signature", unsigned_token(R"({"alg":"ES256"})"), es256, "jwt.signature_wrong"},
        {"zero signature", unsigned_token(R"({"alg":"ES256"})") + base::to_base64url(std::string(64, '\0')),
         es256, "jwt.signature_wrong"},
        {"unknown key", with_header(key, R"({"alg":"ES256","kid":"two"})"), es256, "jwt.key_unknown"},
        {"critical", with_header(key, R"({"alg":"ES256","crit":["exp"],"exp":1})"), es256,
         "jwt.critical_unknown"},
        {"critical, empty", with_header(key, R"({"alg":"ES256","crit":[]})"), es256, "jwt.critical_unknown"},
        {"two algorithms", with_header(key, R"({"alg":"ES256","alg":"none"})"), es256, "jwt.malformed"},
        {"kid is a number", with_header(key, R"({"alg":"ES256","kid":1})"), es256, "jwt.malformed"},
        {"header is a list", with_header(key, "[]"), es256, "jwt.malformed"},
        {"header is empty", with_header(key, ""), es256, "jwt.malformed"},
        {"two parts", "e30.e30", es256, "jwt.malformed"},
        {"five parts", "e30.e30.e30.e30.e30", es256, "jwt.malformed"},
        {"nothing", "", es256, "jwt.malformed"},
        {"padding", with_header(key, R"({"alg":"ES256"})") + "==", es256, "jwt.malformed"},
        {"a space", " " + with_header(key, R"({"alg":"ES256"})"), es256, "jwt.malformed"},
        {"too large", std::string(kMostTokenBytes + 1, 'e'), es256, "jwt.too_large"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto jws = verify_jws(row.token, keys, {.algorithms = row.algorithms});
        CHECK((jws ? "" : jws.error().code) == row.code);
    }
}

TEST_CASE("Without a kid there must be no doubt about the key; with one, doubles are tried", "[oauth]") {
    const auto key = signing_key("RFC 7515 A.3");
    auto own = public_half(signed_vector("RFC 7515 A.3")["jwk"]),
         other = json::parse(SigningKey::generate_p256().public_key().jwk());
    const auto nameless = with_header(key, R"({"alg":"ES256"})");
    const Algorithm es256[] = {Algorithm::es256};
    CHECK(verify_jws(nameless, keys_of({other, own}), {.algorithms = es256}).error().code ==
          "jwt.key_ambiguous");
    CHECK(verify_jws(nameless, keys_of({public_half(signed_vector("jose RS256")["jwk"]), own}),
                     {.algorithms = es256}));
    own["kid"] = other["kid"] = "same";
    CHECK(verify_jws(with_header(key, R"({"alg":"ES256","kid":"same"})"), keys_of({other, own}),
                     {.algorithms = es256}));
}

TEST_CASE("The type of a token is compared as RFC 7515 says", "[oauth]") {
    const auto key = signing_key("RFC 7515 A.3");
    const auto keys = keys_of({public_half(signed_vector("RFC 7515 A.3")["jwk"])});
    const std::string_view access[] = {"at+jwt"}, lenient[] = {"at+jwt", "JWT", ""};
    struct Row {
        const char* header;
        bool strict, lenient;
    };
    for (const auto& row :
         {Row{R"({"alg":"ES256","typ":"at+jwt"})", true, true},
          Row{R"({"alg":"ES256","typ":"application/AT+jwt"})", true, true},
          Row{R"({"alg":"ES256","typ":"jwt"})", false, true}, Row{R"({"alg":"ES256"})", false, true},
          Row{R"({"alg":"ES256","typ":"dpop+jwt"})", false, false}}) {
        INFO(row.header);
        const auto token = with_header(key, row.header);
        const auto strict = verify_jws(token, keys, {.algorithms = kAll, .types = access});
        CHECK(strict.has_value() == row.strict);
        if (!strict) CHECK(strict.error().code == "jwt.type_refused");
        CHECK(verify_jws(token, keys, {.algorithms = kAll, .types = lenient}).has_value() == row.lenient);
        CHECK(verify_jws(token, keys, {.algorithms = kAll}));
    }
}

TEST_CASE("Signing refuses what cannot be a token", "[oauth]") {
    const auto key = SigningKey::generate_p256();
    CHECK(sign_jwt(key, Algorithm::es256, {}, {{"sub", "\xff"}}).error().code == "jwt.not_utf8");
    CHECK(sign_jwt(key, Algorithm::es256, {{"kid", "\xff"}}, json::object()).error().code == "jwt.not_utf8");
    CHECK(sign_jwt(key, Algorithm::es256, {}, {{"sub", std::string(16'000, 'x')}}).error().code ==
          "jwt.too_large");
    CHECK(sign_jwt(key, Algorithm::eddsa, {}, json::object()).error().code == "key.algorithm_mismatch");
    CHECK(claims_of({Algorithm::es256, "", "", "[]"}).error().code == "jwt.malformed");
}

TEST_CASE("The end of a token that nobody verified is only a guess, and a guess that never breaks",
          "[oauth]") {
    const auto key = SigningKey::generate_p256();
    const auto expiry = [&](const json& claims) { return unverified_expiry(signed_by(key, {}, claims)); };
    using std::chrono::milliseconds;
    CHECK(expiry({{"exp", 1795258800}}) == base::Time(milliseconds(1'795'258'800'000)));
    CHECK(expiry({{"exp", 1795258800.5}}) == base::Time(milliseconds(1'795'258'800'500)));
    for (const auto& claims :
         {json{{"exp", "1795258800"}}, json{{"exp", -1}}, json{{"exp", 1e300}}, json{{"sub", "x"}}})
        CHECK(expiry(claims) == std::nullopt);
    for (const char* token : {"", "ghp_opaque", "a.b.c", "e30.W10.e30", "..", "xoxb-1.2-3"})
        CHECK(unverified_expiry(token) == std::nullopt);
    CHECK(string_in(*unverified_claims(signed_by(key, {}, {{"iss", "https://issuer.example"}})), "iss") ==
          "https://issuer.example");
    CHECK(unverified_claims("opaque").error().code == "jwt.malformed");
    CHECK(numeric_date(base::Time(milliseconds(1'999))) == 1);
}

}  // namespace
}  // namespace claviger::oauth
