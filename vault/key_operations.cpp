#include "vault/key_operations.h"

#include "crypto/random.h"

#include <string>

namespace claviger::vault {
namespace {

using base::ErrorKind;

std::unexpected<base::Error> not_possible(const Operation& operation, std::string_view wish,
                                          std::string hint) {
    return base::failure(
        ErrorKind::conflict, "operation.not_possible",
        "The operation cannot be " + std::string(wish) + ": it is " +
            (operation.rolling_back && operation.under_way() ? std::string("being rolled back")
                                                             : std::string(name_of(operation.state))) +
            ".",
        std::move(hint));
}

/// Stores the operation, and its entry with it.
base::Result<Operation> stored(Change& change, Operation operation, Action action) {
    if (operation.id.empty()) operation.id = crypto::random_id<base::OperationId>();
    operation.updated = change.now();
    if (!operation.under_way() && !operation.finished) operation.finished = change.now();
    if (auto kept = change.store(operation); !kept) return std::unexpected(std::move(kept).error());
    change.note(EntryKind::rotate, action, ObjectKind::operation, operation.id.raw, operation.about);
    return operation;
}

KeyRing::WorkspaceOf workspaces(const Catalog& catalog) {
    return [&catalog](const base::RawId& owner) -> std::optional<base::RawId> {
        if (const auto vault = catalog.find<Vault>(base::VaultId{owner})) return vault->workspace.raw;
        if (catalog.find<Workspace>(base::WorkspaceId{owner})) return owner;
        return std::nullopt;
    };
}

/// After the root key that goes has gone from the store: it may still be in tokens.
base::Status after_dropping(Change& change, Operation& operation, OperationState end) {
    const auto record = change.keys().state(change.transaction().engine());
    if (!record) return std::unexpected(record.error());
    operation.problem.reset();
    operation.retire_at.reset();
    if (has_token_slots(*record)) {
        operation.state = OperationState::running;
        operation.step = OperationStep::token_keys;
    } else {
        operation.state = end;
        operation.step = OperationStep::done;
    }
    return {};
}

base::Result<Ref<Vault>> vault_of(Change& change, const Operation& operation) {
    auto vault = change.catalog().find<Vault>(base::VaultId{operation.about});
    if (!vault)
        return base::failure(ErrorKind::not_found, "vault.not_found",
                             "The vault was deleted while its key was rotated.");
    return vault;
}

}  // namespace

Ref<Operation> root_rotation_under_way(const Catalog& catalog) {
    const auto found = catalog.all<Operation>([](const Operation& operation) {
        return operation.kind == OperationKind::root_key_rotation && operation.under_way();
    });
    return found.empty() ? nullptr : found.front();
}

Ref<Operation> rotation_under_way(const Catalog& catalog, const base::VaultId& vault) {
    const auto found = catalog.all<Operation>([&](const Operation& operation) {
        return operation.kind == OperationKind::vault_key_rotation && operation.under_way() &&
               operation.about == vault.raw;
    });
    return found.empty() ? nullptr : found.front();
}

base::Result<Operation> begin_root_rotation(Change& change, const PreparedRoot& prepared,
                                            const base::WorkspaceId& workspace, const RotationWish& wish) {
    if (auto begun = begin_root(change.transaction(), prepared); !begun)
        return std::unexpected(std::move(begun).error());
    Operation operation;
    operation.workspace = workspace;
    operation.kind = OperationKind::root_key_rotation;
    operation.state = wish.paused ? OperationState::paused : OperationState::running;
    operation.step = OperationStep::pending;
    operation.from = prepared.basis.active_epoch();
    operation.to = prepared.root->epoch();
    if (wish.retire_after) operation.retire_after_s = static_cast<std::uint64_t>(wish.retire_after->count());
    return stored(change, std::move(operation), Action::create);
}

base::Result<Operation> begin_vault_rotation(Change& change, const Vault& vault, const RotationWish& wish) {
    if (rotation_under_way(change.catalog(), vault.id))
        return base::failure(ErrorKind::conflict, "keys.rotation_under_way",
                             "The key of this vault is being rotated already.",
                             "`claviger operation list` shows how far that is.");
    const auto begun = begin_generation(change, vault);
    if (!begun) return std::unexpected(begun.error());
    Operation operation;
    operation.workspace = vault.workspace;
    operation.kind = OperationKind::vault_key_rotation;
    operation.state = wish.paused ? OperationState::paused : OperationState::running;
    operation.step = OperationStep::data_keys;
    operation.about = vault.id.raw;
    operation.from = vault.generation();
    operation.to = begun->generation();
    return stored(change, std::move(operation), Action::create);
}

base::Result<Operation> pause(Change& change, Operation operation) {
    if (operation.state != OperationState::running)
        return not_possible(operation, "paused", "Only what is running can be paused.");
    operation.state = OperationState::paused;
    return stored(change, std::move(operation), Action::pause);
}

base::Result<Operation> resume(Change& change, Operation operation) {
    if (operation.state != OperationState::paused)
        return not_possible(operation, "resumed", "Only what is paused can be resumed.");
    const bool kept = operation.step == OperationStep::retiring && operation.retire_after_s != 0;
    operation.state = kept ? OperationState::waiting : OperationState::running;
    operation.problem.reset();
    return stored(change, std::move(operation), Action::resume);
}

base::Result<Operation> roll_back(Change& change, Operation operation) {
    if (!operation.under_way() || operation.rolling_back || operation.step == OperationStep::token_keys)
        return not_possible(operation, "rolled back",
                            "A rotation can be rolled back until the old key is retired.");
    operation.rolling_back = true;
    std::swap(operation.from, operation.to);
    if (operation.kind == OperationKind::vault_key_rotation) {
        const auto vault = vault_of(change, operation);
        if (!vault) return std::unexpected(vault.error());
        const auto returned = return_to_generation(change, **vault, operation.to);
        if (!returned) return std::unexpected(returned.error());
        operation.state = OperationState::running;
        operation.step = OperationStep::data_keys;
        operation.done = operation.total = 0;
        operation.cursor.clear();
        operation.problem.reset();
        return stored(change, std::move(operation), Action::roll_back);
    }
    if (operation.step == OperationStep::pending) {
        if (auto dropped = drop_root(change.transaction(), operation.from); !dropped)
            return std::unexpected(std::move(dropped).error());
    } else {
        const auto returned =
            return_to_root(change.transaction(), operation.to, workspaces(change.catalog()));
        if (!returned) return std::unexpected(returned.error());
        operation.done = operation.total = *returned;
    }
    if (auto gone = after_dropping(change, operation, OperationState::rolled_back); !gone)
        return std::unexpected(std::move(gone).error());
    return stored(change, std::move(operation), Action::roll_back);
}

base::Result<Operation> retire(Change& change, Operation operation) {
    if (!operation.under_way() || operation.step != OperationStep::retiring)
        return not_possible(operation, "completed",
                            "The old key can be retired once the new root key is in use.");
    if (auto dropped = drop_root(change.transaction(), operation.from); !dropped)
        return std::unexpected(std::move(dropped).error());
    if (auto gone = after_dropping(change, operation, OperationState::succeeded); !gone)
        return std::unexpected(std::move(gone).error());
    return stored(change, std::move(operation), Action::retire);
}

base::Result<Operation> activate(Change& change, Operation operation) {
    const auto rewrapped = activate_root(change.transaction(), operation.to, workspaces(change.catalog()));
    if (!rewrapped) return std::unexpected(rewrapped.error());
    operation.done = operation.total = *rewrapped;
    operation.step = OperationStep::retiring;
    operation.state = operation.retire_after_s == 0 ? OperationState::running : OperationState::waiting;
    if (operation.retire_after_s)
        operation.retire_at = change.now() + std::chrono::seconds(*operation.retire_after_s);
    return stored(change, std::move(operation), Action::promote);
}

base::Result<Operation> move_rows(Change& change, Operation operation, std::vector<Resealed> rows) {
    if (const auto vault = vault_of(change, operation); !vault) return std::unexpected(vault.error());
    operation.done += rows.size();
    put(change, std::move(rows));
    operation.problem.reset();
    return stored(change, std::move(operation), Action::rewrap);
}

base::Result<Operation> finish_vault_rotation(Change& change, Operation operation) {
    const auto vault = vault_of(change, operation);
    if (!vault) return std::unexpected(vault.error());
    if (auto dropped = drop_generation(change, **vault, operation.from); !dropped)
        return std::unexpected(std::move(dropped).error());
    operation.state = operation.rolling_back ? OperationState::rolled_back : OperationState::succeeded;
    operation.step = OperationStep::done;
    operation.total = operation.done;
    operation.problem.reset();
    return stored(change, std::move(operation), Action::retire);
}

base::Result<Operation> finish_root_rotation(Change& change, Operation operation) {
    operation.state = operation.rolling_back ? OperationState::rolled_back : OperationState::succeeded;
    operation.step = OperationStep::done;
    operation.problem.reset();
    return stored(change, std::move(operation), Action::retire);
}

base::Result<Operation> note_problem(Change& change, Operation operation, OperationState state,
                                     const base::Error& problem) {
    operation.state = state;
    operation.problem = Problem{std::string(problem.code), problem.message, problem.hint};
    return stored(change, std::move(operation),
                  state == OperationState::paused ? Action::pause : Action::update);
}

}  // namespace claviger::vault
