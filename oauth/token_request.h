// Requests to an authorization server's endpoints, as data: a body and headers, ready to send.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/client_auth.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::oauth {

enum class BodyFormat { form, json };  // json: Notion and its like

struct RequestHeader {
    std::string name;
    crypto::Secret value;
};

/// What goes out with POST. Made anew for each attempt, because assertions and proofs are good for one.
struct TokenRequest {
    std::string_view content_type;
    crypto::Secret body;
    std::vector<RequestHeader> headers;
    std::shared_ptr<const net::TlsIdentity> certificate = {};  // to be shown on the connection
};

/// The fields of a request. Values are kept as secrets: codes, tokens and assertions are among them.
class RequestFields {
public:
    /// Empty values are left out; adding a name again repeats it ("resource", RFC 8707).
    RequestFields& add(std::string_view name, std::string_view value);
    RequestFields& add(std::string_view name, const crypto::Secret& value);

    bool has(std::string_view name) const;

    /// application/x-www-form-urlencoded as RFC 6749 appendix B asks for it.
    crypto::Secret form() const;
    /// One object of texts; a repeated name becomes a list.
    crypto::Secret json() const;

    /// Errors: invalid_request "token_request.control_character" when a name or value holds CR, LF or NUL,
    /// "token_request.not_ascii" when a JSON body would hold more than ASCII (RFC 6749 appendix A knows no
    /// more), "token_request.too_large".
    base::Status check(BodyFormat format) const;

private:
    std::vector<std::pair<std::string, crypto::Secret>> fields_;
};

/// What a token is wanted for; every member may be empty.
struct Wanted {
    std::string_view scope = {};
    std::vector<std::string> resources = {};
    std::string_view audience = {};
    std::string_view claims = {};  // a JSON object (OpenID Connect Core 5.5)
};

RequestFields authorization_code_grant(const crypto::Secret& code, std::string_view redirect_uri,
                                       const crypto::Secret& verifier, const Wanted& wanted);
RequestFields refresh_token_grant(const crypto::Secret& refresh_token, const Wanted& wanted);
RequestFields client_credentials_grant(const Wanted& wanted);
RequestFields device_code_grant(const crypto::Secret& device_code);
/// RFC 7523; also the second step of ID-JAG.
RequestFields jwt_bearer_grant(const crypto::Secret& assertion, const Wanted& wanted);

/// RFC 8693. Tokens are borrowed for the call.
struct TokenExchange {
    const crypto::Secret& subject_token;
    std::string_view subject_token_type;
    const crypto::Secret* actor_token = nullptr;
    std::string_view actor_token_type = {};
    std::string_view requested_token_type = {};
    Wanted wanted = {};
};
RequestFields token_exchange_grant(const TokenExchange& exchange);
/// The first step of ID-JAG, at the identity provider: `audience` is the resource's authorization server.
RequestFields id_jag_grant(const crypto::Secret& subject_token, std::string_view subject_token_type,
                           std::string_view audience, const Wanted& wanted);

RequestFields revocation(const crypto::Secret& token, std::string_view type_hint);     // RFC 7009
RequestFields introspection(const crypto::Secret& token, std::string_view type_hint);  // RFC 7662
RequestFields device_authorization(const Wanted& wanted);                              // RFC 8628
/// RFC 9126: the parameters of the authorization request.
RequestFields pushed_authorization(const std::vector<std::pair<std::string, std::string>>& parameters);

/// Adds the client's proof and writes the body. Errors: those of RequestFields::check and client_assertion,
/// and invalid_request "client_auth.no_secret", "client_auth.control_character", "client_auth.colon_in_id".
base::Result<TokenRequest> authenticated(RequestFields fields, const ClientIdentity& client,
                                         BodyFormat format, base::Time now);

/// Appends what a profile or a proof of possession asks for. Errors: invalid_request
/// "token_request.header_invalid" when the name is no HTTP token or the value holds control characters.
base::Status add_header(TokenRequest& request, std::string_view name, std::string_view value);

/// True when the two encodings of Basic differ for this client, so that "invalid_client" may only mean that
/// the server reads the other one: client_secret_post is worth a try where it is advertised.
bool basic_is_ambiguous(const ClientIdentity& client);

}  // namespace claviger::oauth
