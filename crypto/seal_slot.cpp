#include "crypto/seal_slot.h"

#include "crypto/random.h"

#include <sodium.h>

#include <algorithm>

namespace claviger::crypto {
namespace {

constexpr unsigned char kSharesPersonal[crypto_generichash_blake2b_PERSONALBYTES + 1] = "vlt-shares-v1\0\0";
constexpr unsigned char kKeyIdPersonal[crypto_generichash_blake2b_PERSONALBYTES + 1] = "vlt-keyfileid-v1";
constexpr std::size_t kMaxTokenBytes = 32;  // of a token's label, by PKCS#11

constexpr unsigned char kKeyFilePersonal[crypto_generichash_blake2b_PERSONALBYTES + 1] = "vlt-keyfile-v1\0";

SlotParameters fresh_slot(SlotKind kind) {
    SlotParameters slot{.kind = kind, .slot = random_id_bytes()};
    random_bytes(std::as_writable_bytes(std::span(slot.salt)));
    return slot;
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

SlotParameters fresh_recipient_slot(const Recipient& recipient) {
    auto slot = fresh_slot(SlotKind::recipient);
    slot.salt = {};
    slot.recipient = recipient;
    return slot;
}

SlotParameters fresh_token_slot(std::string token) {
    auto slot = fresh_slot(SlotKind::pkcs11);
    slot.salt = {};
    slot.token = std::move(token);
    return slot;
}

base::Result<DealtSlot> deal_slot(const base::RawId& instance, const std::vector<std::string>& holders,
                                  unsigned threshold) {
    for (const auto& holder : holders)
        if (!is_holder_name(holder) || std::ranges::count(holders, holder) != 1)
            return base::failure(base::ErrorKind::invalid_request, "shares.holders",
                                 "Each holder needs a name of 1 to 64 bytes that no other has.",
                                 "Use the names by which colleagues call them.");
    auto dealt = deal(static_cast<unsigned>(std::min<std::size_t>(holders.size(), 255)), threshold);
    if (!dealt) return std::unexpected(std::move(dealt).error());
    DealtSlot slot;
    slot.parameters = fresh_slot(SlotKind::shares);
    slot.parameters.salt = {};
    slot.parameters.recipient = identity_of_shares(dealt->secret).recipient();
    slot.parameters.commitments = std::move(dealt->commitments);
    slot.parameters.holders = holders;
    for (auto& share : dealt->shares) {
        const auto number = share.number;
        slot.files.push_back({.instance = instance,
                              .set = slot.parameters.slot,
                              .threshold = static_cast<std::uint8_t>(threshold),
                              .count = static_cast<std::uint8_t>(holders.size()),
                              .holder = holders[number - 1U],
                              .share = std::move(share)});
    }
    return slot;
}

ShareSet share_set_of(const base::RawId& instance, const SlotParameters& parameters) {
    return {instance, parameters.slot, parameters.commitments, parameters.holders};
}

Identity identity_of_shares(const Key& secret) {
    return Identity::of(Key::filled([&](std::span<std::byte> out) {
        secret.expose([&](std::span<const std::byte> scalar) {
            crypto_generichash_blake2b_salt_personal(reinterpret_cast<unsigned char*>(out.data()), out.size(),
                                                     nullptr, 0,
                                                     reinterpret_cast<const unsigned char*>(scalar.data()),
                                                     scalar.size(), nullptr, kSharesPersonal);
        });
    }));
}

std::array<unsigned char, 8> key_file_id(const Secret& content) {
    std::array<unsigned char, 32> digest;
    content.expose([&](std::span<const std::byte> bytes) {
        crypto_generichash_blake2b_salt_personal(digest.data(), digest.size(),
                                                 reinterpret_cast<const unsigned char*>(bytes.data()),
                                                 bytes.size(), nullptr, 0, nullptr, kKeyIdPersonal);
    });
    std::array<unsigned char, 8> id;
    std::copy_n(digest.begin(), id.size(), id.begin());
    return id;
}

std::string_view name_of(SlotKind kind) {
    switch (kind) {
        case SlotKind::passphrase:
            return "passphrase";
        case SlotKind::key_file:
            return "key_file";
        case SlotKind::shares:
            return "shares";
        case SlotKind::recipient:
            return "recipient";
        case SlotKind::pkcs11:
            return "pkcs11";
    }
    return "unknown";
}

bool plausible(const SlotParameters& slot) {
    const bool argon = slot.kind == SlotKind::passphrase;
    if (argon ? slot.ops_limit < 1 || slot.ops_limit > kMaxSlotOps ||
                    slot.mem_limit_bytes < crypto_pwhash_MEMLIMIT_MIN ||
                    slot.mem_limit_bytes > kMaxSlotMemoryBytes
              : slot.ops_limit != 0 || slot.mem_limit_bytes != 0)
        return false;
    switch (slot.kind) {
        case SlotKind::passphrase:
        case SlotKind::key_file:
            return true;
        case SlotKind::shares:
            return plausible(std::span<const GroupPoint>(slot.commitments)) &&
                   slot.holders.size() >= slot.commitments.size() && slot.holders.size() <= kMaxShares &&
                   std::ranges::all_of(slot.holders, is_holder_name) && slot.recipient.usable();
        case SlotKind::recipient:
            return slot.recipient.usable();
        case SlotKind::pkcs11:
            return !slot.token.empty() && slot.token.size() <= kMaxTokenBytes && is_holder_name(slot.token);
    }
    return false;
}

base::Result<Key> slot_key(const SlotParameters& parameters, const Secret& input) {
    if (!plausible(parameters))
        return base::failure(
            base::ErrorKind::corrupt, "slot.parameters_refused",
            "The seal slot's parameters are not ones that a slot can have.",
            "Restore the slot descriptor from a backup, or open the store through another slot.");
    const bool passphrase = parameters.kind == SlotKind::passphrase;
    if (!passphrase && parameters.kind != SlotKind::key_file)
        return base::failure(base::ErrorKind::invalid_request, "slot.input_refused",
                             "The slot is opened by neither a passphrase nor a key file.",
                             "`claviger seal status` shows what opens which slot.");
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
