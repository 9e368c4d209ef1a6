#include "vault/root_rotation.h"

#include <algorithm>
#include <optional>

namespace claviger::vault {
namespace {

using base::ErrorKind;
using crypto::SlotKind;

constexpr int kNumbers = 64;  // that may be skipped because a token has a key of theirs

std::unexpected<base::Error> left_behind(const SealSlot& slot, std::string why) {
    return base::failure(
        ErrorKind::invalid_request, "keys.slot_left_behind",
        "The seal slot '" + slot.name + "' cannot follow the new root key: " + std::move(why),
        "Give what opens it, such as `--with '" + slot.name +
            "=FILE'`, or remove the slot with `claviger seal remove`.");
}

base::Result<crypto::Token> token_of(const SealSlot& slot, const SlotAccess& access) {
    if (!access.token) return left_behind(slot, "the server's config names no PKCS#11 module (seal.pkcs11).");
    const auto input = access.token();
    if (!input) return std::unexpected(input.error());
    return crypto::Token::open(input->module, slot.parameters.token, input->secret);
}

/// The key of a slot that has no public key and no token, proved by what the slot holds now.
base::Result<crypto::Key> opening_of(const StateRecord& record, const SealSlot& slot, const RootKey& active,
                                     const SlotAccess& access) {
    const auto opens = [&](const crypto::Key& key) {
        const auto* const wrap = slot.wrap_of(active.epoch());
        const auto root = wrap == nullptr ? base::Result<crypto::Key>(std::unexpected(base::Error{}))
                                          : crypto::unwrap_root(key, wrap_place(record, slot, active.epoch()),
                                                                wrap->wrapped);
        return root && *root == active.key();
    };
    const auto given =
        std::ranges::find(access.openings, slot.parameters.slot, &std::pair<base::RawId, crypto::Key>::first);
    if (given != access.openings.end()) {
        if (!opens(given->second)) return left_behind(slot, "what was given does not open it.");
        return crypto::Key::filled([&](std::span<std::byte> out) {
            given->second.expose(
                [&](std::span<const std::byte> key) { std::ranges::copy(key, out.begin()); });
        });
    }
    if (slot.parameters.kind == SlotKind::key_file)
        for (const auto& file : access.key_files ? access.key_files() : std::vector<SealInput>())
            if (auto key = crypto::slot_key(slot.parameters, file.secret); key && opens(*key)) return key;
    return left_behind(slot, slot.parameters.kind == SlotKind::passphrase
                                 ? "its passphrase was not given."
                                 : "its key file was not given, and is none that the server's config names.");
}

base::Status seal_next(const StateRecord& record, SealSlot& slot, const RootKeys& roots,
                       const SlotAccess& access) {
    if (slot.parameters.emergency()) return seal_into(record, slot, roots, nullptr, nullptr);
    if (slot.parameters.kind == SlotKind::pkcs11) {
        auto token = token_of(slot, access);
        if (!token) return std::unexpected(std::move(token).error());
        return seal_into(record, slot, roots, nullptr, &*token);
    }
    const auto opening = opening_of(record, slot, roots.in_use(), access);
    if (!opening) return std::unexpected(opening.error());
    return seal_into(record, slot, roots, &*opening, nullptr);
}

/// Opens a wrap as an unsealing would, by what people gave, the server reads or the token holds. Nothing when
/// it takes people who are not there.
base::Result<std::optional<crypto::Key>> reopened(const StateRecord& record, const SealSlot& slot,
                                                  const RootWrap& wrap, const RootKey& active,
                                                  const SlotAccess& access) {
    if (slot.parameters.emergency()) return std::nullopt;
    const auto place = wrap_place(record, slot, wrap.epoch);
    if (slot.parameters.kind == SlotKind::pkcs11) {
        auto token = token_of(slot, access);
        if (!token) return std::unexpected(std::move(token).error());
        return token->unwrap(slot.parameters.slot, wrap.epoch, place, wrap.wrapped);
    }
    const auto opening = opening_of(record, slot, active, access);
    if (!opening) return std::nullopt;
    return crypto::unwrap_root(*opening, place, wrap.wrapped);
}

/// Whether each slot that can be opened here gives back the root key that it was given.
base::Status give_back(const StateRecord& record, const RootKey& root, const RootKey& active,
                       const SlotAccess& access) {
    for (const auto& slot : record.slots) {
        const auto* const wrap = slot.wrap_of(root.epoch());
        if (wrap == nullptr) return left_behind(slot, "it does not hold it.");
        const auto key = reopened(record, slot, *wrap, active, access);
        if (!key && key.error().kind != ErrorKind::corrupt) return std::unexpected(key.error());
        if (key && (!*key || **key == root.key())) continue;
        return base::failure(
            ErrorKind::corrupt, "seal.other_root",
            "The seal slot '" + slot.name + "' does not give back the new root key that it was given.",
            "Nothing is sealed under that key yet. Roll the rotation back if it shows in `claviger key "
            "status`; have the slot's token, or this machine's memory and disk, checked before the next.");
    }
    return {};
}

base::Result<RootKeys> with_active(StateRecord& record, RootKeys roots, std::uint64_t epoch) {
    if (roots.find(epoch) == nullptr)
        return base::failure(
            ErrorKind::conflict, "keys.root_not_open",
            "The slot that opened the store did not give the root key " + std::to_string(epoch) + ".",
            "Restart Claviger and unseal it through another slot, then resume; or roll back.");
    for (const auto& slot : record.slots)
        if (slot.wrap_of(epoch) == nullptr)
            return base::failure(
                ErrorKind::conflict, "keys.slot_left_behind",
                "The seal slot '" + slot.name + "' does not hold the root key " + std::to_string(epoch) + ".",
                "Roll the rotation back, or remove the slot; then begin again.");
    if (auto* const active = record.find(EpochState::active)) active->state = EpochState::retiring;
    const auto next = std::ranges::find(record.epochs, epoch, &RootEpoch::epoch);
    if (next == record.epochs.end())
        return base::failure(ErrorKind::conflict, "keys.no_such_root",
                             "The store has no root key " + std::to_string(epoch) + " any more.",
                             "`claviger key status` shows those it has.");
    next->state = EpochState::active;
    roots.active = epoch;
    return roots;
}

void without(StateRecord& record, RootKeys& roots, std::uint64_t epoch) {
    std::erase_if(record.epochs, [&](const RootEpoch& each) { return each.epoch == epoch; });
    for (auto& slot : record.slots)
        std::erase_if(slot.wraps, [&](const RootWrap& wrap) { return wrap.epoch == epoch; });
    roots.live.erase(epoch);
}

/// Takes back what an attempt made that comes to nothing: nobody will ask the token for it.
void forget_in_tokens(const StateRecord& record, std::uint64_t epoch, const SlotAccess& access) {
    for (const auto& slot : record.slots) {
        if (slot.parameters.kind != SlotKind::pkcs11 || slot.wrap_of(epoch) == nullptr) continue;
        if (auto token = token_of(slot, access)) (void)token->destroy(slot.parameters.slot, epoch);
    }
}

base::Result<PreparedRoot> sealed_in_all(const KeyRing& keys, const StateRecord& basis, std::uint64_t epoch,
                                         const SlotAccess& access, base::Time now) {
    PreparedRoot prepared{std::make_shared<const RootKey>(epoch, crypto::Key::generate()), basis, basis};
    auto& next = prepared.record;
    next.last_epoch = epoch;
    next.epochs.push_back({epoch, EpochState::pending, now});
    auto roots = keys.roots();
    roots.live[epoch] = prepared.root;
    base::Status sealed;
    for (auto& slot : next.slots)
        if (sealed) sealed = seal_next(next, slot, roots, access);
    if (sealed) sealed = give_back(next, *prepared.root, roots.in_use(), access);
    if (!sealed) {
        forget_in_tokens(next, epoch, access);
        return std::unexpected(std::move(sealed).error());
    }
    return prepared;
}

enum class Before { retires, is_gone };

base::Result<std::size_t> put_to_use(Transaction& transaction, std::uint64_t epoch,
                                     const KeyRing::WorkspaceOf& workspace_of, Before before) {
    auto& keys = transaction.keys();
    auto record = keys.state(transaction.engine());
    if (!record) return std::unexpected(std::move(record).error());
    const auto old = record->active_epoch();
    auto roots = with_active(*record, keys.roots(), epoch);
    if (!roots) return std::unexpected(std::move(roots).error());
    auto rewrapped = keys.rewrap_owner_keys(transaction.engine(), roots->in_use(), workspace_of,
                                            transaction.commit_seq(), transaction.batch());
    if (!rewrapped) return rewrapped;
    if (before == Before::is_gone) without(*record, *roots, old);
    keys.stage_roots(std::move(*roots));
    keys.put_state(*record, transaction.batch());
    return rewrapped;
}

}  // namespace

bool has_token_slots(const StateRecord& record) {
    return std::ranges::any_of(record.slots,
                               [](const SealSlot& slot) { return slot.parameters.kind == SlotKind::pkcs11; });
}

base::Result<PreparedRoot> prepare_root(const KeyRing& keys, const StorageEngine& engine,
                                        const SlotAccess& access, base::Time now) {
    auto record = keys.state(engine);
    if (!record) return std::unexpected(std::move(record).error());
    if (record->epochs.size() != 1)
        return base::failure(ErrorKind::conflict, "keys.rotation_under_way",
                             "A rotation of the root key is under way already.",
                             "`claviger key status` shows it. Retire the old key or roll back first.");
    auto epoch = record->next_epoch();
    for (int tried = 1;; ++tried, ++epoch) {
        auto prepared = sealed_in_all(keys, *record, epoch, access, now);
        const bool number_used = !prepared && prepared.error().code == "token.key_exists";
        if (!number_used || tried == kNumbers) return prepared;
    }
}

base::Status verify_in_slots(const KeyRing& keys, const StorageEngine& engine, std::uint64_t epoch,
                             const SlotAccess& access) {
    const auto record = keys.state(engine);
    if (!record) return std::unexpected(record.error());
    const auto roots = keys.roots();
    const auto* const root = roots.find(epoch);
    if (root == nullptr) return {};  // putting it to use will say so
    return give_back(*record, *root, roots.in_use(), access);
}

base::Status destroy_in_tokens(const KeyRing& keys, const StorageEngine& engine, std::uint64_t epoch,
                               const SlotAccess& access) {
    const auto record = keys.state(engine);
    if (!record) return std::unexpected(record.error());
    for (const auto& slot : record->slots) {
        if (slot.parameters.kind != SlotKind::pkcs11) continue;
        auto token = token_of(slot, access);
        if (!token) return std::unexpected(std::move(token).error());
        if (auto destroyed = token->destroy(slot.parameters.slot, epoch); !destroyed) return destroyed;
    }
    return {};
}

base::Status begin_root(Transaction& transaction, const PreparedRoot& prepared) {
    auto& keys = transaction.keys();
    const auto record = keys.state(transaction.engine());
    if (!record) return std::unexpected(record.error());
    if (encode(*record) != encode(prepared.basis))
        return base::failure(ErrorKind::conflict, "keys.slots_changed",
                             "The seal slots were changed while the new root key was sealed into them.",
                             "Begin again.");
    auto roots = keys.roots();
    roots.live[prepared.root->epoch()] = prepared.root;
    keys.stage_roots(std::move(roots));
    keys.put_state(prepared.record, transaction.batch());
    return {};
}

base::Result<std::size_t> activate_root(Transaction& transaction, std::uint64_t epoch,
                                        const KeyRing::WorkspaceOf& workspace_of) {
    return put_to_use(transaction, epoch, workspace_of, Before::retires);
}

base::Result<std::size_t> return_to_root(Transaction& transaction, std::uint64_t epoch,
                                         const KeyRing::WorkspaceOf& workspace_of) {
    return put_to_use(transaction, epoch, workspace_of, Before::is_gone);
}

base::Status drop_root(Transaction& transaction, std::uint64_t epoch) {
    auto& keys = transaction.keys();
    auto record = keys.state(transaction.engine());
    if (!record) return std::unexpected(std::move(record).error());
    if (record->active_epoch() == epoch)
        return base::failure(ErrorKind::conflict, "keys.root_in_use",
                             "The root key " + std::to_string(epoch) + " is the one in use.",
                             "`claviger key status` shows which keys there are.");
    auto roots = keys.roots();
    without(*record, roots, epoch);
    keys.stage_roots(std::move(roots));
    keys.put_state(*record, transaction.batch());
    return {};
}

}  // namespace claviger::vault
