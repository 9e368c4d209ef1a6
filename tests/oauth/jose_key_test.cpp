// Keys come in from strangers and from operators; only whole ones of our kinds get through.
#include "oauth/jose_key.h"
#include "oauth/jose_signing_key.h"
#include "tests/oauth/jose_vectors.h"

#include <openssl/err.h>

namespace claviger::oauth {
namespace {

using nlohmann::json;

constexpr Algorithm kAll[] = {Algorithm::rs256, Algorithm::ps256, Algorithm::es256,
                              Algorithm::es384, Algorithm::es512, Algorithm::eddsa};

TEST_CASE("Thumbprints are those of RFC 7638, RFC 8037 and npm jose", "[oauth]") {
    int compared = 0;
    for (const auto& list : {jose_vectors()["signed"], jose_vectors()["thumbprints"]}) {
        for (const auto& vector : list) {
            if (!vector.contains("thumbprint")) continue;
            INFO(vector["name"]);
            const auto key = PublicKey::from_jwk(public_half(vector["jwk"]));
            REQUIRE(key);
            CHECK(key->thumbprint() == vector["thumbprint"].get<std::string>());
            ++compared;
        }
    }
    CHECK(compared == 8);
}

TEST_CASE("A key fits the algorithms of its kind and no other", "[oauth]") {
    const std::pair<const char*, std::vector<Algorithm>> rows[] = {
        {"RFC 7515 A.2", {Algorithm::rs256, Algorithm::ps256}},
        {"RFC 7515 A.3", {Algorithm::es256}},
        {"jose ES384", {Algorithm::es384}},
        {"RFC 7515 A.4", {Algorithm::es512}},
        {"RFC 8037 A.4", {Algorithm::eddsa}},
        {"jose RS256", {Algorithm::rs256}},
        {"jose PS256", {Algorithm::ps256}},
    };
    for (const auto& [name, fitting] : rows) {
        INFO(name);
        const auto key = PublicKey::from_jwk(public_half(signed_vector(name)["jwk"]));
        REQUIRE(key);
        for (const auto algorithm : kAll) {
            INFO(name_of(algorithm));
            CHECK(key->fits(algorithm) == (std::ranges::find(fitting, algorithm) != fitting.end()));
        }
    }
}

TEST_CASE("Algorithms without a public key do not exist here", "[oauth]") {
    for (const char* name : {"none", "None", "HS256", "HS512", "rs256", "RS512", "RSA-OAEP", ""})
        CHECK_FALSE(algorithm_named(name));
    for (const auto algorithm : kAll) CHECK(algorithm_named(name_of(algorithm)) == algorithm);
}

TEST_CASE("A key that says it is for something else signs nothing", "[oauth]") {
    auto jwk = public_half(signed_vector("RFC 7515 A.3")["jwk"]);
    REQUIRE(PublicKey::from_jwk(jwk)->fits(Algorithm::es256));
    SECTION("for encryption") { jwk["use"] = "enc"; }
    SECTION("for other operations") { jwk["key_ops"] = {"deriveKey"}; }
    SECTION("for another algorithm") { jwk["alg"] = "ECDH-ES"; }
    const auto key = PublicKey::from_jwk(jwk);
    REQUIRE(key);
    CHECK_FALSE(key->fits(Algorithm::es256));
    CHECK_FALSE(key->verifies(Algorithm::es256, "", std::string(64, 'x')));
}

TEST_CASE("Broken and foreign keys are refused", "[oauth]") {
    const auto rsa = public_half(signed_vector("RFC 7515 A.2")["jwk"]);
    const auto ec = public_half(signed_vector("RFC 7515 A.3")["jwk"]);
    const auto okp = public_half(signed_vector("RFC 8037 A.4")["jwk"]);
    const auto with = [](json jwk, const char* name, json value) {
        jwk[name] = std::move(value);
        return jwk;
    };
    const auto without = [](json jwk, const char* name) {
        jwk.erase(name);
        return jwk;
    };
    const std::string y = ec["y"], x = ec["x"];
    struct Row {
        const char* what;
        json jwk;
        const char* code;
    };
    const Row rows[] = {
        {"no object", json::array(), "jwk.invalid"},
        {"no kty", without(rsa, "kty"), "jwk.invalid"},
        {"a shared secret", {{"kty", "oct"}, {"k", "AAAA"}}, "jwk.invalid"},
        {"a shared secret's kind", {{"kty", "oct"}}, "jwk.unsupported"},
        {"another kind", with(rsa, "kty", "AKP"), "jwk.unsupported"},
        {"a private key", signed_vector("RFC 7515 A.3")["jwk"], "jwk.invalid"},
        {"no modulus", without(rsa, "n"), "jwk.invalid"},
        {"an even modulus", with(rsa, "n", rsa["n"].get<std::string>().substr(0, 340) + "AA"), "jwk.invalid"},
        {"a short modulus", with(rsa, "n", rsa["n"].get<std::string>().substr(0, 168) + "AAAB"),
         "jwk.unsupported"},
        {"a long modulus", with(rsa, "n", std::string(1600, 'B')), "jwk.invalid"},
        {"exponent 1", with(rsa, "e", "AQ"), "jwk.invalid"},
        {"exponent 0", with(rsa, "e", "AA"), "jwk.invalid"},
        {"an even exponent", with(rsa, "e", "AQAC"), "jwk.invalid"},
        {"a huge exponent", with(rsa, "e", std::string(12, '_') + "9"), "jwk.invalid"},
        {"padding", with(ec, "x", x + "="), "jwk.invalid"},
        {"the other alphabet", with(rsa, "e", "+/AB"), "jwk.invalid"},
        {"an unknown curve", with(ec, "crv", "secp256k1"), "jwk.unsupported"},
        {"another curve", with(ec, "crv", "P-384"), "jwk.invalid"},
        {"a point off the curve", with(ec, "y", x), "jwk.invalid"},
        {"a short coordinate", with(ec, "y", y.substr(0, 40)), "jwk.invalid"},
        {"half a point", without(ec, "y"), "jwk.invalid"},
        {"Ed448", with(okp, "crv", "Ed448"), "jwk.unsupported"},
        {"X25519", with(okp, "crv", "X25519"), "jwk.unsupported"},
        {"a short Ed25519 key", with(okp, "x", "AAAA"), "jwk.invalid"},
        {"a kid that is no text", with(okp, "kid", 7), "jwk.invalid"},
        {"a use that is no text", with(okp, "use", true), "jwk.invalid"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto key = PublicKey::from_jwk(row.jwk);
        CHECK((key ? "" : key.error().code) == row.code);
    }
    CHECK(ERR_peek_error() == 0);  // TLS on this thread would stumble over leftovers
}

TEST_CASE("A key set keeps the keys that can be used and bounds the others", "[oauth]") {
    const auto good = public_half(signed_vector("jose ES256")["jwk"]);
    const auto keys = keys_of(
        {good, {{"kty", "oct"}, {"k", "AAAA"}}, "text", {{"kty", "EC"}}, signed_vector("jose RS256")["jwk"]});
    REQUIRE(keys.keys().size() == 1);
    CHECK(keys.keys()[0].id() == "key-of-ES256");

    CHECK(KeySet::parse("{}").error().code == "jwks.invalid");
    CHECK(KeySet::parse(R"({"keys":{}})").error().code == "jwks.invalid");
    CHECK(KeySet::parse("<html>").error().code == "json.invalid");
    CHECK(KeySet::parse(json{{"keys", std::vector<json>(100, good)}}.dump())->keys().size() == 100);
    CHECK(KeySet::parse(json{{"keys", std::vector<json>(101, good)}}.dump()).error().code ==
          "jwks.too_many_keys");
}

TEST_CASE("Private keys load from every form of PEM and from JWK alike", "[oauth]") {
    int loaded = 0;
    for (const auto& vector : jose_vectors()["signed"]) {
        if (!vector.contains("pem")) continue;
        for (const auto& [form, pem] : vector["pem"].items()) {
            INFO(vector["name"] << " " << form);
            const auto key = SigningKey::from_pem(secret(pem.get<std::string>()));
            if (form == "encrypted") {
                REQUIRE_FALSE(key);
                CHECK(key.error().code == "key.encrypted");
                continue;
            }
            REQUIRE(key);
            CHECK(key->public_key().thumbprint() == vector["thumbprint"].get<std::string>());
            ++loaded;
        }
        CHECK(signing_key(vector["name"]).public_key().id() == vector["jwk"]["kid"].get<std::string>());
        CHECK(name_of(signing_key(vector["name"]).algorithm()) == vector["alg"].get<std::string>());
    }
    CHECK(loaded == 11);
}

TEST_CASE("PEM that is no key of ours is refused with what to do", "[oauth]") {
    for (const auto& [kind, pem] : jose_vectors()["unsupported"].items()) {
        INFO(kind);
        const auto key = SigningKey::from_pem(secret(pem.get<std::string>()));
        REQUIRE_FALSE(key);
        CHECK(key.error().code == "key.unsupported");
    }
    const auto whole = signed_vector("jose ES256")["pem"]["pkcs8"].get<std::string>();
    for (const auto& text : {std::string("ghp_secret"), std::string("-----BEGIN PRIVATE KEY-----\nAAAA\n"),
                             whole.substr(0, whole.size() / 2), whole + std::string(40'000, ' ')}) {
        const auto key = SigningKey::from_pem(secret(text));
        REQUIRE_FALSE(key);
        CHECK(key.error().code == "key.pem_invalid");
        CHECK_FALSE(key.error().hint.empty());
    }
    CHECK(ERR_peek_error() == 0);
}

TEST_CASE("A private JWK whose halves do not belong together is refused", "[oauth]") {
    const auto refuse = [](const json& jwk) {
        const auto key = SigningKey::from_jwk(secret(jwk.dump()));
        REQUIRE_FALSE(key);
        CHECK(key.error().code == "jwk.invalid");
    };
    auto ec = signed_vector("RFC 7515 A.3")["jwk"];
    ec["d"] = signed_vector("jose ES256")["jwk"]["d"];
    refuse(ec);
    auto okp = signed_vector("RFC 8037 A.4")["jwk"];
    okp["d"] = signed_vector("jose EdDSA")["jwk"]["d"];
    refuse(okp);
    auto rsa = signed_vector("RFC 7515 A.2")["jwk"];
    for (const char* part : {"d", "p", "q", "dp", "dq", "qi"})
        rsa[part] = signed_vector("jose RS256")["jwk"][part];
    refuse(rsa);
    refuse(public_half(signed_vector("RFC 7515 A.3")["jwk"]));
    auto encrypting = signed_vector("RFC 7515 A.3")["jwk"];
    encrypting["use"] = "enc";
    refuse(encrypting);
}

TEST_CASE("A private JWK is read strictly, where it stands", "[oauth]") {
    const auto jwk = signed_vector("RFC 7515 A.3")["jwk"];
    const auto text = jwk.dump();
    const auto with = [&](const std::string& more) { return text.substr(0, text.size() - 1) + more + "}"; };
    for (const auto& good :
         {text, jwk.dump(2) + "\n", with(R"(,"key_ops":["sign"],"ext":true,"iat":17,"x5c":[])")})
        CHECK(SigningKey::from_jwk(secret(good)));
    for (const auto& bad : {std::string(), std::string("{}"), text + "x", text.substr(0, text.size() - 1),
                            with(R"(,"d":"AAAA")"), with(R"(,"a":{})"), with(R"(,"a":"\u0041")"),
                            with(R"(,"a":[1])"), with(","), with(R"(,"a":tru)"), with(R"(,"a":"b)"),
                            "[" + text + "]", text + std::string(40'000, ' ')}) {
        INFO(bad);
        const auto key = SigningKey::from_jwk(secret(bad));
        REQUIRE_FALSE(key);
        CHECK(key.error().code == "jwk.invalid");
    }
}

TEST_CASE("A key that was made here comes back from rest as the same key", "[oauth]") {
    const auto made = SigningKey::generate_p256();
    const auto stored = made.pkcs8();

    const auto back = SigningKey::from_pkcs8(stored);
    REQUIRE(back);
    CHECK(back->public_key().jwk() == made.public_key().jwk());
    CHECK(made.public_key().verifies(Algorithm::es256, "message", *back->sign(Algorithm::es256, "message")));
    CHECK(SigningKey::generate_p256().public_key().jwk() != made.public_key().jwk());

    for (const auto& broken : {std::string(), std::string("rubbish"), text_of(stored) + "x",
                               text_of(stored).substr(0, stored.size() - 1)}) {
        const auto key = SigningKey::from_pkcs8(secret(broken));
        REQUIRE_FALSE(key);
        CHECK(key.error().code == "key.pkcs8_invalid");
    }
    CHECK(back->sign(Algorithm::rs256, "message").error().code == "key.algorithm_mismatch");
}

}  // namespace
}  // namespace claviger::oauth
