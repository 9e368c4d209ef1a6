// The store as a whole: objects read from memory, changed through the ledger, secrets sealed in and opened
// for use only.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "vault/access_log.h"
#include "vault/catalog.h"
#include "vault/key_ring.h"
#include "vault/ledger.h"
#include "vault/opened_key.h"
#include "vault/version_calls.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::vault {

/// Who makes a change, for its entry.
struct Actor {
    ActorKind kind = ActorKind::system;
    base::RawId id{};
    base::RawId workspace{};
    std::array<unsigned char, 16> source{};
};

/// An OAuth grant's secrets, or one token. Stored as one value.
struct SecretParts {
    std::optional<crypto::Secret>
        token;  // static_bearer's token, mcp_oauth's access token, environment_variable's value
    std::optional<crypto::Secret> refresh_token, client_secret;
    /// The one before, until the newest has been used: some servers' replicas lag.
    std::optional<crypto::Secret> previous_refresh_token = {};
    /// The private key that the tokens are bound to (RFC 9449), PKCS#8: lost with it, they are worth nothing.
    std::optional<crypto::Secret> dpop_key = {};
    /// What the tokens are exchanged for, when it was given (RFC 8693, RFC 7523).
    std::optional<crypto::Secret> subject_token = {};
};

/// A credential's sealed value as it rests, with everything needed to open it. Safe to keep in caches.
struct SealedSecret {
    crypto::Place value_place, data_key_place;
    base::Bytes value, data_key;
    std::shared_ptr<const KeyRing::OwnerKey> vault_key;
    /// The data key once it was opened, kept as long as the vault's key beside it. Shared by copies; null:
    /// not kept.
    std::shared_ptr<OpenedKey> opened_data_key = {};
};

/// One change, on the commit thread. Objects stored here become visible to everybody once the disk has them.
class Change {
public:
    Change(Transaction& transaction, const Catalog& catalog, Catalog& writable, const Actor& actor);

    base::Time now() const { return transaction_.now(); }
    std::uint64_t commit_seq() const { return transaction_.commit_seq(); }
    const Catalog& catalog() const { return catalog_; }
    const KeyRing& keys() const { return transaction_.keys(); }
    /// For changes of what is no object of the catalog: the seal slots.
    Transaction& transaction() { return transaction_; }

    /// Creates or replaces the object's row. New objects get created_seq, created and updated; replaced ones
    /// `updated` only.
    template <class T>
    base::Status store(T object);
    template <class T>
    base::Status erase(const T& object);

    /// Seals `parts` as the credential's next version, erases the version before, and stores the credential
    /// with it.
    base::Status store_with_secret(Credential credential, const SecretParts& parts);
    /// Seals `parts` as the version that the credential names, and sets what its rows' AAD is computed from.
    /// The credential itself is not stored.
    base::Status seal_value(Credential& credential, const SecretParts& parts);
    /// Erases the rows of the version that the credential names; none when that is 0.
    void erase_value(const Credential& credential);
    /// For updates that keep part of a grant. Fails when nothing is stored.
    base::Result<SecretParts> open_secret(const Credential& credential);
    /// Erases every version of the secret, kept ones too; the credential itself is then stored with version
    /// 0.
    base::Status purge_secret(Credential credential);
    /// Creates the key that seals what a new vault or workspace holds.
    void create_key_of(const base::RawId& workspace, const base::RawId& owner, std::uint64_t generation = 1);
    /// Crypto-shreds all a vault holds.
    base::Status forget_key_of(const base::RawId& owner);

    /// The entry of this change. Ids that do not apply stay zero.
    void note(EntryKind kind, Action action, ObjectKind object, const base::RawId& object_id,
              const base::RawId& vault = {});
    /// The entry of what happened to a credential's OAuth grant. `reason`: one of the closed list, or empty.
    void note_grant(Action action, const Credential& credential, std::string_view reason = {});
    /// The entry of something that did not come about; `reason` as in note_grant.
    void note_failure(EntryKind kind, Action action, ObjectKind object, const base::RawId& object_id,
                      const base::RawId& vault, std::string_view reason);

    /// Any other entry; who acts, from where and in which workspace is filled in.
    void note(LogEntry entry);

private:
    LogEntry entry_of(EntryKind kind, Action action, ObjectKind object, const base::RawId& object_id,
                      const base::RawId& vault) const;
    Transaction& transaction_;
    const Catalog& catalog_;
    Catalog& writable_;
    const Actor& actor_;
    std::uint64_t objects_created_ = 0, items_created_ = 0;
};

class Records {
public:
    struct FirstKey {
        base::WorkspaceId workspace;
        std::string api_key;  // shown once
    };
    /// Makes a new store: state record, slots, default workspace, one admin API key, the first log entry. One
    /// commit. Conflict "store.not_empty" when the engine has one already.
    static base::Result<FirstKey> initialise(StorageEngine& engine, const std::vector<SealInput>& inputs,
                                             crypto::PassphraseStrength strength, const base::Clock& clock);

    /// Verifies and loads everything; blocks for as long as that takes.
    static base::Result<std::unique_ptr<Records>> open(StorageEngine& engine, std::unique_ptr<KeyRing> keys,
                                                       const base::Clock& clock);
    ~Records();

    const Catalog& catalog() const { return catalog_; }
    Ledger& ledger() { return *ledger_; }
    AccessLog& access_log() { return *access_log_; }
    RunningCalls& running_calls() { return running_calls_; }
    const RunningCalls& running_calls() const { return running_calls_; }
    const KeyRing& keys() const { return *keys_; }
    const base::Clock& clock() const { return clock_; }
    base::Time opened() const { return opened_; }  // when open() was called
    const StorageEngine& engine() const { return engine_; }
    StorageEngine& storage() { return engine_; }  // for what is done to the store as a whole

    /// Any thread. `apply` runs on the commit thread and must note an entry; `done` is called there when the
    /// disk has it.
    void change(const Actor& actor, std::function<base::Status(Change&)> apply, Done done);

    /// An older version of an agent, from disk. not_found "agent.version_not_found".
    base::Result<Agent> agent_version(const Agent& newest, std::uint64_t version) const;

    /// Reads the rows of the version that this credential names. Any thread; a point read or two. Corrupt
    /// "envelope.refused" when they are not there or no envelopes: rows of a version that was just replaced
    /// are gone, too.
    base::Result<SealedSecret> sealed_secret(const Credential& credential) const;
    /// The same of the credential as it is now. The disk has a change a moment before the catalog: waits for
    /// that moment, at most two seconds, in the calling thread. not_found "credential.not_found".
    struct CurrentSecret {
        Ref<Credential> credential;
        SealedSecret sealed;
    };
    base::Result<CurrentSecret> current_secret(const base::CredentialId& id) const;
    /// Opens for use: the token that is injected. Any thread; about two microseconds; of the value nothing is
    /// kept.
    base::Result<crypto::Secret> open_token(const SealedSecret& sealed) const;
    /// How many tokens open_token() opened since the start. Any thread.
    std::uint64_t tokens_opened() const { return tokens_opened_.load(std::memory_order_relaxed); }
    /// Opens all parts of the value: for redaction lists and probes.
    base::Result<SecretParts> open_parts(const SealedSecret& sealed) const;

private:
    /// Waits until memory has followed what the disk has now. False when that takes too long.
    bool catch_up() const;
    Records(StorageEngine& engine, std::unique_ptr<KeyRing> keys, const base::Clock& clock);
    StorageEngine& engine_;
    std::unique_ptr<KeyRing> keys_;
    const base::Clock& clock_;
    const base::Time opened_;
    Catalog catalog_;
    mutable std::atomic<std::uint64_t> tokens_opened_{0};
    RunningCalls running_calls_;
    std::unique_ptr<AccessLog> access_log_;
    std::unique_ptr<Ledger> ledger_;  // last: joins its thread before what it feeds goes away
};

/// The digest under which an API key or session token is found.
crypto::Digest token_hash(std::string_view token);

}  // namespace claviger::vault
