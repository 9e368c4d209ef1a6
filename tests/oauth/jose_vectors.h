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
#include <string_view>

namespace claviger::oauth {

/// Of a key that nobody has.
inline constexpr std::string_view kCertificate = R"(-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUbfeVYr348zaWItrEoi6KuNPqql8wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGY2xpZW50MB4XDTI2MTEyMTE0NDkyMloXDTM2MTExODE0NDky
MlowETEPMA0GA1UEAwwGY2xpZW50MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
gIQXHPiTH+Ib/wW+J5aq+hTXI9PLVVLL+e7LfftXFlRxT3xrM6HjMOhMNGWKd8YH
ifwop0ZbJuMOFbCfKi0UAaNTMFEwHQYDVR0OBBYEFEvAuiWQA3iVOq5LfQL9rsGf
N894MB8GA1UdIwQYMBaAFEvAuiWQA3iVOq5LfQL9rsGfN894MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgHqE11StFnm4agd3g7B6YjP9WonNHv2uv
iYhomdGNxdsCIQDYSYaEqWCGpfS1s4MKzyeOCOyWUD/CMOeknxGomXLyBw==
-----END CERTIFICATE-----
)";
/// By `openssl x509 -fingerprint -sha256`.
inline constexpr std::string_view kCertificateSha256 = "-Gfh5-WinndiFY6Bmr9BnpQMdZ5RqD3vkC8weX6m6yU";

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
