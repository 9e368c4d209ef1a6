// Seal slots: the ways to get the root key back after a restart.
#pragma once

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/envelope.h"
#include "crypto/recipient.h"
#include "crypto/secret.h"
#include "crypto/share_file.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::crypto {

enum class SlotKind : std::uint8_t {  // on disk: append only
    passphrase = 1,
    key_file = 2,
    shares = 3,     // a quorum of holders
    recipient = 4,  // one holder of a private key
    pkcs11 = 5,     // a key that never leaves its token
};

/// "passphrase", "key_file", "shares", "recipient", "pkcs11".
std::string_view name_of(SlotKind kind);

/// Stands next to the wrapped root key in the clear; a changed one gives another key, never a weaker seal.
struct SlotParameters {
    SlotKind kind{};
    base::RawId slot{};
    std::uint64_t ops_limit = 0;        // Argon2id passes; 0 but for a passphrase
    std::uint64_t mem_limit_bytes = 0;  // Argon2id memory; 0 but for a passphrase
    std::array<unsigned char, 16> salt{};
    std::array<unsigned char, 8> key_id{};  // key file: which one it is, see key_file_id()
    Recipient recipient{};                  // recipient, and shares: what the root key is sealed to
    std::vector<GroupPoint> commitments{};  // shares: as many as are needed
    std::vector<std::string> holders{};     // shares: who keeps which
    std::string token{};                    // pkcs11: the token's label

    /// Opened by people alone, and sealed to a public key: follows every rotation of the root key while
    /// nobody is present.
    bool emergency() const { return kind == SlotKind::shares || kind == SlotKind::recipient; }
    bool operator==(const SlotParameters&) const = default;
};

enum class PassphraseStrength {
    moderate,        // 256 MiB, half a second
    sensitive,       // 1 GiB, several seconds
    only_for_tests,  // 8 KiB, no protection
};

SlotParameters fresh_passphrase_slot(PassphraseStrength strength);
SlotParameters fresh_key_file_slot();
SlotParameters fresh_recipient_slot(const Recipient& recipient);
SlotParameters fresh_token_slot(std::string token);

/// A slot for holders, and their shares in the holders' order. The secret exists only here: the slot knows
/// its public key. invalid_request "shares.counts", "shares.holders" for names that are empty, too long or
/// twice.
struct DealtSlot {
    SlotParameters parameters;
    std::vector<ShareFile> files;
};
base::Result<DealtSlot> deal_slot(const base::RawId& instance, const std::vector<std::string>& holders,
                                  unsigned threshold);
ShareSet share_set_of(const base::RawId& instance, const SlotParameters& parameters);
/// The identity that a set's secret stands for.
Identity identity_of_shares(const Key& secret);

/// Tells key files apart in lists and logs; says nothing about their content.
std::array<unsigned char, 8> key_file_id(const Secret& content);

/// Whether a slot can have these parameters: bounds, points, names.
bool plausible(const SlotParameters& parameters);

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
