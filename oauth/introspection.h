// What an authorization server says has become of a token that it gave (RFC 7662).
#pragma once

#include "oauth/discovery.h"
#include "oauth/scopes.h"
#include "oauth/stored_grant.h"

#include <chrono>
#include <optional>
#include <string_view>

namespace claviger::oauth {

/// Of an inactive token nothing else is known (RFC 7662 2.2).
struct TokenState {
    bool active = false;
    std::optional<base::Time> expires_at = {};  // nothing: not said
    std::optional<Scopes> scopes = {};          // nothing: not said
};

/// Reads a successful answer. The caller wipes `body`, which holds no token. Errors: invalid_request
/// "json.*", "introspection.signed" (a JWT, RFC 9701: nobody asked for one, and it is not read),
/// "introspection.not_json", "introspection.malformed" (`active` is missing or no boolean, or another member
/// that counts is of the wrong type or too long).
base::Result<TokenState> parse_introspection(std::string_view content_type, std::string_view body);

/// How a grant's authorization server is asked. Everything is borrowed until the answer is there.
struct IntrospectionCall {
    std::string_view endpoint;
    const vault::Credential& credential;  // with a refresh block
    const vault::SecretParts& parts;      // its client's proofs
    const StoredGrant& grant;
    const ProviderProfile& profile;
    std::chrono::milliseconds timeout{5'000};  // as in ExchangeRequest
};

/// Asks about one token, as the client that it was given to, which proves itself as at the token endpoint
/// (RFC 7662 2.1), with a DPoP proof where tokens are bound to a key. `type_hint`: "access_token" or
/// "refresh_token". Errors: those of client_of, DpopKey::import, authenticated and parse_introspection;
/// unavailable "introspection.no_answer"; denied "introspection.refused".
net::awaitable<base::Result<TokenState>> introspect(const Outbound& out, const IntrospectionCall& call,
                                                    const crypto::Secret& token, std::string_view type_hint);

}  // namespace claviger::oauth
