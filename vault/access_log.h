// Questions to the access log: who used what, when, with what result. Answered from sealed index blocks,
// newest first.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "vault/ledger.h"
#include "vault/log_entry.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::vault {

/// All given filters must hold.
struct LogQuery {
    base::RawId workspace{};  // required: entries of other workspaces are never shown; instance entries only
                              // to `all_workspaces`
    enum class Scope { workspace, all_workspaces } scope = Scope::workspace;
    std::optional<base::RawId> vault, credential, session, agent, environment;
    std::optional<std::string> server, tool;
    std::optional<Verdict> verdict;
    std::optional<EntryKind> kind;
    std::optional<base::Time> from, to;  // from inclusive, to exclusive
    std::optional<std::uint64_t> below;  // positions under this one: where the page before ended
    std::size_t limit = 20;
};

/// An entry with the names behind its fingerprints, as far as they are known.
struct NamedEntry {
    LogEntry entry;
    std::string server, tool, method;
};

struct LogPage {
    std::vector<NamedEntry> entries;          // newest first
    std::optional<std::uint64_t> next_below;  // set when there may be more
};

struct CredentialUse {
    struct Version {
        std::uint64_t number = 0;
        base::Time last{};
        bool operator==(const Version&) const = default;
    };
    static constexpr std::size_t kMostVersions = 8;

    std::uint64_t count = 0;  // intents
    base::Time last{};
    std::vector<Version> versions = {};  // of its value: those used last, the newest use first
};

class AccessLog final : public EntryObserver {
public:
    /// Loads use counts and re-reads the entries since the last index block. Register it with
    /// ledger.set_observer.
    static base::Result<std::unique_ptr<AccessLog>> open(const StorageEngine& engine, KeyRing& keys,
                                                         Ledger& ledger);
    ~AccessLog() override;

    /// Stable 16 bytes for a name of `domain` "server", "tool" or "method". Thread safe, about half a
    /// microsecond.
    Fingerprint fingerprint(std::string_view domain, std::string_view name) const;
    /// Keyed 16-byte digest of a call's body.
    std::array<unsigned char, 16> digest(base::ByteView body) const;

    /// Any thread; reads the disk. Bounded work: gives a short page and next_below when a rare value needs a
    /// long search.
    base::Result<LogPage> query(const LogQuery& query) const;
    CredentialUse use_of(const base::RawId& credential) const;  // any thread, from memory

    void about_to_commit(const std::vector<LogEntry>& entries, std::uint64_t commit_seq,
                         Batch& batch) override;
    void durable(const std::vector<LogEntry>& entries) override;
    void abandoned() override;

private:
    struct State;
    explicit AccessLog(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace claviger::vault
