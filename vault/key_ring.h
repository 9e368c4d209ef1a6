// The keys of one store while it is unsealed: root key, what derives from it, and the keys of vaults,
// workspaces and log days.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/envelope.h"
#include "crypto/key_tree.h"
#include "crypto/seal_slot.h"
#include "crypto/token.h"
#include "vault/storage_engine.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

namespace claviger::vault {

struct SealSlot;
struct StateRecord;

/// What opens a seal slot.
struct SealInput {
    /// What is in `secret`. For shares and recipients it is always the opening key; see crypto/recipient.h.
    enum class Form {
        as_kept,      // the passphrase, the key file's content, or the token's PIN
        opening_key,  // 32 bytes that follow from it, so that it need not be sent
    };

    crypto::SlotKind kind;
    crypto::Secret secret;
    Form form = Form::as_kept;
    std::optional<base::RawId> slot = {};  // this one only; absent: any of the kind
    std::filesystem::path module = {};     // pkcs11: the token's module
};

/// The slot's id as people and programs name it: 32 hex digits.
std::string slot_id_text(const base::RawId& slot);

struct SlotSummary {
    std::string id;  // hex
    crypto::SlotKind kind;
    std::string name = {};
    base::Time created{};
    std::optional<base::Time> verified = {};
    crypto::SlotParameters parameters = {};
    std::optional<crypto::Recipient> ephemeral = {};  // of the wrap, where the slot has a public key
};

/// The instance as it can be known without any key: for health, `seal status` and the unseal form.
struct InstanceSummary {
    base::RawId instance{};
    base::Time created{};
    std::vector<SlotSummary> slots;
};

/// The state record: Table::state, key "instance". Holds the instance id, root key epochs and every seal slot
/// with the wrap of every live root key; MACed under STATEMAC of the active root key. Layout:
/// docs/storage_format.md.
class KeyRing {
public:
    /// Writes a new store's state record into `batch` (the first commit, sequence 1). `inputs` become the
    /// slots; at least one.
    static base::Result<std::unique_ptr<KeyRing>> create(const std::vector<SealInput>& inputs,
                                                         crypto::PassphraseStrength strength, base::Time now,
                                                         Batch& batch);
    /// nullopt: the store is empty (never initialised).
    static base::Result<std::optional<InstanceSummary>> summary(const StorageEngine& engine);
    /// Tries every slot of that kind. unauthenticated "seal.wrong_key" when none opens; corrupt
    /// "state.refused" when a slot opens but the record's MAC does not hold. Burns CPU (Argon2id): call from
    /// a pool thread.
    static base::Result<std::unique_ptr<KeyRing>> unseal(const StorageEngine& engine, const SealInput& input);

    /// Whether `input` opens a slot of this store to the very root key in use. Errors as unseal(), and those
    /// of the token. May block for seconds.
    base::Result<base::RawId> check(const StorageEngine& engine, const SealInput& input) const;
    /// The state record as it is on disk, authenticated. corrupt "state.refused".
    base::Result<StateRecord> state(const StorageEngine& engine) const;
    /// Puts a changed state record into `batch`.
    void put_state(const StateRecord& record, Batch& batch) const;
    /// Seals the active root key into a new slot of `record`: under `opening` for a passphrase or key file,
    /// to the public key of shares and recipients, by the token for PKCS#11. Blocks as long as a token takes.
    base::Status seal_into(const StateRecord& record, SealSlot& slot, const crypto::Key* opening,
                           crypto::Token* token) const;

    const base::RawId& instance() const { return instance_; }
    std::uint64_t root_epoch() const { return root_epoch_; }
    /// Derived from the active root key; lives as long as the ring. Thread safe.
    const crypto::Key& derived(crypto::Purpose purpose) const;
    /// Seals the head of the log.
    const crypto::Key& head_key() const { return head_key_; }
    /// For keyed digests of call bodies; unrelated to the key of name fingerprints.
    const crypto::Key& body_digest_key() const { return body_digest_key_; }

    /// A key that seals what one owner holds (a vault, a workspace, the instance, a day of the log).
    struct OwnerKey {
        std::uint64_t generation = 0;
        crypto::Key key;
    };
    /// Creates generation 1 for a new owner and adds its wrapped row to `batch`; usable at once. Commit
    /// thread only.
    std::shared_ptr<const OwnerKey> create_owner_key(const base::RawId& workspace, const base::RawId& owner,
                                                     std::uint64_t commit_seq, base::Time now, Batch& batch);
    /// From memory, else opened from its row. Thread safe. not_found "key.missing", corrupt "key.refused".
    base::Result<std::shared_ptr<const OwnerKey>> owner_key(const StorageEngine& engine,
                                                            const base::RawId& workspace,
                                                            const base::RawId& owner,
                                                            std::uint64_t generation) const;
    /// Drops an erased owner's key: its row by `batch`, and from memory once that is durable. Commit thread
    /// only.
    void forget_owner(const base::RawId& owner, Batch& batch);

    /// What create_owner_key and forget_owner did since the last of these two calls is durable, or will never
    /// be. The ledger calls them, on the commit thread.
    void changes_durable();
    void changes_abandoned();

private:
    using OwnerId = std::pair<base::RawId, std::uint64_t>;  // owner and generation
    KeyRing(base::RawId instance, std::uint64_t root_epoch, crypto::Key root);
    crypto::Place owner_key_place(const base::RawId& workspace, const base::RawId& owner,
                                  std::uint64_t generation) const;

    base::RawId instance_{};
    std::uint64_t root_epoch_;
    crypto::Key root_;
    std::map<crypto::Purpose, crypto::Key> derived_;
    crypto::Key head_key_, body_digest_key_;
    std::vector<OwnerId> created_, forgotten_;  // not durable yet
    mutable std::shared_mutex mutex_;           // guards owner_keys_
    // Shared: by the ring, and by callers who seal or open with a key while its owner is being erased.
    mutable std::map<OwnerId, std::shared_ptr<const OwnerKey>> owner_keys_;
};

/// The instance's own key has the instance as owner, no workspace, and this generation.
inline constexpr std::uint64_t kFirstGeneration = 1;

}  // namespace claviger::vault
