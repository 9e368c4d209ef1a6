// A store to test with: engine, keys, ledger and a clock that only moves when told to.
#pragma once

#include "base/clock.h"
#include "vault/access_log.h"
#include "vault/key_ring.h"
#include "vault/ledger.h"

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace claviger::test {

class ManualClock : public base::Clock {
public:
    base::Time now() const override { return base::Time(std::chrono::milliseconds(millis_.load())); }
    void set(base::Time time) { millis_ = time.time_since_epoch().count(); }
    void advance(std::chrono::milliseconds by) { millis_ += by.count(); }

private:
    std::atomic<std::int64_t> millis_{1'790'000'000'000};
};

/// Removed with everything in it.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

vault::SealInput passphrase(std::string_view text = "correct horse battery staple");
vault::SealInput key_file(char fill = 'k');

/// Writes a new store with a passphrase slot and a key file slot into an empty engine.
void make_store(vault::StorageEngine& engine, const base::Clock& clock);

/// An unsealed store over an engine that outlives it. Members fail the test when opening fails.
struct OpenStore {
    OpenStore(vault::StorageEngine& engine, const base::Clock& clock);

    std::unique_ptr<vault::KeyRing> keys;
    std::unique_ptr<vault::AccessLog> access_log;
    std::unique_ptr<vault::Ledger> ledger;
};

base::RawId id_of(unsigned number);
vault::LogEntry entry_of(vault::EntryKind kind, unsigned number = 0);

/// Waits for the answer; fails the test after ten seconds without one.
base::Result<std::uint64_t> append(vault::Ledger& ledger, const vault::LogEntry& entry,
                                   const std::array<vault::NamedFingerprint, 3>& names = {});
base::Status submit(vault::Ledger& ledger, vault::ChangeFunction change);
/// Appends all at once, then one more as the last of them, alone; waits for all. So which rows they rest in
/// is known: kRowEntries in each, counted anew every 4,096.
void append_all(vault::Ledger& ledger, const std::vector<vault::LogEntry>& entries);

/// A row as the ledger's tables hold them: commit sequence and time in clear, then `content`.
base::Bytes stamped(std::uint64_t commit_seq, std::string_view content);
/// A change that puts such a row into Table::meta under a key that ends with the object's id, and notes its
/// entry.
vault::ChangeFunction put_object(unsigned object, std::string content);
base::Bytes object_key(unsigned object);

}  // namespace claviger::test
