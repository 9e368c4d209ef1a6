#include "oauth/client_auth.h"

#include "base/bytes.h"
#include "crypto/random.h"
#include "oauth/jose.h"
#include "oauth/jose_openssl.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using nlohmann::json;
using std::chrono::minutes;

constexpr minutes kClientAssertionLife{4};  // RFC 7523bis and most servers: five at most, and clocks differ
constexpr std::string_view kGoogleTokenEndpoint = "https://oauth2.googleapis.com/token";

constexpr std::array<std::pair<ClientAuthMethod, std::string_view>, 7> kMethods{
    {{ClientAuthMethod::none, "none"},
     {ClientAuthMethod::client_secret_basic, "client_secret_basic"},
     {ClientAuthMethod::client_secret_post, "client_secret_post"},
     {ClientAuthMethod::private_key_jwt, "private_key_jwt"},
     {ClientAuthMethod::tls_client_auth, "tls_client_auth"},
     {ClientAuthMethod::self_signed_tls_client_auth, "self_signed_tls_client_auth"},
     {ClientAuthMethod::secret_as_user_name, "secret_as_user_name"}}};

bool advertises(const MethodHints& hints, ClientAuthMethod method) {
    return std::ranges::find(*hints.advertised, name_of(method)) != hints.advertised->end();
}

}  // namespace

std::string_view name_of(ClientAuthMethod method) {
    return std::ranges::find(kMethods, method, &decltype(kMethods)::value_type::first)->second;
}

std::optional<ClientAuthMethod> client_auth_method_named(std::string_view name) {
    const auto found = std::ranges::find(kMethods, name, &decltype(kMethods)::value_type::second);
    if (found == kMethods.end()) return std::nullopt;
    return found->first;
}

bool shows_certificate(ClientAuthMethod method) {
    return method == ClientAuthMethod::tls_client_auth ||
           method == ClientAuthMethod::self_signed_tls_client_auth;
}

base::Result<ClientAuthMethod> choose_client_auth(const MethodHints& hints) {
    using enum ClientAuthMethod;
    if (hints.registered && (!hints.advertised || advertises(hints, *hints.registered)))
        return *hints.registered;
    if (hints.has_certificate) {  // nothing else proves such a client
        if (hints.profile && shows_certificate(*hints.profile)) return *hints.profile;
        for (const auto method : {tls_client_auth, self_signed_tls_client_auth})
            if (!hints.advertised || advertises(hints, method)) return method;
    } else if (hints.profile) {
        return *hints.profile;
    }
    if (hints.has_secret) {
        if (!hints.advertised || advertises(hints, client_secret_basic)) return client_secret_basic;
        if (advertises(hints, client_secret_post)) return client_secret_post;
    }
    if (hints.has_key && hints.advertised && advertises(hints, private_key_jwt)) return private_key_jwt;
    const bool has_proof = hints.has_secret || hints.has_key || hints.has_certificate;
    if (hints.has_certificate || (has_proof && hints.advertised && !advertises(hints, none)))
        return base::failure(ErrorKind::invalid_request, "client_auth.no_method",
                             "The authorization server takes none of the proofs that this client has.",
                             "Register the client with a method that the server lists in "
                             "token_endpoint_auth_methods_supported.");
    return none;
}

base::Result<std::string> certificate_sha256(std::string_view pem) {
    const QuietOpenSsl quiet;
    const std::unique_ptr<BIO, decltype(&BIO_free)> text(
        BIO_new_mem_buf(pem.data(), static_cast<int>(std::min<std::size_t>(pem.size(), 64 * 1024))),
        &BIO_free);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr), &X509_free);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned bytes = 0;
    if (!certificate || X509_digest(certificate.get(), EVP_sha256(), digest.data(), &bytes) != 1)
        return base::failure(ErrorKind::invalid_request, "client_auth.certificate_invalid",
                             "The text is not a certificate in PEM.",
                             "Give the client's certificate with its BEGIN and END lines.");
    return base::to_base64url({reinterpret_cast<const char*>(digest.data()), bytes});
}

base::Result<crypto::Secret> client_assertion(std::string_view client_id, const AssertionSigner& signer,
                                              base::Time now) {
    if (!signer.key)
        return base::failure(ErrorKind::invalid_request, "client_auth.no_key",
                             "The client is to sign an assertion but has no private key.",
                             "Give the client its private key, or choose another method.");
    json header{{"typ", "JWT"}};
    if (!signer.key_id.empty()) header["kid"] = signer.key_id;
    if (!signer.certificate_sha256.empty()) header["x5t#S256"] = signer.certificate_sha256;
    const json claims{{"iss", std::string(client_id)}, {"sub", std::string(client_id)},
                      {"aud", signer.audience},        {"jti", crypto::random_token_text("")},
                      {"iat", numeric_date(now)},      {"exp", numeric_date(now + kClientAssertionLife)}};
    return sign_jwt(*signer.key, signer.algorithm.value_or(signer.key->algorithm()), header, claims);
}

base::Result<crypto::Secret> github_app_jwt(const SigningKey& key, std::string_view app, base::Time now) {
    const json claims{{"iss", std::string(app)},
                      {"iat", numeric_date(now - minutes(1))},
                      {"exp", numeric_date(now + minutes(8))}};  // GitHub refuses more than ten after iat
    return sign_jwt(key, Algorithm::rs256, json{{"typ", "JWT"}}, claims);
}

base::Result<crypto::Secret> google_assertion(const SigningKey& key, const GoogleServiceAccount& account,
                                              base::Time now) {
    json header{{"typ", "JWT"}};
    if (!account.key_id.empty()) header["kid"] = std::string(account.key_id);
    json claims{{"iss", std::string(account.email)},
                {"aud", std::string(kGoogleTokenEndpoint)},
                {"scope", std::string(account.scope)},
                {"iat", numeric_date(now)},
                {"exp", numeric_date(now + minutes(60))}};
    if (!account.subject.empty()) claims["sub"] = std::string(account.subject);
    return sign_jwt(key, Algorithm::rs256, header, claims);
}

}  // namespace claviger::oauth
