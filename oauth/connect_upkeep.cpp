#include "oauth/connect_upkeep.h"

#include "base/log.h"
#include "oauth/connect_device.h"
#include "oauth/connect_finish.h"
#include "oauth/connect_journal.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

namespace claviger::oauth {
namespace {

using net::awaitable;
using vault::ConnectState;
using Steady = std::chrono::steady_clock;

constexpr std::chrono::seconds kTick{1}, kSweepEvery{60};
constexpr std::chrono::seconds kRest{30};        // after work that left things as they were
constexpr std::chrono::seconds kDrainTakes{65};  // head and body of a token endpoint
constexpr std::size_t kAtOnce = 16, kSweptAtOnce = 100;

bool is_ended(const vault::ConnectFlow& flow) {
    return flow.state == ConnectState::connected || flow.state == ConnectState::failed;
}

/// Nobody lived to say what came of the code, and the journal does not know either.
bool is_lost(const ConnectWorld& world, const vault::ConnectFlow& flow, base::Time now) {
    return flow.state == ConnectState::exchanging && status_of(flow, now) == "failed" &&
           (world.journal == nullptr || !world.journal->has_left(flow.id));
}

bool is_late(const ConnectWorld& world, const vault::ConnectFlow& flow, base::Time now) {
    if (is_ended(flow)) return is_forgettable(flow, now);
    return is_lost(world, flow, now) || (is_unspent(flow) && !is_open(flow, now));
}

}  // namespace

base::Status end_in_time(const ConnectWorld& world, vault::Change& change, const base::ConnectLinkId& id) {
    const auto flow = change.catalog().find<vault::ConnectFlow>(id);
    if (!flow || !is_late(world, *flow, change.now())) return {};
    if (is_ended(*flow)) {
        change.note(vault::EntryKind::write, vault::Action::erase, vault::ObjectKind::connect_link,
                    flow->id.raw, flow->vault.raw);
        return change.erase(*flow);
    }
    if (flow->state == ConnectState::exchanging)
        return store_failure(world, change, *flow, outcome_unknown(), "connect.outcome_unknown");
    return store_failure(
        world, change, *flow,
        {"connect.expired", "The link expired before anybody was done with it.", "Make a new connect link."},
        "connect.expired");
}

struct ConnectUpkeep::State : std::enable_shared_from_this<State> {
    State(const ConnectWorld& w, net::Worker& on, OutboundFor way)
        : world(w),
          worker(on),
          outbound_for(std::move(way)),
          orphans(world.records.catalog().all<vault::ConnectFlow>([&](const auto& flow) {
              const bool starting = is_unspent(flow) && flow.starting_until;
              return starting || (flow.state == ConnectState::exchanging &&
                                  (world.journal == nullptr || !world.journal->has_left(flow.id)));
          })) {}

    using Work = awaitable<void> (*)(State& self, const Outbound& out, base::ConnectLinkId id);
    /// A flow that is being worked on, for as long as this lives.
    class Presence {
    public:
        Presence(State& state, const base::ConnectLinkId& id) : state_(state), id_(id) {}
        ~Presence() {
            const std::lock_guard lock(state_.mutex);
            state_.under_way.erase(id_);
            state_.ended.notify_all();
        }
        Presence(const Presence&) = delete;
        Presence& operator=(const Presence&) = delete;

    private:
        State& state_;
        const base::ConnectLinkId id_;
    };

    void tick();
    bool begin(Work work, const vault::ConnectFlow& flow);
    static awaitable<void> run(std::shared_ptr<State> self, Work work, vault::ConnectFlow flow);
    static awaitable<void> take_up(State& self, const Outbound& out, base::ConnectLinkId id);
    static awaitable<void> poll(State& self, const Outbound& out, base::ConnectLinkId id);
    void take_up_left();
    void poll_due();
    bool may_be_answered(const vault::ConnectFlow& flow);
    void sweep();
    void end_orphans();

    const ConnectWorld& world;
    net::Worker& worker;
    const OutboundFor outbound_for;
    /// Whoever worked on these died: a code whose answer is not on disk is never sent again, and a start may
    /// be made again at once.
    const std::vector<vault::Ref<vault::ConnectFlow>> orphans;
    std::mutex mutex;  // guards the next three
    std::condition_variable ended;
    std::set<base::ConnectLinkId> under_way;
    bool stopping = false;

    // On the worker alone.
    std::map<base::ConnectLinkId, Steady::time_point> resting;     // not before then
    std::map<base::ConnectLinkId, Steady::time_point> exchanging;  // since when, as far as sweeps have seen
    Steady::time_point sweep_at{};
};

/// False when there is no room for more.
bool ConnectUpkeep::State::begin(Work work, const vault::ConnectFlow& flow) {
    if (resting.contains(flow.id)) return true;
    {
        const std::lock_guard lock(mutex);
        if (stopping || under_way.size() >= kAtOnce) return false;
        if (!under_way.insert(flow.id).second) return true;
    }
    resting[flow.id] = Steady::now() + kRest;  // unless the work gets somewhere
    boost::asio::co_spawn(worker.context().get_executor(), run(shared_from_this(), work, flow),
                          [](const std::exception_ptr& escaped) {
                              if (escaped) base::log(base::LogLevel::error, "connect.upkeep_escaped");
                          });
    return true;
}

awaitable<void> ConnectUpkeep::State::run(std::shared_ptr<State> self, Work work, vault::ConnectFlow flow) {
    const Presence here(*self, flow.id);
    try {
        const auto out = self->outbound_for(flow);
        co_await work(*self, out, flow.id);
    } catch (const std::exception& escaped) {
        base::log(base::LogLevel::error, "connect.upkeep_broke",
                  {{"connect_link", flow.id.text()}, {"what", escaped.what()}});
    }
}

awaitable<void> ConnectUpkeep::State::take_up(State& self, const Outbound& out, base::ConnectLinkId id) {
    if (co_await take_up_answer(self.world, out, id)) self.resting.erase(id);
}

awaitable<void> ConnectUpkeep::State::poll(State& self, const Outbound& out, base::ConnectLinkId id) {
    const auto& catalog = self.world.records.catalog();
    const auto before = catalog.find<vault::ConnectFlow>(id);
    co_await poll_device(self.world, out, id);
    // Where the disk did not take when to ask again, asking at once would go on for ever.
    if (catalog.find<vault::ConnectFlow>(id) != before) self.resting.erase(id);
}

void ConnectUpkeep::State::take_up_left() {
    if (world.journal == nullptr) return;
    for (const auto& id : world.journal->left()) {
        vault::ConnectFlow gone;  // its answer has to be taken away all the same
        gone.id = id;
        const auto flow = world.records.catalog().find<vault::ConnectFlow>(id);
        if (!begin(&State::take_up, flow ? *flow : gone)) return;
    }
}

void ConnectUpkeep::State::poll_due() {
    const auto now = world.records.clock().now();
    auto due = world.records.catalog().all<vault::ConnectFlow>([&](const auto& flow) {
        return flow.state == ConnectState::started && flow.device && poll_is_due(*flow.device, now) &&
               (world.journal == nullptr || !world.journal->has_left(flow.id));
    });
    std::ranges::sort(due, {}, [](const auto& flow) { return flow->device->next_poll; });
    for (const auto& flow : due)
        if (!begin(&State::poll, *flow)) return;
}

/// Whether a code that left may still get its answer, whatever the wall clock says of the time that took.
bool ConnectUpkeep::State::may_be_answered(const vault::ConnectFlow& flow) {
    if (flow.state != ConnectState::exchanging) return false;
    const auto since = exchanging.try_emplace(flow.id, Steady::now()).first->second;
    return Steady::now() - since < kDrainTakes;
}

/// Each in a change of its own, because each has its own workspace's entry in the log.
void ConnectUpkeep::State::sweep() {
    const auto now = world.records.clock().now();
    auto late = world.records.catalog().all<vault::ConnectFlow>(
        [&](const auto& flow) { return is_late(world, flow, now) && !may_be_answered(flow); });
    std::erase_if(exchanging, [&](const auto& seen) {
        const auto flow = world.records.catalog().find<vault::ConnectFlow>(seen.first);
        return !flow || flow->state != ConnectState::exchanging;
    });
    if (late.size() > kSweptAtOnce) late.resize(kSweptAtOnce);
    for (const auto& flow : late)
        world.records.change(
            {.workspace = flow->workspace.raw},
            [&at = world, id = flow->id](vault::Change& change) { return end_in_time(at, change, id); },
            [](base::Status status) {
                if (!status) base::log_error("connect.not_swept", status.error());
            });
}

void ConnectUpkeep::State::end_orphans() {
    for (const auto& orphan : orphans)
        world.records.change(
            {.workspace = orphan->workspace.raw},
            [&at = world, orphan](vault::Change& change) -> base::Status {
                const auto flow = change.catalog().find<vault::ConnectFlow>(orphan->id);
                if (!flow || flow->state != orphan->state) return {};
                if (flow->state == ConnectState::exchanging)
                    return store_failure(at, change, *flow, outcome_unknown(), "connect.outcome_unknown");
                if (flow->starting_until != orphan->starting_until) return {};  // another start, of ours
                auto free = *flow;
                free.starting_until.reset();
                change.note(vault::EntryKind::grant, vault::Action::update, vault::ObjectKind::connect_link,
                            free.id.raw, free.vault.raw);
                return change.store(std::move(free));
            },
            [](base::Status status) {
                if (!status) base::log_error("connect.not_swept", status.error());
            });
}

void ConnectUpkeep::State::tick() {
    {
        const std::lock_guard lock(mutex);
        if (stopping) return;
    }
    const auto now = Steady::now();
    std::erase_if(resting, [&](const auto& rest) { return rest.second <= now; });
    take_up_left();
    poll_due();
    if (now < sweep_at) return;
    sweep_at = now + kSweepEvery;
    sweep();
}

ConnectUpkeep::ConnectUpkeep(const ConnectWorld& world, net::Worker& worker, OutboundFor outbound_for)
    : state_(std::make_shared<State>(world, worker, std::move(outbound_for))) {}

ConnectUpkeep::~ConnectUpkeep() {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
}

void ConnectUpkeep::start() {
    if (const auto& world = state_->world; world.journal != nullptr)
        world.journal->sweep(world.records.catalog(), world.records.clock().now());
    state_->end_orphans();
    state_->worker.every(kTick, [state = state_] { state->tick(); });
}

void ConnectUpkeep::drain() {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    if (!state_->ended.wait_for(lock, kDrainTakes, [&] { return state_->under_way.empty(); }))
        base::log(base::LogLevel::error, "connect.not_drained", {{"links", state_->under_way.size()}});
}

}  // namespace claviger::oauth
