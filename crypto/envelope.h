// Seals bytes to the place they belong to; they open nowhere else and under no other key.
#pragma once

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace claviger::crypto {

enum class ObjectType : std::uint8_t {  // on disk: append only
    root_key_in_slot = 1,
    vault_key = 2,
    data_key = 3,
    static_value = 4,
    oauth_grant = 5,
    binding = 6,
    metadata = 7,
    log_key = 8,
    refresh_intent = 9,
    log_entry = 10,
    state = 11,
    row_sums = 12,
};

/// Where sealed bytes belong. Authenticated, not stored: whoever opens takes it from what he looked up,
/// never from the sealed bytes. All of it must be as it was when they were sealed.
struct Place {
    ObjectType type{};
    std::uint32_t schema = 1;  // version of the plaintext's own format
    base::RawId instance{};
    base::RawId workspace{};
    base::RawId vault{};
    base::RawId object{};
    std::uint64_t version = 0;       // version or generation of the object
    std::uint64_t wrapping_key = 0;  // id of the key that seals it; never reused
    std::uint64_t commit_seq = 0;
    std::uint64_t created_ms = 0;
    Digest constraints{};  // constraint_digest() of where the secret may go; zero for keys
    base::RawId writer{};

    bool operator==(const Place&) const = default;
};

inline constexpr std::size_t kAadBytes = 160;
inline constexpr std::size_t kMaxPlaintext = 1 << 20;
inline constexpr std::size_t kEnvelopeOverhead = 1 + 8 + 24 + 32 + 16;

/// The place in its canonical bytes: fixed width, big-endian.
std::array<std::byte, kAadBytes> aad_of(const Place& place);

/// XChaCha20-Poly1305 under a fresh random nonce, with a commitment to key, nonce and place.
/// Layout: suite 0x01 | key_ref u64 | nonce 24 | commitment 32 | ciphertext | tag 16.
/// Aborts above kMaxPlaintext: callers bound what they accept.
base::Bytes seal(const Key& key, const Place& place, std::span<const std::byte> plaintext);

/// ErrorKind::corrupt, "envelope.refused", when bytes, key or place differ; which of them is not told.
base::Result<Secret> open(const Key& key, const Place& place, base::ByteView sealed);
/// As open(), into ordinary memory: for metadata, settings and log entries, never for a secret.
base::Result<base::Bytes> open_metadata(const Key& key, const Place& place, base::ByteView sealed);

/// Which key to look up: Place::wrapping_key of the sealing, unauthenticated until open() agrees.
/// Nothing when the bytes are not an envelope.
std::optional<std::uint64_t> key_ref_of(base::ByteView sealed);

}  // namespace claviger::crypto
