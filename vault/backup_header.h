// The first file of a backup: which store it is of, how far its log was, and every file that belongs to it.
#pragma once

#include "base/clock.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/hash.h"
#include "vault/key_ring.h"
#include "vault/ledger.h"

#include <cstdint>
#include <string>
#include <vector>

namespace claviger::vault {

struct BackupFile {
    std::string name;  // in the folder "store" of the backup; no path
    std::uint64_t bytes = 0;
    crypto::Digest digest{};  // BLAKE2b-256
};

struct BackupHeader {
    base::RawId instance{};
    base::Time made{};
    LogHead head;  // of the store in it
    std::vector<BackupFile> files;

    std::uint64_t bytes() const;
};

inline constexpr std::size_t kMaxBackupFiles = 1 << 20;
inline constexpr std::size_t kMaxBackupFileName = 64;
inline constexpr std::size_t kMaxBackupHeaderBytes = 128 << 20;

/// Follows from the instance's own key, which outlives every rotation of the root key.
crypto::Key backup_key(const KeyRing::OwnerKey& instance_key);

/// The header, a digest of it that anybody can check, and a MAC. Layout: docs/storage_format.md.
base::Bytes encode(const BackupHeader& header, const crypto::Key& backup_key);
/// corrupt "backup.header_refused" when the bytes are no header or one of them changed. Any input is safe.
base::Result<BackupHeader> decode_backup_header(base::ByteView bytes);
/// Whether the store whose key this is wrote the header. corrupt "backup.header_refused".
base::Status authenticate_backup_header(base::ByteView bytes, const crypto::Key& backup_key);

}  // namespace claviger::vault
