// Fingerprints: BLAKE2b, SHA-256, and keyed row sums that prove a table complete.
#pragma once

#include "base/bytes.h"
#include "base/id.h"
#include "crypto/secret.h"

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

namespace claviger::crypto {

using Digest = std::array<unsigned char, 32>;

inline base::ByteView view(const Digest& digest) {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

/// BLAKE2b-256 (RFC 7693).
Digest blake2b(base::ByteView message);
Digest blake2b_keyed(const Key& key, base::ByteView message);
/// BLAKE2b-128, keyed: a blind index that fits where an id fits.
base::RawId blake2b_128_keyed(const Key& key, base::ByteView message);

/// SHA-256 (FIPS 180-4). Several parts hash as their concatenation.
Digest sha256(base::ByteView message);
Digest sha256(std::initializer_list<base::ByteView> parts);

/// HMAC (RFC 2104) with SHA-256 over the concatenation of the parts.
Digest hmac_sha256(const Secret& key, std::initializer_list<base::ByteView> parts);

/// HKDF (RFC 5869) with SHA-256, one block of output.
Key hkdf_sha256(std::span<const std::byte> secret, base::ByteView salt, base::ByteView info);

/// Takes the same time wherever the bytes differ. Lengths are not secret.
bool equal(base::ByteView a, base::ByteView b);

/// A sum modulo 2^128 over the rows of a table; low half first. All zero for no rows.
using RowSum = std::array<std::uint64_t, 2>;

RowSum add(RowSum a, RowSum b);
RowSum subtract(RowSum a, RowSum b);

/// One row's share in a RowSum: SipHash-2-4-128 under a key that only the running program has, so that
/// whoever adds, drops or changes rows on disk cannot make the sum come out right.
/// Safe from several threads.
class RowPrf {
public:
    explicit RowPrf(const Key& key);

    /// Covers table, row key and every byte of the row.
    RowSum row(std::uint8_t table, base::ByteView row_key, base::ByteView value) const;

private:
    Secret key_;
};

}  // namespace claviger::crypto
