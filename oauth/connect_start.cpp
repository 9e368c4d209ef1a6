#include "oauth/connect_start.h"

#include "base/bytes.h"
#include "base/log.h"
#include "oauth/connect_secrets.h"
#include "oauth/grant_client.h"
#include "oauth/json_document.h"
#include "oauth/pkce.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using vault::ConnectState;

/// What goes with the person, and what stays here to recognise them by.
struct Tickets {
    PkcePair pkce = make_pkce_pair();
    State state = make_state();
    State browser = make_state();
};

std::unexpected<base::Error> ended() {
    return base::failure(ErrorKind::conflict, "connect.ended",
                         "This connect link was used, taken away, or has expired.",
                         "Ask whoever sent it to you for a new one.");
}

std::string text_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

/// The parameters of the authorization request (RFC 6749 4.1.1, 7636, 8707).
RequestFields parameters_of(const Negotiated& settled, const Tickets& tickets, const crypto::Secret& state) {
    const auto& rule = settled.profile.authorization;
    const auto& terms = settled.terms;
    RequestFields fields;
    fields.add("response_type", "code")
        .add("client_id", terms.client_id)
        .add("redirect_uri", terms.redirect_uri)
        .add("state", state)
        .add(rule.scope_parameter, join_scopes(terms.scopes, rule.scope_separator))
        .add("resource", terms.resource);
    if (rule.pkce == PkceUse::s256)
        fields.add("code_challenge", tickets.pkce.challenge).add("code_challenge_method", "S256");
    if (contains_all(terms.scopes, {"openid"}))
        fields.add("nonce", base::to_hex(crypto::view(tickets.state.digest)));
    for (const auto& [name, value] : rule.parameters) fields.add(name, value);
    if (settled.offline)
        for (const auto& [name, value] : rule.offline_access.parameters)
            if (!fields.has(name)) fields.add(name, value);
    return fields;
}

std::string with_query(const std::string& endpoint, const RequestFields& fields) {
    return endpoint + (endpoint.find('?') == std::string::npos ? "?" : "&") + text_of(fields.form());
}

/// RFC 9126: the parameters go ahead, and the browser carries only a name for them.
net::awaitable<base::Result<std::string>> pushed(const Outbound& out, const Negotiated& settled,
                                                 RequestFields fields) {
    const auto& terms = settled.terms;
    auto block = vault::Refresh();
    block.token_endpoint = terms.token_endpoint;
    block.client_id = terms.client_id;
    block.auth = terms.client_auth;
    const auto client = client_of(block, settled.client_secret ? &*settled.client_secret : nullptr,
                                  settled.profile, terms.issuer);
    if (!client) co_return std::unexpected(client.error());
    auto request = authenticated(std::move(fields), client->identity, BodyFormat::form, out.clock.now());
    if (!request) co_return std::unexpected(std::move(request).error());
    const auto answer = co_await ask(out, {.method = "POST",
                                           .url = settled.server.pushed_authorization_request_endpoint,
                                           .payload = &*request,
                                           .timeout = std::chrono::seconds(15)});
    if (!answer.complete() || answer.status >= 500 || answer.status == 429)
        co_return base::failure(ErrorKind::unavailable, "connect.push_failed",
                                "The authorization server did not take the request in advance.",
                                "Try again later.", answer.error.detail);
    const auto document = parse_object(answer.body);
    const auto name = document ? string_in(*document, "request_uri") : std::nullopt;
    if (answer.status >= 300 || !name)
        co_return base::failure(
            ErrorKind::invalid_request, "connect.push_refused",
            "The authorization server refused the request that it wants in advance.",
            "Check the client and the scopes.",
            document ? scrubbed(string_in(*document, "error_description").value_or("")) : std::string());
    RequestFields short_form;
    short_form.add("client_id", terms.client_id).add("request_uri", *name);
    co_return with_query(settled.server.authorization_endpoint, short_form);
}

/// The flow as it is after the click. On the commit thread.
base::Status store_start(const ConnectWorld& world, vault::Change& change, const base::ConnectLinkId& id,
                         const Negotiated& settled, const Tickets& tickets) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    if (!found || !is_open(*found, change.now())) return ended();
    auto flow = *found;
    auto secrets = open_secrets(world.records.keys(), flow.id.raw, flow.secrets);
    if (!secrets) return std::unexpected(std::move(secrets).error());
    // The client of the terms, which may be another than the one of the wish; kept for the exchange.
    ConnectSecrets kept;
    if (settled.client_secret)
        kept.client_secret = settled.client_secret->expose(
            [](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); });
    kept.verifier = tickets.pkce.verifier.expose(
        [](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); });
    if (settled.key) kept.dpop_key = settled.key->exported();
    flow.secrets = seal_secrets(world.records.keys(), flow.id.raw, kept);
    flow.terms = settled.terms;
    flow.state = ConnectState::started;
    flow.starts += 1;
    flow.state_digest = tickets.state.digest;
    flow.browser = tickets.browser.digest;
    flow.step_until = change.now() + kStepTakes;
    flow.problem.reset();
    flow.updated = change.now();
    change.note(vault::EntryKind::grant, vault::Action::start, vault::ObjectKind::connect_link, flow.id.raw,
                flow.vault.raw);
    return change.store(std::move(flow));
}

}  // namespace

net::awaitable<std::unexpected<base::Error>> stumble(const ConnectWorld& world, net::Worker& worker,
                                                     const vault::Actor& actor, base::ConnectLinkId id,
                                                     base::Error error) {
    base::log(base::LogLevel::warning, "connect.stumbled",
              {{"connect_link", id.text()}, {"code", error.code}, {"detail", error.detail}});
    if (error.kind != ErrorKind::unavailable && error.kind != ErrorKind::conflict) {
        const auto closed =
            co_await close_flow(world, worker, actor, id, problem_of(error), "connect.discovery");
        if (!closed) base::log_error("connect.not_closed", closed.error());
        co_return std::unexpected(std::move(error));
    }
    const auto noted =
        co_await commit(worker, world.records, actor, [&](vault::Change& change) -> base::Status {
            const auto found = change.catalog().find<vault::ConnectFlow>(id);
            if (!found || !is_open(*found, change.now())) return {};
            auto flow = *found;
            flow.problem = problem_of(error);
            flow.updated = change.now();
            change.note_failure(vault::EntryKind::grant, vault::Action::start,
                                vault::ObjectKind::connect_link, flow.id.raw, flow.vault.raw,
                                "connect.discovery");
            return change.store(std::move(flow));
        });
    if (!noted) base::log_error("connect.not_noted", noted.error());
    co_return std::unexpected(std::move(error));
}

net::awaitable<base::Result<Departure>> depart(const ConnectWorld& world, const Outbound& out,
                                               const vault::Actor& actor, base::ConnectLinkId id) {
    const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
    if (!flow || !is_open(*flow, out.clock.now())) co_return ended();
    if (flow->starts >= kMostStarts)
        co_return base::failure(ErrorKind::conflict, "connect.too_many_starts",
                                "This link was started too often without anybody coming back.",
                                "Ask whoever sent it to you for a new one.");
    auto settled = co_await negotiate(world, out, actor, *flow);
    if (!settled) co_return co_await stumble(world, out.worker, actor, id, std::move(settled).error());

    const Tickets tickets;
    const auto state = two_halves(id, tickets.state.text);
    auto fields = parameters_of(*settled, tickets, state);
    std::string location;
    if (settled->server.require_pushed_authorization_requests &&
        !settled->server.pushed_authorization_request_endpoint.empty()) {
        auto short_form = co_await pushed(out, *settled, std::move(fields));
        if (!short_form)
            co_return co_await stumble(world, out.worker, actor, id, std::move(short_form).error());
        location = std::move(*short_form);
    } else {
        if (auto good = fields.check(BodyFormat::form); !good)
            co_return co_await stumble(world, out.worker, actor, id, std::move(good).error());
        location = with_query(settled->server.authorization_endpoint, fields);
    }
    const auto stored =
        co_await commit(out.worker, world.records, actor, [&](vault::Change& change) -> base::Status {
            return store_start(world, change, id, *settled, tickets);
        });
    if (!stored) co_return std::unexpected(stored.error());
    co_return Departure{std::move(location),
                        tickets.browser.text.expose(
                            [](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); })};
}

}  // namespace claviger::oauth
