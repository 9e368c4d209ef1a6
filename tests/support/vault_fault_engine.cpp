#include "tests/support/vault_fault_engine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace claviger::test {
namespace {

std::unexpected<base::Error> broken(std::string why) {
    return base::failure(base::ErrorKind::unavailable, "storage.unavailable",
                         "The credential store is not available right now.", "Call recover().",
                         std::move(why));
}

}  // namespace

FaultEngine::FaultEngine(std::unique_ptr<vault::StorageEngine> inner) : inner_(std::move(inner)) {}

void FaultEngine::fail_commit(std::size_t nth) {
    const std::lock_guard lock(mutex_);
    until_failure_ = nth;
}

void FaultEngine::fail_commits() {
    const std::lock_guard lock(mutex_);
    commits_fail_ = true;
}

void FaultEngine::fail_reads() { reads_fail_ = true; }

void FaultEngine::heal() {
    const std::lock_guard lock(mutex_);
    commits_fail_ = false;
    until_failure_ = 0;
    reads_fail_ = false;
}

std::unique_ptr<vault::StorageEngine> FaultEngine::cut_power(std::size_t lost) {
    const std::lock_guard lock(mutex_);
    dead_ = true;
    auto survivor = vault::open_in_memory();
    const auto kept = history_.size() - std::min(lost, history_.size());
    for (std::size_t i = 0; i < kept; ++i) {
        if (survivor->commit(history_[i].first, history_[i].second)) continue;
        std::fputs("cut_power: the engine inside was not empty when it was wrapped\n", stderr);
        std::abort();
    }
    return survivor;
}

base::Status FaultEngine::reading() const {
    ++reads_;
    if (dead_) return broken("the power is cut");
    if (reads_fail_) return broken("a planned failure to read");
    return {};
}

base::Result<std::optional<vault::Row>> FaultEngine::get(vault::Table table, base::ByteView key) const {
    if (auto able = reading(); !able) return std::unexpected(std::move(able).error());
    return inner_->get(table, key);
}

base::Status FaultEngine::scan(vault::Table table, base::ByteView prefix, base::ByteView from,
                               vault::Order order, const vault::Visitor& visit) const {
    if (auto able = reading(); !able) return able;
    return inner_->scan(table, prefix, from, order, visit);
}

base::Status FaultEngine::commit(std::uint64_t commit_seq, const vault::Batch& batch) {
    const std::lock_guard lock(mutex_);
    ++commits_;
    if (dead_) return broken("the power is cut");
    if (must_recover_) return broken("an earlier commit failed and recover() was not called");
    const bool planned = until_failure_ != 0 && --until_failure_ == 0;
    if (planned || commits_fail_) {
        must_recover_ = true;
        return broken("a planned failure to commit");
    }
    auto committed = inner_->commit(commit_seq, batch);
    if (committed)
        history_.emplace_back(commit_seq, batch);
    else
        must_recover_ = committed.error().kind == base::ErrorKind::unavailable;
    return committed;
}

base::Status FaultEngine::recover() {
    const std::lock_guard lock(mutex_);
    if (dead_) return broken("the power is cut");
    if (commits_fail_) return broken("a planned failure to recover");
    auto recovered = inner_->recover();
    if (recovered) must_recover_ = false;
    return recovered;
}

base::Status FaultEngine::changes_after(std::uint64_t commit_seq, const vault::ChangeVisitor& visit) const {
    if (auto able = reading(); !able) return able;
    return inner_->changes_after(commit_seq, visit);
}

base::Status FaultEngine::checkpoint(const std::filesystem::path& directory) {
    if (auto able = reading(); !able) return able;
    return inner_->checkpoint(directory);
}

base::Status FaultEngine::purge_erased(const std::vector<KeyPrefix>& prefixes) {
    if (auto able = reading(); !able) return able;
    return inner_->purge_erased(prefixes);
}

}  // namespace claviger::test
