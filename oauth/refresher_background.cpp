#include "base/log.h"
#include "crypto/random.h"
#include "oauth/client_users.h"
#include "oauth/connect_client.h"
#include "oauth/refresher_state.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <algorithm>
#include <future>
#include <utility>

namespace claviger::oauth {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::size_t kMostDuePerTick = 100;
constexpr std::chrono::seconds kRecoverAgain{5}, kRecoverAtLast{300};
constexpr std::chrono::seconds kLookAtJournal{5};

vault::Actor ourselves() { return {}; }

}  // namespace

/// Plans are made by the wall clock; when that jumps they are made anew.
void Refresher::State::look_at_clock() {
    const std::pair at{now(), Steady::now()};
    const auto before = std::exchange(ticked, at);
    if (!before || stopping) return;
    const auto jump = std::chrono::duration_cast<std::chrono::milliseconds>(at.first - before->first) -
                      std::chrono::duration_cast<std::chrono::milliseconds>(at.second - before->second);
    if (std::chrono::abs(jump) < kClockSlack) return;
    base::log(base::LogLevel::warning, "refresh.clock_jumped", {{"by_ms", jump.count()}});
    boost::asio::post(*chores, [this] { look_at_all(); });
}

void Refresher::State::look_at_all() {
    each_oauth_credential(records.catalog(), [&](const vault::Credential& credential) {
        look(credential);
        const auto grant = grant_of(records.catalog(), credential);
        if (grant && is_ended_by_clock(grant->facts, now())) take(credential.id, ClockPutBack{});
    });
}

void Refresher::State::tick() {
    look_at_clock();
    std::vector<Wake> impatient;
    std::vector<std::function<void()>> rested;
    std::vector<CredentialId> due_now;
    const auto steady = Steady::now();
    const auto time = now();
    {
        const std::lock_guard lock(mutex);
        for (auto& [id, flight] : flights)
            std::erase_if(flight->waiters, [&](Waiter& waiter) {
                if (waiter.until > steady) return false;
                impatient.push_back(std::move(waiter.wake));
                return true;
            });
        std::erase_if(pauses, [&](auto& pause) {
            if (pause.first > steady) return false;
            rested.push_back(std::move(pause.second));
            return true;
        });
        while (!stopping && due_now.size() < kMostDuePerTick && !plans.empty() &&
               plans.begin()->first <= time) {
            due_now.push_back(plans.begin()->second);
            planned.erase(plans.begin()->second);
            plans.erase(plans.begin());
        }
    }
    for (auto& wake : impatient) wake(nullptr);
    for (auto& wake : rested) wake();
    for (const auto& id : due_now) due(id);
    recover_again();
    look_at_journal();
}

/// Whether it takes answers again, so that nobody has to call for that to be seen.
void Refresher::State::look_at_journal() {
    {
        const std::lock_guard lock(mutex);
        if (stopping || !journal_trouble || Steady::now() < look_at_journal_at) return;
        look_at_journal_at = Steady::now() + kLookAtJournal;
    }
    boost::asio::post(*disk, [this] {
        const auto nobodys = crypto::random_id_bytes();
        const auto room = journal.take_room(nobodys);
        judge_journal(room);
        if (auto gone = journal.discard(nobodys); !gone && room)
            base::log_error("refresh.journal_kept", gone.error());
    });
}

/// The disk may have space again.
void Refresher::State::recover_again() {
    std::vector<AttemptId> waiting;
    {
        const std::lock_guard lock(mutex);
        if (unrecovered.empty()) recover_wait = kRecoverAgain;
        if (stopping || unrecovered.empty() || Steady::now() < recover_at) return;
        recover_at = Steady::now() + recover_wait;
        recover_wait = std::min<std::chrono::seconds>(2 * recover_wait, kRecoverAtLast);
        waiting.assign(unrecovered.begin(), unrecovered.end());
    }
    boost::asio::post(*disk, [this, waiting = std::move(waiting)] {
        for (const auto& attempt : waiting) {
            if (!recover(attempt)) continue;
            const std::lock_guard lock(mutex);
            unrecovered.erase(attempt);
        }
    });
}

void Refresher::State::due(const CredentialId& id) {
    const auto credential = records.catalog().find<vault::Credential>(id);
    if (!credential || credential->archived) {
        const std::unique_lock lock(standings_mutex);
        standings.erase(id);
        return;
    }
    const auto grant = grant_of(records.catalog(), *credential);
    if (!grant) return;
    const auto& facts = grant->facts;
    if (facts.state == GrantState::needs_config) {
        // The plan may be older than the refusal that led here: a day after that it is time for another try.
        const auto row = records.catalog().find<vault::Grant>(id);
        if (row && now() < row->updated + kDailyProbe) return static_cast<void>(look(*credential));
        return take(id, ConfigChanged{ConfigCause::daily_probe});
    }
    const auto end = certain_end_of(*credential, *grant, oauth::profile_of(providers, *credential, *grant));
    if (const auto warning = end_warning_of(*grant, end); warning && now() >= *warning)
        return take(id, EndNear{*end});
    const bool expired = facts.expires_at && now() >= *facts.expires_at;
    if (facts.state == GrantState::ready && !facts.renewable) {
        if (expired) return take(id, TokenExpired{});
        return take(id, ExpiryNear{});
    }
    if (expired && !facts.degraded && facts.state != GrantState::ready) take(id, TokenExpired{});
    if (can_renew(facts, now())) {
        // By now somebody may have used it, or nobody for long.
        const auto standing = look(*credential);
        if (!standing.renew_at || *standing.renew_at > now()) {
            if (facts.state != GrantState::refreshing) return;
        }
        board(id, nullptr, seen_in(facts), Refused::no, std::nullopt);
    } else {
        look(*credential);
    }
}

void Refresher::State::take(const CredentialId& id, GrantEvent event) {
    const auto transition = std::make_shared<Transition>();
    records.change(
        ourselves(),
        [this, id, event = std::move(event), transition](vault::Change& change) {
            return take_event(change, id, event, now(), hooks, *transition);
        },
        [this, id, transition](base::Status status) {
            if (!status) base::log_error("grant.event_not_stored", status.error());
            if (transition->taken()) count(*transition);
            const bool refresh = transition->taken() && transition->has(GrantAction::refresh_now);
            boost::asio::post(*chores, [this, id, refresh, tokens = seen_in(transition->facts)] {
                if (const auto credential = records.catalog().find<vault::Credential>(id)) look(*credential);
                if (refresh) board(id, nullptr, tokens, Refused::no, std::nullopt);
            });
        });
}

/// Row 14: what refused the client refuses it for all of its grants, though none of them is dead. A client
/// that we registered ourselves is forgotten, so that the next connect link registers another.
void Refresher::State::reject_client(const vault::Credential& credential, const StoredGrant& grant,
                                     const std::string& code) {
    boost::asio::post(*chores, [this, refused = credential, issuer = grant.issuer, code] {
        for (const auto& other : users_of_client(records.catalog(), *refused.refresh, refused.workspace))
            if (other->id != refused.id) take(other->id, ClientRejected{code});
        if (refused.refresh->client_from != "dynamic") return;
        const auto clients = records.catalog().page<vault::OauthClient>(
            {.scope = refused.workspace.raw, .after = {}, .limit = 1, .wanted = [&](const auto& client) {
                 return client.dynamic && client.issuer == issuer &&
                        client.client_id == refused.refresh->client_id;
             }});
        if (clients.empty()) return;
        vault::Actor actor;
        actor.workspace = refused.workspace.raw;
        records.change(
            actor, [id = clients[0]->id](vault::Change& change) { return forget_client(change, id); },
            [](base::Status status) {
                if (!status) base::log_error("client.not_forgotten", status.error());
            });
    });
}

net::awaitable<void> Refresher::State::pause(net::Worker& worker, std::chrono::milliseconds for_how_long) {
    struct Over {};
    co_await net::await_callback<Over>(worker, [&](std::function<void(Over)> wake) {
        const std::lock_guard lock(mutex);
        pauses.emplace_back(Steady::now() + for_how_long, [wake = std::move(wake)] { wake({}); });
    });
}

net::awaitable<base::Status> Refresher::State::change(net::Worker& worker,
                                                      std::function<base::Status(vault::Change&)> apply) {
    co_return co_await net::await_callback<base::Status>(worker, [&](std::function<void(base::Status)> done) {
        records.change(ourselves(), std::move(apply), std::move(done));
    });
}

base::Status Refresher::State::change_now(std::function<base::Status(vault::Change&)> apply) {
    std::promise<base::Status> done;
    auto status = done.get_future();
    records.change(ourselves(), std::move(apply),
                   [&](base::Status stored) { done.set_value(std::move(stored)); });
    return status.get();
}

bool Refresher::State::recover(const AttemptId& attempt) {
    const auto entry = journal.read(attempt);
    if (!entry) {
        base::log_error("refresh.journal_refused", entry.error());
        return entry.error().kind != base::ErrorKind::unavailable;  // what does not open never will
    }
    if (!*entry) return true;
    const auto& answer = **entry;
    const auto credential = records.catalog().find<vault::Credential>(answer.credential);
    const auto grant = credential ? grant_of(records.catalog(), *credential)
                                  : base::Result<StoredGrant>(std::unexpected(upstream_unauthorized()));
    if (credential && !grant) {
        base::log_error("refresh.not_recovered", grant.error());
        return false;
    }
    if (credential) {
        const auto outcome = answer.body.expose([&](std::span<const std::byte> body) {
            return read_refresh_answer({.status = answer.status,
                                        .content_type = answer.content_type,
                                        .body = base::as_view(body),
                                        .now = now()},
                                       {.sent_at = answer.sent_at, .has_dpop_key = is_bound(*credential)},
                                       oauth::profile_of(providers, *credential, *grant),
                                       grant->unrecognized);
        });
        Landed landed_as;
        const Landing landing{.id = answer.credential,
                              .clock = records.clock(),
                              .hooks = hooks,
                              .attempt = attempt,
                              .epoch = answer.epoch,
                              .parent_gen = answer.parent_gen,
                              .outcome = outcome};
        const auto committed =
            change_now([&](vault::Change& change) { return land_attempt(change, landing, landed_as); });
        if (!committed) {
            base::log_error("refresh.not_recovered", committed.error());
            return false;
        }
        if (landed_as.transition.taken()) counters.recovered.fetch_add(1, std::memory_order_relaxed);
        base::log(base::LogLevel::info, "refresh.recovered",
                  {{"credential", answer.credential.text()},
                   {"taken", landed_as.transition.taken()},
                   {"why", landed_as.transition.refusal}});
        if (const auto newest = records.catalog().find<vault::Credential>(answer.credential)) look(*newest);
    }
    if (auto gone = journal.discard(attempt); !gone) base::log_error("refresh.journal_kept", gone.error());
    return true;
}

void Refresher::State::sweep_journal() {
    const auto orphans = journal.discard_orphans(
        [this](const JournalOwner& owner) {  // whose key is there may open some day
            return !owner.key_is_gone || records.catalog().find<vault::Vault>(owner.vault) != nullptr;
        },
        now());
    if (!orphans) return base::log_error("refresh.journal_not_swept", orphans.error());
    if (*orphans != 0) base::log(base::LogLevel::info, "refresh.journal_swept", {{"answers", *orphans}});
}

void Refresher::State::count(const Transition& transition) {
    if (!transition.taken()) return;
    const auto add = [](std::atomic<std::uint64_t>& counter) {
        counter.fetch_add(1, std::memory_order_relaxed);
    };
    switch (transition.row) {
        case 6:
            return add(counters.succeeded);
        case 7:
        case 13:
        case 19:
            return add(counters.needs_reauth);
        case 9:
            return add(counters.deferred);
        case 10:
            return add(counters.uncertain);
        case 11:
            return add(counters.recovered);
        case 14:
            return add(counters.needs_config);
        default:
            return;
    }
}

}  // namespace claviger::oauth
