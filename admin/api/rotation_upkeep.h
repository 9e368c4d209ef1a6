// What becomes due in rotations while nobody asks: values whose overlap has ended, and deadlines.
#pragma once

#include "net/worker.h"
#include "vault/records.h"

#include <chrono>
#include <memory>

namespace claviger::admin::api {

/// How long before the deadline somebody is told for the first time. The second time is the deadline itself.
inline constexpr std::chrono::days kReminderBefore{7};

/// Once a second and a commit at most: retires the kept values whose time has come, and tells of deadlines
/// by `vault_credential.rotation_due`. What is due follows from the records, so a restart misses nothing.
class RotationUpkeep {
public:
    /// Both are borrowed and outlive the worker's last tick.
    RotationUpkeep(net::Worker& worker, vault::Records& records);
    /// No further look begins.
    ~RotationUpkeep();
    RotationUpkeep(const RotationUpkeep&) = delete;
    RotationUpkeep& operator=(const RotationUpkeep&) = delete;

    void start();  // any thread, once

private:
    struct State;
    std::shared_ptr<State> state_;  // with the worker's tick and the change under way, which end later
};

}  // namespace claviger::admin::api
