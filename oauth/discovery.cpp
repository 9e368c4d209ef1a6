#include "oauth/discovery.h"

#include "base/log.h"
#include "oauth/challenge.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using net::awaitable;

constexpr std::chrono::milliseconds kPatience{5'000};
constexpr int kMostRedirects = 3;

/// Some servers greet everybody and want a token only for their tools.
constexpr std::array<std::string_view, 2> kProbes{
    R"({"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",)"
    R"("capabilities":{},"clientInfo":{"name":"claviger","version":")" CLAVIGER_VERSION R"("}}})",
    R"({"jsonrpc":"2.0","id":2,"method":"tools/list"})"};

std::unexpected<base::Error> unreachable(const ExchangeAnswer& answer, std::string_view who) {
    if (answer.error.kind == ErrorKind::denied) return std::unexpected(answer.error);  // a private address
    return base::failure(ErrorKind::unavailable, "discovery.unreachable",
                         std::string(who) + " could not be reached, or did not answer in time.",
                         "Check the address, then try again.", answer.error.detail);
}

/// Where a redirect inside the origin leads; nothing when this is none.
base::Result<std::optional<std::string>> redirected(const ExchangeAnswer& answer, const WebUrl& from) {
    if (answer.status < 300 || answer.status > 399) return std::nullopt;
    const auto location = answer.header("Location");
    if (location.empty()) return std::nullopt;
    if (location.starts_with('/') && !location.starts_with("//")) {
        auto url = from.origin() + std::string(location);
        if (parse_web_url(url)) return url;
    } else if (const auto url = parse_web_url(location); url && url->same_origin(from)) {
        return std::string(location);
    }
    return base::failure(
        ErrorKind::denied, "discovery.redirect",
        "A metadata document is said to be at another origin; such redirects are not followed.",
        "Ask whoever runs the server to serve the document where it belongs.");
}

/// The document at the address; nothing when the next candidate has to be asked.
awaitable<base::Result<std::optional<std::string>>> fetch(const Outbound& out, std::string url) {
    for (int hops = 0; hops <= kMostRedirects; ++hops) {
        const auto place = parse_secure_url(url, out.plain_loopback);
        if (!place)
            co_return base::failure(ErrorKind::invalid_request, "discovery.insecure_url",
                                    "The server names an address for its metadata that is not an https URL.",
                                    "Ask whoever runs the server to correct it.");
        auto answer = co_await ask(out, {.url = url, .partition = "discovery", .timeout = kPatience});
        if (!answer.complete()) co_return unreachable(answer, place->origin());
        auto next = redirected(answer, *place);
        if (!next) co_return std::unexpected(std::move(next).error());
        if (*next) {
            url = std::move(**next);
            continue;
        }
        switch (candidate_answer(answer.status)) {
            case CandidateAnswer::use:
                co_return std::optional(std::move(answer.body));
            case CandidateAnswer::next:
                co_return std::nullopt;
            case CandidateAnswer::retry_later:
                co_return base::failure(
                    ErrorKind::unavailable, "discovery.retry_later",
                    place->origin() + " has trouble of its own (" + std::to_string(answer.status) + ").",
                    "Try again later.");
        }
    }
    co_return std::nullopt;
}

/// Pages for people come with 200 from places where there is no document.
bool is_no_document(const base::Error& error) { return error.code.starts_with("json."); }

struct Challenged {
    std::string resource_metadata;
    bool dpop = false;  // no other scheme will do
    Scopes scopes;
};

/// What the server says to somebody without a token; nothing when it says nothing of the kind.
awaitable<base::Result<Challenged>> probe(const Outbound& out, std::string server_url) {
    for (std::size_t which = 0; which < kProbes.size(); ++which) {
        TokenRequest request{.content_type = "application/json",
                             .body = crypto::Secret::copy_of(kProbes[which]),
                             .headers = {}};
        const auto answer = co_await ask(out, {.method = "POST",
                                               .url = server_url,
                                               .payload = &request,
                                               .accept = "application/json, text/event-stream",
                                               .partition = "discovery",
                                               .timeout = kPatience});
        // What the body holds does not matter, and a stream has no end.
        if (answer.status == 0 && which == 0) co_return unreachable(answer, "The MCP server");
        if (answer.status != 401) continue;
        const auto challenges = parse_challenges(answer.headers);
        if (!challenges) co_return std::unexpected(challenges.error());
        auto challenge = token_challenge(*challenges);
        const bool bearer =
            std::ranges::any_of(*challenges, [](const auto& each) { return each.scheme == "bearer"; });
        co_return Challenged{.resource_metadata = std::move(challenge.resource_metadata),
                             .dpop = challenge.dpop && !bearer,
                             .scopes = std::move(challenge.scopes)};
    }
    co_return Challenged{};
}

/// Nothing when the server publishes none.
awaitable<base::Result<std::optional<ProtectedResource>>> find_resource(const Outbound& out,
                                                                        std::string server_url,
                                                                        std::string named) {
    auto places = protected_resource_urls(server_url);
    if (!named.empty()) {
        std::erase(places, named);
        places.insert(places.begin(), named);
    }
    for (const auto& place : places) {
        const auto document = co_await fetch(out, place);
        if (!document) co_return std::unexpected(document.error());
        if (!*document) continue;
        auto resource = parse_protected_resource(**document, server_url, out.plain_loopback);
        if (!resource && is_no_document(resource.error()) && place != named) continue;
        if (!resource) co_return std::unexpected(std::move(resource).error());
        co_return std::optional(std::move(*resource));
    }
    co_return std::nullopt;
}

std::unexpected<base::Error> no_metadata(const std::string& issuer) {
    return base::failure(ErrorKind::invalid_request, "discovery.no_metadata",
                         "The authorization server " + issuer + " publishes no metadata.",
                         "Check the address, or describe the provider in a profile of your own.");
}

/// A server from before there was protected resource metadata speaks for itself.
awaitable<base::Result<AuthorizationServer>> find_legacy_server(const Outbound& out, std::string server_url) {
    auto assumed = assumed_authorization_server(server_url, out.plain_loopback);
    if (!assumed)
        co_return base::failure(ErrorKind::invalid_request, "discovery.insecure_url",
                                "The MCP server's address is not an https URL.", "Use its https address.");
    for (const auto& issuer : {assumed->issuer, assumed->issuer + "/"}) {  // who writes which is not known
        auto found = co_await find_authorization_server(out, issuer, IssuerMatch::exact);
        if (found) co_return found;
        const bool another_spelling = found.error().code == "as_metadata.issuer_mismatch";
        if (found.error().code == "discovery.no_metadata") break;
        if (!another_spelling || issuer.ends_with('/')) co_return found;
    }
    co_return std::move(*assumed);
}

awaitable<base::Result<Discovered>> discover_by_server(const Outbound& out, const Sought& sought) {
    const std::string server_url(sought.server_url);
    auto challenged = co_await probe(out, server_url);
    if (!challenged) co_return std::unexpected(std::move(challenged).error());
    auto resource = co_await find_resource(out, server_url, challenged->resource_metadata);
    if (!resource) co_return std::unexpected(std::move(resource).error());

    Discovered found;
    found.scopes = std::move(challenged->scopes);
    found.dpop = challenged->dpop;
    if (!*resource) {
        auto server = co_await find_legacy_server(out, server_url);
        if (!server) co_return std::unexpected(std::move(server).error());
        found.server = std::move(*server);
        co_return found;
    }
    auto& document = **resource;
    auto issuer = document.authorization_servers.front();
    if (std::ranges::find(document.authorization_servers, sought.preferred_issuer) !=
        document.authorization_servers.end())
        issuer = sought.preferred_issuer;
    auto server = co_await find_authorization_server(out, issuer, IssuerMatch::exact);
    if (!server) co_return std::unexpected(std::move(server).error());
    found.server = std::move(*server);
    found.dpop = found.dpop || document.dpop_bound_access_tokens_required;
    found.certificate_bound = document.tls_client_certificate_bound_access_tokens;
    found.resource = std::move(document.resource);
    found.resource_name = std::move(document.resource_name);
    if (found.scopes.empty()) found.scopes = std::move(document.scopes_supported);
    co_return found;
}

base::Result<Discovered> by_profile(const ProviderProfile& profile) {
    Discovered found;
    auto& server = found.server;
    server.issuer = profile.issuer;
    server.authorization_endpoint = profile.endpoints.authorization;
    server.token_endpoint = profile.endpoints.token;
    server.device_authorization_endpoint = profile.endpoints.device_authorization;
    server.revocation_endpoint = profile.endpoints.revocation;
    server.introspection_endpoint = profile.endpoints.introspection;
    if (server.token_endpoint.empty())
        return base::failure(ErrorKind::invalid_request, "discovery.no_endpoints",
                             "The provider profile '" + profile.name + "' names no token endpoint.",
                             "Choose the provider's own profile, or write one.");
    if (profile.authorization.pkce == PkceUse::s256) server.code_challenge_methods_supported = {"S256"};
    return found;
}

}  // namespace

awaitable<ExchangeAnswer> ask(const Outbound& out, ExchangeRequest request) {
    request.private_addresses = out.reach(request.url);
    co_return co_await exchange(out.worker, out.pool, out.clock, request);
}

awaitable<base::Result<AuthorizationServer>> find_authorization_server(const Outbound& out,
                                                                       std::string issuer,
                                                                       IssuerMatch match) {
    std::optional<base::Error> first_fault;
    for (const auto& place : authorization_server_urls(issuer)) {
        const auto document = co_await fetch(out, place);
        if (!document) co_return std::unexpected(document.error());
        if (!*document) continue;
        auto server = parse_authorization_server(**document, issuer, match, out.plain_loopback);
        if (server) co_return server;
        // Another place may have the right one, or none; then the first fault says most.
        if (!first_fault && !is_no_document(server.error())) first_fault = std::move(server).error();
    }
    if (first_fault) co_return std::unexpected(std::move(*first_fault));
    co_return no_metadata(issuer);
}

awaitable<base::Result<Discovered>> discover(const Outbound& out, const Sought& sought) {
    const auto& profile = sought.profile;
    auto found = base::Result<Discovered>(Discovered{});
    switch (profile.endpoints_from) {
        case EndpointsFrom::server:
            found = co_await discover_by_server(out, sought);
            break;
        case EndpointsFrom::issuer: {
            const auto match = profile.templated_issuer ? IssuerMatch::templated : IssuerMatch::exact;
            auto server = co_await find_authorization_server(out, profile.issuer, match);
            if (!server) co_return std::unexpected(std::move(server).error());
            found->server = std::move(*server);
            break;
        }
        case EndpointsFrom::profile:
        case EndpointsFrom::credential:
            found = by_profile(profile);
            break;
    }
    if (found && found->server.tls_client_certificate_bound_access_tokens) found->certificate_bound = true;
    co_return found;
}

}  // namespace claviger::oauth
