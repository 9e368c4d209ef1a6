#include "oauth/grant_client.h"

#include "base/bytes.h"

#include <utility>

namespace claviger::oauth {

ClientAuthMethod method_of(vault::TokenEndpointAuth auth) {
    switch (auth) {
        case vault::TokenEndpointAuth::none:
            return ClientAuthMethod::none;
        case vault::TokenEndpointAuth::client_secret_basic:
            return ClientAuthMethod::client_secret_basic;
        case vault::TokenEndpointAuth::client_secret_post:
            return ClientAuthMethod::client_secret_post;
        case vault::TokenEndpointAuth::private_key_jwt:
            return ClientAuthMethod::private_key_jwt;
        case vault::TokenEndpointAuth::secret_as_user_name:
            return ClientAuthMethod::secret_as_user_name;
        case vault::TokenEndpointAuth::tls_client_auth:
            return ClientAuthMethod::tls_client_auth;
        case vault::TokenEndpointAuth::self_signed_tls_client_auth:
            return ClientAuthMethod::self_signed_tls_client_auth;
    }
    return ClientAuthMethod::none;
}

std::vector<std::string> resources_of(const vault::Refresh& refresh, const ProviderProfile& profile) {
    switch (profile.resource.use) {
        case ResourceUse::omit:
            return {};
        case ResourceUse::fixed:
            return {refresh.resource.value_or(profile.resource.value)};
        case ResourceUse::send:
            break;
    }
    if (!refresh.resource) return {};
    return {*refresh.resource};
}

bool shows_certificate(const vault::Credential& credential) {
    return credential.refresh && credential.refresh->bound_to == "client_certificate";
}

base::Result<std::shared_ptr<const net::TlsIdentity>> certificate_of(const vault::SecretParts& parts) {
    const auto missing = [](std::string detail) {
        return base::failure(base::ErrorKind::denied, "credential.not_sendable",
                             "The client certificate that this credential's token is bound to is missing.",
                             "An administrator has to connect the account again.", std::move(detail));
    };
    if (!parts.client_secret) return missing({});
    auto identity = net::TlsIdentity::from_pem(*parts.client_secret);
    if (!identity) return missing(identity.error().message);
    return identity;
}

namespace {

/// By what the server finds the key (RFC 7515 4.1.4, 4.1.8): its id, or the thumbprint of its certificate,
/// where the profile asks for that and the PEM has one. Microsoft, who wants the thumbprint, also wants PS256
/// of RSA keys.
base::Status name_key(AssertionSigner& signer, const vault::Refresh& refresh, const crypto::Secret& pem,
                      const ProviderProfile& profile) {
    signer.key_id = refresh.key_id.value_or("");
    if (profile.client.key_hint == KeyHint::kid) return {};
    auto thumbprint =
        pem.expose([](std::span<const std::byte> bytes) { return certificate_sha256(base::as_view(bytes)); });
    if (thumbprint) {
        signer.key_id.clear();
        signer.certificate_sha256 = std::move(*thumbprint);
        if (signer.key->algorithm() == Algorithm::rs256) signer.algorithm = Algorithm::ps256;
        return {};
    }
    if (!signer.key_id.empty()) return {};
    return base::failure(base::ErrorKind::invalid_request, "client_auth.no_certificate",
                         "The provider finds the client's key by its certificate, and there is none.",
                         "Give client.certificate with client.private_key, or client.key_id.");
}

}  // namespace

base::Result<GrantClient> client_of(const vault::Refresh& refresh, const crypto::Secret* secret,
                                    const ProviderProfile& profile, std::string_view issuer) {
    GrantClient client;
    client.identity.client_id = refresh.client_id;
    client.identity.method = method_of(refresh.auth);
    client.identity.basic_encoding = profile.client.basic_encoding;
    if (shows_certificate(client.identity.method)) {
        if (secret == nullptr)
            return base::failure(base::ErrorKind::invalid_request, "client_auth.no_certificate",
                                 "There is no certificate to prove the client with.",
                                 "Connect the credential again with client.certificate.");
        auto identity = net::TlsIdentity::from_pem(*secret);
        if (!identity) return std::unexpected(std::move(identity).error());
        client.identity.certificate = std::move(*identity);
        return client;
    }
    if (refresh.auth != vault::TokenEndpointAuth::private_key_jwt) {
        client.identity.secret = secret;
        return client;
    }
    if (secret == nullptr)
        return base::failure(base::ErrorKind::invalid_request, "client_auth.no_key",
                             "There is no private key to prove the client with.",
                             "Connect the credential again with client.private_key.");
    auto key = SigningKey::from_pem(*secret);
    if (!key) return std::unexpected(std::move(key).error());
    client.key = std::make_unique<SigningKey>(std::move(*key));
    auto& signer = client.identity.signer;
    signer.key = client.key.get();
    if (auto named = name_key(signer, refresh, *secret, profile); !named)
        return std::unexpected(std::move(named).error());
    const bool to_endpoint =
        issuer.empty() || profile.client.assertion_audience == AssertionAudience::token_endpoint;
    signer.audience = to_endpoint ? refresh.token_endpoint : std::string(issuer);
    return client;
}

base::Result<TokenRequest> token_request(RequestFields fields, const GrantClient& client,
                                         const ProviderProfile& profile, base::Time now) {
    for (const auto& [name, value] : profile.token_request.parameters) fields.add(name, value);
    auto request = authenticated(std::move(fields), client.identity, profile.token_request.body, now);
    if (!request) return request;
    for (const auto& [name, value] : profile.token_request.headers)
        if (auto added = add_header(*request, name, value); !added)
            return std::unexpected(std::move(added).error());
    return request;
}

}  // namespace claviger::oauth
