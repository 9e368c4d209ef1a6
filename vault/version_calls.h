// The calls that run now, counted by the version of the credential's value that they use.
#pragma once

#include "base/id.h"

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace claviger::vault {

/// Those of one version, of all workers together. Any thread; only calls that may last take a lock.
class VersionCalls {
    using Sessions = std::list<base::SessionId>;

public:
    /// One call, from now until this goes. The counted outlives it.
    class One {
    public:
        /// `lasting`: the session of a call that goes on until somebody ends it; absent for all others.
        One(VersionCalls& calls, const std::optional<base::SessionId>& lasting);
        ~One();
        One(const One&) = delete;
        One& operator=(const One&) = delete;

    private:
        VersionCalls& calls_;
        std::optional<Sessions::iterator> at_;
    };

    std::uint64_t running() const { return running_.load(std::memory_order_relaxed); }
    /// The sessions of those that may last, the oldest first; one stands there for each of its calls.
    std::vector<base::SessionId> lasting() const;

private:
    std::atomic<std::uint64_t> running_{0};
    mutable std::mutex mutex_;
    Sessions lasting_;
};

/// The versions that anybody holds to call with. Any thread; asked once per resolved session, never per call.
class RunningCalls {
public:
    /// Of that version. Its owners are those who may call with it; with the last of them it goes.
    std::shared_ptr<VersionCalls> of(const base::CredentialId& credential, std::uint64_t version);
    /// The same; null when nobody holds the version, and so no call runs with it.
    std::shared_ptr<const VersionCalls> find(const base::CredentialId& credential,
                                             std::uint64_t version) const;
    /// How many versions it keeps a place for, held or not.
    std::size_t size() const;

private:
    static constexpr std::size_t kFirstSweep = 1'024;
    using Key = std::pair<base::CredentialId, std::uint64_t>;
    mutable std::mutex mutex_;  // over what follows
    std::map<Key, std::weak_ptr<VersionCalls>> known_;
    std::size_t sweep_at_ = kFirstSweep;  // how many there may be before those that went are taken out
};

}  // namespace claviger::vault
