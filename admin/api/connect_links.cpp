#include "admin/api/connect_links.h"

#include "admin/api/client_fields.h"
#include "admin/api/credential_fields.h"
#include "admin/api/credentials.h"
#include "admin/api/exchange_fields.h"
#include "admin/api/page.h"
#include "admin/api/routes.h"
#include "admin/api/shown.h"
#include "crypto/random.h"
#include "oauth/connect_device.h"
#include "oauth/connect_secrets.h"
#include "oauth/connect_terms.h"
#include "oauth/connect_unattended.h"
#include "oauth/mint.h"
#include "oauth/pkce.h"
#include "oauth/stored_grant.h"
#include "policy/server_url.h"

#include <nlohmann/json.hpp>

#include <array>

namespace claviger::admin::api {

template <>
inline constexpr Noun kNoun<vault::ConnectFlow>{"Connect link", "connect_link.not_found"};

namespace {

using base::ErrorKind;
using oauth::GrantType;
using vault::Action;
using vault::EntryKind;
using vault::ObjectKind;

constexpr std::size_t kMostLinks = 100, kMostScopes = 100;
constexpr std::uint64_t kShortestLife = 60, kUsualLife = 3'600, kLongestLife = 86'400;
constexpr std::array kGrants{GrantType::authorization_code,
                             GrantType::device_code,
                             GrantType::client_credentials,
                             GrantType::github_installation,
                             GrantType::google_service_account,
                             GrantType::token_exchange,
                             GrantType::id_jag,
                             GrantType::jwt_bearer};

Json shown_problem(const vault::ConnectFlow& flow, std::string_view status) {
    auto problem = flow.problem;
    if (!problem && status == "failed") problem = oauth::outcome_unknown();  // nobody lived to say why
    if (problem) return {{"code", problem->code}, {"message", problem->message}, {"hint", problem->hint}};
    return nullptr;
}

/// Whoever has the code of a device can connect an account of their own with it.
Json shown_link(const Call& call, const vault::ConnectFlow& flow) {
    const auto now = call.records.clock().now();
    const bool may_connect = may(call.key.role, Access::write_objects);
    const auto status = oauth::status_of(flow, now);
    const auto& credential = flow.credential ? flow.credential : flow.wish.credential;
    const bool device = flow.device && status == "started" && may_connect;
    return {{"id", flow.id.text()},
            {"type", "connect_link"},
            {"vault_id", flow.vault.text()},
            {"credential_id", credential ? Json(credential->text()) : Json(nullptr)},
            {"server_url", flow.wish.server_url},
            {"provider", flow.wish.provider.empty() ? Json(nullptr) : Json(flow.wish.provider)},
            {"grant", flow.wish.grant},
            {"scopes", flow.terms ? flow.terms->scopes : flow.wish.scopes},
            {"issuer", flow.terms         ? Json(flow.terms->issuer)
                       : flow.wish.issuer ? Json(*flow.wish.issuer)
                                          : Json(nullptr)},
            {"status", status},
            {"problem", shown_problem(flow, status)},
            {"user_code", device ? Json(flow.device->user_code) : Json(nullptr)},
            {"verification_uri", device ? Json(flow.device->verification_uri_complete.empty()
                                                   ? flow.device->verification_uri
                                                   : flow.device->verification_uri_complete)
                                        : Json(nullptr)},
            {"created_at", shown(flow.created)},
            {"updated_at", shown(flow.updated)},
            {"expires_at", shown(flow.expires)}};
}

struct NewLink {
    vault::ConnectFlow flow;
    oauth::ConnectSecrets secrets;
    std::string credential_id;  // as given; empty: none
};

void read_client(Fields& in, NewLink& made) {
    if (!in.has_value("client")) return;
    auto given = in.object("client");
    auto& wish = made.flow.wish;
    wish.client_id = given.text("client_id", {1, 1'024});
    auto proof = read_proof(given);
    wish.key_id = given.text_if_any("key_id", {1, 255}).value_or("");
    wish.subject = given.text_if_any("subject", {1, 255}).value_or("");
    if (proof.method) wish.client_auth = vault::name_of(*proof.method);
    made.secrets.client_secret = std::move(proof.secret);
}

NewLink read_link(Call& call) {
    NewLink made;
    auto& wish = made.flow.wish;
    Fields in(call.body);
    made.credential_id = in.text_if_any("credential_id", {1, 64}).value_or("");
    if (in.has_value("server_url"))
        wish.server_url = read_server_url(in, "server_url", call.settings, wish.normal_url);
    wish.provider = in.text_if_any("provider", {1, 64}).value_or("");
    if (in.has_value("variables")) in.update_metadata("variables", wish.variables, MetadataIs::whole);
    wish.display_name = in.text_if_any("display_name", {0, 255});
    in.update_metadata("metadata", wish.metadata, MetadataIs::whole);
    wish.scopes = in.texts("scopes", kMostScopes, {1, 512});
    for (const auto& scope : wish.scopes)
        if (scope.find(' ') != std::string::npos)
            in.refuse("scopes", "must hold one scope each, without spaces");
    std::vector<std::string_view> words;
    for (const auto grant : kGrants) words.push_back(oauth::word_of(grant));
    wish.grant = in.has_value("grant") ? words[in.word("grant", words)] : words.front();
    read_client(in, made);
    wish.exchange = read_exchange(in, *oauth::grant_named(wish.grant), made.secrets);
    if (in.has_value("issuer")) wish.issuer = read_issuer(in, call.settings);
    wish.other_account = in.flag("allow_other_account", false);
    const auto life = in.number_if_any("expires_in", kShortestLife, kLongestLife).value_or(kUsualLife);
    made.flow.expires = call.records.clock().now() + std::chrono::seconds(life);
    return made;
}

/// The server that is meant, where the wish leaves it open.
base::Status complete_server(const Call& call, const vault::Vault& vault, NewLink& made) {
    auto& wish = made.flow.wish;
    if (!made.credential_id.empty()) {
        const auto found = find<vault::Credential>(call.catalog(), call.workspace(), made.credential_id);
        if (!found) return std::unexpected(found.error());
        const auto& credential = **found;
        if (credential.vault != vault.id)
            return base::failure(
                ErrorKind::not_found, "credential.not_found",
                "Credential not found in vault " + vault.id.text() + ": " + made.credential_id);
        if (credential.type != vault::AuthType::mcp_oauth || credential.archived)
            return base::failure(ErrorKind::invalid_request, "credential.not_oauth",
                                 "Credential " + made.credential_id + " is " +
                                     (credential.archived ? "archived" : "not of type mcp_oauth") +
                                     " and cannot be connected anew.",
                                 "Leave credential_id out to connect a new one.");
        if (!wish.normal_url.empty() && wish.normal_url != credential.normal_url)
            return base::failure(ErrorKind::invalid_request, "request.invalid",
                                 "server_url: is another server than the credential's.",
                                 "Leave server_url out when credential_id is given.");
        wish.credential = credential.id;
        wish.server_url = credential.mcp_server_url;
        wish.normal_url = credential.normal_url;
        return {};
    }
    if (!wish.server_url.empty()) return {};
    const auto* profile = wish.provider.empty() ? nullptr : call.connect->providers.find(wish.provider);
    if (profile == nullptr || profile->server_urls.size() != 1)
        return base::failure(
            ErrorKind::invalid_request, "request.invalid",
            wish.provider.empty()
                ? "server_url: is required, unless provider or credential_id tell the server."
                : "server_url: is required, because the provider does not tell one server.",
            "Give the address of the MCP server that the agents will call.");
    const auto url = policy::parse_server_url(profile->server_urls.front());
    if (!url) return std::unexpected(url.error());
    wish.server_url = profile->server_urls.front();
    wish.normal_url = url->normal;
    return {};
}

/// The profile exists, and with the wish it says where the client's proof may go. A credential that is
/// connected anew without a person stays with the authorization server that it has.
base::Status check_provider(const Call& call, NewLink& made) {
    auto& wish = made.flow.wish;
    const auto profile = oauth::profile_of(*call.connect, wish);
    if (!profile) {
        auto error = profile.error();
        error.kind = ErrorKind::invalid_request;
        return std::unexpected(std::move(error));
    }
    const auto before = wish.credential ? call.catalog().find<vault::Credential>(*wish.credential) : nullptr;
    const auto grant = before ? oauth::grant_of(call.catalog(), *before)
                              : base::Result<oauth::StoredGrant>(oauth::StoredGrant{});
    const bool has_proof = made.secrets.client_secret.has_value();
    if (!wish.issuer && !has_proof && before && grant && !grant->issuer.empty() &&
        oauth::mints(*oauth::grant_named(wish.grant)))
        wish.issuer = grant->issuer;
    if (profile->authorization.code_delivery == oauth::CodeDelivery::webhook &&
        wish.grant == oauth::word_of(GrantType::authorization_code))
        return base::failure(ErrorKind::invalid_request, "connect.grant_unsupported",
                             "provider: '" + profile->name +
                                 "' sends its codes to a webhook of the client, not back with the person.",
                             "Store the tokens with POST /v1/vaults/{id}/credentials instead.");
    return oauth::check_pin(*profile, wish, has_proof);
}

/// Forgets what ended long ago; then there must be room.
base::Status make_room(vault::Change& change, const base::VaultId& vault) {
    const auto flows = change.catalog().page<vault::ConnectFlow>(
        {.scope = vault.raw, .after = {}, .limit = 10 * kMostLinks, .wanted = {}});
    std::size_t left = flows.size();
    for (const auto& flow : flows) {
        if (!oauth::is_forgettable(*flow, change.now())) continue;
        if (auto erased = change.erase(*flow); !erased) return erased;
        --left;
    }
    if (left < kMostLinks) return {};
    return base::failure(ErrorKind::invalid_request, "connect_link.too_many",
                         "Vault " + vault.text() + " has " + std::to_string(kMostLinks) +
                             " connect links, which is the most it can have.",
                         "Delete some of them.");
}

base::Status store_link(Call& call, vault::Change& change, vault::ConnectFlow& flow) {
    const auto holder = find<vault::Vault>(change.catalog(), call.workspace(), call.ids[0]);
    if (!holder) return std::unexpected(holder.error());
    if ((*holder)->archived)
        return base::failure(ErrorKind::invalid_request, "vault.archived",
                             "Vault " + call.ids[0] + " is archived and takes no credentials.");
    if (auto room = make_room(change, flow.vault); !room) return room;
    if (!flow.wish.credential) {
        vault::Credential planned;
        planned.vault = flow.vault;
        planned.type = vault::AuthType::mcp_oauth;
        planned.normal_url = flow.wish.normal_url;
        auto room = check_room(change.catalog(), planned);
        if (!room && room.error().code == "credential.duplicate")
            room.error().hint = "To connect that credential anew, give its credential_id.";
        if (!room) return room;
    }
    flow.created = flow.updated = change.now();
    change.note(EntryKind::write, Action::create, ObjectKind::connect_link, flow.id.raw, flow.vault.raw);
    return change.store(flow);
}

base::Result<vault::Ref<vault::ConnectFlow>> find_link(const Call& call, const vault::Catalog& catalog) {
    const auto vault = find<vault::Vault>(catalog, call.workspace(), call.ids[0]);
    if (!vault) return std::unexpected(vault.error());
    auto flow = find<vault::ConnectFlow>(catalog, call.workspace(), call.ids[1]);
    if (flow && (*flow)->vault != (*vault)->id)
        return base::failure(ErrorKind::not_found, "connect_link.not_found",
                             "Connect link not found in vault " + call.ids[0] + ": " + call.ids[1]);
    return flow;
}

crypto::Secret url_of(const Call& call, const crypto::Secret& link) {
    const auto start = call.connect->own.public_url + "/connect/";
    return link.expose([&](std::span<const std::byte> text) {
        return crypto::Secret::filled(start.size() + text.size(), [&](std::span<std::byte> out) {
            std::memcpy(out.data(), start.data(), start.size());
            std::memcpy(out.data() + start.size(), text.data(), text.size());
        });
    });
}

/// What of it can be done without waiting for a person.
net::awaitable<base::Status> begin(Call& call, const vault::ConnectFlow& flow) {
    const auto out = oauth::outbound_of(*call.connect, call.worker, call.pool_of(call.worker), flow);
    const auto grant = oauth::grant_named(flow.wish.grant);
    if (grant == GrantType::device_code)
        co_return co_await oauth::begin_device(*call.connect, out, call.actor, flow.id);
    if (!grant || !oauth::mints(*grant)) co_return base::Status();
    const auto finished = co_await oauth::connect_unattended(*call.connect, out, call.actor, flow.id);
    co_return finished ? base::Status() : base::Status(std::unexpected(finished.error()));
}

}  // namespace

net::awaitable<Answered> create_connect_link(Call& call) {
    if (call.connect == nullptr)
        co_return base::failure(ErrorKind::unavailable, "connect.unavailable",
                                "This Claviger does not connect accounts.", "Store the tokens themselves.");
    const auto vault = find<vault::Vault>(call.catalog(), call.workspace(), call.ids[0]);
    if (!vault) co_return std::unexpected(vault.error());
    auto made = read_link(call);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    if (auto complete = complete_server(call, **vault, made); !complete)
        co_return std::unexpected(std::move(complete).error());
    if (made.flow.wish.exchange)
        if (auto fits = check_exchange(call, **vault, *made.flow.wish.exchange); !fits)
            co_return std::unexpected(std::move(fits).error());
    if (auto pinned = check_provider(call, made); !pinned)
        co_return std::unexpected(std::move(pinned).error());
    auto& flow = made.flow;
    const auto link = oauth::make_state();
    flow.id = crypto::random_id<base::ConnectLinkId>();
    flow.workspace = call.workspace();
    flow.vault = (*vault)->id;
    flow.link = link.digest;
    flow.secrets = oauth::seal_secrets(call.records.keys(), flow.id.raw, made.secrets);
    const auto stored = co_await change(
        call, [&](vault::Change& change) -> base::Status { return store_link(call, change, flow); });
    if (!stored) co_return std::unexpected(stored.error());
    if (auto begun = co_await begin(call, flow); !begun) co_return std::unexpected(std::move(begun).error());

    const auto current = call.catalog().find<vault::ConnectFlow>(flow.id);
    auto shown = answer(shown_link(call, current ? *current : flow));
    if (flow.wish.grant == oauth::word_of(GrantType::authorization_code)) {
        shown.shown_once = url_of(call, oauth::two_halves(flow.id, link.text));
        shown.shown_as = "url";
    }
    co_return shown;
}

net::awaitable<Answered> list_connect_links(Call& call) {
    const auto vault = find<vault::Vault>(call.catalog(), call.workspace(), call.ids[0]);
    if (!vault) co_return std::unexpected(vault.error());
    const auto page = page_of<vault::ConnectFlow>(call, {.name = {"connect_links", (*vault)->id.raw}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& flow : page->objects) data.push_back(shown_link(call, *flow));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> retrieve_connect_link(Call& call) {
    const auto flow = find_link(call, call.catalog());
    if (!flow) co_return std::unexpected(flow.error());
    co_return answer(shown_link(call, **flow));
}

net::awaitable<Answered> delete_connect_link(Call& call) {
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto flow = find_link(call, change.catalog());
        if (!flow) return std::unexpected(flow.error());
        change.note(EntryKind::write, Action::erase, ObjectKind::connect_link, (*flow)->id.raw,
                    (*flow)->vault.raw);
        return change.erase(**flow);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer({{"id", call.ids[1]}, {"type", "connect_link_deleted"}});
}

}  // namespace claviger::admin::api
