// A storage engine that breaks on request, around a real one.
#pragma once

#include "vault/storage_engine.h"

#include <atomic>
#include <mutex>

namespace claviger::test {

/// Behaves like the engine inside until told to fail. After a failed commit it insists on recover(), as the
/// contract says. Thread safety: every member, any thread, any time.
class FaultEngine final : public vault::StorageEngine {
public:
    /// `inner` should be empty when cut_power() is to be used.
    explicit FaultEngine(std::unique_ptr<vault::StorageEngine> inner = vault::open_in_memory());

    /// The nth commit from now (1: the next) fails with "storage.unavailable"; recover() succeeds afterwards.
    void fail_commit(std::size_t nth);
    /// Every commit, and every recover(), fails until heal().
    void fail_commits();
    /// Every get, scan and changes_after fails with "storage.unavailable" until heal().
    void fail_reads();
    void heal();
    /// The machine dies: every further call fails, for good. Returns what the disk holds afterwards: all
    /// commits made through this engine but the last `lost` ones.
    std::unique_ptr<vault::StorageEngine> cut_power(std::size_t lost);

    /// Calls so far, failed ones included.
    std::size_t commits() const { return commits_; }
    std::size_t reads() const { return reads_; }

    base::Result<std::optional<vault::Row>> get(vault::Table table, base::ByteView key) const override;
    base::Status scan(vault::Table table, base::ByteView prefix, base::ByteView from, vault::Order order,
                      const vault::Visitor& visit) const override;
    base::Status commit(std::uint64_t commit_seq, const vault::Batch& batch) override;
    std::uint64_t last_commit() const override { return inner_->last_commit(); }
    base::Status recover() override;
    base::Status changes_after(std::uint64_t commit_seq, const vault::ChangeVisitor& visit) const override;
    base::Status checkpoint(const std::filesystem::path& directory) override;
    base::Status purge_erased(const std::vector<KeyPrefix>& prefixes) override;

private:
    base::Status reading() const;

    const std::unique_ptr<vault::StorageEngine> inner_;
    std::mutex mutex_;  // one commit at a time, and over the five below
    std::vector<std::pair<std::uint64_t, vault::Batch>> history_;
    std::size_t until_failure_ = 0;  // 0: none planned
    bool commits_fail_ = false;
    bool must_recover_ = false;
    std::atomic<bool> reads_fail_ = false;
    std::atomic<bool> dead_ = false;
    std::atomic<std::size_t> commits_ = 0;
    mutable std::atomic<std::size_t> reads_ = 0;
};

}  // namespace claviger::test
