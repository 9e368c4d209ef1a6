#include "oauth/connect_device.h"

#include "base/log.h"
#include "oauth/connect_journal.h"
#include "oauth/connect_unattended.h"
#include "oauth/device_authorization.h"
#include "oauth/grant_client.h"
#include "oauth/refresh_attempt.h"
#include "oauth/token_call.h"

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using net::awaitable;
using vault::ConnectState;

constexpr std::chrono::seconds kLongestPause{300};

Wanted wanted_of(const vault::ConnectTerms& terms, const std::string& scope) {
    Wanted wanted{.scope = scope};
    if (!terms.resource.empty()) wanted.resources = {terms.resource};
    return wanted;
}

std::unexpected<base::Error> device_failure(const ExchangeAnswer& answer) {
    if (answer.error.kind == ErrorKind::denied) return std::unexpected(answer.error);
    if (!answer.complete() || answer.status >= 500 || answer.status == 429)
        return base::failure(ErrorKind::unavailable, "connect.device_unreachable",
                             "The provider gave no device code right now.", "Try again later.",
                             answer.error.detail);
    const auto said = classify(answer.token_answer(), {}, {});
    return base::failure(ErrorKind::invalid_request, "connect.device_refused",
                         "The provider refused to give a device code (" +
                             (said.code.empty() ? std::to_string(answer.status) : said.code) + ").",
                         "Check that the client may use the device grant, and the scopes.", said.description);
}

std::chrono::seconds longest_pause(const vault::DeviceWait& device) {
    return std::max(kLongestPause, std::chrono::seconds(device.interval_s));
}

/// Writes when to ask again.
awaitable<void> postpone(const ConnectWorld& world, net::Worker& worker, base::ConnectLinkId id,
                         DevicePoll said) {
    const auto stored =
        co_await commit(worker, world.records, {}, [&](vault::Change& change) -> base::Status {
            const auto found = change.catalog().find<vault::ConnectFlow>(id);
            if (!found || found->state != ConnectState::started || !found->device) return {};
            auto flow = *found;
            auto& device = *flow.device;
            if (said == DevicePoll::slow_down) device.interval_s += 5;
            device.failures = said == DevicePoll::later ? std::min<std::uint64_t>(device.failures + 1, 8) : 0;
            const auto pause =
                std::min(std::chrono::seconds(device.interval_s << device.failures), longest_pause(device));
            device.next_poll = world.records.clock().now() + pause;  // a change's time never goes back
            change.note(vault::EntryKind::grant, vault::Action::update, vault::ObjectKind::connect_link,
                        flow.id.raw, flow.vault.raw);
            return change.store(std::move(flow));
        });
    if (!stored) base::log_error("connect.poll_not_noted", stored.error());
}

base::Error end_of(DevicePoll said, const Classification& classification) {
    if (said == DevicePoll::denied)
        return {ErrorKind::denied, "connect.denied", "Access was denied at the provider.",
                "Nothing was connected. Make a new connect link to try again."};
    if (said == DevicePoll::expired)
        return {ErrorKind::invalid_request, "connect.expired", "The code was not entered in time.",
                "Make a new connect link to get a new code."};
    return {ErrorKind::invalid_request, "connect.refused",
            "The provider refused the device code (" + classification.code + ").",
            "Check the client and the scopes, then make a new connect link.", classification.description};
}

/// The answer to one poll, and what it was asked with.
struct Polled {
    ProviderProfile profile;
    Proofs proofs;
    ExchangeAnswer answer;
    Kept kept = Kept::nowhere;
};

/// Errors: why it could not even be asked, which another try does not change.
awaitable<base::Result<Polled>> ask_about(const ConnectWorld& world, const Outbound& out,
                                          const vault::ConnectFlow& flow) {
    auto profile = profile_of(world, flow.wish);
    if (!profile) co_return std::unexpected(std::move(profile).error());
    auto secrets = open_secrets(world.records.keys(), flow.id.raw, flow.secrets);
    if (!secrets) co_return std::unexpected(std::move(secrets).error());
    if (!secrets->device_code)
        co_return base::failure(ErrorKind::corrupt, "connect.secrets_refused",
                                "The device code of this link is not stored any more.",
                                "Make a new connect link.");
    auto proofs = proofs_of(*secrets);
    if (!proofs) co_return std::unexpected(std::move(proofs).error());
    Polled polled{.profile = std::move(*profile), .proofs = std::move(*proofs), .answer = {}};
    const auto block = refresh_block(flow.wish, *flow.terms, polled.profile);
    const auto client =
        client_of(block, polled.proofs.client_secret ? &*polled.proofs.client_secret : nullptr,
                  polled.profile, flow.terms->issuer);
    if (!client) co_return std::unexpected(client.error());
    const auto journal = journal_of(world, out.worker, flow, polled.kept);
    const TokenCall call{.url = flow.terms->token_endpoint,
                         .profile = polled.profile,
                         .key = polled.proofs.key,
                         .make =
                             [&] {
                                 return token_request(device_code_grant(*secrets->device_code), *client,
                                                      polled.profile, out.clock.now());
                             },
                         .journal = &journal};
    auto answer = co_await call_token_endpoint(out, call);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    polled.answer = std::move(*answer);
    co_return std::move(polled);
}

/// Nobody can go on with it.
awaitable<void> give_up(const ConnectWorld& world, net::Worker& worker, const vault::Actor& actor,
                        base::ConnectLinkId id, const base::Error& error, std::string_view reason) {
    base::log(base::LogLevel::warning, "connect.device_failed",
              {{"connect_link", id.text()}, {"code", error.code}, {"detail", error.detail}});
    const auto closed = co_await close_flow(world, worker, actor, id, is_unspent, problem_of(error), reason);
    if (!closed) base::log_error("connect.not_closed", closed.error());
}

}  // namespace

bool poll_is_due(const vault::DeviceWait& device, base::Time now) {
    return now >= device.next_poll || now + longest_pause(device) < device.next_poll;
}

awaitable<base::Status> begin_device(const ConnectWorld& world, const Outbound& out,
                                     const vault::Actor& actor, base::ConnectLinkId id) {
    const auto begun = co_await settle_unattended(world, out, actor, id);
    if (!begun) co_return std::unexpected(begun.error());
    const auto& [flow, settled] = *begun;
    const auto& terms = settled.terms;
    const auto block = refresh_block(flow->wish, terms, settled.profile);
    const auto client = client_of(block, settled.client_secret ? &*settled.client_secret : nullptr,
                                  settled.profile, terms.issuer);
    if (!client)
        co_return co_await end_unattended(world, out.worker, actor, id, client.error(),
                                          "connect.client_refused");
    const auto scope = join_scopes(terms.scopes, settled.profile.authorization.scope_separator);
    auto fields = device_authorization(wanted_of(terms, scope));
    fields.add("client_id", terms.client_id);
    const auto request = token_request(std::move(fields), *client, settled.profile, out.clock.now());
    if (!request)
        co_return co_await end_unattended(world, out.worker, actor, id, request.error(),
                                          "connect.client_refused");
    const auto answer = co_await ask(
        out, {.method = "POST", .url = settled.server.device_authorization_endpoint, .payload = &*request});
    if (!answer.complete() || answer.status < 200 || answer.status > 299)
        co_return co_await end_unattended(world, out.worker, actor, id, device_failure(answer).error(),
                                          "connect.discovery");
    auto device = parse_device_authorization(answer.header("Content-Type"), answer.body, out.plain_loopback);
    if (!device)
        co_return co_await end_unattended(world, out.worker, actor, id, std::move(device).error(),
                                          "connect.unusable_answer");
    ConnectSecrets secrets{.client_secret = crypto::Secret::copy_of(settled.client_secret),
                           .device_code = std::move(device->device_code)};
    if (settled.key) secrets.dpop_key = settled.key->exported();
    const vault::DeviceWait wait{.user_code = device->user_code,
                                 .verification_uri = device->verification_uri,
                                 .verification_uri_complete = device->verification_uri_complete,
                                 .interval_s = static_cast<std::uint64_t>(device->interval.count()),
                                 .next_poll = answer.sent_at + device->interval};
    const auto until =
        std::min(flow->expires, answer.sent_at + std::chrono::milliseconds(device->expires_in));
    co_return co_await commit(out.worker, world.records, actor, [&](vault::Change& change) {
        return store_terms(world, change, id,
                           {.settled = settled,
                            .secrets = secrets,
                            .state = ConnectState::started,
                            .device = wait,
                            .until = until});
    });
}

awaitable<void> poll_device(const ConnectWorld& world, const Outbound& out, base::ConnectLinkId id) {
    const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
    if (!flow || flow->state != ConnectState::started || !flow->device || !flow->terms) co_return;
    const vault::Actor on_behalf{.workspace = flow->workspace.raw};
    if (flow->step_until && out.clock.now() >= *flow->step_until)
        co_return co_await give_up(world, out.worker, on_behalf, id, end_of(DevicePoll::expired, {}),
                                   "connect.expired");
    auto polled = co_await ask_about(world, out, *flow);
    if (!polled)
        co_return co_await give_up(world, out.worker, on_behalf, id, polled.error(),
                                   "connect.client_refused");
    const auto& answer = polled->answer;
    const auto read = read_refresh_answer(
        answer.token_answer(), {.sent_at = answer.sent_at, .has_dpop_key = polled->proofs.key.has_value()},
        polled->profile, {});
    const auto said = device_poll(read.classification);
    if (said == DevicePoll::tokens) {
        const auto finished = co_await take_answer(
            world, out, on_behalf, flow, {.answer = answer, .proofs = polled->proofs, .kept = polled->kept});
        if (!finished) base::log_error("connect.device_failed", finished.error());
        co_return;
    }
    if (world.journal != nullptr) co_await world.journal->drop(out.worker, id);
    if (polls_again(said)) co_return co_await postpone(world, out.worker, id, said);
    const auto ended = end_of(said, read.classification);
    co_await give_up(world, out.worker, on_behalf, id, ended, ended.code);
}

}  // namespace claviger::oauth
