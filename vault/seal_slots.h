// Changes to the seal slots of a running store: each is one commit with its entry in the access log.
#pragma once

#include "vault/ledger.h"
#include "vault/state_record.h"

#include <optional>
#include <string>

namespace claviger::vault {

/// What a new slot is made of.
struct NewSlot {
    std::string name;
    crypto::SlotParameters parameters;
    std::optional<crypto::Key> opening = {};  // passphrase and key file: the key it is sealed under
    std::optional<SealSlot> prepared = {};    // pkcs11: what prepare_token_slot() made
};

/// Makes the token's key and seals the root key with it, before and outside of any commit: tokens take their
/// time. What is never added afterwards leaves a key in the token that opens nothing.
base::Result<SealSlot> prepare_token_slot(const KeyRing& keys, const StorageEngine& engine,
                                          const NewSlot& wanted, crypto::Token& token, base::Time now);

// The following run on the commit thread, and put the state record into the transaction's batch. The caller
// notes the entry.

/// Adds the slot, not verified yet. invalid_request "seal.slot_refused" for a name or parameters that no slot
/// can have, conflict "seal.slot_exists" for a name in use or the same key twice, "seal.slots_full"
/// beyond 32.
base::Result<SealSlot> add_slot(Transaction& transaction, const NewSlot& wanted);

/// Notes that the slot has just given the root key back, as KeyRing::check() found. not_found
/// "seal.slot_not_found".
base::Status slot_verified(Transaction& transaction, const base::RawId& slot);

/// Drops the slot. not_found "seal.slot_not_found"; conflict "seal.last_slot" for the last one that is known
/// to open the store, "seal.last_emergency_slot" for the last verified one that people can open alone.
base::Result<SealSlot> remove_slot(Transaction& transaction, const base::RawId& slot);

}  // namespace claviger::vault
