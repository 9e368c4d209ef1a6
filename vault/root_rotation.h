// The life of a root key: made beside the one in use, put to use, and the one before let go. Every step is
// part of one commit, and the store opens through every slot before and after each.
#pragma once

#include "vault/ledger.h"
#include "vault/state_record.h"

#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace claviger::vault {

/// What seals a new root key into the slots that have no public key.
struct SlotAccess {
    std::vector<std::pair<base::RawId, crypto::Key>> openings = {};  // by slot: passphrases and key files
    std::function<std::vector<SealInput>()> key_files = {};          // those that this server reads itself
    std::function<base::Result<SealInput>()> token = {};             // PKCS#11 module and PIN; absent: none
};

/// A root key that every slot holds already and nothing is sealed under yet.
struct PreparedRoot {
    std::shared_ptr<const RootKey> root;  // shared with the ring from when it is pending
    StateRecord basis, record;            // the state record as it was, and as it shall be
};

/// Makes the next root key, seals it into every slot, and opens it again from those that `access` opens: all
/// but the emergency slots, whose holders alone can. Numbers that a token has a key of already, from a kill
/// or an older copy of the store, are passed over. Blocks as long as tokens take; before and outside of any
/// commit. conflict "keys.rotation_under_way"; invalid_request "keys.slot_left_behind" for a slot whose
/// opening key is missing or wrong; corrupt "seal.other_root"; those of tokens.
base::Result<PreparedRoot> prepare_root(const KeyRing& keys, const StorageEngine& engine,
                                        const SlotAccess& access, base::Time now);

/// Opens a root key from what is on disk through the slots that `access` opens, and compares. Blocks. corrupt
/// "seal.other_root" for a slot that does not give it back; those of tokens.
base::Status verify_in_slots(const KeyRing& keys, const StorageEngine& engine, std::uint64_t epoch,
                             const SlotAccess& access);

/// Destroys the key of that epoch in every slot's token: what it sealed opens nowhere any more, in no backup
/// either. Blocks. Those of tokens.
base::Status destroy_in_tokens(const KeyRing& keys, const StorageEngine& engine, std::uint64_t epoch,
                               const SlotAccess& access);
/// Whether any slot is in a token.
bool has_token_slots(const StateRecord& record);

// The following run on the commit thread, and put what changes into the transaction's batch. The caller notes
// the entry.

/// The prepared key is pending: in every slot, and in use nowhere. conflict "keys.slots_changed" when the
/// state record is not what it was prepared from: prepare again.
base::Status begin_root(Transaction& transaction, const PreparedRoot& prepared);

/// Seals everything that the root key seals under that epoch's, which is active from here on; the one before
/// is retiring. Gives the number of keys that were sealed anew. conflict "keys.root_not_open" when the slot
/// that opened the store did not give that key, "keys.slot_left_behind" when a slot does not hold it.
base::Result<std::size_t> activate_root(Transaction& transaction, std::uint64_t epoch,
                                        const KeyRing::WorkspaceOf& workspace_of);

/// As activate_root(), and the one that was active is gone from every slot.
base::Result<std::size_t> return_to_root(Transaction& transaction, std::uint64_t epoch,
                                         const KeyRing::WorkspaceOf& workspace_of);

/// An epoch that is not active is gone from every slot.
base::Status drop_root(Transaction& transaction, std::uint64_t epoch);

}  // namespace claviger::vault
