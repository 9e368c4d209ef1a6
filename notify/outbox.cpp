#include "notify/outbox.h"

#include "base/log.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>

namespace claviger::notify {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kMostRetryAfter{3'600};
constexpr std::chrono::seconds kPauseAfterLostResult{30};

std::uint64_t seed_of(const base::RawId& id) {
    std::uint64_t seed;
    std::memcpy(&seed, id.data(), sizeof seed);
    return seed;
}

}  // namespace

milliseconds outbox_wait(std::uint64_t attempts, std::optional<std::chrono::seconds> retry_after,
                         std::uint64_t seed) {
    const auto step = std::clamp<std::uint64_t>(attempts, 1, kOutboxWaits.size());
    milliseconds wait = kOutboxWaits[step - 1];
    wait += wait * (static_cast<int>(seed % 201) - 100) / 1'000;
    if (retry_after) wait = std::max<milliseconds>(wait, std::min(*retry_after, kMostRetryAfter));
    return wait;
}

struct Outbox::State : std::enable_shared_from_this<State> {
    State(net::Worker& w, vault::Records& r, Carriers c, OutboxLimits l)
        : worker(w), records(&r), carriers(std::move(c)), limits(l) {}

    net::Worker& worker;
    vault::Records* records;  // null once the Outbox is gone; written and read on the worker, and at the end
    const Carriers carriers;
    const OutboxLimits limits;
    OutboxCounters counters;
    std::atomic<bool> stopping{false};
    std::mutex guard;  // of the end of the last attempt
    std::condition_variable ended;

    // On the worker alone.
    std::map<base::RawId, std::size_t> busy_with;                                // by what items are about
    std::map<base::OutboxItemId, std::optional<steady_clock::time_point>> held;  // until then, or under way

    Carrier* carrier_of(vault::OutboxKind kind) const {
        for (const auto& [known, carrier] : carriers)
            if (known == kind) return carrier;
        return nullptr;
    }
    void look();
    void begin(vault::Ref<vault::OutboxItem> item);
    static net::awaitable<void> run(std::shared_ptr<State> self, vault::Ref<vault::OutboxItem> item);
    base::Status settle(vault::Change& change, const base::OutboxItemId& id, const Attempt& attempt,
                        Fate& fate);
    void end(const vault::OutboxItem& item, bool settled);
};

/// Begins what is due, the oldest first.
void Outbox::State::look() {
    if (stopping.load() || records->catalog().count<vault::OutboxItem>() == 0) return;
    const auto now = records->clock().now();
    auto due = records->catalog().all<vault::OutboxItem>(
        [&](const vault::OutboxItem& item) { return item.next_attempt <= now; });
    std::ranges::sort(due, {},
                      [](const auto& item) { return std::pair(item->next_attempt, item->created_seq); });
    std::erase_if(held,
                  [&](const auto& entry) { return entry.second && *entry.second <= steady_clock::now(); });
    for (auto& item : due) {
        if (counters.in_flight.load() >= limits.in_flight) return;
        if (held.contains(item->id) || carrier_of(item->kind) == nullptr) continue;
        if (const auto busy = busy_with.find(item->about);
            busy != busy_with.end() && busy->second >= limits.in_flight_each)
            continue;
        begin(std::move(item));
    }
}

void Outbox::State::begin(vault::Ref<vault::OutboxItem> item) {
    held[item->id] = std::nullopt;
    ++busy_with[item->about];
    counters.in_flight.fetch_add(1);
    net::asio::co_spawn(worker.context().get_executor(), run(shared_from_this(), std::move(item)),
                        [](const std::exception_ptr& escaped) {
                            if (escaped) base::log(base::LogLevel::error, "outbox.attempt_broke");
                        });
}

net::awaitable<void> Outbox::State::run(std::shared_ptr<State> self, vault::Ref<vault::OutboxItem> item) {
    const auto attempt = co_await self->carrier_of(item->kind)->carry(item);
    auto fate = Fate::postponed;
    const vault::Actor actor{.workspace = item->workspace.raw};
    const auto settled = co_await net::await_callback<base::Status>(self->worker, [&](vault::Done done) {
        self->records->change(
            actor, [&](vault::Change& change) { return self->settle(change, item->id, attempt, fate); },
            std::move(done));
    });
    if (!settled) {
        base::log_error("outbox.not_settled", settled.error());
    } else {
        auto& counter = fate == Fate::done        ? self->counters.done
                        : fate == Fate::postponed ? self->counters.postponed
                                                  : self->counters.given_up;
        counter.fetch_add(1);
    }
    self->end(*item, settled.has_value());
}

/// The item may have gone while it was tried: then there is nothing to take note of.
base::Status Outbox::State::settle(vault::Change& change, const base::OutboxItemId& id,
                                   const Attempt& attempt, Fate& fate) {
    const auto found = change.catalog().find<vault::OutboxItem>(id);
    if (!found) return {};
    auto item = *found;
    item.attempts += 1;
    const bool last = item.attempts > kOutboxWaits.size() || change.now() - item.created >= kOutboxAge;
    fate = attempt.end == Attempt::End::done              ? Fate::done
           : attempt.end == Attempt::End::dropped || last ? Fate::given_up
                                                          : Fate::postponed;
    if (auto noted = carrier_of(item.kind)->settle(change, item, attempt, fate); !noted) return noted;
    if (fate != Fate::postponed) return change.erase(item);
    item.last_failure = attempt.reason;
    item.next_attempt = change.now() + outbox_wait(item.attempts, attempt.retry_after, seed_of(id.raw));
    item.updated = change.now();
    return change.store(std::move(item));
}

void Outbox::State::end(const vault::OutboxItem& item, bool settled) {
    if (--busy_with[item.about] == 0) busy_with.erase(item.about);
    if (settled) {
        held.erase(item.id);
    } else {
        held[item.id] = steady_clock::now() + kPauseAfterLostResult;
    }
    const std::lock_guard lock(guard);
    counters.in_flight.fetch_sub(1);
    ended.notify_all();
}

Outbox::Outbox(net::Worker& worker, vault::Records& records, Carriers carriers, OutboxLimits limits)
    : state_(std::make_shared<State>(worker, records, std::move(carriers), limits)) {}

Outbox::~Outbox() { state_->stopping.store(true); }

void Outbox::start() {
    state_->worker.every(state_->limits.look_every, [weak = std::weak_ptr(state_)] {
        if (const auto state = weak.lock()) state->look();
    });
}

void Outbox::drain(milliseconds grace) {
    state_->stopping.store(true);
    std::unique_lock lock(state_->guard);
    state_->ended.wait_for(lock, grace, [&] { return state_->counters.in_flight.load() == 0; });
}

const OutboxCounters& Outbox::counters() const { return state_->counters; }

}  // namespace claviger::notify
