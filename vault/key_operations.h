// Rotations of the root key and of vaults' keys as operations: begun, steered and carried out by durable
// steps. Every step is one commit with its entry in the access log.
#pragma once

#include "vault/records.h"
#include "vault/root_rotation.h"
#include "vault/vault_key_rotation.h"

#include <chrono>
#include <optional>

namespace claviger::vault {

/// What else the beginning of a rotation may be told.
struct RotationWish {
    bool paused = false;                                    // it waits to be resumed
    std::optional<std::chrono::seconds> retire_after = {};  // root: the old key goes by itself
};

// For use inside Records::change. They note their entries. Each gives the operation as it is then stored.

/// The prepared root key is pending. Errors of begin_root().
base::Result<Operation> begin_root_rotation(Change& change, const PreparedRoot& prepared,
                                            const base::WorkspaceId& workspace, const RotationWish& wish);
/// The vault has a new key, and what it holds is moved to it from here on. conflict
/// "keys.rotation_under_way" when that is being done already.
base::Result<Operation> begin_vault_rotation(Change& change, const Vault& vault, const RotationWish& wish);

// conflict "operation.not_possible" when the operation is in a state that does not allow it.
base::Result<Operation> pause(Change& change, Operation operation);
/// Goes on, also after a problem.
base::Result<Operation> resume(Change& change, Operation operation);
/// Back to what was before, until the old key is retired. Of the root key all of it happens in this commit.
base::Result<Operation> roll_back(Change& change, Operation operation);
/// The old root key is dropped: from here on there is no way back.
base::Result<Operation> retire(Change& change, Operation operation);

// The steps between, in the order in which they come.

/// The pending root key is in use, and what it replaces is kept until it is retired.
base::Result<Operation> activate(Change& change, Operation operation);
/// Some of the vault's rows are moved. `total` is what the operation then says, `cursor` where it goes on.
base::Result<Operation> move_rows(Change& change, Operation operation, std::vector<Resealed> rows);
/// Nothing is left under the old key of the vault: it is gone.
base::Result<Operation> finish_vault_rotation(Change& change, Operation operation);
/// The last step of a rotation of the root key.
base::Result<Operation> finish_root_rotation(Change& change, Operation operation);
/// It does not get on: why, for whoever asks. `state` is what it is in from now on.
base::Result<Operation> note_problem(Change& change, Operation operation, OperationState state,
                                     const base::Error& problem);

/// The newest operation on the root key that is not over; null when there is none.
Ref<Operation> root_rotation_under_way(const Catalog& catalog);
Ref<Operation> rotation_under_way(const Catalog& catalog, const base::VaultId& vault);

}  // namespace claviger::vault
