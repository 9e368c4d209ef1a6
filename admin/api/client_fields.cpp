#include "admin/api/client_fields.h"

#include "net/tls_identity.h"
#include "oauth/grant_client.h"
#include "oauth/web_url.h"

#include <array>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::admin::api {
namespace {

using vault::TokenEndpointAuth;

constexpr std::size_t kClientSecret = 512, kPem = 16 * 1024;
constexpr std::array kMethods{TokenEndpointAuth::none,
                              TokenEndpointAuth::client_secret_basic,
                              TokenEndpointAuth::client_secret_post,
                              TokenEndpointAuth::private_key_jwt,
                              TokenEndpointAuth::secret_as_user_name,
                              TokenEndpointAuth::tls_client_auth,
                              TokenEndpointAuth::self_signed_tls_client_auth};

crypto::Secret joined(std::string_view certificate, const crypto::Secret& key) {
    return crypto::Secret::filled(certificate.size() + 1 + key.size(), [&](std::span<std::byte> out) {
        std::memcpy(out.data(), certificate.data(), certificate.size());
        out[certificate.size()] = static_cast<std::byte>('\n');
        key.expose([&](std::span<const std::byte> from) {
            std::memcpy(out.data() + certificate.size() + 1, from.data(), from.size());
        });
    });
}

/// A method that is named must be the one for what is given.
void check_method(Fields& in, const ClientProof& proof) {
    const auto method = *proof.method;
    const bool key = method == TokenEndpointAuth::private_key_jwt;
    const bool certificate = oauth::shows_certificate(oauth::method_of(method));
    const bool secret = method != TokenEndpointAuth::none && !key && !certificate;
    if (certificate ? !proof.is_certificate : !key && proof.is_certificate)
        in.refuse("certificate",
                  "belongs to tls_client_auth, self_signed_tls_client_auth and private_key_jwt, and to no "
                  "other token_endpoint_auth_method");
    else if (key && !proof.is_key && !proof.is_certificate)
        in.refuse("private_key", "is required for token_endpoint_auth_method private_key_jwt");
    else if (proof.is_key && !key)
        in.refuse("private_key",
                  "belongs to token_endpoint_auth_method private_key_jwt, or to a certificate");
    else if (secret != (proof.secret && !proof.is_key && !proof.is_certificate))
        in.refuse("client_secret", "must be given exactly when token_endpoint_auth_method uses one");
}

}  // namespace

std::string read_issuer(Fields& in, const ApiSettings& settings) {
    auto issuer = in.text("issuer", {1, 2'047});
    const auto loopback = settings.private_upstreams == net::PrivateAddresses::allow
                              ? oauth::PlainLoopback::allow
                              : oauth::PlainLoopback::refuse;
    if (!issuer.empty() && !oauth::parse_secure_url(issuer, loopback))
        in.refuse("issuer", "must be the https URL by which the authorization server calls itself");
    return issuer;
}

TokenEndpointAuth ClientProof::usual_method() const {
    if (!secret) return TokenEndpointAuth::none;
    if (is_certificate) return TokenEndpointAuth::tls_client_auth;
    return is_key ? TokenEndpointAuth::private_key_jwt : TokenEndpointAuth::client_secret_basic;
}

ClientProof read_proof(Fields& in) {
    ClientProof proof;
    auto secret = in.secret_if_any("client_secret", kClientSecret, SecretForm::any_text);
    auto key = in.secret_if_any("private_key", kPem, SecretForm::any_text);
    const auto certificate = in.text_if_any("certificate", {1, kPem, Lines::many});
    if (in.has_value("token_endpoint_auth_method")) {
        std::vector<std::string_view> words;
        for (const auto method : kMethods) words.push_back(vault::name_of(method));
        proof.method = kMethods[in.word("token_endpoint_auth_method", words)];
    }
    proof.is_certificate = certificate.has_value();
    proof.is_key = key.has_value() && !certificate;
    if (secret && (key || certificate)) {
        in.refuse("private_key", "cannot be given together with client_secret; a client has one proof");
    } else if (certificate && !key) {
        in.refuse("private_key", "is required with a certificate");
    } else if (certificate) {
        proof.secret = joined(*certificate, *key);
        if (const auto identity = net::TlsIdentity::from_pem(*proof.secret); !identity)
            in.refuse("certificate",
                      "cannot be used. " + identity.error().message + " " + identity.error().hint);
    } else {
        proof.secret = key ? std::move(key) : std::move(secret);
    }
    if (proof.method) check_method(in, proof);
    return proof;
}

}  // namespace claviger::admin::api
