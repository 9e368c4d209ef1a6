// Carries out what was begun: one operation at a time, step by step, on a thread of its own, beside all
// calls.
#pragma once

#include "vault/key_operations.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

namespace claviger::vault {

struct RotationSettings {
    SlotAccess slots = {};                       // without openings, which are only needed to begin
    std::size_t credentials_per_commit = 1'024;  // fewer while others use the store
    std::chrono::milliseconds retry_after{1'000};
    /// Whether something outside the store is still sealed with that generation of the vault's key; absent:
    /// nothing ever is.
    std::function<base::Result<bool>(const base::VaultId&, std::uint64_t generation)> in_use = {};
};

/// Thread safety: every member, any thread. The destructor waits for the step under way; what is not done
/// then goes on after the next start.
class KeyRotations {
public:
    KeyRotations(Records& records, RotationSettings settings);
    ~KeyRotations();
    KeyRotations(const KeyRotations&) = delete;
    KeyRotations& operator=(const KeyRotations&) = delete;

    /// Begins to look for work. Once; what is begun before waits for it.
    void start();
    /// Looks for work: after an operation was begun or steered.
    void wake();
    const SlotAccess& slots() const { return settings_.slots; }

    /// How fast an operation that is being carried out here gets on; nothing before it can be said.
    struct Pace {
        double per_second = 0;
        std::optional<std::chrono::seconds> remaining = {};
    };
    std::optional<Pace> pace(const Operation& operation) const;

private:
    using Step = std::function<base::Result<Operation>(Change&, Operation)>;
    struct Began {
        std::chrono::steady_clock::time_point at;
        std::uint64_t done = 0;
        OperationStep step{};
    };

    void run();
    bool wait_for(std::chrono::milliseconds longest);
    std::optional<Operation> next_due(std::chrono::milliseconds& wait);
    base::Status advance(const Operation& operation);
    base::Status advance_root(const Operation& operation);
    base::Status advance_vault(const Operation& operation);
    const GenerationRows& rows_of(const Operation& operation, const Vault& vault);
    base::Status move_stretch(const Operation& operation, const GenerationRows& rows);
    bool others_at_work();
    void leave_room(std::chrono::steady_clock::duration taken);
    base::Status look_for_the_rest(const Operation& operation, const Vault& vault);
    base::Status commit(const Operation& operation, const Step& step);
    void report(const Operation& operation, const base::Error& problem);
    void note_pace(const Operation& operation);

    Records& records_;
    const RotationSettings settings_;
    mutable std::mutex mutex_;  // over what follows
    std::condition_variable woken_;
    bool work_ = false, stopping_ = false;
    std::map<base::OperationId, Began> began_;
    // The thread's own.
    std::map<base::OperationId, std::chrono::steady_clock::time_point>
        resting_;  // after a failure, until then
    struct Ahead {
        base::OperationId operation;
        Stretch stretch;
    };
    std::optional<Ahead> ahead_;  // read while the rows before it were being committed
    struct Walk {
        base::OperationId operation;
        OperationStep step{};
        bool rolling_back = false;
        GenerationRows rows;
    };
    std::optional<Walk> walk_;   // of the step under way
    std::uint64_t entries_ = 0;  // of the log, when it was last looked who works
    std::chrono::steady_clock::time_point others_seen_{};
    std::thread thread_;
};

}  // namespace claviger::vault
