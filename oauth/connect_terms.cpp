#include "oauth/connect_terms.h"

#include "oauth/grant_client.h"
#include "oauth/json_document.h"
#include "oauth/mint.h"
#include "oauth/stored_grant.h"

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;

std::optional<StoredGrant> grant_before(const ConnectWorld& world, const vault::ConnectFlow& flow) {
    const auto& catalog = world.records.catalog();
    const auto credential =
        flow.wish.credential ? catalog.find<vault::Credential>(*flow.wish.credential) : nullptr;
    if (!credential) return std::nullopt;
    auto grant = grant_of(catalog, *credential);
    if (!grant) return std::nullopt;  // a new consent makes a row that is whole again
    return std::move(*grant);
}

Scopes scopes_to_ask(const vault::ConnectFlow& flow, const std::optional<StoredGrant>& before,
                     const Discovered& found, const ProviderProfile& profile) {
    if (!flow.wish.scopes.empty()) return flow.wish.scopes;
    Scopes scopes;
    if (before) {
        scopes = before->facts.scopes_requested;
        for (const auto& step_up : before->facts.step_ups)
            if (step_up.pending) scopes = united(scopes, step_up.scopes);
    }
    if (scopes.empty()) scopes = found.scopes;
    if (scopes.empty()) scopes = profile.authorization.default_scopes;
    return scopes;
}

bool wants_offline(const ProviderProfile& profile, const AuthorizationServer& server) {
    const auto& rule = profile.authorization.offline_access;
    if (rule.ask == OfflineAsk::always) return true;
    return rule.ask == OfflineAsk::when_advertised && !rule.scope.empty() &&
           contains_all(server.scopes_supported, {rule.scope});
}

/// The words of the resource's metadata as they are; else the server's address without a slash at its end.
std::string resource_for(const vault::ConnectFlow& flow, const Discovered& found,
                         const ProviderProfile& profile) {
    switch (profile.resource.use) {
        case ResourceUse::omit:
            return {};
        case ResourceUse::fixed:
            return profile.resource.value;
        case ResourceUse::send:
            break;
    }
    return found.resource.empty() ? flow.wish.normal_url : found.resource;
}

/// A profile says how a provider that nobody can ask does it; an MCP server's has to say so itself.
base::Status check_pkce(const ProviderProfile& profile, const AuthorizationServer& server) {
    if (profile.authorization.pkce == PkceUse::off || profile.endpoints_from != EndpointsFrom::server)
        return {};
    return require_s256(server);
}

/// Before anything of ours is shown to that server.
base::Status check_issuer(const vault::ConnectWish& wish, const AuthorizationServer& server) {
    if (!wish.issuer || *wish.issuer == server.issuer) return {};
    return base::failure(
        ErrorKind::denied, "connect.other_issuer",
        "The server sends people to the authorization server " + scrubbed(server.issuer) +
            ", but this link is for " + *wish.issuer + " only.",
        "If the server has really moved, make a new link with the issuer it names now and a "
        "client that is registered there. If not, somebody may be after the client's secret.");
}

base::Status check_grant(GrantType grant, const ProviderProfile& profile, const AuthorizationServer& server) {
    const bool has_own_grant = std::ranges::find(profile.grants, grant) != profile.grants.end();
    const bool needs_own_grant =
        grant == GrantType::github_installation || grant == GrantType::google_service_account;
    if (needs_own_grant && !has_own_grant)
        return base::failure(
            ErrorKind::invalid_request, "connect.grant_unknown",
            "The provider '" + profile.name + "' has no grant " + std::string(word_of(grant)) + ".",
            "`claviger provider list` shows which provider has which grants.");
    const bool has_endpoint = grant == GrantType::authorization_code ? !server.authorization_endpoint.empty()
                              : grant == GrantType::device_code
                                  ? !server.device_authorization_endpoint.empty()
                                  : true;
    if (!has_endpoint)
        return base::failure(ErrorKind::invalid_request, "connect.grant_unsupported",
                             "The authorization server " + server.issuer + " has no endpoint for the grant " +
                                 std::string(word_of(grant)) + ".",
                             "Choose another grant.");
    return {};
}

}  // namespace

net::awaitable<base::Result<Negotiated>> negotiate(const ConnectWorld& world, const Outbound& out,
                                                   const vault::Actor& actor,
                                                   const vault::ConnectFlow& flow) {
    auto profile = profile_of(world, flow.wish);
    if (!profile) co_return std::unexpected(std::move(profile).error());
    const auto grant = grant_named(flow.wish.grant).value_or(GrantType::authorization_code);
    const auto before = grant_before(world, flow);
    auto preferred = before ? before->issuer : std::string();
    if (flow.wish.issuer) preferred = *flow.wish.issuer;
    auto found = co_await discover(
        out, {.profile = *profile, .server_url = flow.wish.server_url, .preferred_issuer = preferred});
    if (!found) co_return std::unexpected(std::move(found).error());
    if (auto fine = check_issuer(flow.wish, found->server); !fine)
        co_return std::unexpected(std::move(fine).error());
    if (auto fine = check_grant(grant, *profile, found->server); !fine)
        co_return std::unexpected(std::move(fine).error());
    if (grant == GrantType::authorization_code)
        if (auto fine = check_pkce(*profile, found->server); !fine)
            co_return std::unexpected(std::move(fine).error());
    auto client = co_await choose_client(world, out, actor, flow, *profile, found->server);
    if (!client) co_return std::unexpected(std::move(client).error());
    const bool by_certificate = shows_certificate(method_of(client->auth));
    if (by_certificate) use_mtls_aliases(found->server);

    Negotiated settled{.profile = std::move(*profile),
                       .server = {},
                       .terms = {},
                       .client_secret = std::move(client->secret),
                       .key = {}};
    if (found->dpop) settled.key = DpopKey::generate();
    auto& terms = settled.terms;
    terms.issuer = found->server.issuer;
    terms.token_endpoint = found->server.token_endpoint;
    terms.revocation_endpoint = found->server.revocation_endpoint;
    terms.jwks_uri = found->server.jwks_uri;
    terms.names_issuer = found->server.authorization_response_iss_parameter_supported;
    terms.client_id = std::move(client->client_id);
    terms.client_from = word_of(client->from);
    terms.client_auth = client->auth;
    terms.client = client->row;
    terms.redirect_uri = world.own.redirect_uri();
    terms.resource = resource_for(flow, *found, settled.profile);
    terms.scopes = scopes_to_ask(flow, before, *found, settled.profile);
    if (by_certificate && (found->certificate_bound || settled.profile.upstream.client_certificate))
        terms.bound_to = "client_certificate";
    settled.offline = !mints(grant) && wants_offline(settled.profile, found->server);
    if (settled.offline && !settled.profile.authorization.offline_access.scope.empty())
        terms.scopes = united(terms.scopes, {settled.profile.authorization.offline_access.scope});
    if (before && before->claims && !before->claims->met) settled.claims = before->claims->claims;
    settled.server = std::move(found->server);
    co_return settled;
}

base::Status check_pin(const ProviderProfile& profile, const vault::ConnectWish& wish, bool has_proof) {
    if (profile.endpoints_from == EndpointsFrom::profile || profile.endpoints_from == EndpointsFrom::issuer) {
        if (!wish.issuer || *wish.issuer == profile.issuer) return {};
        return base::failure(
            ErrorKind::invalid_request, "connect.issuer_contradicts_provider",
            "issuer: is another than that of the provider '" + profile.name + "', " + profile.issuer + ".",
            "Leave issuer out, or choose another provider.");
    }
    const auto grant = grant_named(wish.grant);
    const bool needed = has_proof || (grant && mints(*grant));
    if (!needed || wish.issuer) return {};
    return base::failure(ErrorKind::invalid_request, "connect.issuer_needed",
                         "issuer: is required, because the client proves itself, and an MCP server can name "
                         "any authorization server as its own.",
                         "Give the issuer at which the client is registered, exactly as it calls itself.");
}

vault::Refresh refresh_block(const vault::ConnectWish& wish, const vault::ConnectTerms& terms,
                             const ProviderProfile& profile) {
    vault::Refresh refresh;
    refresh.token_endpoint =
        profile.endpoints.refresh.empty() ? terms.token_endpoint : profile.endpoints.refresh;
    refresh.client_id = terms.client_id;
    if (!terms.scopes.empty()) refresh.scope = join_scopes(terms.scopes);
    if (!terms.resource.empty()) refresh.resource = terms.resource;
    refresh.auth = terms.client_auth;
    if (const auto grant = grant_named(wish.grant); grant && mints(*grant)) {
        refresh.token_endpoint = terms.token_endpoint;
        refresh.grant = wish.grant;
    }
    if (!wish.variables.empty()) refresh.variables = wish.variables;
    refresh.client_from = terms.client_from;
    if (!wish.subject.empty()) refresh.subject = wish.subject;
    if (!wish.key_id.empty()) refresh.key_id = wish.key_id;
    refresh.exchange = wish.exchange;
    refresh.bound_to = terms.bound_to;
    return refresh;
}

}  // namespace claviger::oauth
