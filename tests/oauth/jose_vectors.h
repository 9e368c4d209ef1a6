// What the JOSE tests share: tests/vectors/jose.json, and secrets as text.
#pragma once

#include "base/bytes.h"
#include "crypto/secret.h"
#include "oauth/jose_key.h"
#include "oauth/jose_signing_key.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <string>

namespace claviger::oauth {

inline const nlohmann::json& jose_vectors() {
    static const auto vectors = [] {
        std::ifstream file(CLAVIGER_VECTORS "/jose.json");
        return nlohmann::json::parse(file);
    }();
    return vectors;
}

inline const nlohmann::json& signed_vector(const std::string& name) {
    for (const auto& one : jose_vectors()["signed"])
        if (one["name"] == name) return one;
    FAIL("no vector " << name);
    return jose_vectors();
}

inline nlohmann::json public_half(nlohmann::json jwk) {
    for (const char* name : {"d", "p", "q", "dp", "dq", "qi"}) jwk.erase(name);
    return jwk;
}

inline crypto::Secret secret(std::string_view text) { return crypto::Secret::copy_of(text); }
inline std::string text_of(const crypto::Secret& value) {
    return value.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

inline SigningKey signing_key(const std::string& name) {
    auto key = SigningKey::from_jwk(secret(signed_vector(name)["jwk"].dump()));
    REQUIRE(key);
    return std::move(*key);
}

inline KeySet keys_of(const std::vector<nlohmann::json>& jwks) {
    auto keys = KeySet::parse(nlohmann::json{{"keys", jwks}}.dump());
    REQUIRE(keys);
    return std::move(*keys);
}

}  // namespace claviger::oauth
