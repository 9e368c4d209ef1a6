// Fuzzes claviger_oauth: signed tokens. What is accepted was signed, and says what another parser reads in
// it.
#include "base/bytes.h"
#include "oauth/jose.h"
#include "tests/fuzz/require.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

using namespace claviger;
using fuzz::require;
using nlohmann::json;

namespace {

// RFC 8037 A.1: its signatures are fast, so that every input can get a good one.
constexpr std::string_view kKey =
    R"({"kty":"OKP","crv":"Ed25519","kid":"k","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",)"
    R"("x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})";
// The same key, and RFC 7515 A.3.
constexpr std::string_view kKeys =
    R"({"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},)"
    R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
    R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})";
constexpr oauth::Algorithm kAll[] = {oauth::Algorithm::rs256, oauth::Algorithm::ps256,
                                     oauth::Algorithm::es256, oauth::Algorithm::es384,
                                     oauth::Algorithm::es512, oauth::Algorithm::eddsa};

void check_refusal(const base::Error& error) {
    require(error.kind == base::ErrorKind::invalid_request || error.kind == base::ErrorKind::unauthenticated,
            "a refusal says whose fault it is");
    require(!error.hint.empty(), "a refusal says what to do");
}

/// As it came: only a token of the seeds can have a good signature.
void as_token(const oauth::KeySet& keys, std::string_view token) {
    const auto jws = oauth::verify_jws(token, keys, {.algorithms = kAll});
    const auto unverified = oauth::unverified_claims(token);
    oauth::unverified_expiry(token);
    if (!jws) return check_refusal(jws.error());
    const auto claims = oauth::claims_of(*jws);
    require(claims.has_value() == unverified.has_value(), "verified or not, the claims are the same text");
    if (claims) require(*claims == *unverified, "verified or not, the claims are the same");
}

/// The input is "header\npayload" and gets a good signature, so that what is behind it is reached.
void as_signed(const oauth::SigningKey& key, const oauth::KeySet& keys, std::string_view input) {
    const auto end = std::min(input.find('\n'), input.size());
    const auto header = input.substr(0, end);
    const auto payload = end < input.size() ? input.substr(end + 1) : std::string_view();
    std::string token = base::to_base64url(header) + "." + base::to_base64url(payload);
    token += "." + base::to_base64url(*key.sign(oauth::Algorithm::eddsa, token));
    const auto jws = oauth::verify_jws(token, keys, {.algorithms = kAll});
    if (!jws) return check_refusal(jws.error());
    const json read = json::parse(header, nullptr, false);
    require(read.is_object() && read.value("alg", "") == "EdDSA",
            "the header names the algorithm of its signature");
    require(!read.contains("crit"), "nothing critical is passed over");
    require(!read.contains("kid") || read["kid"] == "k" || read["kid"] == "",
            "the key is the one that was named");
    require(jws->payload == payload, "the payload is what was signed");
    const auto claims = oauth::claims_of(*jws);
    if (!claims) return check_refusal(claims.error());
    require(json::parse(payload, nullptr, false) == *claims, "another parser reads the same claims");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static const auto key = oauth::SigningKey::from_jwk(crypto::Secret::copy_of(kKey)).value();
    static const auto keys = oauth::KeySet::parse(kKeys).value();
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    as_token(keys, input);
    as_signed(key, keys, input);
    return 0;
}
