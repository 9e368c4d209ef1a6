#include "oauth/jose_key.h"

#include "base/bytes.h"
#include "crypto/hash.h"
#include "oauth/jose_openssl.h"
#include "oauth/json_document.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

constexpr std::array<std::pair<Algorithm, std::string_view>, 6> kNames{{{Algorithm::rs256, "RS256"},
                                                                        {Algorithm::ps256, "PS256"},
                                                                        {Algorithm::es256, "ES256"},
                                                                        {Algorithm::es384, "ES384"},
                                                                        {Algorithm::es512, "ES512"},
                                                                        {Algorithm::eddsa, "EdDSA"}}};

std::unexpected<base::Error> refused(std::string message) {
    return base::failure(ErrorKind::invalid_request, "jwk.invalid", std::move(message),
                         "Ask whoever publishes the key to mend it.");
}

/// True when the key may verify signatures as far as "use" and "key_ops" say; nothing when they are no texts.
std::optional<bool> meant_for_signatures(const json& jwk) {
    if (jwk.contains("use")) {
        const auto use = string_in(jwk, "use");
        if (!use) return std::nullopt;
        if (*use != "sig") return false;
    }
    if (!jwk.contains("key_ops")) return true;
    const auto operations = strings_in(jwk, "key_ops");
    if (!operations) return std::nullopt;
    return std::ranges::find(*operations, "verify") != operations->end();
}

}  // namespace

std::string_view name_of(Algorithm algorithm) {
    return std::ranges::find(kNames, algorithm, &decltype(kNames)::value_type::first)->second;
}

std::optional<Algorithm> algorithm_named(std::string_view name) {
    const auto found = std::ranges::find(kNames, name, &decltype(kNames)::value_type::second);
    if (found == kNames.end()) return std::nullopt;
    return found->first;
}

base::Result<PublicKey> PublicKey::from_jwk(const json& jwk) {
    if (!jwk.is_object()) return refused("The JSON Web Key is not an object.");
    for (const char* member : {"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
        if (jwk.contains(member)) return refused("The JSON Web Key shows a part that must stay secret.");
    auto handle = key_of_jwk(
        [&](std::string_view name) -> std::optional<std::string_view> {
            const auto found = jwk.find(std::string(name));
            if (found == jwk.end() || !found->is_string()) return std::nullopt;
            return found->get_ref<const std::string&>();
        },
        KeyPart::public_only);
    if (!handle) return std::unexpected(std::move(handle).error());

    const auto for_signatures = meant_for_signatures(jwk);
    if (!for_signatures) return refused("The JSON Web Key does not say clearly what it is for.");
    PublicKey key;
    key.signs_ = *for_signatures;
    key.shape_ = shape_of(handle->get()).value();
    key.jwk_ = canonical_jwk(handle->get(), key.shape_);
    key.key_ = std::move(*handle);
    if (jwk.contains("kid")) {
        auto id = string_in(jwk, "kid");
        if (!id) return refused("The JSON Web Key has a \"kid\" that is not text.");
        key.id_ = std::move(*id);
    }
    if (jwk.contains("alg")) {
        key.only_algorithm_ = algorithm_named(string_in(jwk, "alg").value_or(""));
        if (!key.only_algorithm_) key.signs_ = false;  // for encryption, or an algorithm that is none of ours
    }
    return key;
}

bool PublicKey::fits(Algorithm algorithm) const {
    return signs_ && (!only_algorithm_ || only_algorithm_ == algorithm) && oauth::fits(shape_, algorithm);
}

bool PublicKey::verifies(Algorithm algorithm, std::string_view message, std::string_view signature) const {
    return fits(algorithm) && signature_holds(key_.get(), algorithm, message, signature);
}

std::string PublicKey::thumbprint() const { return base::to_base64url(crypto::view(crypto::sha256(jwk_))); }

base::Result<KeySet> KeySet::parse(std::string_view text) {
    const auto document = parse_object(text, {.bytes = kMostBytes, .depth = 8});
    if (!document) return std::unexpected(document.error());
    const auto listed = document->find("keys");
    if (listed == document->end() || !listed->is_array())
        return base::failure(ErrorKind::invalid_request, "jwks.invalid",
                             "The key set has no list named \"keys\".",
                             "Check that the address is the issuer's jwks_uri.");
    if (listed->size() > kMostKeys)
        return base::failure(ErrorKind::invalid_request, "jwks.too_many_keys",
                             "The key set lists more than " + std::to_string(kMostKeys) + " keys.",
                             "Ask the issuer to remove keys that are out of use.");
    std::vector<PublicKey> keys;
    for (const auto& one : *listed)
        if (auto key = PublicKey::from_jwk(one)) keys.push_back(std::move(*key));
    return KeySet(std::move(keys));
}

}  // namespace claviger::oauth
