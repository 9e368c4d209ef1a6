// From an MCP server's URL, or from what its provider's profile says, to the authorization server that gives
// out its tokens.
#pragma once

#include "oauth/exchange.h"
#include "oauth/metadata.h"
#include "oauth/provider_profile.h"

#include <functional>
#include <string>
#include <string_view>

namespace claviger::oauth {

/// The way to servers that nobody has vouched for. Everything is borrowed.
struct Outbound {
    net::Worker& worker;
    net::ClientPool& pool;
    const base::Clock& clock;
    /// Whether this URL's host may have a private address.
    std::function<net::PrivateAddresses(std::string_view url)> reach;
    PlainLoopback plain_loopback = PlainLoopback::refuse;  // in what documents say
};

/// exchange(), as far as the address may be reached.
net::awaitable<ExchangeAnswer> ask(const Outbound& out, ExchangeRequest request);

struct Discovered {
    AuthorizationServer server;
    std::string resource;            // verbatim from the resource's metadata; empty: nobody named one
    std::string resource_name;       // the same, for people
    bool dpop = false;               // tokens have to be bound to a key (RFC 9449)
    bool certificate_bound = false;  // tokens are bound to the client's certificate (RFC 8705)
    Scopes scopes;                   // of the server's challenge, else of its metadata; may be empty
};

/// What to find, and which of several authorization servers to take: the preferred one if the resource still
/// names it, else its first.
struct Sought {
    const ProviderProfile& profile;
    std::string_view server_url;
    std::string_view preferred_issuer = {};
};

/// Asks the server without a token, follows its challenge to the protected resource metadata (RFC 9728, with
/// the well-known places), and from there to the metadata of the authorization server (RFC 8414, OpenID).
/// A server without any of this is taken for one of MCP 2025-03-26: its own origin is the authorization
/// server. Of a profile with endpoints of its own nothing is asked. Every document is limited to 64 KiB and 5
/// seconds; redirects are followed inside their origin, three at most. Errors: unavailable
/// "discovery.unreachable", "discovery.retry_later"; denied "network.private_address", "discovery.redirect";
/// invalid_request "discovery.no_metadata", "discovery.no_endpoints", "discovery.insecure_url"; and those of
/// parse_protected_resource, parse_authorization_server and require_s256.
net::awaitable<base::Result<Discovered>> discover(const Outbound& out, const Sought& sought);

/// The metadata of one issuer, from the first of its well-known places that has them.
net::awaitable<base::Result<AuthorizationServer>> find_authorization_server(const Outbound& out,
                                                                            std::string issuer,
                                                                            IssuerMatch match);

}  // namespace claviger::oauth
