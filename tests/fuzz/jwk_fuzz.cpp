// Fuzzes claviger_oauth: keys, public and private, as JWK, key set, PEM and PKCS#8. What is accepted is
// whole.
#include "base/bytes.h"
#include "oauth/jose_key.h"
#include "oauth/jose_signing_key.h"
#include "tests/fuzz/require.h"

#include <openssl/err.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

using namespace claviger;
using fuzz::require;
using nlohmann::json;

namespace {

void check_public(const oauth::PublicKey& key) {
    const auto again = oauth::PublicKey::from_jwk(json::parse(key.jwk()));
    require(again && again->jwk() == key.jwk(), "the canonical form is one that is read the same");
    require(key.thumbprint().size() == 43, "a thumbprint is a SHA-256");
    require(!key.verifies(oauth::Algorithm::es256, "m", std::string(64, '\0')), "zeros sign nothing");
}

void check_private(const base::Result<oauth::SigningKey>& key) {
    if (!key) return require(!key.error().hint.empty(), "a refusal says what to do");
    check_public(key->public_key());
    const auto signature = key->sign(key->algorithm(), "m");
    require(signature && key->public_key().verifies(key->algorithm(), "m", *signature), "both halves fit");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(bytes), size);
    if (const auto keys = oauth::KeySet::parse(input))
        for (const auto& key : keys->keys()) check_public(key);

    const json jwk = json::parse(input, nullptr, false);
    if (!jwk.is_discarded())
        if (const auto key = oauth::PublicKey::from_jwk(jwk)) check_public(*key);

    const auto secret = crypto::Secret::copy_of(input);
    const auto private_jwk = oauth::SigningKey::from_jwk(secret);
    check_private(private_jwk);
    if (private_jwk) {
        require(jwk.is_object(), "another parser reads an object");
        require(jwk.value("kid", "") == private_jwk->public_key().id(), "and the same kid");
    }
    check_private(oauth::SigningKey::from_pem(secret));
    check_private(oauth::SigningKey::from_pkcs8(secret));
    require(ERR_peek_error() == 0, "nothing is left in OpenSSL's error queue");
    return 0;
}
