// How far the log is, kept outside the store: an older copy of the whole store, consistent in itself, shows
// against it.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "vault/durable_file.h"
#include "vault/ledger.h"
#include "vault/overruling.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace claviger::vault {

/// What a pin says: the log was this far at that time.
struct PinRecord {
    base::RawId instance{};
    base::Time time{};
    LogHead head;
};

/// Follows from the instance's own key, which outlives every rotation of the root key.
crypto::Key pin_key(const KeyRing::OwnerKey& instance_key);
/// The record and its MAC. Layout: docs/storage_format.md.
base::Bytes encode(const PinRecord& record, const crypto::Key& pin_key);
/// Nothing unless the bytes are a record; its MAC is checked with a key only.
std::optional<PinRecord> decode_pin(base::ByteView bytes, const crypto::Key* pin_key);
/// The newest record in a pin's file, whoever wrote it: for operators to look at. Nothing when there is none.
std::optional<PinRecord> look_at_pin(const std::filesystem::path& file);

/// The file FOLDER/<instance>.pin. Records are written in turn to two places of it, so a write that was torn
/// leaves the one before; they reach the page cache with every commit and the disk once a second and at the
/// end. A pin that is behind the store is good: every state that the store goes through begins with it.
class LogPin {
public:
    /// Reads what is pinned. The folder must exist. unavailable "pin.folder"; corrupt "pin.refused" when
    /// there is a file and no record in it is of this store.
    static base::Result<std::unique_ptr<LogPin>> open(std::filesystem::path folder,
                                                      const base::RawId& instance, crypto::Key pin_key,
                                                      const base::Clock& clock);
    ~LogPin();

    /// The newest record as of open() or reset(); nothing: never pinned.
    const std::optional<PinRecord>& pinned() const { return pinned_; }
    /// Whether the operator accepted a log with this root: the file accept-<root in hex> in the folder.
    bool accepts(const crypto::Digest& root) const;
    /// Removes that file. unavailable "pin.folder".
    base::Status use_up(const crypto::Digest& accepted_root) const;
    /// Forgets what was pinned and pins `head`, on disk when this returns. unavailable "pin.folder".
    base::Status reset(const LogHead& head);

    /// The log grew. Commit thread, after the commit is durable. Never fails: what cannot be written is
    /// counted and logged once, and tried again with the next.
    void note(const LogHead& head);
    std::uint64_t failures() const { return failures_.load(std::memory_order_relaxed); }
    /// When the log was last pinned, and how many entries it had then. Any thread.
    base::Time last_pinned() const { return base::Time(std::chrono::milliseconds(pinned_ms_.load())); }
    std::uint64_t entries() const { return entries_.load(std::memory_order_relaxed); }

    const std::filesystem::path& file() const { return file_; }

private:
    LogPin(std::filesystem::path folder, const base::RawId& instance, crypto::Key pin_key,
           const base::Clock& clock);
    base::Status read();
    bool write(const LogHead& head);
    void follow(const PinRecord& record);
    void sync_now_and_then();

    const std::filesystem::path folder_, file_;
    const base::RawId instance_;
    const crypto::Key key_;
    const base::Clock& clock_;
    std::optional<PinRecord> pinned_;
    std::optional<Descriptor> opened_;  // replaced by reset() only
    std::uint64_t written_ = 0;         // how often: even and odd go to different places
    std::atomic<std::uint64_t> failures_{0}, entries_{0};
    std::atomic<std::int64_t> pinned_ms_{0};
    std::atomic<bool> failing_{false};

    std::mutex mutex_;  // guards the two below
    std::condition_variable wake_;
    bool unsynced_ = false, stopping_ = false;
    std::thread syncer_;
};

/// "accept-" and the root in hex.
std::string acceptance_name(const crypto::Digest& root);

enum class PinVerdict {
    same,       // the store begins with what is pinned, or is just that
    first,      // nothing is pinned, and the store was never pinned before
    accepted,   // it is another one, and the operator accepted it
    overruled,  // and that is on record already: the process died before the pin followed
};
/// What a store says about its pin.
struct SaidOfPin {
    bool pinned = false;                   // it has one
    std::optional<Overruling> overruling;  // of that one, or of one before
};
/// Compares a store that Ledger::open verified with its pin. corrupt "pin.store_older" (an older copy),
/// "pin.log_forked" (another history), "pin.missing".
base::Result<PinVerdict> check_pin(const LogPin& pin, const StorageEngine& engine, const LogHead& head,
                                   const SaidOfPin& said);

}  // namespace claviger::vault
