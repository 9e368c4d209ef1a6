// The one order of everything: a single commit thread that turns changes and log entries into synced batches.
// A batch holds the rows, their entries, the Merkle tree's growth and the new head, so neither exists without
// the other.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/hash.h"
#include "crypto/merkle.h"
#include "vault/key_ring.h"
#include "vault/log_entry.h"
#include "vault/row_sums.h"
#include "vault/storage_engine.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::vault {

/// What a change may do. Exists only while the change function runs, on the commit thread.
class Transaction {
public:
    virtual ~Transaction() = default;
    virtual std::uint64_t commit_seq() const = 0;
    virtual base::Time now() const = 0;
    virtual KeyRing& keys() = 0;
    virtual const StorageEngine& engine() const = 0;
    /// Rows of this commit. It is made from the newest state, or not at all: the engine takes a commit only
    /// as the one after the last.
    virtual Batch& batch() = 0;
    /// Adds this change's entry; a change that writes rows must note at least one, or it is refused as
    /// internal.
    virtual void note(const LogEntry& entry) = 0;
    /// Runs on the commit thread after the batch is durable and before anybody is told: memory follows the
    /// disk. It must own what it uses: if a commit that failed turns out to be on disk after all, it runs
    /// then, later than `done`.
    virtual void when_durable(std::function<void()> action) = 0;
};

using ChangeFunction = std::function<base::Status(Transaction&)>;
using Done = std::function<void(base::Status)>;

/// Where an appended entry ended up: its position, or why not.
using Appended = std::function<void(base::Result<std::uint64_t>)>;

/// An entry on its way into the log.
struct QueuedEntry {
    LogEntry entry;
    std::array<NamedFingerprint, 3> names{};
    Appended appended{};  // nobody waits for an outcome
};

struct LedgerCounters {
    std::atomic<std::uint64_t> entries{0}, commits{0}, failed_commits{0}, commit_micros{0};
    std::atomic<std::uint64_t> group_entries_max{0};
    std::atomic<std::uint64_t> followed{0};  // the last commit that memory has followed, all its actions done
    std::atomic<bool> writable{true};
};

struct LogHead {
    std::uint64_t commit_seq = 0;
    std::uint64_t size = 0;  // entries
    crypto::Digest root{};   // RFC 6962 root over them
};

/// Receives every durable entry, in order, on the commit thread (the index keeps its tail from it).
class EntryObserver {
public:
    virtual ~EntryObserver() = default;
    /// May add rows to the batch that makes these entries durable (a finished index block). `first` is their
    /// first position.
    virtual void about_to_commit(const std::vector<LogEntry>& entries, std::uint64_t commit_seq,
                                 Batch& batch) = 0;
    virtual void durable(const std::vector<LogEntry>& entries) = 0;
    virtual void abandoned() = 0;  // the commit failed; forget what about_to_commit prepared
};

class LogPin;

class Ledger {
public:
    /// Writes the first head for a new store into `batch`, together with `entry`. Commit sequence 1.
    static void initialise(KeyRing& keys, base::Time now, const LogEntry& entry, Batch& batch);

    /// Verifies head, row sums (every row of the summed tables, each of which `readers` see before it is
    /// known whether the sums are right) and the end of the log, then starts the commit thread. Corrupt
    /// "ledger.head_refused", "ledger.rows_changed" (detail names the rows that the log says were written
    /// differently, as far as it can tell), "ledger.log_truncated", "ledger.log_forked".
    static base::Result<std::unique_ptr<Ledger>> open(StorageEngine& engine, KeyRing& keys,
                                                      const base::Clock& clock,
                                                      const RowReaders& readers = {});
    ~Ledger();  // finishes what is queued, then joins

    void set_observer(EntryObserver* observer);  // before the first submit or append
    /// Told of every commit before anybody else is. While nothing is under way; outlives the ledger.
    void set_pin(LogPin* pin);

    /// Any thread. `change` runs alone, against the newest state; `done` is called on the commit thread after
    /// the disk has it (or with why not). A failed change leaves no trace. Unavailable "log.not_durable" when
    /// the log cannot be written.
    void submit(ChangeFunction change, Done done);

    /// Any thread: the hot path. Entries of many callers share one commit; no gathering delay. `appended` is
    /// called on the commit thread. Pass nullptr for outcomes that nobody waits for.
    void append(const LogEntry& entry, const std::array<NamedFingerprint, 3>& names, Appended appended);
    /// The same for several at once, in their order. Leaves `entries` empty.
    void append(std::vector<QueuedEntry>& entries);

    LogHead head() const;  // durable
    const LedgerCounters& counters() const;
    base::Result<LogEntry> read(
        std::uint64_t position) const;  // opened and decoded; corrupt "log.entry_refused"
    base::Result<std::optional<std::string>> name_of(const Fingerprint& fingerprint) const;

private:
    struct State;
    explicit Ledger(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace claviger::vault
