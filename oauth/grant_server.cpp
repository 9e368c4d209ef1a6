#include "oauth/grant_server.h"

#include "oauth/grant_client.h"
#include "oauth/refresh_commit.h"
#include "oauth/web_url.h"

#include <string>
#include <utility>

namespace claviger::oauth {

ProviderProfile filled_profile(const ProviderCatalog& providers, const vault::Credential& credential,
                               const StoredGrant& grant) {
    auto profile = profile_of(providers, credential, grant);
    if (!credential.refresh || !credential.refresh->variables) return profile;
    const WordMap values(credential.refresh->variables->begin(), credential.refresh->variables->end());
    auto filled = with_variables(profile, values);
    return filled ? std::move(*filled) : profile;
}

net::awaitable<base::Result<AuthorizationServer>> server_of(const Outbound& out,
                                                            const vault::Credential& credential,
                                                            const StoredGrant& grant) {
    const auto& refresh = *credential.refresh;
    auto issuer = grant.issuer;
    if (issuer.empty())
        if (const auto url = parse_web_url(refresh.token_endpoint)) issuer = url->origin();
    auto server = co_await find_authorization_server(out, issuer, IssuerMatch::exact);
    if (!server) co_return server;
    if (shows_certificate(method_of(refresh.auth))) use_mtls_aliases(*server);
    if (server->token_endpoint != refresh.token_endpoint)
        co_return base::failure(base::ErrorKind::denied, "grant.other_server",
                                "The metadata of the authorization server name another token endpoint than "
                                "the one that this credential's tokens come from.");
    co_return server;
}

}  // namespace claviger::oauth
