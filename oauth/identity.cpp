#include "oauth/identity.h"

#include "base/bytes.h"
#include "oauth/jose.h"
#include "oauth/jose_claims.h"
#include "vault/model.h"

#include <nlohmann/json.hpp>

#include <array>

namespace claviger::oauth {
namespace {

constexpr std::array kAlgorithms{Algorithm::rs256, Algorithm::ps256, Algorithm::es256,
                                 Algorithm::es384, Algorithm::es512, Algorithm::eddsa};

std::unexpected<base::Error> no_keys(std::string detail) {
    return base::failure(base::ErrorKind::unauthenticated, "id_token.keys_unreachable",
                         "The keys that sign the provider's ID tokens cannot be read right now.",
                         "Start again later.", std::move(detail));
}

}  // namespace

net::awaitable<base::Status> check_identity(const Outbound& out, const vault::ConnectTerms& terms,
                                            const ProviderProfile& profile, const TokenSet& tokens,
                                            std::optional<std::string> nonce) {
    // Without keys the token proves nothing that the token endpoint's own certificate does not.
    if (!tokens.id_token || terms.jwks_uri.empty()) co_return base::Status();
    const auto answer = co_await ask(out, {.url = terms.jwks_uri,
                                           .accept = "application/jwk-set+json, application/json",
                                           .partition = "discovery",
                                           .timeout = std::chrono::seconds(10),
                                           .body_limit = KeySet::kMostBytes});
    if (!answer.complete() || answer.status != 200) co_return no_keys(answer.error.detail);
    const auto keys = KeySet::parse(answer.body);
    if (!keys) co_return no_keys(keys.error().message);
    const auto jws = tokens.id_token->expose([&](std::span<const std::byte> bytes) {
        return verify_jws(base::as_view(bytes), *keys, {.algorithms = kAlgorithms});
    });
    if (!jws) co_return std::unexpected(jws.error());
    const auto claims = claims_of(*jws);
    if (!claims) co_return std::unexpected(claims.error());
    // Where a profile's issuer is a template, the token names one of its instances.
    const auto issuer = profile.templated_issuer && claims->value("iss", nlohmann::json()).is_string()
                            ? claims->at("iss").get<std::string>()
                            : terms.issuer;
    IdTokenRules rules{.issuer = issuer,
                       .client_id = terms.client_id,
                       .nonce = {},
                       .subject = {},
                       .max_age = {},
                       .access_token = &tokens.access_token,
                       .algorithm = jws->algorithm};
    if (nonce) rules.nonce = *nonce;
    co_return check_id_token(*claims, rules, out.clock.now());
}

}  // namespace claviger::oauth
