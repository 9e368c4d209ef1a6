#include "base/log.h"
#include "crypto/random.h"
#include "oauth/mint.h"
#include "oauth/refresher_state.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

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

/// Those that wait for another credential's token are counted apart, so that they never keep that one from
/// being renewed.
std::string issuer_of(const vault::Credential& credential) {
    if (!credential.refresh) return {};
    const std::string_view url = credential.refresh->token_endpoint;
    const auto host = url.find("://");
    return (credential.refresh->exchange ? "exchange " : "") +
           std::string(url.substr(0, host == url.npos ? url.npos : url.find('/', host + 3)));
}

/// What those who show the outcome may see of the answer.
void describe(RefreshReport& report, const RefreshOutcome& outcome) {
    const auto kind = outcome.classification.kind;
    report.connected =
        kind != AnswerClass::not_sent && !(kind == AnswerClass::unknown_outcome && !outcome.refusal);
    if (!outcome.refusal) return;
    report.status = outcome.refusal->status;
    report.content_type = outcome.refusal->header("Content-Type");
    // What should have been tokens and could not be read may hold some.
    const bool readable = kind != AnswerClass::unknown_outcome;
    report.body = crypto::Secret::copy_of(readable ? std::string_view(outcome.refusal->body) : "");
}

/// Whether the same change may succeed a moment later: the store has no room, or somebody else wrote first.
bool passes_by_itself(const base::Error& error) {
    return error.kind == ErrorKind::unavailable || error.kind == ErrorKind::conflict;
}

/// A token that was exchanged is not used for longer than what it was exchanged for.
void end_with(RefreshOutcome& outcome, std::optional<base::Time> good_until) {
    auto& expires_at = outcome.lifetime.expires_at;
    if (!outcome.tokens || !good_until) return;
    if (!expires_at || *good_until < *expires_at) expires_at = good_until;
}

}  // namespace

/// Waits for the attempt of that credential, which begins if there is none and no newer tokens than `seen`.
void Refresher::State::board(const CredentialId& id, const net::Worker* worker, SeenTokens seen,
                             Refused refused, std::optional<Waiter> waiter) {
    const std::unique_lock lock(mutex);
    auto& flight = flights[id];
    if (flight) {
        if (!flight->running && seen > flight->replaced) {
            flight->replaced = seen;
            flight->refused = false;
        }
        if (refused == Refused::yes && seen == flight->replaced) flight->refused = true;
        if (!waiter) return;
        flight->waiters.push_back(std::move(*waiter));
        if (flight->running || flight->waiters.size() > 1) return;
        auto& queue = queued[flight->issuer];  // somebody waits now: before what is only due
        std::erase(queue, flight);
        queue.push_front(flight);
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
    if (seen_in(grant->facts) != seen) {
        flights.erase(id);
        if (waiter)
            waiter->wake(std::make_shared<RefreshReport>(RefreshReport{
                .kind = AnswerClass::not_sent, .code = std::string(kNewerTokens), .connected = false}));
        return;
    }
    flight = std::make_shared<Flight>(Flight{.id = id, .issuer = issuer_of(*credential), .replaced = seen});
    const auto own = std::ranges::find_if(lanes, [&](const Lane& lane) { return &lane.worker == worker; });
    flight->lane = own != lanes.end() ? &*own : &lanes[base::IdHash{}(id) % lanes.size()];
    flight->refused = refused == Refused::yes;
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
    const bool has_new_tokens = report->sent && report->kind == AnswerClass::success;
    {
        const std::lock_guard lock(mutex);
        questions += has_new_tokens;
    }
    land(flight, std::move(report));  // nobody waits for what follows, but a stop does
    if (!has_new_tokens) co_return;
    try {
        co_await learn_lifetime(*flight->lane, flight->id);
    } catch (const std::exception& escaped) {
        base::log(base::LogLevel::error, "introspection.exception", {{"what", escaped.what()}});
    }
    {
        const std::lock_guard lock(mutex);
        --questions;
    }
    landed.notify_all();
}

/// What the next tokens are exchanged for; nothing for grants that exchange none.
net::awaitable<Exchanged> Refresher::State::exchanged_for(const Flight& flight,
                                                          const vault::Credential& credential,
                                                          const vault::SecretParts& parts,
                                                          const StoredGrant& grant) {
    if (!credential.refresh->exchange) co_return std::nullopt;
    auto& worker = flight.lane->worker;
    const auto reach = [&](std::string_view url) {
        return hooks.reach ? hooks.reach(credential, url) : net::PrivateAddresses::refuse;
    };
    const bool private_addresses = reach(credential.refresh->token_endpoint) == net::PrivateAddresses::allow;
    const Outbound out{.worker = worker,
                       .pool = flight.lane->pool,
                       .clock = records.clock(),
                       .reach = reach,
                       .plain_loopback = private_addresses ? PlainLoopback::allow : PlainLoopback::refuse};
    const SubjectMeans means{
        .records = records, .providers = providers, .out = out, .make_usable = [&](const CredentialId& id) {
            return usable_soon(worker, id);
        }};
    auto tokens =
        co_await fetch_exchanged(means, {.block = *credential.refresh,
                                         .workspace = credential.workspace,
                                         .vault = credential.vault,
                                         .given = parts.subject_token ? &*parts.subject_token : nullptr,
                                         .issuer = grant.issuer});
    if (!tokens) co_return std::unexpected(std::move(tokens).error());
    co_return std::move(*tokens);
}

/// The token endpoint is asked once, with what is exchanged there, if anything is.
net::awaitable<Tried> Refresher::State::try_once(const Flight& flight, const Begun& begun,
                                                 const vault::SecretParts& parts, KeptAnswer& kept) {
    auto& worker = flight.lane->worker;
    const auto& credential = *begun.credential;
    const auto tokens = co_await exchanged_for(flight, credential, parts, begun.grant);
    if (!tokens) {
        const auto& why = tokens.error();
        Tried tried{.outcome = refused_here(why.kind, why.code, now())};
        if (why.refused) tried.refused = {*why.refused};
        tried.outcome.classification.description = why.description;
        co_return tried;
    }
    const RefreshCall call{
        .credential = credential,
        .parts = parts,
        .grant = begun.grant,
        .profile = oauth::profile_of(providers, credential, begun.grant),
        .presented = *tokens ? (*tokens)->presented() : PresentedTokens(),
        .private_addresses = hooks.reach ? hooks.reach(credential, credential.refresh->token_endpoint)
                                         : net::PrivateAddresses::refuse,
        .timeout = settings.request_timeout};
    const AttemptJournal attempt_journal{
        .before_sending = [&] { return take_room(worker, kept); },
        .before_reading =
            [&](const ExchangeAnswer& answer) {
                constexpr std::size_t longest_type = 256;
                const auto type = answer.header("Content-Type");
                kept.entry = {.attempt = kept.entry.attempt,
                              .credential = credential.id,
                              .workspace = credential.workspace,
                              .vault = credential.vault,
                              .epoch = begun.grant.facts.epoch,
                              .parent_gen = begun.attempt.parent_gen,
                              .sent_at = answer.sent_at,
                              .status = answer.status,
                              .content_type = std::string(type.substr(0, longest_type)),
                              .body = crypto::Secret::copy_of(answer.body)};
                kept.came = true;
                kept.on_disk = false;
                return keep(worker, kept);
            },
        .before_repeating = [&] { return drop(worker, kept); }};
    Tried tried{.outcome =
                    co_await send_refresh(worker, flight.lane->pool, records.clock(), call, attempt_journal)};
    if (!*tokens) co_return tried;
    end_with(tried.outcome, (*tokens)->good_until());
    // The assertion of an ID-JAG is fresh: whatever is wrong with it, no other subject token mends it.
    const bool as_they_are = minting_grant(*credential.refresh) == GrantType::token_exchange;
    if (as_they_are && !tried.outcome.tokens && may_refuse_subject(tried.outcome.classification))
        tried.refused = (*tokens)->lent();
    co_return tried;
}

/// Whether the other credential has another token than the one that was refused where it is exchanged. One
/// that died without anybody knowing is renewed.
net::awaitable<Renewal> Refresher::State::renew_lent(const Flight& flight, const Begun& begun,
                                                     const LentToken& refused) {
    auto& worker = flight.lane->worker;
    const auto& [id, version] = refused;
    // The lease has to do for the renewal and for another exchange.
    const bool time_is_left =
        now() + settings.patience + settings.request_timeout < begun.attempt.lease_until;
    if (!time_is_left) co_return Renewal::not_now;
    const auto before = records.catalog().find<vault::Credential>(id);
    if (!before || before->archived) co_return Renewal::never;
    if (before->version == version) {
        const auto grant = grant_of(records.catalog(), *before);
        if (!grant) co_return Renewal::not_now;
        const auto& facts = grant->facts;
        const bool young = facts.gen > 1 && is_younger_than(facts, kFreshFor, now());
        if (!facts.renewable || young) co_return Renewal::never;
        if (can_renew(facts, now()))
            co_await join(worker, id, seen_in(facts), Refused::yes, settings.patience);
    }
    const auto after = records.catalog().find<vault::Credential>(id);
    co_return after && after->version != version ? Renewal::done : Renewal::not_now;
}

/// Nobody says which of them was refused, so all are renewed that can be: whether another exchange is worth a
/// try, which then is on record.
net::awaitable<Renewal> Refresher::State::renew_all(const Flight& flight, const Begun& begun,
                                                    const std::vector<LentToken>& refused) {
    bool newer = false;
    for (const auto& lent : refused) {
        const auto renewal = co_await renew_lent(flight, begun, lent);
        if (renewal == Renewal::not_now) co_return renewal;
        newer = newer || renewal == Renewal::done;
    }
    if (!newer) co_return Renewal::never;
    const auto noted = co_await change(flight.lane->worker, [&](vault::Change& change) {
        note_exchange(change, *begun.credential->refresh);
        return base::Status();
    });
    if (!noted) base::log_error("refresh.not_begun", noted.error());
    co_return noted ? Renewal::done : Renewal::not_now;
}

/// The attempt's requests: one, or two when other credentials' tokens were exchanged first and one was dead.
net::awaitable<RefreshOutcome> Refresher::State::send(const Flight& flight, const Begun& begun,
                                                      const vault::SecretParts& parts, KeptAnswer& kept) {
    auto tried = co_await try_once(flight, begun, parts, kept);
    if (tried.refused.empty()) co_return std::move(tried.outcome);
    const bool has_actor = begun.credential->refresh->exchange->actor.has_value();
    co_await drop(flight.lane->worker, kept);  // what was refused is not what comes of the attempt
    switch (co_await renew_all(flight, begun, tried.refused)) {
        case Renewal::done:
            tried = co_await try_once(flight, begun, parts, kept);
            break;
        case Renewal::not_now:
            co_return refused_here(AnswerClass::not_sent,
                                   has_actor ? "exchange_unusable" : "subject_unusable", now());
        case Renewal::never:
            break;
    }
    auto& said = tried.outcome.classification;
    if (!tried.refused.empty() && said.kind == AnswerClass::grant_dead)
        said.code = has_actor ? "exchange_refused" : "subject_refused";
    co_return std::move(tried.outcome);
}

net::awaitable<Report> Refresher::State::attempt(const Flight& flight) {
    auto& worker = flight.lane->worker;
    auto report = std::make_shared<RefreshReport>();
    const auto not_begun = [&](std::string_view code) {
        report->kind = AnswerClass::not_sent;
        report->code = code;
        return report;
    };
    // What the journal has is better than another attempt, which might be one too many.
    if (!co_await recovered(worker, flight.id)) co_return not_begun("journal.not_committed");
    std::optional<std::uint64_t> refused_gen;
    {
        const std::lock_guard lock(mutex);
        if (flight.refused) refused_gen = flight.replaced.gen;
    }
    KeptAnswer kept;
    kept.entry.attempt = crypto::random_id_bytes();
    if (!co_await take_room(worker, kept)) co_return not_begun(kNoJournal);
    Begun begun;
    const Beginning beginning{.id = flight.id,
                              .clock = records.clock(),
                              .providers = providers,
                              .hooks = hooks,
                              .settings = settings,
                              .attempt = kept.entry.attempt,
                              .epoch = flight.replaced.epoch,
                              .gen = flight.replaced.gen,
                              .refused_gen = refused_gen};
    const auto started = Steady::now();
    const auto begin = [&](vault::Change& change) { return begin_attempt(change, beginning, begun); };
    auto on_record = co_await change(worker, begin);
    // The other process commits its answer, or its lease runs out: either way this ends.
    while (on_record && begun.elsewhere && !stopping) {
        co_await pause(worker, kLookAtLease);
        on_record = co_await change(worker, begin);
    }
    if (!on_record) base::log_error("refresh.not_begun", on_record.error());
    if (!on_record || !begun.refusal.empty()) {
        co_await drop(worker, kept);
        co_return not_begun(on_record ? begun.refusal : on_record.error().code);
    }
    counters.started.fetch_add(1, std::memory_order_relaxed);
    const auto& credential = *begun.credential;
    RefreshOutcome outcome;
    const auto sealed = records.sealed_secret(credential);
    const auto parts = sealed ? records.open_parts(*sealed)
                              : base::Result<vault::SecretParts>(std::unexpected(sealed.error()));
    if (!parts) {
        base::log_error("refresh.credential_refused", parts.error());
        outcome.classification.kind = AnswerClass::not_sent;
        outcome.classification.code = parts.error().code;
    } else {
        outcome = co_await send(flight, begun, *parts, kept);
    }
    Landed landed_as;
    const Landing landing{.id = flight.id,
                          .clock = records.clock(),
                          .hooks = hooks,
                          .attempt = begun.attempt.id,
                          .epoch = begun.grant.facts.epoch,
                          .parent_gen = begun.attempt.parent_gen,
                          .outcome = outcome,
                          .sent_for = &credential,
                          .sent_with = parts ? &*parts : nullptr,
                          .sent_grant = &begun.grant};
    const auto committed = co_await commit_answer(worker, landing, landed_as, kept);
    if (committed) {
        co_await drop(worker, kept);
        count(landed_as.transition);
        if (landed_as.transition.has(GrantAction::reject_client))
            reject_client(credential, begun.grant, outcome.classification.code);
    } else {
        base::log_error("refresh.not_committed", committed.error());
        if (!kept.on_disk) co_await drop(worker, kept);
        // What refuses it now, a row that does not open, may be mended: no other attempt before that.
        const std::lock_guard lock(mutex);
        if (kept.on_disk && outcome.tokens) unrecovered.insert(begun.attempt.id);
    }
    counters.micros.fetch_add(
        static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(Steady::now() - started).count()),
        std::memory_order_relaxed);
    report->sent = true;
    report->kind = committed ? outcome.classification.kind : AnswerClass::unknown_outcome;
    report->code = outcome.classification.code;
    describe(*report, outcome);
    // It may repeat another credential's token, of which those who show it know nothing.
    const auto& exchanged = credential.refresh->exchange;
    if (report->body && exchanged && (exchanged->credential || exchanged->actor))
        report->body = crypto::Secret::copy_of(std::string_view());
    if (!outcome.tokens)
        base::log(base::LogLevel::warning, "refresh.refused",
                  {{"credential", credential.id.text()},
                   {"class", to_text(outcome.classification.kind)},
                   {"code", outcome.classification.code},
                   {"sub_code", outcome.classification.sub_code},
                   {"description", outcome.classification.description}});
    co_return report;
}

/// Room for the answer, before anybody is asked: an answer that could be lost is not asked for.
net::awaitable<base::Status> Refresher::State::take_room(net::Worker& worker, KeptAnswer& kept) {
    if (kept.has_room) co_return base::Status();
    auto room =
        co_await net::await_callback<base::Status>(worker, [&](std::function<void(base::Status)> done) {
            boost::asio::post(*disk,
                              [&, done = std::move(done)] { done(journal.take_room(kept.entry.attempt)); });
        });
    kept.has_room = room.has_value();
    judge_journal(room);
    co_return room;
}

/// Whether the journal takes answers, for those who show it; said once in the log.
void Refresher::State::judge_journal(const base::Status& room) {
    if (!room) counters.journal_failures.fetch_add(1, std::memory_order_relaxed);
    const std::lock_guard lock(mutex);
    if (!room && !journal_trouble) base::log_error("refresh.no_journal", room.error());
    if (room && journal_trouble) base::log(base::LogLevel::info, "refresh.journal_again");
    journal_trouble = room ? std::nullopt : std::optional(room.error());
    if (!room) look_at_journal_at = Steady::now() + kAfterRefusal;
    counters.journal_writable.store(room.has_value(), std::memory_order_relaxed);
}

/// On the disk before anybody reads it; where that fails it is tried again with each try to commit it.
net::awaitable<void> Refresher::State::keep(net::Worker& worker, KeptAnswer& kept) {
    const auto written =
        co_await net::await_callback<base::Status>(worker, [&](std::function<void(base::Status)> done) {
            boost::asio::post(*disk, [&, done = std::move(done)] { done(journal.write(kept.entry)); });
        });
    kept.on_disk = written.has_value();
    kept.has_room = false;  // filled, or lost to what failed
    if (written) co_return;
    counters.journal_failures.fetch_add(1, std::memory_order_relaxed);
    base::log_error("refresh.not_journalled", written.error());
}

net::awaitable<void> Refresher::State::drop(net::Worker& worker, KeptAnswer& kept) {
    if (!kept.came && !kept.has_room) co_return;
    const auto gone =
        co_await net::await_callback<base::Status>(worker, [&](std::function<void(base::Status)> done) {
            boost::asio::post(*disk,
                              [&, done = std::move(done)] { done(journal.discard(kept.entry.attempt)); });
        });
    if (!gone) base::log_error("refresh.journal_kept", gone.error());
    kept.came = kept.on_disk = kept.has_room = false;
}

/// An answer with tokens must not be lost to a disk that is full for a while, nor to a stop meanwhile: this
/// ends when the commit or the journal has it, or when the store refuses it for good.
net::awaitable<base::Status> Refresher::State::commit_answer(net::Worker& worker, const Landing& landing,
                                                             Landed& landed_as, KeptAnswer& kept) {
    for (;;) {
        auto status = co_await change(
            worker, [&](vault::Change& change) { return land_attempt(change, landing, landed_as); });
        if (status || !passes_by_itself(status.error())) co_return status;
        if (kept.came && !kept.on_disk) co_await keep(worker, kept);
        if (stopping && (kept.on_disk || !landing.outcome.tokens)) co_return status;
        co_await pause(worker, kCommitPause);
    }
}

/// Whether nothing older waits in the journal for this grant.
net::awaitable<bool> Refresher::State::recovered(net::Worker& worker, const CredentialId& id) {
    const auto credential = records.catalog().find<vault::Credential>(id);
    const auto grant = credential ? grant_of(records.catalog(), *credential)
                                  : base::Result<StoredGrant>(std::unexpected(upstream_unauthorized()));
    if (!grant || !grant->facts.attempt) co_return true;
    const auto attempt_id = grant->facts.attempt->id;
    {
        const std::lock_guard lock(mutex);
        if (!unrecovered.contains(attempt_id)) co_return true;
    }
    const bool done = co_await net::await_callback<bool>(worker, [&](std::function<void(bool)> answer) {
        boost::asio::post(*disk, [&, answer = std::move(answer)] { answer(recover(attempt_id)); });
    });
    const std::lock_guard lock(mutex);
    if (done) unrecovered.erase(attempt_id);
    co_return done;
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
net::awaitable<Report> Refresher::State::join(net::Worker& worker, const CredentialId& id, SeenTokens seen,
                                              Refused refused, std::chrono::milliseconds patience) {
    co_return co_await net::await_callback<Report>(worker, [&](Wake wake) {
        board(id, &worker, seen, refused, Waiter{std::move(wake), Steady::now() + patience});
    });
}

}  // namespace claviger::oauth
