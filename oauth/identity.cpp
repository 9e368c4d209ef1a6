#include "oauth/identity.h"

#include "base/bytes.h"
#include "oauth/jose.h"
#include "oauth/jose_claims.h"
#include "oauth/json_document.h"
#include "oauth/web_url.h"
#include "vault/model.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

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
    auto named = string_in(claims, "iss").value_or("");
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

/// What an ID token says, and how it is signed.
struct Statement {
    nlohmann::json claims;
    Algorithm algorithm{};
};

base::Status check_statement(const vault::ConnectTerms& terms, const ProviderProfile& profile,
                             const TokenSet& tokens, const Statement& said,
                             const std::optional<std::string>& nonce, base::Time now) {
    const auto issuer = issuer_of(terms, profile, said.claims);
    if (!issuer) return std::unexpected(issuer.error());
    IdTokenRules rules{.issuer = *issuer,
                       .client_id = terms.client_id,
                       .nonce = {},
                       .subject = {},
                       .max_age = {},
                       .access_token = &tokens.access_token,
                       .algorithm = said.algorithm,
                       .leeway = profile.lifetime.skew};
    if (nonce) rules.nonce = *nonce;
    return check_id_token(said.claims, rules, now);
}

/// One of ours that makes at_hash with the same digest (OpenID Connect Core 3.1.3.6): also for names that no
/// key of ours fits, such as those of MACs.
std::optional<Algorithm> hashing_like(std::string_view name) {
    if (const auto own = algorithm_named(name)) return own;
    constexpr std::array<std::pair<std::string_view, Algorithm>, 3> digests{
        {{"256", Algorithm::es256}, {"384", Algorithm::es384}, {"512", Algorithm::es512}}};
    if (!name.starts_with("HS") && !name.starts_with("RS") && !name.starts_with("PS")) return std::nullopt;
    for (const auto& [bits, algorithm] : digests)
        if (name.substr(2) == bits) return algorithm;
    return std::nullopt;
}

/// Whether nobody but the token endpoint can have given the answer: its certificate was checked, or it is on
/// this machine.
bool came_from_its_endpoint(const vault::ConnectTerms& terms) {
    return parse_secure_url(terms.token_endpoint, PlainLoopback::allow).has_value();
}

/// Of an issuer that publishes no keys: TLS to the token endpoint stands for the signature (OpenID Connect
/// Core 3.1.3.7, 6), and for nothing else. A token that says it has none ("none") is refused, because we
/// never register for such ones (7).
base::Result<Statement> unsigned_statement(const vault::ConnectTerms& terms, const crypto::Secret& id_token) {
    const auto refused = [](std::string_view code, const char* why, const char* hint) {
        return base::failure(base::ErrorKind::unauthenticated, code, why, hint);
    };
    if (!came_from_its_endpoint(terms))
        return refused("id_token.no_proof",
                       "The provider publishes no keys, and its token endpoint is not reached by TLS.",
                       "Let the provider publish its keys (jwks_uri) or serve the token endpoint by https.");
    return id_token.expose([&](std::span<const std::byte> bytes) -> base::Result<Statement> {
        const auto algorithm = unverified_algorithm(base::as_view(bytes));
        if (!algorithm) return std::unexpected(algorithm.error());
        const auto like = hashing_like(*algorithm);
        if (!like)
            return refused("jwt.algorithm_refused",
                           "The ID token is not signed, or with an algorithm that is not known here.",
                           "Let the provider sign with a usual algorithm, such as ES256.");
        auto claims = unverified_claims(base::as_view(bytes));
        if (!claims) return std::unexpected(std::move(claims).error());
        return Statement{std::move(*claims), *like};
    });
}

base::Result<Statement> signed_statement(const KeySet& keys, const crypto::Secret& id_token) {
    const auto jws = id_token.expose([&](std::span<const std::byte> bytes) {
        return verify_jws(base::as_view(bytes), keys, {.algorithms = kAlgorithms});
    });
    if (!jws) return std::unexpected(jws.error());
    auto claims = claims_of(*jws);
    if (!claims) return std::unexpected(std::move(claims).error());
    return Statement{std::move(*claims), jws->algorithm};
}

net::awaitable<base::Result<KeySet>> keys_of(const Outbound& out, std::string_view jwks_uri) {
    const auto answer = co_await ask(out, {.url = jwks_uri,
                                           .accept = "application/jwk-set+json, application/json",
                                           .partition = "discovery",
                                           .timeout = std::chrono::seconds(10),
                                           .body_limit = KeySet::kMostBytes});
    if (!answer.complete() || answer.status != 200) co_return no_keys(answer.error.detail);
    auto keys = KeySet::parse(answer.body);
    if (!keys) co_return no_keys(keys.error().message);
    co_return std::move(*keys);
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
    auto said = base::Result<Statement>(Statement());
    if (terms.jwks_uri.empty()) {
        said = unsigned_statement(terms, *tokens.id_token);
    } else {
        const auto keys = co_await keys_of(out, terms.jwks_uri);
        if (!keys) co_return std::unexpected(keys.error());
        said = signed_statement(*keys, *tokens.id_token);
    }
    if (!said) co_return std::unexpected(std::move(said).error());
    co_return check_statement(terms, profile, tokens, *said, nonce, now);
}

}  // namespace claviger::oauth
