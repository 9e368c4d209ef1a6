#include "crypto/shamir.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

namespace claviger::crypto {
namespace {

using base::ErrorKind;

constexpr std::size_t kScalarBytes = crypto_core_ristretto255_SCALARBYTES;
static_assert(kScalarBytes == Key::kBytes && crypto_core_ristretto255_BYTES == GroupPoint{}.size());

/// A number that is no secret, as a scalar.
struct PublicScalar {
    explicit PublicScalar(unsigned number) { bytes[0] = static_cast<unsigned char>(number); }
    std::array<unsigned char, kScalarBytes> bytes{};
};

unsigned char* raw(std::span<std::byte> bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }
const unsigned char* raw(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

/// out = a * factor + b, all of them scalars.
Key multiply_add(const Key& a, const PublicScalar& factor, const Key& b) {
    return Key::filled([&](std::span<std::byte> out) {
        a.expose([&](std::span<const std::byte> from) {
            crypto_core_ristretto255_scalar_mul(raw(out), raw(from), factor.bytes.data());
        });
        b.expose([&](std::span<const std::byte> more) {
            crypto_core_ristretto255_scalar_add(raw(out), raw(out), raw(more));
        });
    });
}

Key value_at(std::span<const Key> coefficients, unsigned number) {
    const PublicScalar x(number);
    auto value = Key::filled([&](std::span<std::byte> out) {
        coefficients.back().expose(
            [&](std::span<const std::byte> last) { std::memcpy(out.data(), last.data(), out.size()); });
    });
    for (auto at = coefficients.rbegin() + 1; at != coefficients.rend(); ++at)
        value = multiply_add(value, x, *at);
    return value;
}

/// Below the order of the group and not zero: the only form in which a share is accepted, because the group
/// operations would look past the highest bits.
bool canonical(const Key& scalar) {
    const auto wide = Secret::filled(2 * kScalarBytes, [&](std::span<std::byte> out) {
        scalar.expose(
            [&](std::span<const std::byte> bytes) { std::memcpy(out.data(), bytes.data(), bytes.size()); });
    });
    const auto reduced = Key::filled([&](std::span<std::byte> out) {
        wide.expose([&](std::span<const std::byte> bytes) {
            crypto_core_ristretto255_scalar_reduce(raw(out), raw(bytes));
        });
    });
    const bool zero = scalar.expose(
        [](std::span<const std::byte> bytes) { return sodium_is_zero(raw(bytes), bytes.size()) == 1; });
    return reduced == scalar && !zero;
}

std::optional<GroupPoint> point_of(const Key& scalar) {
    GroupPoint point;
    const bool done = scalar.expose([&](std::span<const std::byte> bytes) {
        return crypto_scalarmult_ristretto255_base(point.data(), raw(bytes)) == 0;
    });
    if (!done) return std::nullopt;
    return point;
}

/// The polynomial "in the exponent": what value_at(number) times the base point must be.
std::optional<GroupPoint> expected_at(std::span<const GroupPoint> commitments, unsigned number) {
    const PublicScalar x(number);
    GroupPoint point = commitments.back();
    for (auto at = commitments.rbegin() + 1; at != commitments.rend(); ++at) {
        GroupPoint scaled;
        if (crypto_scalarmult_ristretto255(scaled.data(), x.bytes.data(), point.data()) != 0 ||
            crypto_core_ristretto255_add(point.data(), scaled.data(), at->data()) != 0)
            return std::nullopt;
    }
    return point;
}

std::unexpected<base::Error> bad_counts() {
    return base::failure(ErrorKind::invalid_request, "shares.counts",
                         "A set has 2 to 32 shares, and between 2 and all of them are needed to open.",
                         "For example 5 shares of which 3 are needed.");
}

/// The Lagrange coefficient of `number` at zero among all numbers. Nothing of it is secret.
std::array<unsigned char, kScalarBytes> weight_of(unsigned number, std::span<const Share> shares) {
    const PublicScalar own(number);
    auto weight = PublicScalar(1).bytes;
    for (const auto& other : shares) {
        if (other.number == number) continue;
        const PublicScalar x(other.number);
        std::array<unsigned char, kScalarBytes> difference, inverse;
        crypto_core_ristretto255_scalar_sub(difference.data(), x.bytes.data(), own.bytes.data());
        crypto_core_ristretto255_scalar_invert(inverse.data(), difference.data());
        crypto_core_ristretto255_scalar_mul(weight.data(), weight.data(), x.bytes.data());
        crypto_core_ristretto255_scalar_mul(weight.data(), weight.data(), inverse.data());
    }
    return weight;
}

}  // namespace

base::Result<Dealt> deal(unsigned shares, unsigned threshold) {
    if (threshold < kMinThreshold || threshold > shares || shares > kMaxShares) return bad_counts();
    std::vector<Key> coefficients;
    for (unsigned i = 0; i < threshold; ++i)
        coefficients.push_back(
            Key::filled([](std::span<std::byte> out) { crypto_core_ristretto255_scalar_random(raw(out)); }));
    return deal(shares, std::move(coefficients));
}

base::Result<Dealt> deal(unsigned shares, std::vector<Key> coefficients) {
    if (coefficients.size() < kMinThreshold || coefficients.size() > shares || shares > kMaxShares)
        return bad_counts();
    std::vector<Share> dealt;
    std::vector<GroupPoint> commitments;
    for (const auto& coefficient : coefficients) {
        const auto point = canonical(coefficient) ? point_of(coefficient) : std::nullopt;
        if (!point)
            return base::failure(
                ErrorKind::invalid_request, "shares.coefficient",
                "A coefficient is not a scalar below the order of the group, or it is zero.");
        commitments.push_back(*point);
    }
    for (unsigned number = 1; number <= shares; ++number)
        dealt.push_back({static_cast<std::uint8_t>(number), value_at(coefficients, number)});
    return Dealt{std::move(coefficients.front()), std::move(dealt), std::move(commitments)};
}

bool plausible(std::span<const GroupPoint> commitments) {
    return commitments.size() >= kMinThreshold && commitments.size() <= kMaxShares &&
           std::ranges::all_of(commitments, [](const GroupPoint& point) {
               return crypto_core_ristretto255_is_valid_point(point.data()) == 1;
           });
}

bool belongs(const Share& share, std::span<const GroupPoint> commitments) {
    if (share.number == 0 || share.number > kMaxShares || !plausible(commitments) || !canonical(share.value))
        return false;
    const auto given = point_of(share.value);
    const auto expected = expected_at(commitments, share.number);
    return given && expected && sodium_memcmp(given->data(), expected->data(), given->size()) == 0;
}

std::optional<std::uint8_t> number_of(const Key& value, std::span<const GroupPoint> commitments,
                                      unsigned shares) {
    if (!plausible(commitments) || !canonical(value)) return std::nullopt;
    const auto given = point_of(value);
    for (unsigned number = 1; number <= std::min(shares, kMaxShares); ++number)
        if (const auto expected = expected_at(commitments, number); given && expected == given)
            return static_cast<std::uint8_t>(number);
    return std::nullopt;
}

base::Result<Key> combine(std::span<const Share> shares, std::span<const GroupPoint> commitments) {
    if (shares.size() < commitments.size() || commitments.empty())
        return base::failure(ErrorKind::invalid_request, "shares.too_few",
                             std::to_string(shares.size()) + " of the " + std::to_string(commitments.size()) +
                                 " shares that are needed were given.",
                             "Ask more holders for theirs.");
    const auto needed = shares.first(commitments.size());
    for (std::size_t i = 0; i < needed.size(); ++i) {
        if (std::ranges::count(needed, needed[i].number, &Share::number) != 1)
            return base::failure(ErrorKind::invalid_request, "shares.duplicate",
                                 "Share " + std::to_string(needed[i].number) + " was given twice.",
                                 "Each holder gives a share of his own.");
        if (!belongs(needed[i], commitments))
            return base::failure(
                ErrorKind::invalid_request, "shares.refused",
                "Share " + std::to_string(needed[i].number) + " is not the one that was given out.",
                "Ask its holder to look for the right one.");
    }
    return Key::filled([&](std::span<std::byte> sum) {  // it begins as zeros
        for (const auto& share : needed) {
            const auto weight = weight_of(share.number, needed);
            const auto term = Key::filled([&](std::span<std::byte> out) {
                share.value.expose([&](std::span<const std::byte> value) {
                    crypto_core_ristretto255_scalar_mul(raw(out), raw(value), weight.data());
                });
            });
            term.expose([&](std::span<const std::byte> bytes) {
                crypto_core_ristretto255_scalar_add(raw(sum), raw(sum), raw(bytes));
            });
        }
    });
}

}  // namespace claviger::crypto
