#include "oauth/identity.h"

#include "base/bytes.h"
#include "oauth/jose.h"
#include "oauth/jose_claims.h"
#include "oauth/json_document.h"
#include "vault/model.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>

namespace claviger::oauth {
namespace {

constexpr std::array kAlgorithms{Algorithm::rs256, Algorithm::ps256, Algorithm::es256,
                                 Algorithm::es384, Algorithm::es512, Algorithm::eddsa};

std::unexpected<base::Error> no_keys(std::string detail) {
    return base::failure(base::ErrorKind::unauthenticated, "id_token.keys_unreachable",
                         "The keys that sign the provider's ID tokens cannot be read right now.",
                         "Start again later.", std::move(detail));
}

/// Microsoft's tenants and others have ids like 9188040d-6c67-4c5b-b112-36a304b66dad.
bool is_uuid(std::string_view text) {
    if (text.size() != 36) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        const bool hex = std::isxdigit(static_cast<unsigned char>(text[i])) != 0;
        if (dash ? text[i] != '-' : !hex) return false;
    }
    return true;
}

/// The issuer that the token has to be from; nothing when none will do.
base::Result<std::string> issuer_of(const vault::ConnectTerms& terms, const ProviderProfile& profile,
                                    const nlohmann::json& claims) {
    const auto named = string_in(claims, "iss").value_or("");
    if (!leaves_tenant_open(profile, terms.issuer) || named == terms.issuer)
        return terms.answered_by.value_or(terms.issuer);
    const auto tenant = tenant_of(terms.issuer, named);
    const auto said = string_in(claims, "tid");
    const bool as_answered = !terms.answered_by || *terms.answered_by == named;
    if (tenant && said && *tenant == *said && as_answered) return named;
    return base::failure(
        base::ErrorKind::unauthenticated, "id_token.issuer",
        "The ID token comes from another tenant than it says, or than the one that answered.",
        "Somebody may be trying to mix up two tenants. Tell whoever runs this Claviger.");
}

/// Without keys a token proves nothing that the token endpoint's own certificate does not (OpenID Connect
/// Core 3.1.3.7); but which tenant it is from is said nowhere else.
base::Status check_tenant(const vault::ConnectTerms& terms, const ProviderProfile& profile,
                          const crypto::Secret& id_token) {
    if (!profile.templated_issuer) return {};
    const auto claims = id_token.expose(
        [](std::span<const std::byte> bytes) { return unverified_claims(base::as_view(bytes)); });
    if (!claims) return std::unexpected(claims.error());
    const auto issuer = issuer_of(terms, profile, *claims);
    if (!issuer) return std::unexpected(issuer.error());
    if (string_in(*claims, "iss") == *issuer) return {};
    return base::failure(base::ErrorKind::unauthenticated, "id_token.issuer",
                         "The ID token comes from another issuer than the one that was asked.",
                         "Check the tenant in the link's variables.");
}

}  // namespace

std::optional<std::string> tenant_of(std::string_view templated, std::string_view issuer) {
    std::optional<std::string> tenant;
    for (unsigned segment = 0;; ++segment) {
        const auto a_end = std::min(templated.find('/'), templated.size());
        const auto b_end = std::min(issuer.find('/'), issuer.size());
        const auto there = issuer.substr(0, b_end);
        if (templated.substr(0, a_end) != there) {
            constexpr unsigned kPath = 3;  // behind "https:", "" and the host
            if (segment < kPath || tenant || there.empty()) return std::nullopt;
            tenant = there;
        }
        const bool ends = a_end == templated.size(), ends_there = b_end == issuer.size();
        if (ends || ends_there) return ends && ends_there ? tenant : std::nullopt;
        templated.remove_prefix(a_end + 1);
        issuer.remove_prefix(b_end + 1);
    }
}

bool leaves_tenant_open(const ProviderProfile& profile, std::string_view issuer) {
    if (!profile.templated_issuer) return false;
    while (!issuer.empty()) {
        const auto end = std::min(issuer.find('/'), issuer.size());
        if (is_uuid(issuer.substr(0, end))) return false;
        issuer.remove_prefix(std::min(end + 1, issuer.size()));
    }
    return true;
}

net::awaitable<base::Status> check_identity(const Outbound& out, const vault::ConnectTerms& terms,
                                            const ProviderProfile& profile, const TokenSet& tokens,
                                            std::optional<std::string> nonce, base::Time now) {
    if (!tokens.id_token) co_return base::Status();
    if (terms.jwks_uri.empty()) co_return check_tenant(terms, profile, *tokens.id_token);
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
    const auto issuer = issuer_of(terms, profile, *claims);
    if (!issuer) co_return std::unexpected(issuer.error());
    IdTokenRules rules{.issuer = *issuer,
                       .client_id = terms.client_id,
                       .nonce = {},
                       .subject = {},
                       .max_age = {},
                       .access_token = &tokens.access_token,
                       .algorithm = jws->algorithm,
                       .leeway = profile.lifetime.skew};
    if (nonce) rules.nonce = *nonce;
    co_return check_id_token(*claims, rules, now);
}

}  // namespace claviger::oauth
