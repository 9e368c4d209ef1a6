// The documents by which a resource names its authorization servers and a server names its endpoints.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/scopes.h"
#include "oauth/web_url.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

/// What to do with one candidate address after its answer came.
enum class CandidateAnswer {
    use,         // 200: parse it
    next,        // any other 2xx, a redirect nobody followed, 4xx, 502: ask the next address
    retry_later  // any other 5xx: the server is unwell; the next address could mislead, so stop here
};
CandidateAnswer candidate_answer(unsigned status);

/// Protected resource metadata (RFC 9728 section 2).
struct ProtectedResource {
    std::string resource;  // verbatim: this text goes into `resource` parameters (RFC 8707)
    std::vector<std::string> authorization_servers;  // issuers that are acceptable addresses; never empty
    Scopes scopes_supported;
    std::vector<std::string> bearer_methods_supported;
    std::string jwks_uri, resource_name;  // empty when absent
    std::vector<std::string> dpop_signing_alg_values_supported;
    bool tls_client_certificate_bound_access_tokens = false;
    bool dpop_bound_access_tokens_required = false;
};

/// Where the metadata of `server_url` may lie when no challenge says where: the well-known segment between
/// host and path, then at the root (RFC 9728 3.1). Empty when it is no web URL.
std::vector<std::string> protected_resource_urls(std::string_view server_url);

/// True when `resource` is the URL in use, or an ancestor path of it at the same origin. A trailing '/' makes
/// no difference; anything else does.
bool resource_identifies(std::string_view resource, std::string_view url_in_use);

/// The document at such an address, for the server at `url_in_use`. Errors: invalid_request "json.*" and
/// "resource_metadata.invalid" (a member of the wrong type), "resource_metadata.no_authorization_server";
/// denied "resource_metadata.resource_mismatch": stop, another candidate must not be tried.
base::Result<ProtectedResource> parse_protected_resource(std::string_view body, std::string_view url_in_use,
                                                         PlainLoopback loopback);

/// Authorization server metadata (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3).
struct AuthorizationServer {
    std::string issuer;  // the identifier that was asked for
    // Empty when absent; what is present is https, or http on loopback where that is allowed.
    std::string authorization_endpoint, token_endpoint, registration_endpoint, revocation_endpoint;
    std::string introspection_endpoint, device_authorization_endpoint, pushed_authorization_request_endpoint;
    std::string jwks_uri, userinfo_endpoint;
    /// RFC 8705 section 5: where clients with a certificate go instead.
    struct MutualTlsAliases {
        std::string token_endpoint, revocation_endpoint, introspection_endpoint,
            device_authorization_endpoint;
        std::string pushed_authorization_request_endpoint;
    } mtls;
    Scopes scopes_supported;
    std::vector<std::string> grant_types_supported;
    std::vector<std::string> token_endpoint_auth_methods_supported;  // empty: client_secret_basic (RFC 8414)
    std::vector<std::string> token_endpoint_auth_signing_alg_values_supported;
    std::vector<std::string> code_challenge_methods_supported;
    std::vector<std::string> id_token_signing_alg_values_supported;
    std::vector<std::string> dpop_signing_alg_values_supported;
    std::vector<std::string> authorization_grant_profiles_supported;
    bool authorization_response_iss_parameter_supported = false;  // RFC 9207
    bool client_id_metadata_document_supported = false;
    bool require_pushed_authorization_requests = false;       // RFC 9126
    bool tls_client_certificate_bound_access_tokens = false;  // RFC 8705 3.3
    bool assumed = false;  // no document: the default paths of MCP 2025-03-26
};

/// Where clients that show a certificate go (RFC 8705 section 5): the aliases in place of the endpoints that
/// have one.
void use_mtls_aliases(AuthorizationServer& server);

/// `templated` accepts "{name}" in the document where the identifier has a path segment: Entra's endpoints
/// for several tenants answer "https://login.microsoftonline.com/{tenantid}/v2.0".
enum class IssuerMatch { exact, templated };

/// Where the metadata of an issuer may lie: RFC 8414 with the path behind the well-known segment, the same
/// for OpenID, and OpenID behind the path. Empty when the issuer is no web URL or has a query.
std::vector<std::string> authorization_server_urls(std::string_view issuer);

/// The document of `issuer`. Errors: invalid_request "json.*", "as_metadata.invalid" (a member of the wrong
/// type, no token endpoint), "as_metadata.insecure_endpoint"; denied "as_metadata.issuer_mismatch".
base::Result<AuthorizationServer> parse_authorization_server(std::string_view body, std::string_view issuer,
                                                             IssuerMatch match, PlainLoopback loopback);

/// Success when the server says that it does PKCE with S256; without that no authorization code may be asked
/// for (MCP 2026-07-28). Errors: denied "as_metadata.no_s256".
base::Status require_s256(const AuthorizationServer& server);

/// The endpoints of a server from 2025-03-26 that publishes nothing: its own origin with /authorize, /token
/// and /register. Nothing when `server_url` is not acceptable.
std::optional<AuthorizationServer> assumed_authorization_server(std::string_view server_url,
                                                                PlainLoopback loopback);

/// The answer to a dynamic registration (RFC 7591 3.2.1, RFC 7592 section 3).
struct ClientRegistration {
    std::string client_id;
    std::optional<crypto::Secret> client_secret;
    std::optional<base::Time> client_secret_expires_at;  // nothing: never
    std::string token_endpoint_auth_method;              // empty when the server does not say
    /// To read, change or delete the registration; both or neither.
    std::optional<crypto::Secret> registration_access_token;
    std::string registration_client_uri;
};

/// The caller wipes `body`. Errors: invalid_request "json.*", "registration.invalid".
base::Result<ClientRegistration> parse_client_registration(std::string_view body, PlainLoopback loopback);

}  // namespace claviger::oauth
