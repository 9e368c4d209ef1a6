#include "admin/api/rotation_upkeep.h"

#include "admin/api/announce.h"
#include "base/log.h"
#include "vault/rotation.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <vector>

namespace claviger::admin::api {
namespace {

using vault::Action;
using vault::ValueState;

constexpr std::size_t kMostAtOnce = 100;  // of one commit
// A second: a million of them are gone through in less than a minute, a few milliseconds at a time.
constexpr std::size_t kMostLookedAt = 20'000;

bool overlap_ended(const vault::Rotation& rotation, base::Time now) {
    const auto* previous = rotation.find(ValueState::previous);
    return previous != nullptr && previous->kept_until && *previous->kept_until <= now;
}

bool wants_reminder(const vault::Rotation& rotation, base::Time now) {
    if (!rotation.rotate_by) return false;
    if (rotation.reminders == 0) return *rotation.rotate_by - kReminderBefore <= now;
    return rotation.reminders == 1 && *rotation.rotate_by <= now;
}

/// Everything that is due of one credential. Looked at anew: much may have happened since it was found.
base::Status look_after(vault::Change& change, const base::CredentialId& id) {
    const auto credential = change.catalog().find<vault::Credential>(id);
    const auto rotation = change.catalog().find<vault::Rotation>(id);
    if (!credential || !rotation) return {};
    // One step of a credential at a time: each stores its rotation whole.
    if (overlap_ended(*rotation, change.now())) {
        change.note(
            value_entry(Action::retire, vault::as_of(*credential, *rotation->find(ValueState::previous))));
        auto retired = vault::retire_value(change, *credential, ValueState::previous);
        return retired ? base::Status() : std::unexpected(std::move(retired).error());
    }
    if (!wants_reminder(*rotation, change.now())) return {};
    auto reminded = *rotation;
    reminded.reminders = *rotation->rotate_by <= change.now() ? 2 : 1;
    reminded.updated = change.now();
    change.note(value_entry(Action::remind, *credential));
    if (auto told = announce_rotation(change, Action::remind, *credential); !told) return told;
    return change.store(std::move(reminded));
}

}  // namespace

struct RotationUpkeep::State : std::enable_shared_from_this<State> {
    State(net::Worker& w, vault::Records& r) : worker(w), records(r) {}
    net::Worker& worker;
    vault::Records& records;
    std::atomic<bool> stopping{false}, busy{false};
    std::optional<vault::Catalog::Age> place;  // where the next look begins; the worker's

    void look();
};

void RotationUpkeep::State::look() {
    if (stopping.load() || busy.load()) return;
    const auto now = records.clock().now();
    // Each workspace reads its own entries: those of one commit have one actor, and so one workspace.
    base::WorkspaceId workspace;
    std::vector<base::CredentialId> due;
    const auto before = place;
    bool left = false;
    records.catalog().walk<vault::Rotation>(place, kMostLookedAt, [&](const vault::Rotation& rotation) {
        if (!overlap_ended(rotation, now) && !wants_reminder(rotation, now)) return;
        if (due.empty()) workspace = rotation.workspace;
        if (rotation.workspace == workspace && due.size() < kMostAtOnce)
            due.push_back(rotation.id);
        else
            left = true;
    });
    if (left) place = before;  // the next look finds the rest
    if (due.empty()) return;
    busy.store(true);
    records.change(
        {.workspace = workspace.raw},
        [due](vault::Change& change) -> base::Status {
            for (const auto& id : due)
                if (auto done = look_after(change, id); !done) return done;
            return {};
        },
        [self = shared_from_this()](base::Status done) {
            if (!done) base::log_error("rotation.upkeep_failed", done.error());
            self->busy.store(false);
        });
}

RotationUpkeep::RotationUpkeep(net::Worker& worker, vault::Records& records)
    : state_(std::make_shared<State>(worker, records)) {}

RotationUpkeep::~RotationUpkeep() { state_->stopping.store(true); }

void RotationUpkeep::start() {
    state_->worker.every(std::chrono::seconds(1), [state = state_] { state->look(); });
}

}  // namespace claviger::admin::api
