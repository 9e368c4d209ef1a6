// Sealed rows of the log and the keys: what the opener cannot know of the row's place stands in clear before
// it.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/envelope.h"

#include <cstdint>
#include <optional>

namespace claviger::vault {

/// The clear beginning of a row: commit sequence u64, created u64 (Unix milliseconds). Both go into the AAD,
/// so changed ones do not open; until then they are only hints.
struct Stamp {
    std::uint64_t commit_seq = 0;
    std::uint64_t created_ms = 0;
};
inline constexpr std::size_t kStampBytes = 16;

/// Nothing when the row is too short to be one.
std::optional<Stamp> stamp_of(base::ByteView row);

/// The stamp is taken from the place.
base::Bytes seal_stamped(const crypto::Key& key, const crypto::Place& place, base::ByteView plaintext);
base::Bytes seal_stamped(const crypto::Key& key, const crypto::Place& place, const crypto::Key& wrapped);

/// `place` is what the lookup knows; commit_seq and created_ms are filled in from the stamp. corrupt
/// "envelope.refused".
base::Result<base::Bytes> open_stamped(const crypto::Key& key, crypto::Place place, base::ByteView row);
base::Result<crypto::Key> open_stamped_key(const crypto::Key& key, crypto::Place place, base::ByteView row);

}  // namespace claviger::vault
