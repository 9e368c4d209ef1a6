#include "oauth/connect_unattended.h"

#include "base/bytes.h"
#include "base/log.h"
#include "oauth/connect_secrets.h"
#include "oauth/connect_start.h"
#include "oauth/device_authorization.h"
#include "oauth/grant_client.h"
#include "oauth/mint.h"
#include "oauth/refresh_attempt.h"
#include "oauth/subject_token.h"
#include "oauth/token_call.h"

#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using net::awaitable;
using vault::ConnectState;

constexpr std::chrono::seconds kLongestPause{300};
constexpr std::size_t kPollsAtOnce = 16;

crypto::Secret copy_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); });
}

std::optional<crypto::Secret> copy_of(const std::optional<crypto::Secret>& secret) {
    if (!secret) return std::nullopt;
    return copy_of(*secret);
}

Wanted wanted_of(const vault::ConnectTerms& terms, const std::string& scope) {
    Wanted wanted{.scope = scope};
    if (!terms.resource.empty()) wanted.resources = {terms.resource};
    return wanted;
}

/// Closes the flow with the error and gives it back. Nobody will come who could try again.
awaitable<std::unexpected<base::Error>> give_up(const ConnectWorld& world, net::Worker& worker,
                                                const vault::Actor& actor, base::ConnectLinkId id,
                                                base::Error error, std::string_view reason) {
    const auto closed = co_await close_flow(world, worker, actor, id, problem_of(error), reason);
    if (!closed) base::log_error("connect.not_closed", closed.error());
    co_return std::unexpected(std::move(error));
}

awaitable<base::Status> usable(const ConnectWorld& world, net::Worker& worker, const base::CredentialId& id) {
    if (world.grants == nullptr) co_return base::Status();  // nothing is refreshed: it is as good as it is
    co_return co_await world.grants->make_usable(worker, id);
}

/// The flow with its terms, as it goes on from here.
base::Status store_terms(const ConnectWorld& world, vault::Change& change, const base::ConnectLinkId& id,
                         const Negotiated& settled, const ConnectSecrets& secrets, ConnectState state,
                         std::optional<vault::DeviceWait> device, base::Time until) {
    const auto found = change.catalog().find<vault::ConnectFlow>(id);
    if (!found || found->state != ConnectState::waiting)
        return base::failure(ErrorKind::conflict, "connect.ended",
                             "This connect link was taken away in the meantime.", "Make a new one.");
    auto flow = *found;
    flow.secrets = seal_secrets(world.records.keys(), flow.id.raw, secrets);
    flow.terms = settled.terms;
    flow.state = state;
    flow.starts += 1;
    flow.device = std::move(device);
    flow.step_until = until;
    flow.updated = change.now();
    change.note(vault::EntryKind::grant, vault::Action::start, vault::ObjectKind::connect_link, flow.id.raw,
                flow.vault.raw);
    return change.store(std::move(flow));
}

/// What the tokens are exchanged for; nothing for grants that exchange none. Puts into `proofs` what is kept
/// of it. Errors: invalid_request "connect.no_subject".
awaitable<base::Result<std::optional<SubjectToken>>> subject_of(const ConnectWorld& world,
                                                                const Outbound& out,
                                                                const vault::ConnectFlow& flow,
                                                                const vault::Refresh& block,
                                                                std::string_view issuer, Proofs& proofs) {
    if (!block.exchange) co_return std::nullopt;
    auto secrets = open_secrets(world.records.keys(), flow.id.raw, flow.secrets);
    if (!secrets) co_return std::unexpected(std::move(secrets).error());
    proofs.subject_token = std::move(secrets->subject_token);
    const SubjectMeans means{
        .records = world.records,
        .providers = world.providers,
        .out = out,
        .make_usable = [&](const base::CredentialId& id) { return usable(world, out.worker, id); }};
    auto subject =
        co_await fetch_subject(means, {.block = block,
                                       .workspace = flow.workspace,
                                       .vault = flow.vault,
                                       .given = proofs.subject_token ? &*proofs.subject_token : nullptr,
                                       .issuer = issuer});
    if (!subject) {
        const bool later =
            subject.error().kind == AnswerClass::not_sent || subject.error().kind == AnswerClass::transient;
        co_return base::failure(later ? ErrorKind::unavailable : ErrorKind::invalid_request,
                                "connect.no_subject",
                                "There is no token to exchange (" + subject.error().code + ").",
                                later ? "Try again later."
                                      : "Check the subject token, where it comes from, and the client there.",
                                subject.error().description);
    }
    proofs.good_until = subject->good_until;
    co_return std::move(*subject);
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
            const auto pause = std::min(std::chrono::seconds(device.interval_s << device.failures),
                                        std::max(kLongestPause, std::chrono::seconds(device.interval_s)));
            device.next_poll = change.now() + pause;
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

}  // namespace

awaitable<base::Result<Finished>> connect_unattended(const ConnectWorld& world, const Outbound& out,
                                                     const vault::Actor& actor, base::ConnectLinkId id) {
    const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
    if (!flow)
        co_return base::failure(ErrorKind::conflict, "connect.ended", "This connect link is gone.",
                                "Make a new one.");
    auto settled = co_await negotiate(world, out, actor, *flow);
    if (!settled)
        co_return co_await give_up(world, out.worker, actor, id, std::move(settled).error(),
                                   "connect.discovery");
    const auto block = refresh_block(flow->wish, settled->terms, settled->profile);
    const auto stored = co_await commit(out.worker, world.records, actor, [&](vault::Change& change) {
        note_exchange(change, block);
        return store_terms(world, change, id, *settled, {}, ConnectState::exchanging, std::nullopt,
                           change.now() + kStepTakes);
    });
    if (!stored) co_return std::unexpected(stored.error());
    Proofs proofs{.client_secret = std::move(settled->client_secret), .key = std::move(settled->key)};
    const auto subject = co_await subject_of(world, out, *flow, block, settled->terms.issuer, proofs);
    if (!subject)
        co_return co_await give_up(world, out.worker, actor, id, subject.error(), "connect.refused");
    const TokenCall call{
        .url = block.token_endpoint, .profile = settled->profile, .key = proofs.key, .make = [&] {
            return mint_request(block, proofs.client_secret ? &*proofs.client_secret : nullptr,
                                settled->profile, settled->terms.issuer, out.clock.now(),
                                *subject ? &(*subject)->token : nullptr);
        }};
    const auto answer = co_await call_token_endpoint(out, call);
    if (!answer)
        co_return co_await give_up(world, out.worker, actor, id, answer.error(), "connect.client_refused");
    auto as_settled = std::make_shared<vault::ConnectFlow>(*flow);  // the row may be gone, the tokens are not
    as_settled->terms = settled->terms;
    co_return co_await take_answer(world, out, actor, std::move(as_settled), *answer, proofs, std::nullopt);
}

awaitable<base::Status> begin_device(const ConnectWorld& world, const Outbound& out,
                                     const vault::Actor& actor, base::ConnectLinkId id) {
    const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
    if (!flow)
        co_return base::failure(ErrorKind::conflict, "connect.ended", "This connect link is gone.",
                                "Make a new one.");
    auto settled = co_await negotiate(world, out, actor, *flow);
    if (!settled)
        co_return co_await give_up(world, out.worker, actor, id, std::move(settled).error(),
                                   "connect.discovery");
    const auto& terms = settled->terms;
    const auto block = refresh_block(flow->wish, terms, settled->profile);
    const auto client = client_of(block, settled->client_secret ? &*settled->client_secret : nullptr,
                                  settled->profile, terms.issuer);
    if (!client)
        co_return co_await give_up(world, out.worker, actor, id, client.error(), "connect.client_refused");
    const auto scope = join_scopes(terms.scopes, settled->profile.authorization.scope_separator);
    auto fields = device_authorization(wanted_of(terms, scope));
    fields.add("client_id", terms.client_id);
    const auto request = token_request(std::move(fields), *client, settled->profile, out.clock.now());
    if (!request)
        co_return co_await give_up(world, out.worker, actor, id, request.error(), "connect.client_refused");
    const auto answer = co_await ask(
        out, {.method = "POST", .url = settled->server.device_authorization_endpoint, .payload = &*request});
    if (!answer.complete() || answer.status < 200 || answer.status > 299)
        co_return co_await give_up(world, out.worker, actor, id, device_failure(answer).error(),
                                   "connect.discovery");
    auto device = parse_device_authorization(answer.header("Content-Type"), answer.body, out.plain_loopback);
    if (!device)
        co_return co_await give_up(world, out.worker, actor, id, std::move(device).error(),
                                   "connect.unusable_answer");
    ConnectSecrets secrets{.client_secret = copy_of(settled->client_secret),
                           .device_code = std::move(device->device_code)};
    if (settled->key) secrets.dpop_key = settled->key->exported();
    const auto interval = device->interval.count();
    co_return co_await commit(out.worker, world.records, actor, [&](vault::Change& change) {
        return store_terms(
            world, change, id, *settled, secrets, ConnectState::started,
            vault::DeviceWait{.user_code = device->user_code,
                              .verification_uri = device->verification_uri,
                              .verification_uri_complete = device->verification_uri_complete,
                              .interval_s = static_cast<std::uint64_t>(interval),
                              .next_poll = answer.sent_at + device->interval},
            std::min(flow->expires, answer.sent_at + std::chrono::milliseconds(device->expires_in)));
    });
}

awaitable<void> poll_device(const ConnectWorld& world, const Outbound& out, base::ConnectLinkId id) {
    const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
    if (!flow || flow->state != ConnectState::started || !flow->device || !flow->terms) co_return;
    const auto profile = profile_of(world, flow->wish);
    auto secrets = open_secrets(world.records.keys(), flow->id.raw, flow->secrets);
    if (!profile || !secrets || !secrets->device_code) co_return;
    const vault::Actor on_behalf{.workspace = flow->workspace.raw};
    if (flow->step_until && out.clock.now() >= *flow->step_until) {
        const auto ended = end_of(DevicePoll::expired, {});
        const auto closed =
            co_await close_flow(world, out.worker, on_behalf, id, problem_of(ended), "connect.expired");
        if (!closed) base::log_error("connect.not_closed", closed.error());
        co_return;
    }
    const auto block = refresh_block(flow->wish, *flow->terms, *profile);
    Proofs proofs{.client_secret = std::move(secrets->client_secret)};
    if (secrets->dpop_key) {
        auto key = DpopKey::import(*secrets->dpop_key);
        if (!key) co_return;
        proofs.key = std::move(*key);
    }
    const auto client = client_of(block, proofs.client_secret ? &*proofs.client_secret : nullptr, *profile,
                                  flow->terms->issuer);
    if (!client) co_return;
    const TokenCall call{
        .url = flow->terms->token_endpoint, .profile = *profile, .key = proofs.key, .make = [&] {
            return token_request(device_code_grant(*secrets->device_code), *client, *profile,
                                 out.clock.now());
        }};
    const auto called = co_await call_token_endpoint(out, call);
    if (!called) co_return;
    const auto& answer = *called;
    const auto read = read_refresh_answer(answer.token_answer(),
                                          {.sent_at = answer.sent_at, .has_dpop_key = proofs.key.has_value()},
                                          *profile, {});
    const auto said = device_poll(read.classification);
    switch (said) {
        case DevicePoll::wait:
        case DevicePoll::slow_down:
        case DevicePoll::later:
            co_return co_await postpone(world, out.worker, id, said);
        case DevicePoll::tokens: {
            const auto finished =
                co_await take_answer(world, out, on_behalf, flow, answer, proofs, std::nullopt);
            if (!finished) base::log_error("connect.device_failed", finished.error());
            co_return;
        }
        case DevicePoll::denied:
        case DevicePoll::expired:
        case DevicePoll::failed:
            break;
    }
    const auto ended = end_of(said, read.classification);
    const auto closed = co_await close_flow(world, out.worker, on_behalf, id, problem_of(ended), ended.code);
    if (!closed) base::log_error("connect.not_closed", closed.error());
}

struct DevicePolls::State : std::enable_shared_from_this<State> {
    State(const ConnectWorld& w, net::Worker& on, OutboundFor way)
        : world(w), worker(on), outbound_for(std::move(way)) {}

    void tick();
    static awaitable<void> run(std::shared_ptr<State> self, vault::Ref<vault::ConnectFlow> flow);

    const ConnectWorld& world;
    net::Worker& worker;
    const OutboundFor outbound_for;
    std::atomic<bool> stopping{false};
    std::set<base::ConnectLinkId> under_way;  // on the worker alone
};

awaitable<void> DevicePolls::State::run(std::shared_ptr<State> self, vault::Ref<vault::ConnectFlow> flow) {
    const auto out = self->outbound_for(*flow);
    co_await poll_device(self->world, out, flow->id);
    self->under_way.erase(flow->id);
}

void DevicePolls::State::tick() {
    if (stopping.load()) return;
    const auto now = world.records.clock().now();
    const auto due = world.records.catalog().all<vault::ConnectFlow>([&](const auto& flow) {
        return flow.state == ConnectState::started && flow.device && flow.device->next_poll <= now;
    });
    for (const auto& flow : due) {
        if (under_way.size() >= kPollsAtOnce) return;
        if (!under_way.insert(flow->id).second) continue;
        boost::asio::co_spawn(worker.context().get_executor(), run(shared_from_this(), flow),
                              [id = flow->id](const std::exception_ptr& escaped) {
                                  if (escaped)
                                      base::log(base::LogLevel::error, "connect.poll_escaped",
                                                {{"connect_link", id.text()}});
                              });
    }
}

DevicePolls::DevicePolls(const ConnectWorld& world, net::Worker& worker, OutboundFor outbound_for)
    : state_(std::make_shared<State>(world, worker, std::move(outbound_for))) {}

DevicePolls::~DevicePolls() { state_->stopping.store(true); }

void DevicePolls::start() {
    state_->worker.every(std::chrono::milliseconds(1'000), [state = state_] { state->tick(); });
}

}  // namespace claviger::oauth
