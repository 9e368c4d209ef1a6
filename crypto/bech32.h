// Bech32 (BIP 173) for keys of 32 bytes: the text form of age's recipients and identities.
#pragma once

#include "base/bytes.h"
#include "crypto/secret.h"

#include <array>
#include <optional>
#include <string_view>

namespace claviger::crypto {

/// `prefix`, "1", 52 characters and 6 of checksum, all in lower case. The text is the caller's to wipe.
base::Bytes to_bech32(std::string_view prefix, std::span<const std::byte, 32> key);
/// Nothing unless the prefix is this one, the checksum holds and the bits fill 32 bytes exactly. All upper
/// case is taken like all lower case, a mixture is refused.
std::optional<Key> from_bech32(std::string_view prefix, std::string_view text);

}  // namespace claviger::crypto
