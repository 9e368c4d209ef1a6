#include "vault/key_ring.h"

#include "crypto/random.h"
#include "vault/log_rows.h"
#include "vault/stamped_row.h"
#include "vault/state_record.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr ByteView kStateKey = "instance";
constexpr std::uint64_t kFirstEpoch = 1;
constexpr std::uint64_t kFirstCommit = 1;
constexpr int kReadings = 16;  // of one row, while a rotation moves it from one root key to another
constexpr crypto::Purpose kPurposes[] = {
    crypto::Purpose::audit_fingerprint, crypto::Purpose::row_sums,          crypto::Purpose::webhook_secrets,
    crypto::Purpose::outbox_secrets,    crypto::Purpose::token_fingerprint, crypto::Purpose::connect_secrets,
};
constexpr crypto::Purpose kHandlePurposes[] = {crypto::Purpose::session_ids, crypto::Purpose::cursors,
                                               crypto::Purpose::agent_handles};
constexpr std::uint64_t kFirstDerived = 1;  // the number of what derives from the first history

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

crypto::Key copy_of(const crypto::Key& key) {
    return crypto::Key::filled([&](std::span<std::byte> out) {
        key.expose([&](std::span<const std::byte> bytes) { std::ranges::copy(bytes, out.begin()); });
    });
}

std::unexpected<base::Error> does_not_open(std::string why) {
    return base::failure(ErrorKind::corrupt, "envelope.refused", std::move(why));
}

/// Opens one slot's wraps. What leads to them is worked out once: Argon2id is slow, and tokens count logins.
class SlotOpening {
public:
    static base::Result<SlotOpening> of(const SealSlot& slot, const SealInput& input) {
        if (!crypto::plausible(slot.parameters))
            return base::failure(
                ErrorKind::corrupt, "slot.parameters_refused",
                "The seal slot's parameters are not ones that a slot can have.",
                "Restore the slot descriptor from a backup, or open the store through another slot.");
        SlotOpening opening(slot);
        if (slot.parameters.kind == crypto::SlotKind::pkcs11) {
            auto token = crypto::Token::open(input.module, slot.parameters.token, input.secret);
            if (!token) return std::unexpected(std::move(token).error());
            opening.token_.emplace(std::move(*token));
            return opening;
        }
        const bool given = input.form == SealInput::Form::opening_key || slot.parameters.emergency();
        auto key = given ? copy_of_key(input.secret) : crypto::slot_key(slot.parameters, input.secret);
        if (!key && given)
            return does_not_open("The opening key is not 32 bytes.");  // no slot has such a key
        if (!key) return std::unexpected(std::move(key).error());
        opening.key_.emplace(std::move(*key));
        return opening;
    }

    /// A wrong one is corrupt "envelope.refused".
    base::Result<crypto::Key> root(const StateRecord& record, std::uint64_t epoch) {
        const auto* const wrap = slot_.wrap_of(epoch);
        if (wrap == nullptr)
            return does_not_open("The seal slot does not hold the root key " + std::to_string(epoch) + ".");
        const auto place = wrap_place(record, slot_, epoch);
        if (token_) return token_->unwrap(slot_.parameters.slot, epoch, place, wrap->wrapped);
        return slot_.parameters.emergency() ? crypto::unwrap_root_with(*key_, place, wrap->wrapped)
                                            : crypto::unwrap_root(*key_, place, wrap->wrapped);
    }

private:
    explicit SlotOpening(const SealSlot& slot) : slot_(slot) {}
    const SealSlot& slot_;
    std::optional<crypto::Token> token_;
    std::optional<crypto::Key> key_;
};

struct Opened {
    base::RawId slot{};
    RootKeys roots;
};

/// The active root key, and of the other live ones those that the slot gives, too.
base::Result<RootKeys> open_roots(const StateRecord& record, const SealSlot& slot, const SealInput& input) {
    auto opening = SlotOpening::of(slot, input);
    if (!opening) return std::unexpected(std::move(opening).error());
    RootKeys roots;
    roots.active = record.active_epoch();
    auto active = opening->root(record, roots.active);
    if (!active) return std::unexpected(std::move(active).error());
    roots.live[roots.active] = std::make_shared<const RootKey>(roots.active, std::move(*active));
    for (const auto& other : record.epochs) {
        if (other.epoch == roots.active) continue;
        if (auto root = opening->root(record, other.epoch))
            roots.live[other.epoch] = std::make_shared<const RootKey>(other.epoch, std::move(*root));
    }
    return roots;
}

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
        auto roots = open_roots(record, slot, input);
        if (roots) return Opened{slot.parameters.slot, std::move(*roots)};
        if (roots.error().code != "envelope.refused") trouble = std::move(roots).error();
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

bool mac_holds(const RootKey& root, const StoredState& stored) {
    return crypto::equal(crypto::view(root.state_mac(stored.authenticated)), stored.mac);
}

std::unexpected<base::Error> state_changed() {
    return base::failure(ErrorKind::corrupt, "state.refused",
                         "The store's state record was changed from outside.",
                         "Restore the data folder from a backup, and find out who can write to it.",
                         "the MAC of the state record does not hold");
}

std::string_view name_of(EpochState state) {
    switch (state) {
        case EpochState::pending:
            return "pending";
        case EpochState::active:
            return "active";
        case EpochState::retiring:
            return "retiring";
    }
    return "unknown";
}

std::unexpected<base::Error> key_refused(ByteView row_key) {
    return base::failure(ErrorKind::corrupt, "key.refused",
                         "A stored key does not open: it was changed or replaced.",
                         "Restore the data folder from a backup, and find out who can write to it.",
                         "table owner_key, row " + base::to_hex(row_key));
}

base::Time created_in(ByteView row) {
    const auto stamp = stamp_of(row);
    return base::Time(std::chrono::milliseconds(stamp ? static_cast<std::int64_t>(stamp->created_ms) : 0));
}

}  // namespace

std::string slot_id_text(const base::RawId& slot) {
    return base::to_hex({reinterpret_cast<const char*>(slot.data()), slot.size()});
}

KeyRing::KeyRing(base::RawId instance, std::uint64_t history, RootKeys roots, crypto::Key derivation)
    : instance_(instance),
      derivation_(std::move(derivation)),
      body_digest_key_(crypto::derive(derivation_, crypto::Purpose::audit_fingerprint, 2)),
      roots_(std::move(roots)) {
    for (const auto purpose : kPurposes) derived_.emplace(purpose, crypto::derive(derivation_, purpose));
    enter_history(history);
}

void KeyRing::enter_history(std::uint64_t number) {
    auto& entered = histories_.emplace_front(History{number, {}});
    for (const auto purpose : kHandlePurposes)
        entered.keys.emplace(purpose, crypto::derive(derivation_, purpose, kFirstDerived + number));
    history_.store(&entered, std::memory_order_release);
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
    record.epochs.push_back({kFirstEpoch, EpochState::active, now});
    record.last_epoch = kFirstEpoch;
    RootKeys roots;
    roots.active = kFirstEpoch;
    roots.live[kFirstEpoch] = std::make_shared<const RootKey>(kFirstEpoch, crypto::Key::generate());
    std::unique_ptr<KeyRing> ring(
        new KeyRing(record.instance, record.history, roots, crypto::Key::generate()));
    for (const auto& input : inputs) {
        auto slot = new_slot(input, strength, now);
        const auto key = crypto::slot_key(slot.parameters, input.secret);
        if (!key) return std::unexpected(key.error());
        if (auto sealed = seal_into(record, slot, roots, &*key, nullptr); !sealed)
            return std::unexpected(std::move(sealed).error());
        record.slots.push_back(std::move(slot));
    }
    ring->put_state(record, batch);
    const auto place = ring->owner_key_place({}, kDerivationOwner, kFirstGeneration, roots.in_use());
    batch.put(Table::owner_key, owner_row_key(kDerivationOwner, kFirstGeneration),
              ring->sealed_owner_key(place, roots.in_use(), kFirstCommit, now, ring->derivation_));
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
    for (const auto& each : stored->record.epochs)
        summary.epochs.push_back({each.epoch, name_of(each.state), each.created});
    return summary;
}

base::Result<std::unique_ptr<KeyRing>> KeyRing::unseal(const StorageEngine& engine, const SealInput& input) {
    auto stored = read_state(engine);
    if (!stored) return std::unexpected(std::move(stored).error());
    const auto& record = stored->record;
    auto opened = open_any(record, input);
    if (!opened) return std::unexpected(std::move(opened).error());
    const auto& root = opened->roots.in_use();
    if (!mac_holds(root, *stored)) return state_changed();

    auto derivation = copy_of(root.key());
    const auto row = engine.get(Table::owner_key, owner_row_key(kDerivationOwner, kFirstGeneration));
    if (!row) return std::unexpected(row.error());
    std::unique_ptr<KeyRing> ring(
        new KeyRing(record.instance, record.history, std::move(opened->roots), std::move(derivation)));
    if (*row) {
        const auto kept = ring->owner_key(engine, {}, kDerivationOwner, kFirstGeneration);
        if (!kept) return std::unexpected(kept.error());
        auto own = copy_of((*kept)->key);
        return std::unique_ptr<KeyRing>(
            new KeyRing(record.instance, record.history, std::move(ring->roots_), std::move(own)));
    }
    // Stores of earlier versions derive everything from their first root key, until that is rotated.
    if (record.last_epoch != kFirstEpoch)
        return key_refused(owner_row_key(kDerivationOwner, kFirstGeneration));
    return ring;
}

base::Result<base::RawId> KeyRing::check(const StorageEngine& engine, const SealInput& input) const {
    const auto record = state(engine);
    if (!record) return std::unexpected(record.error());
    auto opened = open_any(*record, input);
    if (!opened) return std::unexpected(std::move(opened).error());
    const auto roots = this->roots();
    for (const auto& [epoch, root] : opened->roots.live)
        if (const auto* const own = roots.find(epoch); own != nullptr && !(own->key() == root->key()))
            return base::failure(ErrorKind::corrupt, "seal.other_root",
                                 "The slot opens, but to another root key than the one in use.",
                                 "Remove the slot and add it again.");
    return opened->slot;
}

base::Result<StateRecord> KeyRing::state(const StorageEngine& engine) const {
    auto stored = read_state(engine);
    if (!stored) return std::unexpected(std::move(stored).error());
    // A rotation's commit shows here before the ring follows it: the record says which key is right.
    const auto roots = this->roots();
    const auto* const root = roots.find(stored->record.active_epoch());
    if (root == nullptr || !mac_holds(*root, *stored)) return state_changed();
    return std::move(stored->record);
}

void KeyRing::put_state(const StateRecord& record, Batch& batch) const {
    Bytes row = encode(record);
    const auto roots = staged_ ? *staged_ : this->roots();
    row.append(crypto::view(roots.find(record.active_epoch())->state_mac(row)));
    batch.put(Table::state, kStateKey, std::move(row));
}

base::Status seal_into(const StateRecord& record, SealSlot& slot, const RootKeys& roots,
                       const crypto::Key* opening, crypto::Token* token) {
    const bool emergency = slot.parameters.emergency();
    std::optional<crypto::RecipientSeal> seal;
    if (emergency) {
        auto fresh = crypto::fresh_seal_to(slot.parameters.recipient);
        if (!fresh) return std::unexpected(std::move(fresh).error());
        seal.emplace(std::move(*fresh));
    }
    for (const auto& [epoch, root] : roots.live) {
        if (!emergency && slot.wrap_of(epoch) != nullptr) continue;
        const auto place = wrap_place(record, slot, epoch);
        base::Result<Bytes> wrapped;
        if (seal)
            wrapped = crypto::wrap_root_to(*seal, place, root->key());
        else if (slot.parameters.kind == crypto::SlotKind::pkcs11 && token != nullptr)
            wrapped = token->wrap(slot.parameters.slot, epoch, place, root->key());
        else if (slot.parameters.kind != crypto::SlotKind::pkcs11 && opening != nullptr)
            wrapped = crypto::wrap_root(*opening, place, root->key());
        else
            return base::failure(ErrorKind::invalid_request, "seal.key_missing",
                                 "A slot of this kind needs the key that it is sealed under.");
        if (!wrapped) return std::unexpected(std::move(wrapped).error());
        std::erase_if(slot.wraps, [&](const RootWrap& old) { return old.epoch == epoch; });
        slot.wraps.push_back({epoch, std::move(*wrapped)});
    }
    return {};
}

base::Result<crypto::Key> open_slot(const StateRecord& record, const SealSlot& slot, std::uint64_t epoch,
                                    const SealInput& input) {
    auto opening = SlotOpening::of(slot, input);
    if (!opening) return std::unexpected(std::move(opening).error());
    return opening->root(record, epoch);
}

RootKeys KeyRing::roots() const {
    const std::shared_lock lock(mutex_);
    return roots_;
}

void KeyRing::stage_roots(RootKeys next) { staged_ = std::move(next); }

std::shared_ptr<const RootKey> KeyRing::root_of_commit() const {
    if (staged_) return staged_->live.at(staged_->active);
    const std::shared_lock lock(mutex_);
    return roots_.live.at(roots_.active);
}

const crypto::Key& KeyRing::derived(crypto::Purpose purpose) const {
    const auto& of_handles = history_.load(std::memory_order_acquire)->keys;
    const auto found = of_handles.find(purpose);
    return found != of_handles.end() ? found->second : derived_.at(purpose);
}

base::Status KeyRing::begin_history(const StorageEngine& engine, Batch& batch) {
    auto record = state(engine);
    if (!record) return std::unexpected(std::move(record).error());
    record->history = record->next_history();
    put_state(*record, batch);
    next_history_ = record->history;
    return {};
}

crypto::Place KeyRing::owner_key_place(const base::RawId& workspace, const base::RawId& owner,
                                       std::uint64_t generation, const RootKey& root) const {
    crypto::Place place;
    place.type = crypto::ObjectType::vault_key;
    place.instance = instance_;
    place.workspace = workspace;
    place.object = owner;
    place.version = generation;
    place.wrapping_key = root.epoch();
    return place;
}

Bytes KeyRing::sealed_owner_key(crypto::Place place, const RootKey& root, std::uint64_t commit_seq,
                                base::Time created, const crypto::Key& key) const {
    place.commit_seq = commit_seq;
    place.created_ms = static_cast<std::uint64_t>(created.time_since_epoch().count());
    return seal_stamped(root.wrap_key(), place, key);
}

std::shared_ptr<const KeyRing::OwnerKey> KeyRing::create_owner_key(const base::RawId& workspace,
                                                                   const base::RawId& owner,
                                                                   std::uint64_t commit_seq, base::Time now,
                                                                   Batch& batch, std::uint64_t generation) {
    const auto created = std::make_shared<const OwnerKey>(OwnerKey{generation, crypto::Key::generate()});
    const auto root = root_of_commit();
    batch.put(Table::owner_key, owner_row_key(owner, generation),
              sealed_owner_key(owner_key_place(workspace, owner, generation, *root), *root, commit_seq, now,
                               created->key));
    created_.push_back({owner, generation});
    const std::unique_lock lock(mutex_);
    owner_keys_[{owner, generation}] = created;
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
    for (int reading = 0; reading < kReadings; ++reading) {
        auto row = engine.get(Table::owner_key, row_key);
        if (!row) return std::unexpected(std::move(row).error());
        if (!*row)
            return base::failure(ErrorKind::not_found, "key.missing",
                                 "The key of this object is gone: it was erased.", {},
                                 "table owner_key, row " + base::to_hex(row_key));
        const auto& sealed = (*row)->value;
        const auto epoch = crypto::key_ref_of(ByteView(sealed).substr(std::min(sealed.size(), kStampBytes)));
        const auto roots = this->roots();
        const auto* const root = epoch ? roots.find(*epoch) : nullptr;
        if (root == nullptr) {  // rotated since the row was read, or the ring follows in a moment
            std::this_thread::yield();
            continue;
        }
        auto key =
            open_stamped_key(root->wrap_key(), owner_key_place(workspace, owner, generation, *root), sealed);
        if (!key) break;
        auto opened = std::make_shared<const OwnerKey>(OwnerKey{generation, std::move(*key)});
        const std::unique_lock lock(mutex_);
        return owner_keys_.try_emplace({owner, generation}, std::move(opened)).first->second;
    }
    return key_refused(row_key);
}

base::Result<std::vector<std::uint64_t>> KeyRing::generations(const StorageEngine& engine,
                                                              const base::RawId& owner) const {
    std::vector<std::uint64_t> found;
    const ByteView prefix(reinterpret_cast<const char*>(owner.data()), owner.size());
    const auto scanned = engine.scan(
        Table::owner_key, prefix, {}, Order::ascending, [&](ByteView key, ByteView, std::uint64_t) {
            if (key.size() == owner.size() + sizeof(std::uint64_t))
                found.push_back(base::read_big_endian<std::uint64_t>(key.data() + owner.size()));
            return true;
        });
    if (!scanned) return std::unexpected(scanned.error());
    return found;
}

std::uint64_t KeyRing::generation_of(const base::RawId& owner) const {
    const std::shared_lock lock(mutex_);
    const auto found = generations_.find(owner);
    return found == generations_.end() ? kFirstGeneration : found->second;
}

void KeyRing::use_generation(const base::RawId& owner, std::uint64_t generation) {
    const std::unique_lock lock(mutex_);
    if (generation != kFirstGeneration || generations_.contains(owner)) generations_[owner] = generation;
}

void KeyRing::forget_owner(const base::RawId& owner, Batch& batch, std::uint64_t generation) {
    batch.erase(Table::owner_key, owner_row_key(owner, generation));
    forgotten_.push_back({owner, generation});
}

base::Result<std::size_t> KeyRing::rewrap_owner_keys(const StorageEngine& engine, const RootKey& root,
                                                     const WorkspaceOf& workspace_of,
                                                     std::uint64_t commit_seq, Batch& batch) const {
    struct Found {
        base::RawId owner{};
        std::uint64_t generation = 0;
        base::Time created{};
    };
    std::vector<Found> all;
    std::optional<Bytes> malformed;
    const auto scanned = engine.scan(
        Table::owner_key, {}, {}, Order::ascending, [&](ByteView key, ByteView row, std::uint64_t) {
            Found found;
            if (key.size() != found.owner.size() + sizeof found.generation) {
                malformed = Bytes(key);
                return false;
            }
            std::copy_n(key.begin(), found.owner.size(), found.owner.begin());
            found.generation = base::read_big_endian<std::uint64_t>(key.data() + found.owner.size());
            found.created = created_in(row);
            all.push_back(found);
            return true;
        });
    if (!scanned) return std::unexpected(scanned.error());
    if (malformed) return key_refused(*malformed);

    const auto put = [&](const Found& key, const base::RawId& workspace, const crypto::Key& content) {
        batch.put(Table::owner_key, owner_row_key(key.owner, key.generation),
                  sealed_owner_key(owner_key_place(workspace, key.owner, key.generation, root), root,
                                   commit_seq, key.created, content));
    };
    for (const auto& each : all) {
        if (each.owner == kDerivationOwner) continue;
        const bool own = each.owner == instance_ || is_day_owner(each.owner);
        const auto workspace = own ? base::RawId{} : workspace_of(each.owner);
        if (!workspace) return key_refused(owner_row_key(each.owner, each.generation));
        const auto key = owner_key(engine, *workspace, each.owner, each.generation);
        if (!key) return std::unexpected(key.error());
        put(each, *workspace, (*key)->key);
    }
    const auto derivation =
        std::ranges::find(all, kDerivationOwner, &Found::owner);  // absent in stores of earlier versions
    put(derivation != all.end() ? *derivation : Found{kDerivationOwner, kFirstGeneration, {}}, {},
        derivation_);
    return batch.writes().size();
}

void KeyRing::changes_durable() {
    created_.clear();
    if (next_history_) enter_history(*std::exchange(next_history_, std::nullopt));
    if (forgotten_.empty() && !staged_) return;
    const std::unique_lock lock(mutex_);
    for (const auto& id : forgotten_) owner_keys_.erase(id);
    forgotten_.clear();
    if (staged_) roots_ = *std::exchange(staged_, std::nullopt);
}

void KeyRing::changes_abandoned() {
    forgotten_.clear();
    staged_.reset();
    next_history_.reset();
    if (created_.empty()) return;
    const std::unique_lock lock(mutex_);
    for (const auto& id : created_) owner_keys_.erase(id);
    created_.clear();
}

}  // namespace claviger::vault
