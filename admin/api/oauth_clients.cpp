#include "admin/api/oauth_clients.h"

#include "admin/api/client_fields.h"
#include "admin/api/page.h"
#include "admin/api/shown.h"
#include "crypto/random.h"
#include "oauth/connect_secrets.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {

template <>
inline constexpr Noun kNoun<vault::OauthClient>{"OAuth client", "oauth_client.not_found"};

namespace {

using base::ErrorKind;
using vault::Action;
using vault::EntryKind;
using vault::ObjectKind;

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

}  // namespace

net::awaitable<Answered> create_oauth_client(Call& call) {
    vault::OauthClient client;
    oauth::ConnectSecrets secrets;
    Fields in(call.body);
    client.issuer = read_issuer(in, call.settings);
    client.client_id = in.text("client_id", {1, 1'024});
    auto proof = read_proof(in);
    client.auth = proof.method.value_or(proof.usual_method());
    secrets.client_secret = std::move(proof.secret);
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
