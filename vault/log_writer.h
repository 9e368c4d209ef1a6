// Builds commits: gives entries their place, seals them, grows the tree, keeps the row sums and writes the
// head.
#pragma once

#include "vault/key_ring.h"
#include "vault/log_head.h"
#include "vault/log_rows.h"
#include "vault/log_tree.h"

#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace claviger::vault {

/// The change feed reaches back over at least so many commits, and is cut to that once in so many.
inline constexpr std::uint64_t kFeedCommits = 16'384, kFeedTrimEvery = 4'096;

/// Knows the newest durable state and, while a batch is being built, the state that follows it. One commit is
/// begin(), any number of appends and names, and finish(). When the commit fails, the writer is ahead of the
/// disk: load() another. Not thread safe: belongs to the commit thread.
class LogWriter {
public:
    /// For a store without any commit yet.
    LogWriter(const StorageEngine* engine, KeyRing& keys);
    /// From the head on disk, with everything it says of the end of the log checked.
    static base::Result<std::unique_ptr<LogWriter>> load(const StorageEngine& engine, KeyRing& keys);

    /// Starts the next commit, or starts it anew when nothing was added yet; returns its time, which is never
    /// before that of an earlier entry.
    base::Time begin(base::Time now);
    std::uint64_t next_commit() const { return commit_seq_ + 1; }
    std::uint64_t last_commit() const { return commit_seq_; }  // finished or loaded

    /// Sets the entries' positions and time and adds their rows.
    base::Status append(std::span<LogEntry> entries, Batch& batch);
    /// Adds a row for the name unless there is one.
    base::Status learn(const NamedFingerprint& name, Batch& batch);
    /// Accounts every row of the batch, adds the head, and trims the feed when it is time; this is the last
    /// commit from here on.
    base::Status finish(Batch& batch);

    const Bytes& head_row() const { return head_row_; }  // as finished or loaded
    const LogTree& tree() const { return tree_; }
    const RowSums& sums() const { return sums_; }
    const crypto::RowPrf& row_prf() const { return prf_; }

private:
    base::Result<const KeyRing::OwnerKey*> day_key(std::uint64_t day, Batch& batch);
    base::Status account(const Batch& batch);

    const StorageEngine* engine_;  // null before the first commit
    KeyRing& keys_;
    crypto::RowPrf prf_;
    std::uint64_t commit_seq_ = 0;
    base::Time last_entry_{}, now_{};
    LogTree tree_;
    RowSums sums_;
    Bytes head_row_;
    std::uint64_t day_ = 0;
    std::shared_ptr<const KeyRing::OwnerKey> day_key_;  // shared with the ring
    std::vector<Fingerprint> known_names_;  // a cache: fingerprint at its hash, forgetting is harmless
};

}  // namespace claviger::vault
