#include "oauth/refresher.h"

#include "base/log.h"
#include "oauth/refresh_attempt.h"
#include "oauth/refresher_state.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <algorithm>
#include <utility>

namespace claviger::oauth {

using namespace std::chrono_literals;

/// Calls take a moment to get there.
std::optional<base::Time> last_use_of(const GrantFacts& facts) {
    if (!facts.expires_at) return std::nullopt;
    const auto life = facts.obtained_at ? *facts.expires_at - *facts.obtained_at : 0ms;
    return *facts.expires_at - std::clamp<std::chrono::milliseconds>(life / 10, 0ms, 5s);
}

bool can_renew(const GrantFacts& facts, base::Time now) {
    if (!facts.renewable) return false;
    switch (facts.state) {
        case GrantState::ready:
        case GrantState::refreshing:
        case GrantState::uncertain:
            return true;
        case GrantState::backoff:
            return !cools_down(facts, now);
        default:
            return false;
    }
}

base::Error upstream_unauthorized() {
    return {base::ErrorKind::unavailable, "upstream.unauthorized",
            "The server did not accept the stored credential.",
            "An administrator has to store a valid credential for this server."};
}

Refresher::State::State(vault::Records& records_, Journal journal_, const ProviderCatalog& providers_,
                        std::vector<Lane> lanes_, RefreshSettings settings_, GrantHooks hooks_)
    : records(records_),
      journal(std::move(journal_)),
      providers(providers_),
      lanes(std::move(lanes_)),
      settings(settings_),
      hooks(std::move(hooks_)),
      disk(std::make_unique<boost::asio::thread_pool>(1)),
      chores(std::make_unique<boost::asio::thread_pool>(1)) {}

Refresher::State::~State() = default;

Standing Refresher::State::look(const vault::Credential& credential, Wanted wanted) {
    // From reading to storing, so that nobody stores what was true before.
    const std::unique_lock lock(standings_mutex);
    Standing standing{.version = credential.version};
    std::optional<base::Time> next, warning, last_used;
    if (const auto grant = grant_of(records.catalog(), credential)) {
        const auto use = records.access_log().use_of(credential.id.raw);
        if (use.count != 0) last_used = use.last;
        if (const auto before = standings.find(credential.id); before != standings.end())
            standing.wanted = before->second.wanted;
        if (wanted == Wanted::yes) standing.wanted = now();
        if (standing.wanted) last_used = std::max(last_used.value_or(base::Time{}), *standing.wanted);
        const auto& profile = oauth::profile_of(providers, credential, *grant);
        standing.tokens = seen_in(grant->facts);
        standing.state = grant->facts.state;
        standing.last_use = last_use_of(grant->facts);
        if (!profile.upstream.rejections.empty()) standing.rejections = &profile.upstream;
        next = next_step_of(*grant, profile, last_used, now(), settings.unused_after);
        standing.idle = grant->facts.state == GrantState::ready &&
                        next != next_step_of(*grant, profile, now(), now(), settings.unused_after);
        warning = end_warning_of(*grant, certain_end_of(credential, *grant, profile));
        // Anchored where it came to this, so that looking at it puts nothing off.
        if (const auto row = records.catalog().find<vault::Grant>(credential.id);
            row && grant->facts.state == GrantState::needs_config)
            next = row->updated + kDailyProbe;
        const bool renews = grant->facts.state == GrantState::ready ||
                            grant->facts.state == GrantState::backoff ||
                            grant->facts.state == GrantState::uncertain;
        if (renews && grant->facts.renewable) standing.renew_at = next;
    } else {
        base::log_error("grant.unreadable", grant.error());
    }
    {
        const std::lock_guard plans_lock(mutex);
        plan(credential.id, earlier(next, warning));
    }
    standings[credential.id] = standing;
    return standing;
}

/// With `mutex` held.
void Refresher::State::plan(const CredentialId& id, std::optional<base::Time> at) {
    if (const auto before = planned.find(id); before != planned.end()) {
        plans.erase({before->second, id});
        planned.erase(before);
    }
    if (!at) return;
    plans.emplace(*at, id);
    planned.emplace(id, *at);
}

Refresher::Refresher(vault::Records& records, Journal journal, const ProviderCatalog& providers,
                     std::vector<Lane> lanes, RefreshSettings settings, GrantHooks hooks)
    : state_(std::make_unique<State>(records, std::move(journal), providers, std::move(lanes), settings,
                                     std::move(hooks))) {}

Refresher::~Refresher() {
    state_->chores->join();
    state_->disk->join();
    // What was submitted before this has been answered when this is.
    const auto flushed = state_->change_now([](vault::Change&) { return base::Status(); });
    if (!flushed) base::log_error("refresh.log_not_writable", flushed.error());
}

base::Status Refresher::start() {
    const auto answers = state_->journal.attempts();
    if (!answers) return std::unexpected(answers.error());
    for (const auto& attempt : *answers)
        if (!state_->recover(attempt)) state_->unrecovered.insert(attempt);
    state_->sweep_journal();
    boost::asio::post(*state_->chores, [state = state_.get()] { state->look_at_all(); });
    state_->look_at_clock();  // what comes is compared with this
    state_->lanes[0].worker.every(250ms, [state = state_.get()] { state->tick(); });
    return {};
}

void Refresher::end_waiting() {
    const std::lock_guard lock(state_->mutex);
    for (auto& [id, flight] : state_->flights)
        for (auto& waiter : flight->waiters) waiter.until = {};
}

void Refresher::drain() {
    std::vector<Wake> unlucky;
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    for (auto& [issuer, queue] : state_->queued)
        for (const auto& flight : queue) {
            for (auto& waiter : flight->waiters) unlucky.push_back(std::move(waiter.wake));
            state_->flights.erase(flight->id);
        }
    state_->queued.clear();
    lock.unlock();
    for (auto& wake : unlucky) wake(nullptr);
    lock.lock();
    const auto all_ended = [&] { return state_->flights.empty() && state_->questions == 0; };
    if (!state_->landed.wait_for(lock, 2 * state_->settings.lease, all_ended))
        base::log(base::LogLevel::error, "refresh.not_drained", {{"attempts", state_->flights.size()}});
}

bool Refresher::usable(const vault::Credential& credential) {
    Standing standing;
    {
        const std::shared_lock lock(state_->standings_mutex);
        if (const auto found = state_->standings.find(credential.id); found != state_->standings.end())
            standing = found->second;
    }
    if (standing.version != credential.version || standing.idle) {
        // Whoever asks may hold an older version than the newest.
        const auto newest = state_->records.catalog().find<vault::Credential>(credential.id);
        if (!newest) return false;
        standing = state_->look(*newest, State::Wanted::yes);
    }
    const auto now = state_->now();
    if (!serves_tokens(standing.state, standing.last_use, now)) return false;
    if (standing.renew_at && now >= *standing.renew_at)
        state_->board(credential.id, nullptr, standing.tokens, State::Refused::no, std::nullopt);
    return true;
}

net::awaitable<base::Status> Refresher::State::usable_soon(net::Worker& worker, const CredentialId& id) {
    for (int round = 0;; ++round) {
        const auto credential = records.catalog().find<vault::Credential>(id);
        if (!credential || credential->archived) {
            StoredGrant gone;
            gone.facts.state = GrantState::revoked;
            co_return std::unexpected(why_unusable(gone, now()));
        }
        const auto grant = grant_of(records.catalog(), *credential);
        if (!grant) co_return std::unexpected(grant.error());
        const auto time = now();
        const auto& facts = grant->facts;
        if (serves_tokens(facts.state, last_use_of(facts), time)) co_return base::Status();
        if (!can_renew(facts, time)) {
            if (facts.state == GrantState::ready) {  // its time is up, and there is nothing to renew it with
                StoredGrant over = *grant;
                over.facts.state = GrantState::needs_reauth;
                over.facts.reason = "expired_no_refresh";
                if (facts.expires_at && time >= *facts.expires_at) take(id, TokenExpired{});
                co_return std::unexpected(why_unusable(over, time));
            }
            co_return std::unexpected(why_unusable(*grant, time));
        }
        if (round == 2) co_return std::unexpected(why_unusable(*grant, time));
        look(*credential, Wanted::yes);
        const auto report = co_await join(worker, id, seen_in(facts), Refused::no, settings.patience);
        if (report && !report->sent && report->code == kNoJournal) co_return std::unexpected(no_journal());
        if (!report) {
            StoredGrant waiting = *grant;
            waiting.facts.state = GrantState::refreshing;
            co_return std::unexpected(why_unusable(waiting, now()));
        }
    }
}

net::awaitable<base::Status> Refresher::make_usable(net::Worker& worker, const CredentialId& id) {
    return state_->usable_soon(worker, id);
}

net::awaitable<base::Status> Refresher::replace_refused(net::Worker& worker, const CredentialId& id,
                                                        std::uint64_t version, std::string claims) {
    if (!claims.empty())
        if (auto demanded = co_await state_->demand_claims(worker, id, version, claims); !demanded)
            co_return demanded;
    const auto credential = state_->records.catalog().find<vault::Credential>(id);
    if (!credential || credential->archived) co_return std::unexpected(upstream_unauthorized());
    if (credential->version != version) co_return co_await make_usable(worker, id);
    const auto grant = grant_of(state_->records.catalog(), *credential);
    if (!grant) co_return std::unexpected(grant.error());
    const auto now = state_->now();
    const auto& facts = grant->facts;
    if (!facts.renewable || !can_renew(facts, now))
        co_return std::unexpected(co_await state_->refused_for_good(worker, id, version));
    // A token that we got just now and that should live on: another one would fare no better (row 18).
    const bool young = facts.gen > 1 && is_younger_than(facts, kFreshFor, now);
    const bool dying = facts.expires_at && facts.obtained_at &&
                       now - *facts.obtained_at >= (*facts.expires_at - *facts.obtained_at) / 2;
    // Claims that no token was asked for with yet may make a difference, once in that time.
    const bool new_claims = !claims.empty() && grant->claims && !grant->claims->met;
    if (young && !dying && facts.state == GrantState::ready && !new_claims) {
        const auto told = co_await state_->refused_for_good(worker, id, version);
        if (told.code == upstream_unauthorized().code) state_->take(id, FreshTokenRefused{facts.gen});
        co_return std::unexpected(told);
    }
    const auto report =
        co_await state_->join(worker, id, seen_in(facts), State::Refused::yes, state_->settings.patience);
    const auto after = state_->records.catalog().find<vault::Credential>(id);
    if (after && after->version != version) co_return base::Status();
    if (!report || !after) co_return std::unexpected(upstream_unauthorized());
    if (!report->sent && report->code == kNoJournal) co_return std::unexpected(no_journal());
    const auto left = grant_of(state_->records.catalog(), *after);
    co_return std::unexpected(left ? why_unusable(*left, state_->now()) : left.error());
}

net::awaitable<base::Error> Refresher::refused_again(net::Worker& worker, const CredentialId& id,
                                                     std::uint64_t version) {
    return state_->refused_for_good(worker, id, version);
}

net::awaitable<void> Refresher::learn_lifetime(net::Worker& worker, const CredentialId& id) {
    if (const auto* lane = state_->lane_of(worker)) co_await state_->learn_lifetime(*lane, id);
}

net::awaitable<RefreshReport> Refresher::force(net::Worker& worker, const CredentialId& id) {
    RefreshReport nothing{.kind = AnswerClass::not_sent, .code = "refused", .connected = false};
    Report report;
    const auto too_late = [&] { return report && !report->sent && report->code == kNewerTokens; };
    for (int round = 0; round == 0 || (too_late() && round < 3); ++round) {
        const auto credential = state_->records.catalog().find<vault::Credential>(id);
        const auto grant = credential ? grant_of(state_->records.catalog(), *credential)
                                      : base::Result<StoredGrant>(std::unexpected(upstream_unauthorized()));
        if (!grant) co_return nothing;
        report = co_await state_->join(worker, id, seen_in(grant->facts), State::Refused::yes,
                                       state_->settings.lease);
    }
    if (!report) co_return nothing;
    RefreshReport copy{.sent = report->sent,
                       .kind = report->kind,
                       .code = report->code,
                       .connected = report->connected,
                       .status = report->status,
                       .content_type = report->content_type};
    if (report->body)
        copy.body = report->body->expose(
            [](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); });
    co_return copy;
}

ScopeNeed Refresher::scope_refused(const CredentialId& id, std::string_view operation,
                                   const Scopes& challenged) {
    const auto credential = state_->records.catalog().find<vault::Credential>(id);
    const auto grant = credential ? grant_of(state_->records.catalog(), *credential)
                                  : base::Result<StoredGrant>(std::unexpected(upstream_unauthorized()));
    if (!grant) return {};
    auto wanted = presentable(challenged);
    if (!wanted.empty()) state_->take(id, ScopeRefused{operation_name(operation), std::move(wanted)});
    return scope_need(*credential, *grant, operation, challenged);
}

const UpstreamRule* Refresher::rejections_of(const vault::Credential& credential) const {
    const std::shared_lock lock(state_->standings_mutex);
    const auto found = state_->standings.find(credential.id);
    return found == state_->standings.end() ? nullptr : found->second.rejections;
}

base::Status Refresher::not_held(const vault::Credential& credential) const {
    {
        const std::shared_lock lock(state_->standings_mutex);
        const auto found = state_->standings.find(credential.id);
        if (found == state_->standings.end() || found->second.state != GrantState::suspended) return {};
    }
    StoredGrant held;
    held.facts.state = GrantState::suspended;
    return std::unexpected(why_unusable(held, state_->now()));
}

void Refresher::touched(const CredentialId& id) {
    const auto credential = state_->records.catalog().find<vault::Credential>(id);
    if (credential && credential->type == vault::AuthType::mcp_oauth && !credential->archived) {
        state_->look(*credential);
        return;
    }
    {
        const std::lock_guard lock(state_->mutex);
        state_->plan(id, std::nullopt);
    }
    const std::unique_lock lock(state_->standings_mutex);
    state_->standings.erase(id);
}

std::optional<base::Time> Refresher::next_step(const CredentialId& id) const {
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->planned.find(id);
    return at == state_->planned.end() ? std::nullopt : std::optional(at->second);
}

std::optional<base::Error> Refresher::journal_trouble() const {
    const std::lock_guard lock(state_->mutex);
    return state_->journal_trouble;
}

const ProviderProfile& Refresher::profile_of(const vault::Credential& credential,
                                             const StoredGrant& grant) const {
    return oauth::profile_of(state_->providers, credential, grant);
}

const RefreshCounters& Refresher::counters() const { return state_->counters; }

}  // namespace claviger::oauth
