#include "crypto/seal_slot.h"

#include "crypto/random.h"

#include <sodium.h>

namespace claviger::crypto {
namespace {

constexpr unsigned char kKeyFilePersonal[crypto_generichash_blake2b_PERSONALBYTES + 1] = "vlt-keyfile-v1\0";

SlotParameters fresh_slot(SlotKind kind) {
    SlotParameters slot{.kind = kind, .slot = random_id_bytes()};
    random_bytes(std::as_writable_bytes(std::span(slot.salt)));
    return slot;
}

bool plausible(const SlotParameters& slot) {
    switch (slot.kind) {
        case SlotKind::passphrase:
            return slot.ops_limit >= 1 && slot.ops_limit <= kMaxSlotOps &&
                   slot.mem_limit_bytes >= crypto_pwhash_MEMLIMIT_MIN &&
                   slot.mem_limit_bytes <= kMaxSlotMemoryBytes;
        case SlotKind::key_file:
            return slot.ops_limit == 0 && slot.mem_limit_bytes == 0;
    }
    return false;
}

bool from_passphrase(const SlotParameters& slot, std::span<const std::byte> input, std::span<std::byte> key) {
    static_assert(crypto_pwhash_SALTBYTES == 16);
    return crypto_pwhash(reinterpret_cast<unsigned char*>(key.data()), key.size(),
                         reinterpret_cast<const char*>(input.data()), input.size(), slot.salt.data(),
                         slot.ops_limit, static_cast<std::size_t>(slot.mem_limit_bytes),
                         crypto_pwhash_ALG_ARGON2ID13) == 0;
}

/// The content is uniformly random already, so one hash is enough; slot and salt make it this slot's.
void from_key_file(const SlotParameters& slot, std::span<const std::byte> input, std::span<std::byte> key) {
    crypto_generichash_blake2b_salt_personal(reinterpret_cast<unsigned char*>(key.data()), key.size(),
                                             reinterpret_cast<const unsigned char*>(input.data()),
                                             input.size(), slot.slot.data(), slot.slot.size(),
                                             slot.salt.data(), kKeyFilePersonal);
}

}  // namespace

SlotParameters fresh_passphrase_slot(PassphraseStrength strength) {
    SlotParameters slot = fresh_slot(SlotKind::passphrase);
    switch (strength) {
        case PassphraseStrength::moderate:
            slot.ops_limit = crypto_pwhash_OPSLIMIT_MODERATE;
            slot.mem_limit_bytes = crypto_pwhash_MEMLIMIT_MODERATE;
            break;
        case PassphraseStrength::sensitive:
            slot.ops_limit = crypto_pwhash_OPSLIMIT_SENSITIVE;
            slot.mem_limit_bytes = crypto_pwhash_MEMLIMIT_SENSITIVE;
            break;
        case PassphraseStrength::only_for_tests:
            slot.ops_limit = 1;
            slot.mem_limit_bytes = crypto_pwhash_MEMLIMIT_MIN;
            break;
    }
    return slot;
}

SlotParameters fresh_key_file_slot() { return fresh_slot(SlotKind::key_file); }

base::Result<Key> slot_key(const SlotParameters& parameters, const Secret& input) {
    if (!plausible(parameters))
        return base::failure(
            base::ErrorKind::corrupt, "slot.parameters_refused",
            "The seal slot's parameters are not ones that a slot can have.",
            "Restore the slot descriptor from a backup, or open the store through another slot.");
    const bool passphrase = parameters.kind == SlotKind::passphrase;
    if (input.size() < (passphrase ? 1 : kMinKeyFileBytes) || input.size() > kMaxSlotInputBytes)
        return base::failure(base::ErrorKind::invalid_request, "slot.input_refused",
                             passphrase ? "The passphrase is empty or longer than 64 KiB."
                                        : "The key file is shorter than 32 bytes or longer than 64 KiB.",
                             passphrase
                                 ? "Enter the passphrase that the slot was made with."
                                 : "Name the file that the slot was made with; it holds at least 32 bytes.");
    bool done = true;
    Key key = Key::filled([&](std::span<std::byte> out) {
        input.expose([&](std::span<const std::byte> in) {
            if (passphrase)
                done = from_passphrase(parameters, in, out);
            else
                from_key_file(parameters, in, out);
        });
    });
    if (!done)
        return base::failure(base::ErrorKind::unavailable, "slot.out_of_memory",
                             "There is not enough memory to check the passphrase.",
                             "Give the process at least " +
                                 std::to_string(parameters.mem_limit_bytes / (1024 * 1024) + 1) +
                                 " MiB and try again.");
    return key;
}

base::Bytes wrap_root(const Key& slot_key, const Place& place, const Key& root) {
    return root.expose([&](std::span<const std::byte> bytes) { return seal(slot_key, place, bytes); });
}

base::Result<Key> unwrap_root(const Key& slot_key, const Place& place, base::ByteView wrapped) {
    auto opened = open(slot_key, place, wrapped);
    if (!opened) return std::unexpected(std::move(opened.error()));
    return Key::from(std::move(*opened));
}

}  // namespace claviger::crypto
