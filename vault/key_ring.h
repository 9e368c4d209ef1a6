// The keys of one store while it is unsealed: root key, what derives from it, and the keys of vaults,
// workspaces and log days.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/envelope.h"
#include "crypto/key_tree.h"
#include "crypto/seal_slot.h"
#include "crypto/token.h"
#include "vault/root_keys.h"
#include "vault/storage_engine.h"

#include <atomic>
#include <filesystem>
#include <forward_list>
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

/// The root keys' generations, as the state record tells them.
struct EpochSummary {
    std::uint64_t epoch = 0;
    std::string_view state;  // "pending", "active", "retiring"
    base::Time created{};
};

/// The instance as it can be known without any key: for health, `seal status` and the unseal form.
struct InstanceSummary {
    base::RawId instance{};
    base::Time created{};
    std::vector<SlotSummary> slots;
    std::vector<EpochSummary> epochs = {};
};

/// The state record: Table::state, key "instance". Holds the instance id, root key epochs and every seal slot
/// with the wrap of every live root key; MACed under STATEMAC of the active root key. Layout:
/// docs/storage_format.md. Threads: members are safe from any thread, but those that say so.
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
    /// Puts a changed state record into `batch`. Its active epoch is alive, or staged. Commit thread only.
    void put_state(const StateRecord& record, Batch& batch) const;

    const base::RawId& instance() const { return instance_; }
    /// The root keys that are alive here: the active one, and those of the record's other epochs that the
    /// slot which opened the store gave, too.
    RootKeys roots() const;
    /// What the root keys are once the commit that is being made is durable. Commit thread only.
    void stage_roots(RootKeys next);
    /// The active one as of the commit that is being made. Commit thread only.
    std::shared_ptr<const RootKey> root_of_commit() const;

    /// Derived from the instance's own derivation key, which no rotation changes; lives as long as the ring.
    /// What seals handles that others hold (session ids, task ids and states, cursors) derives from the
    /// history, too: none of before a restore opens after it.
    const crypto::Key& derived(crypto::Purpose purpose) const;
    /// Which history of the store this is: 0 as it was made, another number after each restore. Keys that
    /// are made in it have numbers above it.
    std::uint64_t history() const { return history_.load(std::memory_order_acquire)->number; }
    /// Puts a state record of another history into `batch`; it is in force once that is durable. Commit
    /// thread only. corrupt "state.refused".
    base::Status begin_history(const StorageEngine& engine, Batch& batch);
    /// For keyed digests of call bodies; unrelated to the key of name fingerprints.
    const crypto::Key& body_digest_key() const { return body_digest_key_; }

    /// A key that seals what one owner holds (a vault, a workspace, the instance, a day of the log).
    struct OwnerKey {
        std::uint64_t generation = 0;
        crypto::Key key;
    };
    /// Creates a generation for an owner and adds its wrapped row to `batch`; usable at once. Commit thread
    /// only.
    std::shared_ptr<const OwnerKey> create_owner_key(const base::RawId& workspace, const base::RawId& owner,
                                                     std::uint64_t commit_seq, base::Time now, Batch& batch,
                                                     std::uint64_t generation = 1);
    /// From memory, else opened from its row. not_found "key.missing", corrupt "key.refused".
    base::Result<std::shared_ptr<const OwnerKey>> owner_key(const StorageEngine& engine,
                                                            const base::RawId& workspace,
                                                            const base::RawId& owner,
                                                            std::uint64_t generation) const;
    /// Drops one generation of an owner's key: its row by `batch`, and from memory once that is durable.
    /// Commit thread only.
    void forget_owner(const base::RawId& owner, Batch& batch, std::uint64_t generation = 1);
    /// The generations of an owner's key that there are, oldest first.
    base::Result<std::vector<std::uint64_t>> generations(const StorageEngine& engine,
                                                         const base::RawId& owner) const;
    /// Which generation seals what the owner stores from now on; 1 until told otherwise.
    std::uint64_t generation_of(const base::RawId& owner) const;
    void use_generation(const base::RawId& owner, std::uint64_t generation);
    /// In which workspace a vault or workspace is; nothing when there is none of that id.
    using WorkspaceOf = std::function<std::optional<base::RawId>(const base::RawId& owner)>;
    /// Seals every owner's key, and the derivation key, under another root key: puts all their rows into
    /// `batch`. Gives their number. corrupt "key.refused" for a row that does not open or belongs to nobody.
    /// Commit thread only.
    base::Result<std::size_t> rewrap_owner_keys(const StorageEngine& engine, const RootKey& root,
                                                const WorkspaceOf& workspace_of, std::uint64_t commit_seq,
                                                Batch& batch) const;

    /// What create_owner_key, forget_owner, stage_roots and begin_history did since the last of these two
    /// calls is durable, or will never be. The ledger calls them, on the commit thread.
    void changes_durable();
    void changes_abandoned();

private:
    using OwnerId = std::pair<base::RawId, std::uint64_t>;  // owner and generation
    struct History {
        std::uint64_t number = 0;
        std::map<crypto::Purpose, crypto::Key> keys;  // of handles
    };
    KeyRing(base::RawId instance, std::uint64_t history, RootKeys roots, crypto::Key derivation);
    void enter_history(std::uint64_t number);
    crypto::Place owner_key_place(const base::RawId& workspace, const base::RawId& owner,
                                  std::uint64_t generation, const RootKey& root) const;
    Bytes sealed_owner_key(crypto::Place place, const RootKey& root, std::uint64_t commit_seq,
                           base::Time created, const crypto::Key& key) const;

    base::RawId instance_{};
    crypto::Key derivation_;
    std::map<crypto::Purpose, crypto::Key> derived_;
    crypto::Key body_digest_key_;
    std::forward_list<History> histories_;  // newest first; those before stay for who still looks at a key
    std::atomic<const History*> history_{nullptr};
    std::optional<RootKeys> staged_;             // not durable yet; the commit thread's
    std::optional<std::uint64_t> next_history_;  // likewise
    std::vector<OwnerId> created_, forgotten_;   // likewise
    mutable std::shared_mutex mutex_;            // guards what is below
    RootKeys roots_;
    // Shared: by the ring, and by callers who seal or open with a key while its owner is being erased.
    mutable std::map<OwnerId, std::shared_ptr<const OwnerKey>> owner_keys_;
    std::map<base::RawId, std::uint64_t> generations_;  // of owners whose key was ever rotated
};

/// Makes the slot's wraps those of `roots`, keeping others that it has: under `opening` for a passphrase or
/// key file, to the public key of shares and recipients, by the token for PKCS#11. Blocks as long as a token
/// takes. invalid_request "seal.key_missing", those of the token, and "recipient.refused".
base::Status seal_into(const StateRecord& record, SealSlot& slot, const RootKeys& roots,
                       const crypto::Key* opening, crypto::Token* token);

/// What the slot seals, opened by `input`. corrupt "envelope.refused" when it does not open, or holds no key
/// of that epoch; errors as KeyRing::unseal(), and those of the token.
base::Result<crypto::Key> open_slot(const StateRecord& record, const SealSlot& slot, std::uint64_t epoch,
                                    const SealInput& input);

/// The instance's own key has the instance as owner, no workspace, and this generation.
inline constexpr std::uint64_t kFirstGeneration = 1;

/// Stands where an owner stands in the row of the derivation key.
inline constexpr base::RawId kDerivationOwner = {'d', 'e', 'r', 'i', 'v', 'a', 't', 'i', 'o', 'n'};

}  // namespace claviger::vault
