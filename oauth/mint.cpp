#include "oauth/mint.h"

#include "base/bytes.h"
#include "oauth/grant_client.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;

constexpr std::array kMinting{GrantType::client_credentials,
                              GrantType::github_installation,
                              GrantType::google_service_account,
                              GrantType::token_exchange,
                              GrantType::id_jag,
                              GrantType::jwt_bearer};

Wanted wanted_by(const vault::Refresh& refresh, const ProviderProfile& profile) {
    Wanted wanted;
    if (refresh.scope) wanted.scope = *refresh.scope;
    wanted.resources = resources_of(refresh, profile);
    return wanted;
}

base::Result<SigningKey> key_of(const crypto::Secret* secret) {
    if (secret == nullptr)
        return base::failure(ErrorKind::invalid_request, "client_auth.no_key",
                             "There is no private key to sign with.",
                             "Connect the credential again with client.private_key.");
    return SigningKey::from_pem(*secret);
}

/// Not OAuth: the assertion goes where other requests carry a token, and there are no fields.
base::Result<TokenRequest> installation_request(const vault::Refresh& refresh, const crypto::Secret* secret,
                                                const ProviderProfile& profile, base::Time now) {
    const auto key = key_of(secret);
    if (!key) return std::unexpected(key.error());
    const auto assertion = github_app_jwt(*key, refresh.client_id, now);
    if (!assertion) return std::unexpected(assertion.error());
    TokenRequest request{.content_type = "application/json", .body = RequestFields().json(), .headers = {}};
    constexpr std::string_view scheme = "Bearer ";
    request.headers.push_back({"Authorization", assertion->expose([&](std::span<const std::byte> text) {
                                   return crypto::Secret::filled(
                                       scheme.size() + text.size(), [&](std::span<std::byte> out) {
                                           std::memcpy(out.data(), scheme.data(), scheme.size());
                                           std::memcpy(out.data() + scheme.size(), text.data(), text.size());
                                       });
                               })});
    for (const auto& [name, value] : profile.token_request.headers)
        if (auto added = add_header(request, name, value); !added)
            return std::unexpected(std::move(added).error());
    return request;
}

base::Result<TokenRequest> service_account_request(const vault::Refresh& refresh,
                                                   const crypto::Secret* secret,
                                                   const ProviderProfile& profile, base::Time now) {
    const auto key = key_of(secret);
    if (!key) return std::unexpected(key.error());
    const std::string scope = refresh.scope.value_or(""), key_id = refresh.key_id.value_or(""),
                      subject = refresh.subject.value_or("");
    const auto assertion = google_assertion(
        *key, {.email = refresh.client_id, .key_id = key_id, .scope = scope, .subject = subject}, now);
    if (!assertion) return std::unexpected(assertion.error());
    const GrantClient nobody;  // the assertion is the only proof
    return token_request(jwt_bearer_grant(*assertion, {}), nobody, profile, now);
}

/// RFC 8693, or an assertion that somebody else made (RFC 7523): a given one, or an ID-JAG.
base::Result<TokenRequest> exchange_request(GrantType grant, const vault::Refresh& refresh,
                                            const crypto::Secret* secret, const ProviderProfile& profile,
                                            std::string_view issuer, base::Time now,
                                            const PresentedTokens& presented) {
    if (presented.subject == nullptr || !refresh.exchange)
        return base::failure(ErrorKind::invalid_request, "mint.no_subject",
                             "There is no token to exchange for the next one.",
                             "Connect the credential again with a subject token.");
    if (refresh.exchange->actor &&
        presented.actor == nullptr)  // never as the subject alone: that has more power
        return base::failure(ErrorKind::invalid_request, "mint.no_actor",
                             "There is no token of the actor to exchange for the next one.",
                             "Connect the credential of the actor again.");
    const auto client = client_of(refresh, secret, profile, issuer);
    if (!client) return std::unexpected(client.error());
    auto wanted = wanted_by(refresh, profile);
    if (grant != GrantType::token_exchange)
        return token_request(jwt_bearer_grant(*presented.subject, wanted), *client, profile, now);
    wanted.audience = refresh.exchange->audience;
    return token_request(token_exchange_grant({.subject_token = *presented.subject,
                                               .subject_token_type = refresh.exchange->token_type,
                                               .actor_token = presented.actor,
                                               .actor_token_type = refresh.exchange->actor_type,
                                               .requested_token_type = refresh.exchange->requested_type,
                                               .wanted = std::move(wanted)}),
                         *client, profile, now);
}

}  // namespace

bool exchanges(GrantType grant) {
    return grant == GrantType::token_exchange || grant == GrantType::id_jag || grant == GrantType::jwt_bearer;
}

bool mints(GrantType grant) { return std::ranges::find(kMinting, grant) != kMinting.end(); }

std::optional<GrantType> minting_grant(const vault::Refresh& refresh) {
    for (const auto grant : kMinting)
        if (refresh.grant && *refresh.grant == word_of(grant)) return grant;
    return std::nullopt;
}

base::Result<TokenRequest> mint_request(const vault::Refresh& refresh, const crypto::Secret* secret,
                                        const ProviderProfile& profile, std::string_view issuer,
                                        base::Time now, const PresentedTokens& presented,
                                        std::string_view claims) {
    const auto grant = minting_grant(refresh);
    if (grant && exchanges(*grant))
        return exchange_request(*grant, refresh, secret, profile, issuer, now, presented);
    if (grant == GrantType::github_installation) return installation_request(refresh, secret, profile, now);
    if (grant == GrantType::google_service_account)
        return service_account_request(refresh, secret, profile, now);
    if (grant != GrantType::client_credentials)
        return base::failure(ErrorKind::invalid_request, "mint.not_this_grant",
                             "The next token of this credential cannot be had without a person.",
                             "Connect it again.");
    const auto client = client_of(refresh, secret, profile, issuer);
    if (!client) return std::unexpected(client.error());
    auto wanted = wanted_by(refresh, profile);
    wanted.claims = claims;
    return token_request(client_credentials_grant(wanted), *client, profile, now);
}

}  // namespace claviger::oauth
