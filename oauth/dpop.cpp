#include "oauth/dpop.h"

#include "base/bytes.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "net/token.h"
#include "oauth/jose.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <span>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;

constexpr std::size_t kMostNonceBytes = 1024;

std::unexpected<base::Error> refused(std::string_view code, std::string message) {
    return base::failure(ErrorKind::invalid_request, code, std::move(message),
                         "Look at the provider's metadata and at what its server answers.");
}

bool is_visible(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

/// RFC 9449 section 4.2: without query and fragment.
std::optional<std::string> target_of(std::string_view url) {
    if (!is_visible(url) || (!url.starts_with("https://") && !url.starts_with("http://")))
        return std::nullopt;
    const auto target = url.substr(0, url.find_first_of("?#"));
    const auto host = target.substr(target.find("://") + 3);
    const auto authority = host.substr(0, host.find('/'));
    if (authority.empty() || authority.find('@') != std::string_view::npos) return std::nullopt;
    return std::string(target);
}

}  // namespace

DpopKey DpopKey::generate() { return DpopKey(SigningKey::generate_p256()); }

base::Result<DpopKey> DpopKey::import(const crypto::Secret& exported) {
    auto key = SigningKey::from_pkcs8(exported);
    if (!key) return std::unexpected(std::move(key).error());
    if (!key->public_key().fits(Algorithm::es256))
        return base::failure(ErrorKind::corrupt, "dpop.key_invalid",
                             "The stored proof key is of another kind than it was made.",
                             "Connect again; a new key is made then.");
    return DpopKey(std::move(*key));
}

base::Result<std::string> DpopKey::proof(const DpopRequest& request, base::Time now) const {
    const auto target = target_of(request.url);
    if (!target)
        return refused("dpop.url_invalid", "The address is no http or https URL that can be proven.");
    if (request.method.empty() || !std::ranges::all_of(request.method, net::is_token))
        return refused("dpop.method_invalid", "The request has a method that HTTP does not allow.");
    json claims{{"jti", crypto::random_token_text("")},
                {"htm", std::string(request.method)},
                {"htu", *target},
                {"iat", numeric_date(now)}};
    if (request.nonce) {
        if (!is_visible(*request.nonce) || request.nonce->size() > kMostNonceBytes)
            return refused("dpop.nonce_invalid",
                           "The server's DPoP nonce has characters that it may not have.");
        claims["nonce"] = std::string(*request.nonce);
    }
    if (request.access_token)
        claims["ath"] = request.access_token->expose([](std::span<const std::byte> token) {
            return base::to_base64url(crypto::view(crypto::sha256(base::as_view(token))));
        });
    const json header{{"typ", "dpop+jwt"}, {"jwk", json::parse(key_.public_key().jwk())}};
    const auto token = sign_jwt(key_, Algorithm::es256, header, claims);
    if (!token) return std::unexpected(token.error());
    return token->expose([](std::span<const std::byte> text) { return std::string(base::as_view(text)); });
}

}  // namespace claviger::oauth
