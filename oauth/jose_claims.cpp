#include "oauth/jose_claims.h"

#include "base/bytes.h"
#include "base/require.h"
#include "crypto/hash.h"
#include "oauth/jose.h"
#include "oauth/json_document.h"

#include <openssl/evp.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace claviger::oauth {
namespace {

using nlohmann::json;

std::unexpected<base::Error> refused(std::string_view code, std::string message) {
    return base::failure(base::ErrorKind::unauthenticated, code, std::move(message),
                         "Connect again. If it happens every time, compare the issuer and the client id "
                         "with the provider's settings, and the clocks of both sides.");
}

/// "aud" is a text or a list of texts; nothing when it is anything else.
std::optional<std::vector<std::string>> audiences_of(const json& claims) {
    if (auto single = string_in(claims, "aud")) return std::vector{std::move(*single)};
    return strings_in(claims, "aud");
}

base::Status check_audience(const json& claims, std::string_view client_id) {
    const auto audiences = audiences_of(claims);
    if (!audiences || std::ranges::find(*audiences, client_id) == audiences->end())
        return refused("id_token.wrong_audience", "The ID token was issued for another client.");
    if (audiences->size() > 1 && string_in(claims, "azp") != client_id)
        return refused("id_token.wrong_party",
                       "The ID token is for several clients and was not asked for by us.");
    return {};
}

base::Status check_times(const json& claims, const IdTokenRules& rules, base::Time now) {
    const auto expires = time_in(claims, "exp"), issued = time_in(claims, "iat");
    if (!expires || !issued)
        return refused("id_token.no_times", "The ID token does not say when it was issued and when it ends.");
    if (now >= *expires + rules.leeway) return refused("id_token.expired", "The ID token has expired.");
    if (*issued > now + rules.leeway)
        return refused("id_token.from_the_future", "The ID token was issued in the future.");
    if (!rules.max_age) return {};
    const auto login = time_in(claims, "auth_time");
    if (!login || now > *login + *rules.max_age + rules.leeway)
        return refused("id_token.stale_login", "The login behind the ID token is older than was asked for.");
    return {};
}

/// The left half of the digest that goes with the signature's algorithm.
std::string half_hash(Algorithm algorithm, std::span<const std::byte> token) {
    const EVP_MD* digest = nullptr;
    switch (algorithm) {
        case Algorithm::rs256:
        case Algorithm::ps256:
        case Algorithm::es256:
            digest = EVP_sha256();
            break;
        case Algorithm::es384:
            digest = EVP_sha384();
            break;
        case Algorithm::es512:
        case Algorithm::eddsa:
            digest = EVP_sha512();
            break;
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned bytes = 0;
    base::require(EVP_Digest(token.data(), token.size(), hash.data(), &bytes, digest, nullptr) == 1,
                  "OpenSSL provides the SHA-2 family");
    return base::to_base64url({reinterpret_cast<const char*>(hash.data()), bytes / 2});
}

base::Status check_access_token(const json& claims, const IdTokenRules& rules) {
    if (!rules.access_token || !claims.contains("at_hash")) return {};
    const auto expected = rules.access_token->expose(
        [&](std::span<const std::byte> token) { return half_hash(rules.algorithm, token); });
    if (!crypto::equal(string_in(claims, "at_hash").value_or(""), expected))
        return refused("id_token.wrong_access_token", "The ID token belongs to another access token.");
    return {};
}

}  // namespace

base::Status check_id_token(const json& claims, const IdTokenRules& rules, base::Time now) {
    if (string_in(claims, "iss") != rules.issuer)
        return refused("id_token.wrong_issuer", "The ID token comes from another issuer.");
    if (auto status = check_audience(claims, rules.client_id); !status) return status;
    if (auto status = check_times(claims, rules, now); !status) return status;
    const auto subject = string_in(claims, "sub").value_or("");
    if (subject.empty()) return refused("id_token.no_subject", "The ID token does not say whom it is about.");
    if (rules.subject && subject != *rules.subject)
        return refused("id_token.other_subject", "The ID token is about another account than before.");
    if (rules.nonce && !crypto::equal(string_in(claims, "nonce").value_or(""), *rules.nonce))
        return refused("id_token.wrong_nonce", "The ID token does not answer our request.");
    return check_access_token(claims, rules);
}

}  // namespace claviger::oauth
