// Shamir's secret sharing over the scalars of ristretto255, with shares that can be checked one by one.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace claviger::crypto {

inline constexpr unsigned kMinThreshold = 2;
inline constexpr unsigned kMaxShares = 32;

/// A point of the group in its canonical 32 bytes.
using GroupPoint = std::array<unsigned char, 32>;

/// The value of the secret polynomial at `number`, which counts from 1.
struct Share {
    std::uint8_t number = 0;
    Key value;
};

/// A secret, its shares, and what anybody may know: the coefficients times the base point (Feldman). The
/// secret is a uniform scalar, so its own commitment tells nothing that can be computed with.
struct Dealt {
    Key secret;
    std::vector<Share> shares;
    std::vector<GroupPoint> commitments;  // as many as the threshold
};

/// A fresh secret in `shares` shares, any `threshold` of which give it back. invalid_request "shares.counts"
/// unless 2 <= threshold <= shares <= 32.
base::Result<Dealt> deal(unsigned shares, unsigned threshold);
/// The same with chosen coefficients, the secret first: for vectors, and for dealing a set again.
base::Result<Dealt> deal(unsigned shares, std::vector<Key> coefficients);

/// Whether the commitments are points of the group and as many as a threshold can be.
bool plausible(std::span<const GroupPoint> commitments);
/// Whether the share is one of those that the commitments were published for.
bool belongs(const Share& share, std::span<const GroupPoint> commitments);
/// The number under which the value would belong, among the first `shares`.
std::optional<std::uint8_t> number_of(const Key& value, std::span<const GroupPoint> commitments,
                                      unsigned shares);

/// The secret. invalid_request: "shares.too_few", "shares.duplicate", "shares.refused" for one that does not
/// belong. Takes the same time for all values.
base::Result<Key> combine(std::span<const Share> shares, std::span<const GroupPoint> commitments);

}  // namespace claviger::crypto
