#include "vault/key_ring.h"

#include "crypto/random.h"
#include "vault/stamped_row.h"
#include "vault/state_record.h"

#include <algorithm>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr ByteView kStateKey = "instance";
constexpr std::uint64_t kFirstEpoch = 1;
constexpr std::uint64_t kFirstCommit = 1;
constexpr crypto::Purpose kPurposes[] = {
    crypto::Purpose::vault_key_wrap,    crypto::Purpose::state_mac,       crypto::Purpose::blind_index,
    crypto::Purpose::audit_fingerprint, crypto::Purpose::log_signing,     crypto::Purpose::row_sums,
    crypto::Purpose::session_ids,       crypto::Purpose::cursors,         crypto::Purpose::audit_entries,
    crypto::Purpose::agent_handles,     crypto::Purpose::webhook_secrets, crypto::Purpose::outbox_secrets,
    crypto::Purpose::token_fingerprint, crypto::Purpose::connect_secrets,
};

Bytes owner_row_key(const base::RawId& owner, std::uint64_t generation) {
    Bytes key(reinterpret_cast<const char*>(owner.data()), owner.size());
    base::append_big_endian(key, generation);
    return key;
}

base::Result<StoredState> read_state(const StorageEngine& engine) {
    auto row = engine.get(Table::state, kStateKey);
    if (!row) return std::unexpected(std::move(row).error());
    if (!*row)
        return base::failure(
            ErrorKind::corrupt, "state.missing", "The store has lost its state record.",
            "Restore the data folder from a backup; without the record no key opens it.",
            "no row \"instance\" in table state after commit " + std::to_string(engine.last_commit()));
    return decode_state((*row)->value);
}

SealSlot new_slot(const SealInput& input, crypto::PassphraseStrength strength, base::Time now) {
    SealSlot slot;
    const bool passphrase = input.kind == crypto::SlotKind::passphrase;
    slot.parameters = passphrase ? crypto::fresh_passphrase_slot(strength) : crypto::fresh_key_file_slot();
    if (!passphrase) slot.parameters.key_id = crypto::key_file_id(input.secret);
    slot.name = passphrase ? "passphrase" : "key file";
    slot.commit_seq = kFirstCommit;
    slot.created = now;
    slot.verified = now;  // whoever makes a store has just given it what opens it
    return slot;
}

base::Result<crypto::Key> copy_of_key(const crypto::Secret& secret) {
    return crypto::Key::from(
        secret.expose([](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); }));
}

/// The root key of the active epoch, if `input` opens the slot. A wrong one is corrupt "envelope.refused".
base::Result<crypto::Key> open_slot(const StateRecord& record, const SealSlot& slot, const SealInput& input) {
    const auto epoch = record.active_epoch();
    const auto* const wrap = slot.wrap_of(epoch);
    if (wrap == nullptr)
        return base::failure(ErrorKind::corrupt, "envelope.refused",
                             "The seal slot does not hold the active root key.");
    if (!crypto::plausible(slot.parameters))
        return base::failure(
            ErrorKind::corrupt, "slot.parameters_refused",
            "The seal slot's parameters are not ones that a slot can have.",
            "Restore the slot descriptor from a backup, or open the store through another slot.");
    const auto place = wrap_place(record, slot, epoch);
    if (slot.parameters.kind == crypto::SlotKind::pkcs11) {
        auto token = crypto::Token::open(input.module, slot.parameters.token, input.secret);
        if (!token) return std::unexpected(std::move(token).error());
        return token->unwrap(slot.parameters.slot, epoch, place, wrap->wrapped);
    }
    const bool given = input.form == SealInput::Form::opening_key || slot.parameters.emergency();
    const auto key = given ? copy_of_key(input.secret) : crypto::slot_key(slot.parameters, input.secret);
    if (!key) {
        if (given)  // not 32 bytes: no slot has such a key
            return base::failure(ErrorKind::corrupt, "envelope.refused", "The opening key is not 32 bytes.");
        return std::unexpected(key.error());
    }
    return slot.parameters.emergency() ? crypto::unwrap_root_with(*key, place, wrap->wrapped)
                                       : crypto::unwrap_root(*key, place, wrap->wrapped);
}

struct Opened {
    base::RawId slot{};
    crypto::Key root;
};

std::string_view input_name(crypto::SlotKind kind) {
    switch (kind) {
        case crypto::SlotKind::passphrase:
            return "passphrase";
        case crypto::SlotKind::key_file:
            return "key file";
        case crypto::SlotKind::shares:
            return "quorum of shares";
        case crypto::SlotKind::recipient:
            return "identity";
        case crypto::SlotKind::pkcs11:
            return "PKCS#11 token";
    }
    return "key";
}

/// Tries every slot of the input's kind.
base::Result<Opened> open_any(const StateRecord& record, const SealInput& input) {
    std::optional<base::Error> trouble;  // a slot that could not even be tried
    std::size_t tried = 0;
    for (const auto& slot : record.slots) {
        if (slot.parameters.kind != input.kind) continue;
        if (input.slot && slot.parameters.slot != *input.slot) continue;
        ++tried;
        auto root = open_slot(record, slot, input);
        if (root) return Opened{slot.parameters.slot, std::move(*root)};
        if (root.error().code != "envelope.refused") trouble = std::move(root).error();
    }
    if (trouble) return std::unexpected(*std::move(trouble));
    const std::string name(input_name(input.kind));
    if (tried == 0)
        return base::failure(
            ErrorKind::unauthenticated, "seal.wrong_key",
            "This store has no seal slot for a " + name + (input.slot ? " with that id." : "."),
            "Unseal it with one of the slots that `seal status` shows.");
    return base::failure(
        ErrorKind::unauthenticated, "seal.wrong_key", "The " + name + " does not open this store.",
        "Check that it is the one this store was initialised with, or that its slot was added "
        "with.");
}

crypto::Digest state_mac(const crypto::Key& root, ByteView authenticated) {
    return crypto::blake2b_keyed(crypto::derive(root, crypto::Purpose::state_mac), authenticated);
}

std::unexpected<base::Error> state_changed() {
    return base::failure(ErrorKind::corrupt, "state.refused",
                         "The store's state record was changed from outside.",
                         "Restore the data folder from a backup, and find out who can write to it.",
                         "the MAC of the state record does not hold");
}

}  // namespace

std::string slot_id_text(const base::RawId& slot) {
    return base::to_hex({reinterpret_cast<const char*>(slot.data()), slot.size()});
}

KeyRing::KeyRing(base::RawId instance, std::uint64_t root_epoch, crypto::Key root)
    : instance_(instance),
      root_epoch_(root_epoch),
      root_(std::move(root)),
      head_key_(crypto::derive(root_, crypto::Purpose::row_sums, 2)),
      body_digest_key_(crypto::derive(root_, crypto::Purpose::audit_fingerprint, 2)) {
    for (const auto purpose : kPurposes) derived_.emplace(purpose, crypto::derive(root_, purpose));
}

base::Result<std::unique_ptr<KeyRing>> KeyRing::create(const std::vector<SealInput>& inputs,
                                                       crypto::PassphraseStrength strength, base::Time now,
                                                       Batch& batch) {
    if (inputs.empty() || inputs.size() > kMaxSlots)
        return base::failure(ErrorKind::invalid_request, "seal.slots_refused",
                             "A new store needs between 1 and 32 seal slots.",
                             "Give a key file, a passphrase, or both.");
    StateRecord record;
    record.instance = crypto::random_id_bytes();
    record.created = now;
    record.epochs.push_back({kFirstEpoch, EpochState::active});
    std::unique_ptr<KeyRing> ring(new KeyRing(record.instance, kFirstEpoch, crypto::Key::generate()));
    for (const auto& input : inputs) {
        auto slot = new_slot(input, strength, now);
        const auto key = crypto::slot_key(slot.parameters, input.secret);
        if (!key) return std::unexpected(key.error());
        slot.wraps.push_back(
            {kFirstEpoch, crypto::wrap_root(*key, wrap_place(record, slot, kFirstEpoch), ring->root_)});
        record.slots.push_back(std::move(slot));
    }
    ring->put_state(record, batch);
    ring->create_owner_key({}, record.instance, kFirstCommit, now, batch);
    return ring;
}

base::Result<std::optional<InstanceSummary>> KeyRing::summary(const StorageEngine& engine) {
    if (engine.last_commit() == 0) return std::nullopt;
    auto stored = read_state(engine);
    if (!stored) return std::unexpected(std::move(stored).error());
    InstanceSummary summary;
    summary.instance = stored->record.instance;
    summary.created = stored->record.created;
    const auto epoch = stored->record.active_epoch();
    for (const auto& slot : stored->record.slots) {
        const auto* const wrap = slot.wrap_of(epoch);
        SlotSummary shown{slot_id_text(slot.parameters.slot), slot.parameters.kind};
        shown.name = slot.name;
        shown.created = slot.created;
        shown.verified = slot.verified;
        shown.parameters = slot.parameters;
        if (wrap != nullptr && slot.parameters.emergency())
            shown.ephemeral = crypto::ephemeral_of(wrap->wrapped);
        summary.slots.push_back(std::move(shown));
    }
    return summary;
}

base::Result<std::unique_ptr<KeyRing>> KeyRing::unseal(const StorageEngine& engine, const SealInput& input) {
    auto stored = read_state(engine);
    if (!stored) return std::unexpected(std::move(stored).error());
    const auto& record = stored->record;
    auto opened = open_any(record, input);
    if (!opened) return std::unexpected(std::move(opened).error());
    if (!crypto::equal(crypto::view(state_mac(opened->root, stored->authenticated)), stored->mac))
        return state_changed();
    return std::unique_ptr<KeyRing>(
        new KeyRing(record.instance, record.active_epoch(), std::move(opened->root)));
}

base::Result<base::RawId> KeyRing::check(const StorageEngine& engine, const SealInput& input) const {
    const auto record = state(engine);
    if (!record) return std::unexpected(record.error());
    auto opened = open_any(*record, input);
    if (!opened) return std::unexpected(std::move(opened).error());
    if (!(opened->root == root_))
        return base::failure(ErrorKind::corrupt, "seal.other_root",
                             "The slot opens, but to another root key than the one in use.",
                             "Remove the slot and add it again.");
    return opened->slot;
}

base::Result<StateRecord> KeyRing::state(const StorageEngine& engine) const {
    auto stored = read_state(engine);
    if (!stored) return std::unexpected(std::move(stored).error());
    if (!crypto::equal(crypto::view(state_mac(root_, stored->authenticated)), stored->mac))
        return state_changed();
    return std::move(stored->record);
}

void KeyRing::put_state(const StateRecord& record, Batch& batch) const {
    Bytes row = encode(record);
    row.append(crypto::view(state_mac(root_, row)));
    batch.put(Table::state, kStateKey, std::move(row));
}

base::Status KeyRing::seal_into(const StateRecord& record, SealSlot& slot, const crypto::Key* opening,
                                crypto::Token* token) const {
    const auto place = wrap_place(record, slot, root_epoch_);
    base::Result<Bytes> wrapped;
    if (slot.parameters.emergency())
        wrapped = crypto::wrap_root_to(slot.parameters.recipient, place, root_);
    else if (slot.parameters.kind == crypto::SlotKind::pkcs11 && token != nullptr)
        wrapped = token->wrap(slot.parameters.slot, root_epoch_, place, root_);
    else if (opening != nullptr)
        wrapped = crypto::wrap_root(*opening, place, root_);
    else
        return base::failure(ErrorKind::invalid_request, "seal.key_missing",
                             "A slot of this kind needs the key that it is sealed under.");
    if (!wrapped) return std::unexpected(std::move(wrapped).error());
    slot.wraps.push_back({root_epoch_, std::move(*wrapped)});
    return {};
}

const crypto::Key& KeyRing::derived(crypto::Purpose purpose) const { return derived_.at(purpose); }

crypto::Place KeyRing::owner_key_place(const base::RawId& workspace, const base::RawId& owner,
                                       std::uint64_t generation) const {
    crypto::Place place;
    place.type = crypto::ObjectType::vault_key;
    place.instance = instance_;
    place.workspace = workspace;
    place.object = owner;
    place.version = generation;
    place.wrapping_key = root_epoch_;
    return place;
}

std::shared_ptr<const KeyRing::OwnerKey> KeyRing::create_owner_key(const base::RawId& workspace,
                                                                   const base::RawId& owner,
                                                                   std::uint64_t commit_seq, base::Time now,
                                                                   Batch& batch) {
    const auto created =
        std::make_shared<const OwnerKey>(OwnerKey{kFirstGeneration, crypto::Key::generate()});
    auto place = owner_key_place(workspace, owner, created->generation);
    place.commit_seq = commit_seq;
    place.created_ms = static_cast<std::uint64_t>(now.time_since_epoch().count());
    batch.put(Table::owner_key, owner_row_key(owner, created->generation),
              seal_stamped(derived(crypto::Purpose::vault_key_wrap), place, created->key));
    created_.push_back({owner, created->generation});
    const std::unique_lock lock(mutex_);
    owner_keys_[{owner, created->generation}] = created;
    return created;
}

base::Result<std::shared_ptr<const KeyRing::OwnerKey>> KeyRing::owner_key(const StorageEngine& engine,
                                                                          const base::RawId& workspace,
                                                                          const base::RawId& owner,
                                                                          std::uint64_t generation) const {
    {
        const std::shared_lock lock(mutex_);
        const auto found = owner_keys_.find({owner, generation});
        if (found != owner_keys_.end()) return found->second;
    }
    const auto row_key = owner_row_key(owner, generation);
    auto row = engine.get(Table::owner_key, row_key);
    if (!row) return std::unexpected(std::move(row).error());
    if (!*row)
        return base::failure(ErrorKind::not_found, "key.missing",
                             "The key of this object is gone: it was erased.", {},
                             "table owner_key, row " + base::to_hex(row_key));
    auto key = open_stamped_key(derived(crypto::Purpose::vault_key_wrap),
                                owner_key_place(workspace, owner, generation), (*row)->value);
    if (!key)
        return base::failure(ErrorKind::corrupt, "key.refused",
                             "A stored key does not open: it was changed or replaced.",
                             "Restore the data folder from a backup, and find out who can write to it.",
                             "table owner_key, row " + base::to_hex(row_key));
    auto opened = std::make_shared<const OwnerKey>(OwnerKey{generation, std::move(*key)});
    const std::unique_lock lock(mutex_);
    return owner_keys_.try_emplace({owner, generation}, std::move(opened)).first->second;
}

void KeyRing::forget_owner(const base::RawId& owner, Batch& batch) {
    batch.erase(Table::owner_key, owner_row_key(owner, kFirstGeneration));
    forgotten_.push_back({owner, kFirstGeneration});
}

void KeyRing::changes_durable() {
    created_.clear();
    if (forgotten_.empty()) return;
    const std::unique_lock lock(mutex_);
    for (const auto& id : forgotten_) owner_keys_.erase(id);
    forgotten_.clear();
}

void KeyRing::changes_abandoned() {
    forgotten_.clear();
    if (created_.empty()) return;
    const std::unique_lock lock(mutex_);
    for (const auto& id : created_) owner_keys_.erase(id);
    created_.clear();
}

}  // namespace claviger::vault
