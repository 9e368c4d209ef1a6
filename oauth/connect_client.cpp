#include "oauth/connect_client.h"

#include "base/bytes.h"
#include "crypto/random.h"
#include "oauth/connect_secrets.h"
#include "oauth/mint.h"
#include "oauth/stored_grant.h"

#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;

bool has_pem(const crypto::Secret& secret, std::string_view begin) {
    return secret.expose([&](std::span<const std::byte> bytes) {
        return base::as_view(bytes).find(begin) != std::string_view::npos;
    });
}

base::Result<vault::TokenEndpointAuth> method_for(const ProviderProfile& profile,
                                                  const AuthorizationServer& server,
                                                  const std::optional<crypto::Secret>& secret,
                                                  std::optional<ClientAuthMethod> registered) {
    const bool certificate = secret && has_pem(*secret, "-----BEGIN CERTIFICATE-----");
    const bool key = secret && !certificate && has_pem(*secret, "-----BEGIN");
    MethodHints hints{.registered = registered,
                      .profile = profile.client.authentication,
                      .has_secret = secret && !key && !certificate,
                      .has_key = key,
                      .has_certificate = certificate};
    if (!server.token_endpoint_auth_methods_supported.empty())
        hints.advertised = server.token_endpoint_auth_methods_supported;
    const bool signs = key || (certificate && profile.client.key_hint == KeyHint::x5t_s256);
    if (signs && !registered) hints.registered = ClientAuthMethod::private_key_jwt;
    auto method = choose_client_auth(hints);
    if (!method) return std::unexpected(std::move(method).error());
    // A profile that expects a secret does not help a client that has none.
    if (!secret && *method != ClientAuthMethod::none) method = ClientAuthMethod::none;
    const auto auth = vault::token_endpoint_auth_from(name_of(*method));
    if (!auth)
        return base::failure(ErrorKind::invalid_request, "client_auth.no_method",
                             "The client would have to prove itself with " + std::string(name_of(*method)) +
                                 ", which the connect flow does not do.",
                             "Register the client with a secret or with private_key_jwt.");
    return *auth;
}

/// The client of the wish, of the credential before, or of the workspace; nothing when there is none.
base::Result<std::optional<ChosenClient>> registered_client(const ConnectWorld& world,
                                                            const vault::ConnectFlow& flow,
                                                            const ProviderProfile& profile,
                                                            const AuthorizationServer& server,
                                                            std::optional<ClientAuthMethod>& method) {
    const auto& records = world.records;
    const auto& catalog = records.catalog();
    if (!flow.wish.client_id.empty()) {
        auto secrets = open_secrets(records.keys(), flow.id.raw, flow.secrets);
        if (!secrets) return std::unexpected(std::move(secrets).error());
        method = client_auth_method_named(flow.wish.client_auth);
        return ChosenClient{.client_id = flow.wish.client_id, .secret = std::move(secrets->client_secret)};
    }
    if (const auto before =
            flow.wish.credential ? catalog.find<vault::Credential>(*flow.wish.credential) : nullptr;
        before && before->refresh && before->version != 0) {
        const auto& refresh = *before->refresh;
        const auto grant = grant_of(catalog, *before);
        // Where the issuer was never known, anybody's metadata could name the same token endpoint.
        const bool unknown_issuer = grant && grant->issuer.empty();
        if (unknown_issuer && refresh.auth != vault::TokenEndpointAuth::none && !flow.wish.issuer &&
            profile.endpoints_from == EndpointsFrom::server)
            return base::failure(ErrorKind::invalid_request, "connect.issuer_needed",
                                 "The credential has a client with a secret, but nobody has said yet whose "
                                 "client it is.",
                                 "Make a new link with `issuer`: the authorization server of that client.");
        const bool same_issuer = grant && (unknown_issuer ? refresh.token_endpoint == server.token_endpoint
                                                          : grant->issuer == server.issuer);
        if (same_issuer && refresh.client_from.value_or("registered") == "registered") {
            const auto current = records.current_secret(before->id);
            if (!current) return std::unexpected(current.error());
            auto parts = records.open_parts(current->sealed);
            if (!parts) return std::unexpected(std::move(parts).error());
            method = client_auth_method_named(vault::name_of(refresh.auth));
            return ChosenClient{.client_id = refresh.client_id, .secret = std::move(parts->client_secret)};
        }
    }
    const auto stored = catalog.page<vault::OauthClient>(
        {.scope = flow.workspace.raw, .after = {}, .limit = 1, .wanted = [&](const auto& client) {
             return !client.dynamic && client.issuer == server.issuer;
         }});
    if (stored.empty()) return std::nullopt;
    const auto& client = *stored.front();
    auto secrets = open_secrets(records.keys(), client.id.raw, client.secrets);
    if (!secrets) return std::unexpected(std::move(secrets).error());
    method = client_auth_method_named(vault::name_of(client.auth));
    return ChosenClient{
        .client_id = client.client_id, .secret = std::move(secrets->client_secret), .row = client.id};
}

/// What a client was registered with: clients for devices come back to no address.
std::string place_of(const ConnectWorld& world, GrantType grant) {
    return grant == GrantType::device_code ? std::string("device") : world.own.redirect_uri();
}

base::Result<std::optional<ChosenClient>> known_dynamic(const ConnectWorld& world,
                                                        const vault::ConnectFlow& flow,
                                                        const AuthorizationServer& server, GrantType grant) {
    const auto now = world.records.clock().now();
    const auto place = place_of(world, grant);
    const auto known = world.records.catalog().page<vault::OauthClient>(
        {.scope = flow.workspace.raw, .after = {}, .limit = 1, .wanted = [&](const auto& client) {
             return client.dynamic && client.issuer == server.issuer && client.redirect_uri == place &&
                    (!client.secret_expires || now + kStepTakes < *client.secret_expires);
         }});
    if (known.empty()) return std::nullopt;
    const auto& client = *known.front();
    auto secrets = open_secrets(world.records.keys(), client.id.raw, client.secrets);
    if (!secrets) return std::unexpected(std::move(secrets).error());
    return ChosenClient{.client_id = client.client_id,
                        .from = RegistrationWay::dynamic,
                        .auth = client.auth,
                        .secret = std::move(secrets->client_secret),
                        .row = client.id};
}

net::awaitable<base::Result<ChosenClient>> new_dynamic(const ConnectWorld& world, const Outbound& out,
                                                       const vault::Actor& actor,
                                                       const vault::ConnectFlow& flow,
                                                       const ProviderProfile& profile,
                                                       const AuthorizationServer& server, GrantType grant) {
    auto made = co_await register_client(out, server, world.own, grant);
    if (!made) co_return std::unexpected(std::move(made).error());
    const auto auth = method_for(profile, server, made->client_secret,
                                 client_auth_method_named(made->token_endpoint_auth_method));
    if (!auth) co_return std::unexpected(auth.error());

    vault::OauthClient row{.id = crypto::random_id<base::OauthClientId>(),
                           .workspace = flow.workspace,
                           .issuer = server.issuer,
                           .client_id = made->client_id,
                           .auth = *auth,
                           .dynamic = true,
                           .redirect_uri = place_of(world, grant),
                           .registration_uri = made->registration_client_uri,
                           .secrets = {},
                           .secret_expires = made->client_secret_expires_at};
    ConnectSecrets secrets{.client_secret = std::move(made->client_secret),
                           .registration_token = std::move(made->registration_access_token)};
    row.secrets = seal_secrets(world.records.keys(), row.id.raw, secrets);
    const auto stored =
        co_await commit(out.worker, world.records, actor, [&](vault::Change& change) -> base::Status {
            change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::oauth_client,
                        row.id.raw);
            return change.store(row);
        });
    if (!stored) co_return std::unexpected(stored.error());
    co_return ChosenClient{.client_id = row.client_id,
                           .from = RegistrationWay::dynamic,
                           .auth = *auth,
                           .secret = std::move(secrets.client_secret),
                           .row = row.id};
}

}  // namespace

std::string_view word_of(RegistrationWay way) {
    switch (way) {
        case RegistrationWay::registered:
            return "registered";
        case RegistrationWay::metadata_document:
            return "metadata_document";
        case RegistrationWay::dynamic:
            return "dynamic";
    }
    return "";
}

net::awaitable<base::Result<ChosenClient>> choose_client(const ConnectWorld& world, const Outbound& out,
                                                         const vault::Actor& actor,
                                                         const vault::ConnectFlow& flow,
                                                         const ProviderProfile& profile,
                                                         const AuthorizationServer& server) {
    const auto grant = grant_named(flow.wish.grant).value_or(GrantType::authorization_code);
    std::optional<ClientAuthMethod> method;
    auto registered = registered_client(world, flow, profile, server, method);
    if (!registered) co_return std::unexpected(std::move(registered).error());
    if (mints(grant) && !*registered)
        co_return base::failure(ErrorKind::invalid_request, "registration.no_way",
                                "This grant is the client's own, so the client must be given.",
                                "Give `client` with its client_id and its secret or private key, or store it "
                                "with POST /v1/oauth_clients.");
    const auto way = mints(grant) ? base::Result<RegistrationWay>(RegistrationWay::registered)
                                  : choose_registration(profile, server, registered->has_value(), world.own);
    if (!way) co_return std::unexpected(way.error());
    if (*way == RegistrationWay::registered) {
        auto& client = **registered;
        if (grant == GrantType::github_installation || grant == GrantType::google_service_account)
            co_return std::move(client);  // its assertion proves it
        const auto auth = method_for(profile, server, client.secret, method);
        if (!auth) co_return std::unexpected(auth.error());
        client.auth = *auth;
        co_return std::move(client);
    }
    if (*way == RegistrationWay::metadata_document)
        co_return ChosenClient{.client_id = world.own.document_url(),
                               .from = RegistrationWay::metadata_document};
    auto known = known_dynamic(world, flow, server, grant);
    if (!known) co_return std::unexpected(std::move(known).error());
    if (*known) co_return std::move(**known);
    co_return co_await new_dynamic(world, out, actor, flow, profile, server, grant);
}

base::Status forget_client(vault::Change& change, const base::OauthClientId& id) {
    const auto client = change.catalog().find<vault::OauthClient>(id);
    if (!client || !client->dynamic) return {};
    change.note(vault::EntryKind::write, vault::Action::erase, vault::ObjectKind::oauth_client, id.raw);
    return change.erase(*client);
}

}  // namespace claviger::oauth
