// The answers of token endpoints, sealed and on disk before anybody reads them: whatever breaks afterwards, a
// rotated refresh token is not lost (oauth.md 10).
#pragma once

#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "vault/key_ring.h"
#include "vault/storage_engine.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace claviger::oauth {

/// One answer as it came, and the attempt it belongs to.
struct JournalEntry {
    base::RawId attempt{};
    base::CredentialId credential;
    base::WorkspaceId workspace;
    base::VaultId vault;
    std::uint64_t epoch = 0, parent_gen = 0;
    base::Time sent_at{};
    unsigned status = 0;
    std::string content_type;
    crypto::Secret body = crypto::Secret::copy_of(std::string_view());
};

/// Whose an answer is, as far as its file says without being opened.
struct JournalOwner {
    base::RawId attempt{};
    base::VaultId vault;
    bool key_is_gone = false;  // destroyed, as with the vault: nobody can open the answer any more
};

inline constexpr std::size_t kLongestJournalledBody = 64 * 1024;
inline constexpr std::chrono::hours kOrphansKept{7 * 24};

/// A folder with one file for each answer that is not committed yet; layout: docs/storage_format.md. Local to
/// this process's machine, so that it does not share the fate of a store elsewhere. Everything here blocks
/// for the disk: call it from a thread that may wait. Thread safe for different attempts.
class Journal {
public:
    /// Makes the folder (mode 0700) when it is missing, and takes away what a crash left half written under a
    /// temporary name. Unavailable "journal.folder".
    static base::Result<Journal> open(std::filesystem::path folder, const vault::StorageEngine& engine,
                                      const vault::KeyRing& keys);

    /// Takes the room for the attempt's answer, before anybody is asked for one: write() then finds it. Makes
    /// the folder anew when it is gone. Ends with write() or discard(), and with the next open(). Unavailable
    /// "journal.no_room".
    base::Status take_room(const base::RawId& attempt) const;
    /// On disk, with its name, when this returns. Errors: unavailable "journal.not_durable"; invalid_request
    /// "journal.too_large" (body above kLongestJournalledBody, content type above 256 bytes).
    base::Status write(const JournalEntry& entry) const;
    /// Nothing when the attempt has no answer here. Corrupt "journal.refused" when the file does not open.
    base::Result<std::optional<JournalEntry>> read(const base::RawId& attempt) const;
    /// The attempts with an answer. Unavailable "journal.folder".
    base::Result<std::vector<base::RawId>> attempts() const;
    /// Whether an answer here is sealed with that generation of the vault's key. Unavailable
    /// "journal.folder".
    base::Result<bool> uses(const base::VaultId& vault, std::uint64_t generation) const;
    /// The answer is committed, or nobody wants it any more; its room is free, too. Doing it twice does no
    /// harm.
    base::Status discard(const base::RawId& attempt) const;
    /// Takes away the answers that nobody waits for any more, and says how many. Not before they are
    /// kOrphansKept old, by their head and by the file, so that a store that was put back by mistake can
    /// still be exchanged for the right one. Unavailable "journal.folder".
    base::Result<std::size_t> discard_orphans(const std::function<bool(const JournalOwner&)>& lives,
                                              base::Time now) const;

private:
    Journal(std::filesystem::path folder, const vault::StorageEngine& engine, const vault::KeyRing& keys)
        : folder_(std::move(folder)), engine_(&engine), keys_(&keys) {}
    std::filesystem::path file_of(const base::RawId& attempt) const;
    base::Status write(const JournalEntry& entry, std::uint64_t generation) const;

    std::filesystem::path folder_;
    const vault::StorageEngine* engine_;  // never null; a pointer so that a Journal can be moved
    const vault::KeyRing* keys_;          // likewise
};

}  // namespace claviger::oauth
