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
        .add("resource", terms.resource)
        .add("claims", settled.claims);
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
                         std::uint64_t number, const Negotiated& settled, const Tickets& tickets) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    if (!found || !is_open(*found, change.now()) || found->starts != number) return ended();
    auto flow = *found;
    // The client of the terms, which may be another than the one of the wish; kept for the exchange.
    ConnectSecrets kept;
    kept.client_secret = crypto::Secret::copy_of(settled.client_secret);
    kept.verifier = crypto::Secret::copy_of(tickets.pkce.verifier);
    if (settled.key) kept.dpop_key = settled.key->exported();
    flow.secrets = seal_secrets(world.records.keys(), flow.id.raw, kept);
    flow.terms = settled.terms;
    flow.state = ConnectState::started;
    flow.starting_until.reset();
    flow.state_digest = tickets.state.digest;
    flow.browser = tickets.browser.digest;
    flow.step_until = change.now() + kStepTakes;
    flow.problem.reset();
    flow.updated = change.now();
    change.note(vault::EntryKind::grant, vault::Action::start, vault::ObjectKind::connect_link, flow.id.raw,
                flow.vault.raw);
    return change.store(std::move(flow));
}

std::unexpected<base::Error> too_many_starts() {
    return base::failure(
        ErrorKind::conflict, "connect.too_many_starts",
        "This link was started " + std::to_string(kMostStarts) + " times without anything being connected.",
        "Ask whoever sent it to you for a new one.");
}

/// A start that ends later than any start takes began before the clock was put back, and is over.
bool is_being_started(const vault::ConnectFlow& flow, base::Time now) {
    return flow.starting_until && now < *flow.starting_until && *flow.starting_until <= now + kStartTakes;
}

/// Counts a start before anything is asked for it, so that a link can neither be started for ever nor several
/// times at once. `now`: by the wall clock, which may have been put back. `number` becomes the start's. On
/// the commit thread.
base::Status reserve_start(vault::Change& change, base::Time now, const base::ConnectLinkId& id,
                           std::uint64_t& number) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    if (!found || !is_open(*found, change.now())) return ended();
    if (is_being_started(*found, now))
        return base::failure(ErrorKind::conflict, "connect.starting", "This link is being started already.",
                             "Wait a moment; if no page of the provider appears, open the link once more.");
    if (found->starts >= kMostStarts) return too_many_starts();
    auto flow = *found;
    number = ++flow.starts;
    flow.starting_until = now + kStartTakes;
    flow.updated = change.now();
    change.note(vault::EntryKind::grant, vault::Action::update, vault::ObjectKind::connect_link, flow.id.raw,
                flow.vault.raw);
    return change.store(std::move(flow));
}

/// A button that is pressed twice is answered twice: the second time when the first is done, or takes long.
net::awaitable<void> other_start_is_over(const ConnectWorld& world, const Outbound& out,
                                         base::ConnectLinkId id) {
    constexpr std::chrono::milliseconds kLook{200};
    constexpr int kLooks = 25;
    for (int look = 0; look < kLooks; ++look) {
        const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
        if (!flow || !is_being_started(*flow, out.clock.now())) co_return;
        co_await pause(out.worker, kLook);
    }
}

/// The start came to nothing: the last one that a link has, or trouble that stays, closes it. On the commit
/// thread.
base::Status store_stumble(const ConnectWorld& world, vault::Change& change, const base::ConnectLinkId& id,
                           std::uint64_t number, const base::Error& error) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    // Somebody who went to the provider by an earlier start may be back: what they do is not ours to end.
    if (!found || !is_unspent(*found) || found->starts != number) return {};
    const bool may_pass = error.kind == ErrorKind::unavailable || error.kind == ErrorKind::conflict;
    if (!may_pass) return store_failure(world, change, *found, problem_of(error), "connect.discovery");
    const bool nobody_left = found->state == ConnectState::waiting;
    if (number >= kMostStarts && nobody_left) {
        auto problem = problem_of(too_many_starts().error());
        problem.message += " The last time: " + error.message;
        return store_failure(world, change, *found, std::move(problem), "connect.discovery");
    }
    auto flow = *found;
    flow.problem = problem_of(error);
    flow.starting_until.reset();
    flow.updated = change.now();
    change.note_failure(vault::EntryKind::grant, vault::Action::start, vault::ObjectKind::connect_link,
                        flow.id.raw, flow.vault.raw, "connect.discovery");
    return change.store(std::move(flow));
}

/// After a failure of a step below. Gives the error back.
net::awaitable<std::unexpected<base::Error>> stumble(const ConnectWorld& world, net::Worker& worker,
                                                     const vault::Actor& actor, base::ConnectLinkId id,
                                                     std::uint64_t number, base::Error error) {
    base::log(base::LogLevel::warning, "connect.stumbled",
              {{"connect_link", id.text()}, {"code", error.code}, {"detail", error.detail}});
    const auto noted = co_await commit(worker, world.records, actor, [&](vault::Change& change) {
        return store_stumble(world, change, id, number, error);
    });
    if (!noted) base::log_error("connect.not_noted", noted.error());
    co_return std::unexpected(std::move(error));
}

}  // namespace

net::awaitable<base::Result<Departure>> depart(const ConnectWorld& world, const Outbound& out,
                                               const vault::Actor& actor, base::ConnectLinkId id) {
    co_await other_start_is_over(world, out, id);
    std::uint64_t number = 0;
    const auto reserved = co_await commit(out.worker, world.records, actor, [&](vault::Change& change) {
        return reserve_start(change, world.records.clock().now(), id, number);
    });
    if (!reserved) co_return std::unexpected(reserved.error());
    const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
    if (!flow) co_return ended();
    auto settled = co_await negotiate(world, out, actor, *flow);
    if (!settled)
        co_return co_await stumble(world, out.worker, actor, id, number, std::move(settled).error());

    const Tickets tickets;
    const auto state = two_halves(id, tickets.state.text);
    auto fields = parameters_of(*settled, tickets, state);
    std::string location;
    if (settled->server.require_pushed_authorization_requests &&
        !settled->server.pushed_authorization_request_endpoint.empty()) {
        auto short_form = co_await pushed(out, *settled, std::move(fields));
        if (!short_form)
            co_return co_await stumble(world, out.worker, actor, id, number, std::move(short_form).error());
        location = std::move(*short_form);
    } else {
        if (auto good = fields.check(BodyFormat::form); !good)
            co_return co_await stumble(world, out.worker, actor, id, number, std::move(good).error());
        location = with_query(settled->server.authorization_endpoint, fields);
    }
    const auto stored =
        co_await commit(out.worker, world.records, actor, [&](vault::Change& change) -> base::Status {
            return store_start(world, change, id, number, *settled, tickets);
        });
    if (!stored) co_return std::unexpected(stored.error());
    co_return Departure{std::move(location), crypto::Secret::copy_of(tickets.browser.text)};
}

}  // namespace claviger::oauth
