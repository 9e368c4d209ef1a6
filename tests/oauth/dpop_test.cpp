#include "oauth/dpop.h"
#include "crypto/hash.h"
#include "oauth/jose.h"
#include "tests/oauth/jose_vectors.h"
#include "tests/support/spec.h"

#include <array>

namespace claviger::oauth {
namespace {

using nlohmann::json;

constexpr base::Time kNow{std::chrono::seconds(1'795'255'200)};

json part_of(const std::string& proof, int index) {
    std::string_view rest = proof;
    for (int i = 0; i < index; ++i) rest.remove_prefix(rest.find('.') + 1);
    return json::parse(base::from_base64url(rest.substr(0, rest.find('.'))).value());
}

TEST_CASE("A proof is for one request and is verified by the key it shows", "[oauth]") {
    const auto key = DpopKey::generate();
    const auto token =
        crypto::Secret::copy_of(std::string_view("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"));
    const auto proof = key.proof({.method = "POST",
                                  .url = "https://mcp.example/tools?q=1#x",
                                  .access_token = &token,
                                  .nonce = "eyJ7S_zG.eyJH0-Z"},
                                 kNow);
    REQUIRE(proof);

    const auto header = part_of(*proof, 0), claims = part_of(*proof, 1);
    CHECK(header["typ"] == "dpop+jwt");
    CHECK_FALSE(header["jwk"].contains("d"));
    CHECK(claims["htm"] == "POST");
    CHECK(claims["htu"] == "https://mcp.example/tools");
    CHECK(claims["iat"] == 1'795'255'200);
    CHECK(claims["nonce"] == "eyJ7S_zG.eyJH0-Z");
    CHECK(claims["ath"] == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");  // RFC 9449 section 7.1

    auto shown = PublicKey::from_jwk(header["jwk"]);
    REQUIRE(shown);
    CHECK(shown->thumbprint() == key.thumbprint());
    std::vector<PublicKey> keys;
    keys.push_back(std::move(*shown));
    const KeySet set(std::move(keys));
    constexpr std::array kAlgorithms{Algorithm::es256};
    CHECK(verify_jws(*proof, set, {.algorithms = kAlgorithms}));
    const auto next = key.proof({.method = "POST", .url = "https://mcp.example/tools"}, kNow);
    CHECK(part_of(*next, 1)["jti"] != claims["jti"]);
    CHECK_FALSE(part_of(*next, 1).contains("ath"));
    CHECK_FALSE(part_of(*next, 1).contains("nonce"));
}

TEST_CASE("A proof key comes back from rest, and nothing else does", "[oauth]") {
    const auto key = DpopKey::generate();
    CHECK(DpopKey::import(key.exported())->thumbprint() == key.thumbprint());
    CHECK(DpopKey::generate().thumbprint() != key.thumbprint());
    const auto noise = crypto::Secret::copy_of(std::string_view("no key"));
    CHECK(DpopKey::import(noise).error().code == "key.pkcs8_invalid");
    const auto pem =
        crypto::Secret::copy_of(signed_vector("jose EdDSA")["pem"]["pkcs8"].get_ref<const std::string&>());
    const auto other = SigningKey::from_pem(pem);
    REQUIRE(other);
    CHECK(DpopKey::import(other->pkcs8()).error().code == "dpop.key_invalid");
}

TEST_CASE("A proof is refused for what cannot stand in a request", "[oauth]") {
    struct Row {
        const char *method, *url, *nonce, *code;
    };
    const Row rows[] = {
        {"POST", "ftp://a.example/", "n", "dpop.url_invalid"},
        {"POST", "https://", "n", "dpop.url_invalid"},
        {"POST", "https://u@a.example/", "n", "dpop.url_invalid"},
        {"POST", "https://a.example/\r\nX: y", "n", "dpop.url_invalid"},
        {"", "https://a.example/", "n", "dpop.method_invalid"},
        {"PO ST", "https://a.example/", "n", "dpop.method_invalid"},
        {"POST", "https://a.example/", "", "dpop.nonce_invalid"},
        {"POST", "https://a.example/", "a\r\nb", "dpop.nonce_invalid"},
    };
    const auto key = DpopKey::generate();
    for (const auto& row : rows) {
        INFO(row.url << " " << row.code);
        const auto proof = key.proof({.method = row.method, .url = row.url, .nonce = row.nonce}, kNow);
        REQUIRE_FALSE(proof);
        CHECK(proof.error().code == row.code);
    }
}

}  // namespace
}  // namespace claviger::oauth
