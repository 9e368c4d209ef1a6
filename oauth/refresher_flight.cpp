#include "base/log.h"
#include "crypto/random.h"
#include "oauth/refresher_state.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using Steady = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::chrono::milliseconds kCommitPause = 1s;  // between tries to commit an answer
constexpr std::chrono::milliseconds kLookAtLease = 250ms;
constexpr std::chrono::milliseconds kAfterRefusal = 5s;  // before the background asks again

std::string issuer_of(const vault::Credential& credential) {
    if (!credential.refresh) return {};
    const std::string_view url = credential.refresh->token_endpoint;
    const auto host = url.find("://");
    return std::string(url.substr(0, host == url.npos ? url.npos : url.find('/', host + 3)));
}

}  // namespace

/// Waits for the attempt of that credential, which begins if there is none.
void Refresher::State::board(const CredentialId& id, const net::Worker* worker,
                             std::optional<std::uint64_t> refused_gen, std::optional<Waiter> waiter) {
    const std::unique_lock lock(mutex);
    auto& flight = flights[id];
    if (flight) {
        if (refused_gen) flight->refused_gen = refused_gen;
        if (waiter) flight->waiters.push_back(std::move(*waiter));
        return;
    }
    const auto credential = records.catalog().find<vault::Credential>(id);
    const auto grant = credential ? grant_of(records.catalog(), *credential)
                                  : base::Result<StoredGrant>(std::unexpected(upstream_unauthorized()));
    if (stopping || !grant) {
        flights.erase(id);
        if (waiter) waiter->wake(nullptr);
        return;
    }
    flight = std::make_shared<Flight>(Flight{
        .id = id, .issuer = issuer_of(*credential), .epoch = grant->facts.epoch, .gen = grant->facts.gen});
    const auto own = std::ranges::find_if(lanes, [&](const Lane& lane) { return &lane.worker == worker; });
    flight->lane = own != lanes.end() ? &*own : &lanes[base::IdHash{}(id) % lanes.size()];
    flight->refused_gen = refused_gen;
    if (waiter) flight->waiters.push_back(std::move(*waiter));
    if (running[flight->issuer] < settings.per_issuer) {
        launch(flight);
    } else if (auto& queue = queued[flight->issuer]; flight->waiters.empty()) {
        queue.push_back(flight);
    } else {
        queue.push_front(flight);  // somebody waits: before what is only due
    }
}

void Refresher::State::launch(std::shared_ptr<Flight> flight) {
    ++running[flight->issuer];
    flight->running = true;
    auto& worker = flight->lane->worker;
    worker.deliver([this, flight = std::move(flight)] {
        boost::asio::co_spawn(flight->lane->worker.context().get_executor(), fly(flight),
                              [](std::exception_ptr escaped) {
                                  if (escaped) base::log(base::LogLevel::error, "refresh.exception");
                              });
    });
}

net::awaitable<void> Refresher::State::fly(std::shared_ptr<Flight> flight) {
    Report report;
    try {
        report = co_await attempt(*flight);
    } catch (const std::exception& escaped) {
        base::log(base::LogLevel::error, "refresh.exception", {{"what", escaped.what()}});
        report = std::make_shared<RefreshReport>(
            RefreshReport{.kind = AnswerClass::unknown_outcome, .code = "internal"});
    }
    land(flight, std::move(report));
}

net::awaitable<Report> Refresher::State::attempt(const Flight& flight) {
    auto& worker = flight.lane->worker;
    const auto report = std::make_shared<RefreshReport>();
    Begun begun;
    const Beginning beginning{.id = flight.id,
                              .providers = providers,
                              .hooks = hooks,
                              .settings = settings,
                              .attempt = crypto::random_id_bytes(),
                              .epoch = flight.epoch,
                              .gen = flight.gen,
                              .refused_gen = flight.refused_gen};
    const auto started = Steady::now();
    auto on_record = co_await change(
        worker, [&](vault::Change& change) { return begin_attempt(change, beginning, begun); });
    // The other process commits its answer, or its lease runs out: either way this ends.
    while (on_record && begun.elsewhere) {
        const bool go_on = co_await net::await_callback<bool>(
            worker, [&](std::function<void(bool)> wake) { pause(kLookAtLease, std::move(wake)); });
        if (!go_on) break;
        on_record = co_await change(
            worker, [&](vault::Change& change) { return begin_attempt(change, beginning, begun); });
    }
    if (!on_record || !begun.refusal.empty()) {
        if (!on_record) base::log_error("refresh.not_begun", on_record.error());
        report->kind = AnswerClass::not_sent;
        report->code = on_record ? begun.refusal : on_record.error().code;
        co_return report;
    }
    counters.started.fetch_add(1, std::memory_order_relaxed);
    const auto& credential = *begun.credential;
    const auto& profile = profile_of(providers, credential, begun.grant);
    RefreshOutcome outcome;
    {
        const auto sealed = records.sealed_secret(credential);
        const auto parts = sealed ? records.open_parts(*sealed)
                                  : base::Result<vault::SecretParts>(std::unexpected(sealed.error()));
        if (parts) {
            const RefreshCall call{
                .credential = credential,
                .parts = *parts,
                .grant = begun.grant,
                .profile = profile,
                .private_addresses = hooks.reach ? hooks.reach(credential, credential.refresh->token_endpoint)
                                                 : net::PrivateAddresses::refuse,
                .timeout = settings.request_timeout};
            outcome = co_await send_refresh(
                worker, flight.lane->pool, records.clock(), call,
                [&](const ExchangeAnswer& answer) -> net::awaitable<void> {
                    const JournalEntry entry{.attempt = begun.attempt.id,
                                             .credential = credential.id,
                                             .workspace = credential.workspace,
                                             .vault = credential.vault,
                                             .epoch = begun.grant.facts.epoch,
                                             .parent_gen = begun.attempt.parent_gen,
                                             .sent_at = answer.sent_at,
                                             .status = answer.status,
                                             .content_type = std::string(answer.header("Content-Type")),
                                             .body = crypto::Secret::copy_of(answer.body)};
                    const auto written = co_await net::await_callback<base::Status>(
                        worker, [&](std::function<void(base::Status)> done) {
                            boost::asio::post(disk,
                                              [&, done = std::move(done)] { done(journal.write(entry)); });
                        });
                    if (written) co_return;
                    // The answer is still in memory, and its commit may yet succeed.
                    counters.journal_failures.fetch_add(1, std::memory_order_relaxed);
                    base::log_error("refresh.not_journalled", written.error());
                });
        } else {
            base::log_error("refresh.credential_refused", parts.error());
            outcome.classification.kind = AnswerClass::not_sent;
            outcome.classification.code = parts.error().code;
        }
    }
    Landed landed_as;
    const Landing landing{.id = flight.id,
                          .hooks = hooks,
                          .attempt = begun.attempt.id,
                          .epoch = begun.grant.facts.epoch,
                          .parent_gen = begun.attempt.parent_gen,
                          .outcome = outcome};
    const auto committed = co_await commit_answer(worker, landing, landed_as);
    if (committed) {
        boost::asio::post(disk, [this, id = begun.attempt.id] {
            if (auto gone = journal.discard(id); !gone) base::log_error("refresh.journal_kept", gone.error());
        });
        count(landed_as.transition);
        if (landed_as.transition.has(GrantAction::reject_client))
            reject_client(credential, outcome.classification.code);
    } else {
        base::log_error("refresh.not_committed", committed.error());
    }
    counters.micros.fetch_add(
        static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(Steady::now() - started).count()),
        std::memory_order_relaxed);
    report->sent = true;
    report->kind = committed ? outcome.classification.kind : AnswerClass::unknown_outcome;
    report->code = outcome.classification.code;
    report->connected = outcome.classification.kind != AnswerClass::not_sent &&
                        !(outcome.classification.kind == AnswerClass::unknown_outcome && !outcome.refusal);
    if (outcome.refusal) {
        report->status = outcome.refusal->status;
        report->content_type = outcome.refusal->header("Content-Type");
        // What should have been tokens and could not be read may hold some.
        const bool readable = outcome.classification.kind != AnswerClass::unknown_outcome;
        report->body = crypto::Secret::copy_of(readable ? std::string_view(outcome.refusal->body) : "");
    }
    if (!outcome.tokens)
        base::log(base::LogLevel::warning, "refresh.refused",
                  {{"credential", credential.id.text()},
                   {"class", to_text(outcome.classification.kind)},
                   {"code", outcome.classification.code},
                   {"sub_code", outcome.classification.sub_code},
                   {"description", outcome.classification.description}});
    co_return report;
}

/// An answer with tokens must not be lost to a disk that is full for a while.
net::awaitable<base::Status> Refresher::State::commit_answer(net::Worker& worker, const Landing& landing,
                                                             Landed& landed_as) {
    for (;;) {
        auto status = co_await change(
            worker, [&](vault::Change& change) { return land_attempt(change, landing, landed_as); });
        if (status || status.error().kind != ErrorKind::unavailable) co_return status;
        const bool go_on = co_await net::await_callback<bool>(
            worker, [&](std::function<void(bool)> wake) { pause(kCommitPause, std::move(wake)); });
        if (!go_on) co_return status;  // the journal has it
    }
}

void Refresher::State::land(const std::shared_ptr<Flight>& flight, Report report) {
    const auto credential = records.catalog().find<vault::Credential>(flight->id);
    if (credential) look(*credential);
    std::vector<Waiter> waiters;
    {
        const std::lock_guard lock(mutex);
        flights.erase(flight->id);
        waiters = std::move(flight->waiters);
        // Whoever begins nothing now must not be asked again at once.
        const auto at = planned.find(flight->id);
        if (!report->sent && at != planned.end() && at->second < now() + kAfterRefusal)
            plan(flight->id, now() + kAfterRefusal);
        if (!credential) plan(flight->id, std::nullopt);
        --running[flight->issuer];
        auto& queue = queued[flight->issuer];
        if (!queue.empty()) {
            launch(queue.front());
            queue.pop_front();
        } else if (running[flight->issuer] == 0) {
            running.erase(flight->issuer);
            queued.erase(flight->issuer);
        }
    }
    if (!report->sent) {
        const std::unique_lock lock(standings_mutex);
        if (const auto found = standings.find(flight->id);
            found != standings.end() && found->second.renew_at && *found->second.renew_at <= now())
            found->second.renew_at = now() + kAfterRefusal;
    }
    for (auto& waiter : waiters) waiter.wake(report);
    landed.notify_all();
}

/// Null when patience ran out, or nothing begins any more.
net::awaitable<Report> Refresher::State::join(net::Worker& worker, const CredentialId& id,
                                              std::optional<std::uint64_t> refused_gen,
                                              std::chrono::milliseconds patience) {
    co_return co_await net::await_callback<Report>(worker, [&](Wake wake) {
        board(id, &worker, refused_gen, Waiter{std::move(wake), Steady::now() + patience});
    });
}

}  // namespace claviger::oauth
