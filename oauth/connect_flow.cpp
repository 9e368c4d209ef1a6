#include "oauth/connect_flow.h"

#include "base/bytes.h"
#include "notify/event.h"
#include "oauth/grant_event.h"
#include "oauth/pkce.h"
#include "oauth/stored_grant.h"

#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using vault::ConnectState;

struct Halves {
    vault::Ref<vault::ConnectFlow> flow;
    std::string_view secret;
};

Halves cut(const vault::Catalog& catalog, std::string_view text) {
    const auto dot = text.find('.');
    if (dot == std::string_view::npos || text.size() > 128) return {};
    const auto id = base::ConnectLinkId::parse(text.substr(0, dot));
    if (!id) return {};
    return {catalog.find<vault::ConnectFlow>(*id), text.substr(dot + 1)};
}

bool fits(const crypto::Digest& kept, std::string_view secret) {
    const auto given = state_digest(secret);
    return crypto::equal(crypto::view(kept), crypto::view(given));
}

/// What has failed is told like any step of a grant: of the credential, if there is one already, else of the
/// link.
base::Status tell_failure(const ConnectWorld& world, vault::Change& change, const vault::ConnectFlow& flow,
                          std::string_view reason) {
    const auto credential =
        flow.wish.credential ? change.catalog().find<vault::Credential>(*flow.wish.credential) : nullptr;
    if (const auto grant =
            credential ? grant_of(change.catalog(), *credential) : base::Result<StoredGrant>(StoredGrant{});
        credential && grant && world.hooks.tell)
        return world.hooks.tell(change, *credential, *grant,
                                apply(grant->facts, ConnectFailed{std::string(reason)}, change.now()));
    if (credential) return {};
    return notify::post(change, {.type = "connection.connect_failed",
                                 .workspace = flow.workspace,
                                 .id = flow.id.text(),
                                 .vault = flow.vault,
                                 .more = {{"reason", std::string(reason)}}});
}

}  // namespace

crypto::Secret two_halves(const base::ConnectLinkId& id, const crypto::Secret& secret_half) {
    const auto name = id.text() + ".";
    return secret_half.expose([&](std::span<const std::byte> bytes) {
        return crypto::Secret::filled(name.size() + bytes.size(), [&](std::span<std::byte> out) {
            std::memcpy(out.data(), name.data(), name.size());
            std::memcpy(out.data() + name.size(), bytes.data(), bytes.size());
        });
    });
}

vault::Ref<vault::ConnectFlow> flow_by_link(const vault::Catalog& catalog, std::string_view text) {
    auto [flow, secret] = cut(catalog, text);
    return flow && fits(flow->link, secret) ? flow : nullptr;
}

vault::Ref<vault::ConnectFlow> flow_by_state(const vault::Catalog& catalog, std::string_view text) {
    auto [flow, secret] = cut(catalog, text);
    return flow && fits(flow->state_digest, secret) ? flow : nullptr;
}

bool is_open(const vault::ConnectFlow& flow, base::Time now) {
    if (flow.state == ConnectState::waiting) return now < flow.expires;
    if (flow.state != ConnectState::started) return false;
    return now < flow.expires || (flow.step_until && now < *flow.step_until);
}

std::string_view status_of(const vault::ConnectFlow& flow, base::Time now) {
    switch (flow.state) {
        case ConnectState::waiting:
        case ConnectState::started:
            if (!is_open(flow, now)) return "expired";
            return flow.state == ConnectState::waiting ? "waiting" : "started";
        case ConnectState::exchanging:
            // Whoever exchanged it is gone when this takes longer than the step and its answer may.
            return flow.step_until && now > *flow.step_until + kStepTakes ? "failed" : "started";
        case ConnectState::connected:
            return "connected";
        case ConnectState::failed:
            return flow.problem && flow.problem->code == "connect.expired" ? "expired" : "failed";
    }
    return "failed";
}

bool is_forgettable(const vault::ConnectFlow& flow, base::Time now) {
    return !is_open(flow, now) && now >= std::max(flow.updated, flow.expires) + kEndedFlowsKept;
}

vault::Problem outcome_unknown() {
    return {"connect.outcome_unknown", "Claviger stopped while the code was being exchanged.",
            "A code must never be sent twice. Make a new connect link."};
}

std::optional<GrantType> grant_named(std::string_view word) {
    for (const auto grant :
         {GrantType::authorization_code, GrantType::client_credentials, GrantType::device_code,
          GrantType::jwt_bearer, GrantType::token_exchange, GrantType::id_jag, GrantType::github_installation,
          GrantType::google_service_account})
        if (word == word_of(grant)) return grant;
    return std::nullopt;
}

base::Result<ProviderProfile> profile_of(const ConnectWorld& world, const vault::ConnectWish& wish) {
    const auto* profile = wish.provider.empty() ? &world.providers.for_server_url(wish.normal_url)
                                                : world.providers.find(wish.provider);
    if (profile == nullptr)
        return base::failure(ErrorKind::not_found, "provider.not_found",
                             "No provider profile is called '" + wish.provider + "'.",
                             "`claviger provider list` shows all of them.");
    const WordMap values(wish.variables.begin(), wish.variables.end());
    return with_variables(*profile, values);
}

Outbound outbound_of(const ConnectWorld& world, net::Worker& worker, net::ClientPool& pool,
                     const vault::ConnectFlow& flow) {
    vault::Credential place;
    place.workspace = flow.workspace;
    place.vault = flow.vault;
    auto reach = [&world, place = std::move(place)](std::string_view url) {
        return world.hooks.reach ? world.hooks.reach(place, url) : net::PrivateAddresses::refuse;
    };
    const bool in_house = reach(flow.wish.server_url) == net::PrivateAddresses::allow;
    return {.worker = worker,
            .pool = pool,
            .clock = world.records.clock(),
            .reach = std::move(reach),
            .plain_loopback = in_house ? PlainLoopback::allow : PlainLoopback::refuse};
}

vault::Problem problem_of(const base::Error& error) {
    return {std::string(error.code), error.message, error.hint};
}

net::awaitable<base::Status> commit(net::Worker& worker, vault::Records& records, vault::Actor actor,
                                    std::function<base::Status(vault::Change&)> apply) {
    co_return co_await net::await_callback<base::Status>(
        worker, [&](vault::Done done) { records.change(actor, std::move(apply), std::move(done)); });
}

net::awaitable<void> pause(net::Worker& worker, std::chrono::milliseconds how_long) {
    struct Over {};
    boost::asio::steady_timer timer(worker.context(), how_long);
    co_await net::await_callback<Over>(worker, [&](std::function<void(Over)> wake) {
        timer.async_wait([wake = std::move(wake)](const boost::system::error_code& error) {
            if (error != boost::asio::error::operation_aborted) wake({});
        });
    });
}

bool is_unspent(const vault::ConnectFlow& flow) {
    return flow.state == ConnectState::waiting || flow.state == ConnectState::started;
}

base::Status store_failure(const ConnectWorld& world, vault::Change& change, vault::ConnectFlow flow,
                           vault::Problem problem, std::string_view reason) {
    flow.state = ConnectState::failed;
    flow.problem = std::move(problem);
    flow.secrets.clear();
    flow.starting_until.reset();
    flow.updated = change.now();
    change.note_failure(vault::EntryKind::grant, vault::Action::connect, vault::ObjectKind::connect_link,
                        flow.id.raw, flow.vault.raw, reason);
    if (auto told = tell_failure(world, change, flow, reason); !told) return told;
    return change.store(std::move(flow));
}

net::awaitable<base::Status> close_flow(const ConnectWorld& world, net::Worker& worker,
                                        const vault::Actor& actor, base::ConnectLinkId id,
                                        StillThere still_there, vault::Problem problem,
                                        std::string_view reason) {
    co_return co_await commit(worker, world.records, actor, [&](vault::Change& change) -> base::Status {
        const auto found = change.catalog().find<vault::ConnectFlow>(id);
        if (!found || !still_there(*found)) return {};
        return store_failure(world, change, *found, problem, reason);
    });
}

}  // namespace claviger::oauth
