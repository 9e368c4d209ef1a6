// How we prove to an authorization server which client we are (RFC 6749 2.3, RFC 7523, RFC 8705).
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "net/tls_identity.h"
#include "oauth/jose_signing_key.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

enum class ClientAuthMethod {
    none,
    client_secret_basic,
    client_secret_post,
    private_key_jwt,
    tls_client_auth,              // the certificate is shown by whoever opens the connection
    self_signed_tls_client_auth,  // the same
    secret_as_user_name           // Stripe: the secret key is the Basic user name, the password is empty
};

/// As in metadata and registrations: "client_secret_basic". Stripe's way is ours to name:
/// "secret_as_user_name".
std::string_view name_of(ClientAuthMethod method);
std::optional<ClientAuthMethod> client_auth_method_named(std::string_view name);

/// What RFC 6749 asks for, or what servers that do not decode understand.
enum class BasicEncoding { rfc, raw };

/// For private_key_jwt. The key is borrowed and outlives the request.
struct AssertionSigner {
    const SigningKey* key = nullptr;
    std::optional<Algorithm> algorithm = {};  // none: the key's own
    std::string key_id = {};                  // "kid"
    std::string certificate_sha256 = {};      // "x5t#S256", which Entra wants instead
    std::string audience = {};                // the issuer; some servers want their token endpoint
};

struct ClientIdentity {
    std::string client_id;
    ClientAuthMethod method = ClientAuthMethod::none;
    const crypto::Secret* secret = nullptr;  // borrowed; for the methods that have one
    BasicEncoding basic_encoding = BasicEncoding::rfc;
    AssertionSigner signer = {};
    std::shared_ptr<const net::TlsIdentity> certificate = {};  // shared with the requests it is shown with
};

/// tls_client_auth and self_signed_tls_client_auth.
bool shows_certificate(ClientAuthMethod method);

struct MethodHints {
    std::optional<ClientAuthMethod> registered = {};  // what the client registration says
    std::optional<ClientAuthMethod> profile = {};     // what the provider's profile says
    /// token_endpoint_auth_methods_supported; nothing when the metadata leave it out, which means basic.
    std::optional<std::vector<std::string>> advertised = {};
    bool has_secret = false;
    bool has_key = false;
    bool has_certificate = false;
};

/// The registered method if the server advertises it or advertises nothing; else the profile's; else, with a
/// secret, basic or post as advertised; else private_key_jwt with a key if advertised; else none. A
/// client with a certificate that is registered for nothing else shows that, in one of the two ways of
/// RFC 8705, or cannot be used. Errors:
/// invalid_request "client_auth.no_method" when we have a secret or key that the server will not take.
base::Result<ClientAuthMethod> choose_client_auth(const MethodHints& hints);

/// The "x5t#S256" of the first certificate in a PEM text. Errors: invalid_request
/// "client_auth.certificate_invalid".
base::Result<std::string> certificate_sha256(std::string_view pem);

/// One client assertion: good for one attempt, four minutes, fresh "jti". Errors: invalid_request
/// "client_auth.no_key", and those of sign_jwt.
base::Result<crypto::Secret> client_assertion(std::string_view client_id, const AssertionSigner& signer,
                                              base::Time now);

/// A JWT that a GitHub App shows to get installation tokens: iat a minute ago, eight minutes left. `app` is
/// the app id or the client id. RS256. Errors: those of sign_jwt.
base::Result<crypto::Secret> github_app_jwt(const SigningKey& key, std::string_view app, base::Time now);

struct GoogleServiceAccount {
    std::string_view email;
    std::string_view key_id = {};  // private_key_id; may be empty
    std::string_view scope;
    std::string_view subject = {};  // for domain-wide delegation; may be empty
};
/// The assertion for the jwt-bearer grant at Google, good for an hour. RS256. Errors: those of sign_jwt.
base::Result<crypto::Secret> google_assertion(const SigningKey& key, const GoogleServiceAccount& account,
                                              base::Time now);

}  // namespace claviger::oauth
