#include "vault/version_calls.h"

#include <algorithm>

namespace claviger::vault {

VersionCalls::One::One(VersionCalls& calls, const std::optional<base::SessionId>& lasting) : calls_(calls) {
    calls_.running_.fetch_add(1, std::memory_order_relaxed);
    if (!lasting) return;
    const std::lock_guard lock(calls_.mutex_);
    at_ = calls_.lasting_.insert(calls_.lasting_.end(), *lasting);
}

VersionCalls::One::~One() {
    if (at_) {
        const std::lock_guard lock(calls_.mutex_);
        calls_.lasting_.erase(*at_);
    }
    calls_.running_.fetch_sub(1, std::memory_order_relaxed);
}

std::vector<base::SessionId> VersionCalls::lasting() const {
    const std::lock_guard lock(mutex_);
    return {lasting_.begin(), lasting_.end()};
}

std::shared_ptr<VersionCalls> RunningCalls::of(const base::CredentialId& credential, std::uint64_t version) {
    const std::lock_guard lock(mutex_);
    if (known_.size() >= sweep_at_) {
        std::erase_if(known_, [](const auto& one) { return one.second.expired(); });
        sweep_at_ = std::max(kFirstSweep, 2 * known_.size());
    }
    auto& known = known_[{credential, version}];
    auto calls = known.lock();
    if (!calls) known = calls = std::make_shared<VersionCalls>();
    return calls;
}

std::shared_ptr<const VersionCalls> RunningCalls::find(const base::CredentialId& credential,
                                                       std::uint64_t version) const {
    const std::lock_guard lock(mutex_);
    const auto known = known_.find({credential, version});
    return known == known_.end() ? nullptr : known->second.lock();
}

std::size_t RunningCalls::size() const {
    const std::lock_guard lock(mutex_);
    return known_.size();
}

}  // namespace claviger::vault
