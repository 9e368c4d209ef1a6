// Seal slots: the ways to get the root key back after a restart.
#pragma once

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/envelope.h"
#include "crypto/secret.h"

#include <array>
#include <cstdint>

namespace claviger::crypto {

enum class SlotKind : std::uint8_t { passphrase = 1, key_file = 2 };  // on disk: append only

/// Stands next to the wrapped root key in the clear; a changed one gives another key, never a weaker seal.
struct SlotParameters {
    SlotKind kind{};
    base::RawId slot{};
    std::uint64_t ops_limit = 0;        // Argon2id passes; 0 for a key file
    std::uint64_t mem_limit_bytes = 0;  // Argon2id memory; 0 for a key file
    std::array<unsigned char, 16> salt{};

    bool operator==(const SlotParameters&) const = default;
};

enum class PassphraseStrength {
    moderate,        // 256 MiB, half a second
    sensitive,       // 1 GiB, several seconds
    only_for_tests,  // 8 KiB, no protection
};

SlotParameters fresh_passphrase_slot(PassphraseStrength strength);
SlotParameters fresh_key_file_slot();

inline constexpr std::uint64_t kMaxSlotOps = 16;
inline constexpr std::uint64_t kMaxSlotMemoryBytes = std::uint64_t{1} << 30;
inline constexpr std::size_t kMinKeyFileBytes = 32;
inline constexpr std::size_t kMaxSlotInputBytes = 64 * 1024;

/// The key that a passphrase or a key file's content stands for. Blocks for seconds with a passphrase.
/// ErrorKind::corrupt "slot.parameters_refused" for parameters no slot was ever made with,
/// invalid_request "slot.input_refused" for an empty passphrase, a short key file or an oversized one,
/// unavailable "slot.out_of_memory" when Argon2id cannot get its memory.
base::Result<Key> slot_key(const SlotParameters& parameters, const Secret& input);

base::Bytes wrap_root(const Key& slot_key, const Place& place, const Key& root);
/// ErrorKind::corrupt, "envelope.refused": wrong passphrase or key file, or changed bytes.
base::Result<Key> unwrap_root(const Key& slot_key, const Place& place, base::ByteView wrapped);

}  // namespace claviger::crypto
