// The storage contract without a disk: rows keep the versions that a running scan may still need.
#include "vault/storage_engine.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <utility>

namespace claviger::vault {

using base::ErrorKind;

struct SharedRows {
    /// The states of one row, oldest first; the last one is the present.
    struct State {
        std::uint64_t version;
        std::optional<Bytes> value;  // nullopt: erased
    };
    using Rows = std::map<Bytes, std::vector<State>, std::less<>>;

    std::shared_mutex mutex;  // over everything below
    std::array<Rows, kTables> tables;
    std::map<std::uint64_t, std::set<std::pair<Table, Bytes>>> changes;
    std::multiset<std::uint64_t> snapshots;  // of running scans
    std::uint64_t last_commit = 0;
    std::uint64_t trimmed_to = 0;
};

namespace {

/// The row as of commit `snapshot`, nullptr when it did not exist then.
const SharedRows::State* state_at(const std::vector<SharedRows::State>& states, std::uint64_t snapshot) {
    for (auto state = states.rbegin(); state != states.rend(); ++state)
        if (state->version <= snapshot) return state->value ? &*state : nullptr;
    return nullptr;
}

/// The first key after all keys with this prefix; empty when there is none.
Bytes end_of(ByteView prefix) {
    Bytes end(prefix);
    while (!end.empty() && end.back() == static_cast<char>(0xff)) end.pop_back();
    if (!end.empty()) end.back() = static_cast<char>(end.back() + 1);
    return end;
}

class InMemoryEngine final : public StorageEngine {
public:
    explicit InMemoryEngine(std::shared_ptr<SharedRows> rows) : shared_(std::move(rows)) {}

    base::Result<std::optional<Row>> get(Table table, ByteView key) const override {
        const std::shared_lock lock(shared_->mutex);
        const auto& rows = rows_of(table);
        const auto found = rows.find(key);
        if (found == rows.end()) return std::nullopt;
        const auto* state = state_at(found->second, shared_->last_commit);
        if (!state) return std::nullopt;
        return Row{*state->value, state->version};
    }

    base::Status scan(Table table, ByteView prefix, ByteView from, Order order,
                      const Visitor& visitor) const override {
        const Snapshot snapshot(*shared_);
        auto next = order == Order::ascending ? first_up(table, prefix, from, snapshot.commit_seq)
                                              : first_down(table, prefix, from, snapshot.commit_seq);
        while (next && visitor(next->key, next->value, next->version))
            next = order == Order::ascending ? after(table, prefix, next->key, snapshot.commit_seq)
                                             : before(table, prefix, next->key, snapshot.commit_seq);
        return {};
    }

    base::Status commit(std::uint64_t commit_seq, const Batch& batch) override {
        const std::unique_lock lock(shared_->mutex);
        if (!preconditions_hold(commit_seq, batch))
            return base::failure(ErrorKind::conflict, "storage.conflict",
                                 "Someone else changed this in the meantime.",
                                 "Read it again and repeat the change.");
        for (const auto& write : batch.writes()) {
            auto& states = rows_of(write.table)[write.key];
            if (shared_->snapshots.empty())
                states.clear();
            else if (!states.empty() && states.back().version == commit_seq)
                states.pop_back();  // an earlier write of this batch
            states.push_back({commit_seq, write.value});
            if (!is_of_log(write.table, write.key))
                shared_->changes[commit_seq].emplace(write.table, write.key);
        }
        shared_->trimmed_to =
            std::max(shared_->trimmed_to, std::min(batch.feed_trimmed_to(), shared_->last_commit));
        shared_->changes.erase(shared_->changes.begin(), shared_->changes.upper_bound(shared_->trimmed_to));
        if (shared_->snapshots.empty()) forget_erased(batch);
        shared_->last_commit = commit_seq;
        return {};
    }

    std::uint64_t last_commit() const override {
        const std::shared_lock lock(shared_->mutex);
        return shared_->last_commit;
    }

    base::Status recover() override { return {}; }

    base::Status changes_after(std::uint64_t commit_seq, const ChangeVisitor& visitor) const override {
        std::vector<std::pair<std::uint64_t, std::set<std::pair<Table, Bytes>>>> changes;
        {
            const std::shared_lock lock(shared_->mutex);
            if (commit_seq < shared_->trimmed_to)
                return base::failure(ErrorKind::conflict, "storage.feed_trimmed",
                                     "The record of changes no longer reaches back that far.",
                                     "Read everything again.");
            changes.assign(shared_->changes.upper_bound(commit_seq), shared_->changes.end());
        }
        for (const auto& [changed_in, keys] : changes)
            for (const auto& [table, key] : keys)
                if (!visitor(changed_in, table, key)) return {};
        return {};
    }

    base::Status checkpoint(const std::filesystem::path&) override {
        return base::failure(base::ErrorKind::invalid_request, "storage.not_on_disk",
                             "This store has no files that could be copied.",
                             "Only a store on a disk can be backed up.");
    }

    base::Status purge_erased(const std::vector<KeyPrefix>&) override { return {}; }  // nothing is kept

private:
    struct Found {
        Bytes key;
        Bytes value;
        std::uint64_t version;
    };

    /// While it lives, commits keep what it sees.
    struct Snapshot {
        explicit Snapshot(SharedRows& rows) : shared(rows) {
            const std::unique_lock lock(shared.mutex);
            commit_seq = shared.last_commit;
            shared.snapshots.insert(commit_seq);
        }
        ~Snapshot() {
            const std::unique_lock lock(shared.mutex);
            shared.snapshots.erase(shared.snapshots.find(commit_seq));
        }
        Snapshot(const Snapshot&) = delete;
        Snapshot& operator=(const Snapshot&) = delete;
        SharedRows& shared;
        std::uint64_t commit_seq = 0;
    };

    SharedRows::Rows& rows_of(Table table) { return shared_->tables[static_cast<std::size_t>(table)]; }
    const SharedRows::Rows& rows_of(Table table) const {
        return shared_->tables[static_cast<std::size_t>(table)];
    }

    bool preconditions_hold(std::uint64_t commit_seq, const Batch& batch) const {
        if (commit_seq != shared_->last_commit + 1) return false;
        return std::ranges::all_of(batch.preconditions(), [&](const Batch::Precondition& required) {
            const auto& rows = rows_of(required.table);
            const auto found = rows.find(required.key);
            const auto* state = found == rows.end() ? nullptr : state_at(found->second, shared_->last_commit);
            return (state ? state->version : 0) == required.version;
        });
    }

    void forget_erased(const Batch& batch) {
        for (const auto& write : batch.writes()) {
            if (write.value) continue;
            auto& rows = rows_of(write.table);
            const auto found = rows.find(write.key);
            if (found != rows.end() && !found->second.back().value) rows.erase(found);
        }
    }

    using Position = SharedRows::Rows::const_iterator;

    std::optional<Found> up(const SharedRows::Rows& rows, Position at, ByteView prefix,
                            std::uint64_t snapshot) const {
        for (; at != rows.end() && at->first.starts_with(prefix); ++at)
            if (const auto* state = state_at(at->second, snapshot))
                return Found{at->first, *state->value, state->version};
        return std::nullopt;
    }
    /// From the row before `at` downwards.
    std::optional<Found> down(const SharedRows::Rows& rows, Position at, ByteView prefix,
                              std::uint64_t snapshot) const {
        while (at != rows.begin()) {
            --at;
            if (!at->first.starts_with(prefix)) break;
            if (const auto* state = state_at(at->second, snapshot))
                return Found{at->first, *state->value, state->version};
        }
        return std::nullopt;
    }

    std::optional<Found> first_up(Table table, ByteView prefix, ByteView from, std::uint64_t snapshot) const {
        const std::shared_lock lock(shared_->mutex);
        return up(rows_of(table), rows_of(table).lower_bound(std::max(prefix, from)), prefix, snapshot);
    }
    std::optional<Found> after(Table table, ByteView prefix, ByteView key, std::uint64_t snapshot) const {
        const std::shared_lock lock(shared_->mutex);
        return up(rows_of(table), rows_of(table).upper_bound(key), prefix, snapshot);
    }
    std::optional<Found> first_down(Table table, ByteView prefix, ByteView from,
                                    std::uint64_t snapshot) const {
        const std::shared_lock lock(shared_->mutex);
        const auto& rows = rows_of(table);
        const auto end = end_of(prefix);
        const auto top = end.empty() ? rows.end() : rows.lower_bound(end);
        const bool within = !from.empty() && (end.empty() || from < end);
        return down(rows, within ? rows.upper_bound(from) : top, prefix, snapshot);
    }
    std::optional<Found> before(Table table, ByteView prefix, ByteView key, std::uint64_t snapshot) const {
        const std::shared_lock lock(shared_->mutex);
        return down(rows_of(table), rows_of(table).lower_bound(key), prefix, snapshot);
    }

    std::shared_ptr<SharedRows> shared_;  // shared by all engines over it, none of which must outlive another
};

}  // namespace

std::shared_ptr<SharedRows> new_shared_rows() { return std::make_shared<SharedRows>(); }

std::unique_ptr<StorageEngine> open_in_memory(std::shared_ptr<SharedRows> rows) {
    return std::make_unique<InMemoryEngine>(std::move(rows));
}

}  // namespace claviger::vault
