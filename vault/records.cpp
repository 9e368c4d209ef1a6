#include "vault/records.h"

#include "crypto/random.h"
#include "vault/rotation.h"
#include "vault/sealed_rows.h"
#include "vault/stored_objects.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr std::uint64_t kMostCreated = 255;  // by one change: the low byte of created_seq

/// What belongs to a vault and is sealed under its key.
template <class T>
constexpr bool kOfVault = std::is_same_v<T, Credential> || std::is_same_v<T, Grant> ||
                          std::is_same_v<T, Rotation> || std::is_same_v<T, ConnectFlow>;

std::uint64_t millis(base::Time time) { return static_cast<std::uint64_t>(time.time_since_epoch().count()); }

/// What the row's header says of the object: when it was made, and where it belongs.
template <class T>
RowHeader header_of(const T& object) {
    RowHeader header;
    header.created_seq = object.created_seq;
    header.created_ms = millis(object.created);
    if constexpr (std::is_same_v<T, Workspace>) {
        header.workspace = object.id.raw;
    } else {
        header.workspace = object.workspace.raw;
    }
    if constexpr (std::is_same_v<T, Vault>) header.vault = object.id.raw;
    if constexpr (kOfVault<T>) header.vault = object.vault.raw;
    return header;
}

template <class T>
base::RawId owner_of(const KeyRing& keys, const T& object) {
    if constexpr (std::is_same_v<T, Workspace> || std::is_same_v<T, ApiKey> || std::is_same_v<T, Operation> ||
                  std::is_same_v<T, Shredding>)
        return keys.instance();
    else if constexpr (kOfVault<T>)
        return object.vault.raw;
    else
        return object.workspace.raw;
}

}  // namespace

crypto::Digest token_hash(std::string_view token) { return crypto::blake2b(token); }

Change::Change(Transaction& transaction, const Catalog& catalog, Catalog& writable, const Actor& actor)
    : transaction_(transaction), catalog_(catalog), writable_(writable), actor_(actor) {}

template <class T>
base::Status Change::store(T object) {
    if constexpr (std::is_same_v<T, OutboxItem>) {
        // One change may tell many endpoints many things. Their order is their own, and needs more room.
        if (object.created_seq == 0) {
            object.created_seq = (transaction_.commit_seq() << 24) | ++items_created_;
            object.created = object.updated = transaction_.now();
        }
    }
    if (object.created_seq == 0) {
        // Objects made by one commit still need an order of their own.
        if (objects_created_ == kMostCreated)
            return base::failure(ErrorKind::internal, "change.too_large",
                                 "The change was refused because it makes more than 255 objects at once.",
                                 "This is a mistake in Claviger; please report it.");
        object.created_seq = (transaction_.commit_seq() << 8) | ++objects_created_;
        object.created = transaction_.now();
        if constexpr (requires { object.updated; }) object.updated = transaction_.now();
    }
    auto& keys = transaction_.keys();
    auto header = header_of(object);
    const auto owner = owner_of(keys, object);
    const auto workspace = owner == keys.instance() ? base::RawId{} : header.workspace;
    const auto key = keys.owner_key(transaction_.engine(), workspace, owner, keys.generation_of(owner));
    if (!key) return std::unexpected(key.error());
    header.commit_seq = transaction_.commit_seq();
    header.generation = (*key)->generation;
    header.writer = actor_.id;

    const auto plaintext = encode_object(object);
    const auto row_key = meta_key(kMetaKind<T>, object.id.raw);
    transaction_.batch().put(Table::meta, row_key, seal_row(keys, **key, header, row_key, plaintext));
    if constexpr (std::is_same_v<T, Agent>) {
        const auto version_key = meta_key(MetaKind::agent_version, object.id.raw, object.version);
        transaction_.batch().put(Table::meta, version_key,
                                 seal_row(keys, **key, header, version_key, plaintext));
    }
    if constexpr (std::is_same_v<T, Vault>)
        transaction_.when_durable([&keys, owner = object.id.raw, generation = object.generation()] {
            keys.use_generation(owner, generation);
        });
    transaction_.when_durable([&catalog = writable_, object = std::move(object)] { catalog.put(object); });
    return {};
}

template <class T>
base::Status Change::erase(const T& object) {
    if constexpr (std::is_same_v<T, Credential>) {
        erase_value(object);
        if (auto forgotten = forget_rotation(*this, object); !forgotten) return forgotten;
        transaction_.batch().erase(Table::usage, object.id.key());
        if (const auto grant = catalog_.find<Grant>(object.id)) {
            if (auto erased = erase(*grant); !erased) return erased;
        }
    }
    transaction_.batch().erase(Table::meta, meta_key(kMetaKind<T>, object.id.raw));
    transaction_.when_durable([&catalog = writable_, object] { catalog.erase(object); });
    return {};
}

base::Status Change::store_with_secret(Credential credential, const SecretParts& parts) {
    erase_value(credential);
    credential.version = next_version(catalog_, credential);
    if (auto sealed = seal_value(credential, parts); !sealed) return sealed;
    return store(std::move(credential));
}

void Change::erase_value(const Credential& credential) {
    if (credential.version == 0) return;
    transaction_.batch().erase(Table::value, secret_key(credential));
    transaction_.batch().erase(Table::data_key, secret_key(credential));
}

base::Status Change::seal_value(Credential& credential, const SecretParts& parts) {
    auto& keys = transaction_.keys();
    const auto vault_key = keys.owner_key(transaction_.engine(), credential.workspace.raw,
                                          credential.vault.raw, keys.generation_of(credential.vault.raw));
    if (!vault_key) return std::unexpected(vault_key.error());
    credential.value_commit_seq = transaction_.commit_seq();
    credential.value_generation = (*vault_key)->generation;
    credential.value_created = transaction_.now();
    credential.value_writer = actor_.id;

    const auto data_key = crypto::Key::generate();
    const auto value = join_parts(parts);
    transaction_.batch().put(Table::value, secret_key(credential),
                             value.expose([&](std::span<const std::byte> bytes) {
                                 return crypto::seal(data_key, value_place(keys, credential), bytes);
                             }));
    transaction_.batch().put(
        Table::data_key, secret_key(credential), data_key.expose([&](std::span<const std::byte> bytes) {
            return crypto::seal((*vault_key)->key, data_key_place(keys, credential, (*vault_key)->generation),
                                bytes);
        }));
    return {};
}

base::Status Change::purge_secret(Credential credential) {
    erase_value(credential);
    credential.version = 0;
    if (auto forgotten = forget_rotation(*this, credential); !forgotten) return forgotten;
    return store(std::move(credential));
}

void Change::create_key_of(const base::RawId& workspace, const base::RawId& owner, std::uint64_t generation) {
    transaction_.keys().create_owner_key(workspace, owner, transaction_.commit_seq(), transaction_.now(),
                                         transaction_.batch(), generation);
}

base::Status Change::forget_key_of(const base::RawId& owner) {
    const auto generations = transaction_.keys().generations(transaction_.engine(), owner);
    if (!generations) return std::unexpected(generations.error());
    for (const auto generation : *generations)
        transaction_.keys().forget_owner(owner, transaction_.batch(), generation);
    return {};
}

void Change::note(EntryKind kind, Action action, ObjectKind object, const base::RawId& object_id,
                  const base::RawId& vault) {
    transaction_.note(entry_of(kind, action, object, object_id, vault));
}

void Change::note_failure(EntryKind kind, Action action, ObjectKind object, const base::RawId& object_id,
                          const base::RawId& vault, std::string_view reason) {
    auto entry = entry_of(kind, action, object, object_id, vault);
    entry.verdict = Verdict::denied;
    entry.reason = reason_number(reason);
    transaction_.note(entry);
}

void Change::note(LogEntry entry) {
    entry.actor = actor_.kind;
    entry.actor_id = actor_.id;
    entry.workspace = actor_.workspace;
    entry.source = actor_.source;
    transaction_.note(entry);
}

LogEntry Change::entry_of(EntryKind kind, Action action, ObjectKind object, const base::RawId& object_id,
                          const base::RawId& vault) const {
    LogEntry entry;
    entry.kind = kind;
    entry.action = action;
    entry.verdict = Verdict::allowed;
    entry.actor = actor_.kind;
    entry.actor_id = actor_.id;
    entry.workspace = actor_.workspace;
    entry.source = actor_.source;
    entry.object = object;
    entry.object_id = object_id;
    entry.vault = vault;
    if (object == ObjectKind::vault) entry.vault = object_id;
    if (object == ObjectKind::credential) entry.credential = object_id;
    if (object == ObjectKind::environment) entry.environment = object_id;
    if (object == ObjectKind::agent) entry.agent = object_id;
    if (object == ObjectKind::session) entry.session = object_id;
    return entry;
}

void Change::note_grant(Action action, const Credential& credential, std::string_view reason) {
    LogEntry entry;
    entry.kind = EntryKind::grant;
    entry.action = action;
    entry.verdict = reason.empty() ? Verdict::allowed : Verdict::none;
    entry.reason = reason_number(reason);
    entry.actor = actor_.kind;
    entry.actor_id = actor_.id;
    entry.workspace = credential.workspace.raw;
    entry.source = actor_.source;
    entry.object = ObjectKind::credential;
    entry.object_id = credential.id.raw;
    entry.credential = credential.id.raw;
    entry.credential_version = credential.version;
    entry.vault = credential.vault.raw;
    transaction_.note(entry);
}

template base::Status Change::store(Workspace);
template base::Status Change::store(ApiKey);
template base::Status Change::store(Vault);
template base::Status Change::store(Credential);
template base::Status Change::store(Grant);
template base::Status Change::store(Rotation);
template base::Status Change::store(ConnectFlow);
template base::Status Change::store(OauthClient);
template base::Status Change::store(WebhookEndpoint);
template base::Status Change::store(OutboxItem);
template base::Status Change::store(Operation);
template base::Status Change::store(Shredding);
template base::Status Change::store(Environment);
template base::Status Change::store(Agent);
template base::Status Change::store(Session);
template base::Status Change::store(SessionToken);
template base::Status Change::erase(const ApiKey&);
template base::Status Change::erase(const Vault&);
template base::Status Change::erase(const Credential&);
template base::Status Change::erase(const Grant&);
template base::Status Change::erase(const Rotation&);
template base::Status Change::erase(const ConnectFlow&);
template base::Status Change::erase(const OauthClient&);
template base::Status Change::erase(const WebhookEndpoint&);
template base::Status Change::erase(const OutboxItem&);
template base::Status Change::erase(const Environment&);
template base::Status Change::erase(const Session&);
template base::Status Change::erase(const SessionToken&);

base::Result<Records::FirstKey> Records::initialise(StorageEngine& engine,
                                                    const std::vector<SealInput>& inputs,
                                                    crypto::PassphraseStrength strength,
                                                    const base::Clock& clock) {
    if (engine.last_commit() != 0)
        return base::failure(ErrorKind::conflict, "store.not_empty",
                             "There is a store in this folder already.",
                             "Start it with `claviger serve`, or choose another folder.");
    const auto now = clock.now();
    Batch batch;
    auto keys = KeyRing::create(inputs, strength, now, batch);
    if (!keys) return std::unexpected(std::move(keys).error());

    Workspace workspace{.id = crypto::random_id<base::WorkspaceId>(),
                        .created_seq = (1 << 8) | 1,
                        .name = "default",
                        .created = now};
    auto text = crypto::random_token_text("clv_admin_");
    ApiKey api_key{.id = crypto::random_id<base::ApiKeyId>(),
                   .created_seq = (1 << 8) | 2,
                   .workspace = workspace.id,
                   .name = "first admin key",
                   .role = Role::admin,
                   .hash = token_hash(text),
                   .created = now};

    const auto seal_object = [&](const auto& object, const KeyRing::OwnerKey& owner_key) {
        using T = std::remove_cvref_t<decltype(object)>;
        auto header = header_of(object);
        header.commit_seq = 1;
        header.generation = owner_key.generation;
        const auto row_key = meta_key(kMetaKind<T>, object.id.raw);
        batch.put(Table::meta, row_key, seal_row(**keys, owner_key, header, row_key, encode_object(object)));
    };
    const auto instance_key = (*keys)->create_owner_key({}, (*keys)->instance(), 1, now, batch);
    (*keys)->create_owner_key(workspace.id.raw, workspace.id.raw, 1, now, batch);
    seal_object(workspace, *instance_key);
    seal_object(api_key, *instance_key);

    LogEntry entry{.kind = EntryKind::admin,
                   .action = Action::initialise,
                   .verdict = Verdict::allowed,
                   .object = ObjectKind::instance,
                   .object_id = (*keys)->instance()};
    Ledger::initialise(**keys, now, entry, batch);
    if (auto committed = engine.commit(1, batch); !committed)
        return std::unexpected(std::move(committed).error());
    return FirstKey{workspace.id, std::move(text)};
}

Records::Records(StorageEngine& engine, std::unique_ptr<KeyRing> keys, const base::Clock& clock)
    : engine_(engine), keys_(std::move(keys)), clock_(clock), opened_(clock.now()) {}

Records::~Records() = default;

base::Result<std::unique_ptr<Records>> Records::open(StorageEngine& engine, std::unique_ptr<KeyRing> keys,
                                                     const base::Clock& clock) {
    auto records = std::unique_ptr<Records>(new Records(engine, std::move(keys), clock));
    StoredObjects objects(engine, *records->keys_);
    auto ledger = Ledger::open(engine, *records->keys_, clock, objects.readers());
    if (!ledger) return std::unexpected(std::move(ledger).error());
    records->ledger_ = std::move(*ledger);
    auto access_log = AccessLog::open(engine, *records->keys_, *records->ledger_);
    if (!access_log) return std::unexpected(std::move(access_log).error());
    records->access_log_ = std::move(*access_log);
    records->ledger_->set_observer(records->access_log_.get());

    if (auto loaded = objects.move_into(records->catalog_); !loaded)
        return std::unexpected(std::move(loaded).error());
    return records;
}

void Records::change(const Actor& actor, std::function<base::Status(Change&)> apply, Done done) {
    ledger_->submit(
        [this, actor, apply = std::move(apply)](Transaction& transaction) {
            Change change(transaction, catalog_, catalog_, actor);
            return apply(change);
        },
        std::move(done));
}

base::Result<Agent> Records::agent_version(const Agent& newest, std::uint64_t version) const {
    if (newest.version == version) return newest;
    const auto row_key = meta_key(MetaKind::agent_version, newest.id.raw, version);
    const auto row = engine_.get(Table::meta, row_key);
    if (!row) return std::unexpected(row.error());
    if (!*row)
        return base::failure(
            ErrorKind::not_found, "agent.version_not_found",
            "Agent " + newest.id.text() + " has no version " + std::to_string(version) + ".");
    auto plaintext = open_row(engine_, *keys_, row_key, (*row)->value);
    if (!plaintext) return std::unexpected(std::move(plaintext).error());
    auto agent = decode_object<Agent>(*plaintext);
    if (agent && agent->version != version)  // the row's seal binds it to the agent, not to the version
        return std::unexpected(malformed_row(row_key, ": holds another version"));
    return agent;
}

base::Result<SecretParts> Change::open_secret(const Credential& credential) {
    const auto sealed = read_sealed(transaction_.engine(), transaction_.keys(), credential);
    if (!sealed) return std::unexpected(sealed.error());
    const auto joined = open_joined(*sealed);
    if (!joined) return std::unexpected(joined.error());
    return split_parts(*joined);
}

base::Result<SealedSecret> Records::sealed_secret(const Credential& credential) const {
    return read_sealed(engine_, *keys_, credential);
}

bool Records::catch_up() const {
    constexpr std::chrono::microseconds kLook{200};
    constexpr int kLooks = 10'000;
    const auto on_disk = engine_.last_commit();
    for (int look = 0; look < kLooks; ++look) {
        if (ledger_->counters().followed.load(std::memory_order_acquire) >= on_disk) return true;
        std::this_thread::sleep_for(kLook);
    }
    return false;
}

base::Result<Records::CurrentSecret> Records::current_secret(const base::CredentialId& id) const {
    constexpr int kMostLooks = 1'000;  // of a credential that is replaced all the time
    for (int look = 1;; ++look) {
        auto credential = catalog_.find<Credential>(id);
        if (!credential)
            return base::failure(ErrorKind::not_found, "credential.not_found", "The credential is gone.");
        auto sealed = sealed_secret(*credential);
        if (sealed) return CurrentSecret{std::move(credential), std::move(*sealed)};
        if (sealed.error().kind != ErrorKind::corrupt || look == kMostLooks || !catch_up() ||
            catalog_.find<Credential>(id) == credential)  // nobody replaced it: its rows are wrong
            return std::unexpected(std::move(sealed).error());
    }
}

base::Result<crypto::Secret> Records::open_token(const SealedSecret& sealed) const {
    const auto joined = open_joined(sealed);
    if (!joined) return std::unexpected(joined.error());
    tokens_opened_.fetch_add(1, std::memory_order_relaxed);
    return token_of(*joined);
}

base::Result<SecretParts> Records::open_parts(const SealedSecret& sealed) const {
    const auto joined = open_joined(sealed);
    if (!joined) return std::unexpected(joined.error());
    return split_parts(*joined);
}

}  // namespace claviger::vault
