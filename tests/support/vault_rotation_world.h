// A store with every kind of seal slot, vaults and secrets, whose keys can be rotated: for tests of
// rotations, and for the program that is killed in the middle of one.
#pragma once

#include "crypto/recipient.h"
#include "vault/key_rotations.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace claviger::test::keys {

/// Ends the program with a sentence when it does not hold: the world has no use for a half-made store.
void must(bool holds, const std::string& what);

/// One way into the store, made anew each time: secrets cannot be copied.
struct WayIn {
    std::string slot;  // its name
    std::function<vault::SealInput()> input;
};

/// Makes and opens stores in a folder that keeps what the holders have: shares and the token.
class RotationWorld {
public:
    /// `folder` holds the share files; a SoftHSM2 token is made there when that is installed, and used by
    /// every store of the folder.
    explicit RotationWorld(std::filesystem::path folder);

    /// A store with a passphrase and a key file; nothing when the engine has one already.
    void initialise(vault::StorageEngine& engine, const base::Clock& clock) const;
    /// Told before and after every change of a slot: its name, and what becomes of it, as state_of_slot().
    struct Telling {
        std::function<void(const std::string& slot, const std::string& state)> before, after;
    };
    /// Adds slots for a recipient, a quorum and the token where they are missing, and verifies every slot.
    void add_slots(vault::Records& records, const Telling& telling = {}) const;
    /// Adds a second recipient, "spare"; `add_slots` verifies it.
    void add_spare(vault::Records& records, const Telling& telling) const;
    /// Removes a slot, and then its keys from the token.
    void remove(vault::Records& records, const std::string& slot, const Telling& telling) const;
    /// The key file that takes the place of the first one.
    vault::SealInput next_key_file() const;
    /// Every slot of the store as it is on disk, with what opens it.
    std::vector<WayIn> ways_in(const vault::StorageEngine& engine) const;
    /// What seals a new root key into every slot.
    vault::SlotAccess access() const;
    bool has_token() const { return token_; }

private:
    std::filesystem::path folder_;
    bool token_ = false;
};

/// "(none)", "added", or "verified".
std::string state_of_slot(const vault::StorageEngine& engine, const std::string& slot);

base::Status change(vault::Records& records, const std::function<base::Status(vault::Change&)>& apply);
/// As the admin API begins one.
base::Result<base::OperationId> rotate_root(vault::Records& records, const vault::SlotAccess& access,
                                            const vault::RotationWish& wish = {});
base::Result<base::OperationId> rotate_vault(vault::Records& records, const base::VaultId& vault,
                                             const vault::RotationWish& wish = {});
using Steering = base::Result<vault::Operation> (*)(vault::Change& change, vault::Operation operation);
base::Status steer(vault::Records& records, const base::OperationId& id, Steering steering);

/// Waits until the operation is in a state in which nothing goes on by itself; ends the program after a
/// minute.
vault::Operation settled(const vault::Records& records, const base::OperationId& id);

vault::Vault make_vault(vault::Records& records, const std::string& name);
/// A credential of that vault with that token.
base::CredentialId make_credential(vault::Records& records, const vault::Vault& vault,
                                   const std::string& token);
base::Status set_token(vault::Records& records, const base::CredentialId& id, const std::string& token);
/// The token as it would be injected, or the code of the refusal.
std::string token_of(const vault::Records& records, const base::CredentialId& id);

}  // namespace claviger::test::keys
