#include "admin/api/oauth_clients.h"

#include "admin/api/fields.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "crypto/random.h"
#include "oauth/connect_secrets.h"
#include "oauth/web_url.h"

#include <nlohmann/json.hpp>

#include <array>

namespace claviger::admin::api {

template <>
inline constexpr Noun kNoun<vault::OauthClient>{"OAuth client", "oauth_client.not_found"};

namespace {

using base::ErrorKind;
using vault::Action;
using vault::EntryKind;
using vault::ObjectKind;
using vault::TokenEndpointAuth;

constexpr std::size_t kClientSecret = 512, kPrivateKey = 16 * 1024;

Json shown_client(const vault::OauthClient& client) {
    return {{"id", client.id.text()},
            {"type", "oauth_client"},
            {"issuer", client.issuer},
            {"client_id", client.client_id},
            {"token_endpoint_auth_method", vault::name_of(client.auth)},
            {"source", client.dynamic ? "dynamic" : "registered"},
            {"has_secret", !client.secrets.empty()},
            {"client_secret_expires_at", shown(client.secret_expires)},
            {"created_at", shown(client.created)}};
}

void read_proof(Fields& in, vault::OauthClient& client, oauth::ConnectSecrets& secrets) {
    constexpr std::array methods{TokenEndpointAuth::none, TokenEndpointAuth::client_secret_basic,
                                 TokenEndpointAuth::client_secret_post, TokenEndpointAuth::private_key_jwt,
                                 TokenEndpointAuth::secret_as_user_name};
    auto secret = in.secret_if_any("client_secret", kClientSecret, SecretForm::any_text);
    auto key = in.secret_if_any("private_key", kPrivateKey, SecretForm::any_text);
    client.auth = key      ? TokenEndpointAuth::private_key_jwt
                  : secret ? TokenEndpointAuth::client_secret_basic
                           : TokenEndpointAuth::none;
    if (in.has_value("token_endpoint_auth_method")) {
        std::vector<std::string_view> words;
        for (const auto method : methods) words.push_back(vault::name_of(method));
        client.auth = methods[in.word("token_endpoint_auth_method", words)];
    }
    const bool needs_key = client.auth == TokenEndpointAuth::private_key_jwt;
    const bool needs_secret = client.auth != TokenEndpointAuth::none && !needs_key;
    if (needs_key != key.has_value())
        in.refuse("private_key", "belongs to token_endpoint_auth_method private_key_jwt, and to no other");
    if (needs_secret != secret.has_value())
        in.refuse("client_secret", "must be given exactly when token_endpoint_auth_method uses one");
    secrets.client_secret = key ? std::move(key) : std::move(secret);
}

}  // namespace

net::awaitable<Answered> create_oauth_client(Call& call) {
    vault::OauthClient client;
    oauth::ConnectSecrets secrets;
    Fields in(call.body);
    client.issuer = in.text("issuer", {1, 2'047});
    const auto loopback = call.settings.private_upstreams == net::PrivateAddresses::allow
                              ? oauth::PlainLoopback::allow
                              : oauth::PlainLoopback::refuse;
    if (!oauth::parse_secure_url(client.issuer, loopback))
        in.refuse("issuer", "must be the https URL by which the authorization server calls itself");
    client.client_id = in.text("client_id", {1, 1'024});
    read_proof(in, client, secrets);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    client.id = crypto::random_id<base::OauthClientId>();
    client.workspace = call.workspace();
    client.secrets = oauth::seal_secrets(call.records.keys(), client.id.raw, secrets);
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto same = change.catalog().page<vault::OauthClient>(
            {.scope = client.workspace.raw, .after = {}, .limit = 1, .wanted = [&](const auto& other) {
                 return !other.dynamic && other.issuer == client.issuer;
             }});
        if (!same.empty())
            return base::failure(ErrorKind::conflict, "oauth_client.duplicate",
                                 "There is a client for this issuer already: " + same.front()->id.text(),
                                 "Delete it first.");
        client.created = client.updated = change.now();
        change.note(EntryKind::write, Action::create, ObjectKind::oauth_client, client.id.raw);
        return change.store(client);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown_client(client));
}

net::awaitable<Answered> list_oauth_clients(Call& call) {
    const auto page = page_of<vault::OauthClient>(call, {.name = {"oauth_clients", call.workspace().raw}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& client : page->objects) data.push_back(shown_client(*client));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> delete_oauth_client(Call& call) {
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::OauthClient>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        change.note(EntryKind::write, Action::erase, ObjectKind::oauth_client, (*found)->id.raw);
        return change.erase(**found);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer({{"id", call.ids[0]}, {"type", "oauth_client_deleted"}});
}

}  // namespace claviger::admin::api
