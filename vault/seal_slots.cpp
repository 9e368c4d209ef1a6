#include "vault/seal_slots.h"

#include <algorithm>

namespace claviger::vault {
namespace {

using base::ErrorKind;

std::unexpected<base::Error> not_found(const base::RawId& slot) {
    return base::failure(ErrorKind::not_found, "seal.slot_not_found",
                         "This store has no seal slot " + slot_id_text(slot) + ".",
                         "`claviger seal status` lists them.");
}

bool same_key(const crypto::SlotParameters& a, const crypto::SlotParameters& b) {
    if (a.kind != b.kind) return false;
    switch (a.kind) {
        case crypto::SlotKind::recipient:
        case crypto::SlotKind::shares:
            return a.recipient == b.recipient;
        case crypto::SlotKind::key_file:
            return a.key_id == b.key_id;
        case crypto::SlotKind::pkcs11:
            return a.token == b.token;
        case crypto::SlotKind::passphrase:
            return false;  // nobody can tell, and that is as it should be
    }
    return false;
}

base::Status admissible(const StateRecord& record, const NewSlot& wanted) {
    if (wanted.name.size() > kMaxSlotName || !crypto::is_holder_name(wanted.name) ||
        !crypto::plausible(wanted.parameters))
        return base::failure(ErrorKind::invalid_request, "seal.slot_refused",
                             "No seal slot can have this name or these parameters.",
                             "A name is 1 to 64 bytes of printable text.");
    if (record.slots.size() >= kMaxSlots)
        return base::failure(ErrorKind::conflict, "seal.slots_full", "The store has 32 seal slots already.",
                             "Remove one that is no longer needed.");
    for (const auto& slot : record.slots) {
        if (slot.name == wanted.name || slot.parameters.slot == wanted.parameters.slot)
            return base::failure(ErrorKind::conflict, "seal.slot_exists",
                                 "There is a seal slot '" + slot.name + "' already.", "Choose another name.");
        if (same_key(slot.parameters, wanted.parameters))
            return base::failure(ErrorKind::conflict, "seal.slot_exists",
                                 "The seal slot '" + slot.name + "' is opened by the same key already.",
                                 "A second slot for one key adds no way in. Remove the other one first.");
    }
    return {};
}

bool holds_all(const SealSlot& slot, const RootKeys& roots) {
    return std::ranges::all_of(roots.live,
                               [&](const auto& root) { return slot.wrap_of(root.first) != nullptr; });
}

bool counts(const SealSlot& slot) { return slot.verified.has_value(); }

}  // namespace

base::Result<SealSlot> prepare_token_slot(const KeyRing& keys, const StorageEngine& engine,
                                          const NewSlot& wanted, crypto::Token& token, base::Time now) {
    const auto record = keys.state(engine);
    if (!record) return std::unexpected(record.error());
    if (auto good = admissible(*record, wanted); !good) return std::unexpected(std::move(good).error());
    SealSlot slot;
    slot.parameters = wanted.parameters;
    slot.name = wanted.name;
    slot.created = now;
    if (auto sealed = seal_into(*record, slot, keys.roots(), nullptr, &token); !sealed)
        return std::unexpected(std::move(sealed).error());
    return slot;
}

base::Result<SealSlot> add_slot(Transaction& transaction, const NewSlot& wanted) {
    auto record = transaction.keys().state(transaction.engine());
    if (!record) return std::unexpected(std::move(record).error());
    if (auto good = admissible(*record, wanted); !good) return std::unexpected(std::move(good).error());
    SealSlot slot;
    if (wanted.prepared) {
        slot = *wanted.prepared;
        if (!holds_all(slot, transaction.keys().roots()))
            return base::failure(ErrorKind::conflict, "seal.root_changed",
                                 "The root key was rotated while the token made its key.",
                                 "Add the slot again.");
    } else {
        slot.parameters = wanted.parameters;
        slot.name = wanted.name;
        slot.commit_seq = transaction.commit_seq();
        slot.created = transaction.now();
        const auto sealed = seal_into(*record, slot, transaction.keys().roots(),
                                      wanted.opening ? &*wanted.opening : nullptr, nullptr);
        if (!sealed) return std::unexpected(sealed.error());
    }
    record->slots.push_back(slot);
    transaction.keys().put_state(*record, transaction.batch());
    return slot;
}

base::Status slot_verified(Transaction& transaction, const base::RawId& slot) {
    auto record = transaction.keys().state(transaction.engine());
    if (!record) return std::unexpected(std::move(record).error());
    const auto found =
        std::ranges::find(record->slots, slot, [](const SealSlot& each) { return each.parameters.slot; });
    if (found == record->slots.end()) return not_found(slot);
    found->verified = transaction.now();
    transaction.keys().put_state(*record, transaction.batch());
    return {};
}

base::Result<SealSlot> remove_slot(Transaction& transaction, const base::RawId& slot) {
    auto record = transaction.keys().state(transaction.engine());
    if (!record) return std::unexpected(std::move(record).error());
    const auto found =
        std::ranges::find(record->slots, slot, [](const SealSlot& each) { return each.parameters.slot; });
    if (found == record->slots.end()) return not_found(slot);
    auto removed = *found;
    record->slots.erase(found);
    if (std::ranges::none_of(record->slots, counts))
        return base::failure(ErrorKind::conflict, "seal.last_slot",
                             "No other seal slot is known to open the store: '" + removed.name + "' stays.",
                             "Add another slot and verify it, then remove this one.");
    const auto emergency = [](const SealSlot& each) { return counts(each) && each.parameters.emergency(); };
    if (emergency(removed) && std::ranges::none_of(record->slots, emergency))
        return base::failure(
            ErrorKind::conflict, "seal.last_emergency_slot",
            "'" + removed.name + "' is the last verified emergency slot and stays.",
            "Add another slot for shares or a recipient, verify it with `claviger seal verify`, "
            "then remove this one.");
    transaction.keys().put_state(*record, transaction.batch());
    return removed;
}

}  // namespace claviger::vault
