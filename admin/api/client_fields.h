// What both connect links and stored clients say of an OAuth client: whose it is, and how it proves itself.
#pragma once

#include "admin/api/api.h"
#include "admin/api/fields.h"
#include "vault/model.h"

#include <optional>
#include <string>

namespace claviger::admin::api {

/// The field "issuer", which must be there: an https URL, or of this machine where upstreams may be private.
std::string read_issuer(Fields& in, const ApiSettings& settings);

struct ClientProof {
    /// As "token_endpoint_auth_method" says; nothing when it is left out.
    std::optional<vault::TokenEndpointAuth> method;
    /// The client secret, the private key in PEM, or the certificate with its private key in PEM.
    std::optional<crypto::Secret> secret;
    bool is_key = false, is_certificate = false;

    /// How a client with this proof proves itself where nobody says it.
    vault::TokenEndpointAuth usual_method() const;
};

/// "client_secret", "private_key", "certificate" and "token_endpoint_auth_method", as far as they fit
/// together.
ClientProof read_proof(Fields& in);

}  // namespace claviger::admin::api
