// How objects and secrets become rows: the clear header, the envelope behind it, and the places they are
// bound to.
#pragma once

#include "crypto/envelope.h"
#include "vault/key_ring.h"
#include "vault/model.h"
#include "vault/records.h"

namespace claviger::vault {

/// First byte of a key in Table::meta. On disk: append only.
enum class MetaKind : unsigned char {
    workspace = 1,
    api_key = 2,
    vault = 3,
    credential = 4,
    environment = 5,
    agent = 6,
    session = 7,
    session_token = 8,
    agent_version = 9,
    grant = 10,
    connect_flow = 11,
    oauth_client = 12,
    webhook_endpoint = 13,
    outbox_item = 14,
    rotation = 15,
    operation = 16,
    shredding = 17,
};

template <class T>
inline constexpr MetaKind kMetaKind = MetaKind::workspace;
template <>
inline constexpr MetaKind kMetaKind<ApiKey> = MetaKind::api_key;
template <>
inline constexpr MetaKind kMetaKind<Vault> = MetaKind::vault;
template <>
inline constexpr MetaKind kMetaKind<Credential> = MetaKind::credential;
template <>
inline constexpr MetaKind kMetaKind<Grant> = MetaKind::grant;
template <>
inline constexpr MetaKind kMetaKind<Rotation> = MetaKind::rotation;
template <>
inline constexpr MetaKind kMetaKind<ConnectFlow> = MetaKind::connect_flow;
template <>
inline constexpr MetaKind kMetaKind<OauthClient> = MetaKind::oauth_client;
template <>
inline constexpr MetaKind kMetaKind<WebhookEndpoint> = MetaKind::webhook_endpoint;
template <>
inline constexpr MetaKind kMetaKind<OutboxItem> = MetaKind::outbox_item;
template <>
inline constexpr MetaKind kMetaKind<Operation> = MetaKind::operation;
template <>
inline constexpr MetaKind kMetaKind<Shredding> = MetaKind::shredding;
template <>
inline constexpr MetaKind kMetaKind<Environment> = MetaKind::environment;
template <>
inline constexpr MetaKind kMetaKind<Agent> = MetaKind::agent;
template <>
inline constexpr MetaKind kMetaKind<Session> = MetaKind::session;
template <>
inline constexpr MetaKind kMetaKind<SessionToken> = MetaKind::session_token;

base::Bytes meta_key(MetaKind kind, const base::RawId& id);
/// agent_version rows: id and version.
base::Bytes meta_key(MetaKind kind, const base::RawId& id, std::uint64_t version);

/// What stands in clear before a metadata row's envelope. Every field goes into the AAD, so a changed one
/// does not open.
struct RowHeader {
    std::uint64_t commit_seq = 0, created_seq = 0, created_ms = 0, generation = 0;
    base::RawId workspace{}, vault{}, writer{};
};
inline constexpr std::size_t kRowHeaderBytes = 80;
/// Nothing when the row is too short to be one. Unauthenticated until the row opens.
std::optional<RowHeader> header_of(ByteView row);
/// Whether the key of a vault seals rows of that key's kind.
bool is_sealed_by_vault(ByteView row_key);

/// `owner` is whose key seals the row; `object` and `kind` come from the row's own key.
base::Bytes seal_row(const KeyRing& keys, const KeyRing::OwnerKey& owner_key, const RowHeader& header,
                     ByteView row_key, ByteView plaintext);
/// corrupt "envelope.refused" with the row's key in detail.
base::Result<base::Bytes> open_row(const StorageEngine& engine, const KeyRing& keys, ByteView row_key,
                                   ByteView row);

/// open_row() for many rows: the key of the row before is at hand when it seals the next one, too. Not thread
/// safe.
class RowOpener {
public:
    RowOpener(const StorageEngine& engine, const KeyRing& keys) : engine_(engine), keys_(keys) {}
    base::Result<base::Bytes> open(ByteView row_key, ByteView row);

private:
    const StorageEngine& engine_;
    const KeyRing& keys_;
    base::RawId owner_{};
    std::shared_ptr<const KeyRing::OwnerKey> key_;  // shared with the ring
};

/// The refusal of a row that opens and holds no such object: corrupt "row.malformed".
base::Error malformed_row(ByteView row_key, std::string_view why = {});

/// The object in its row. corrupt "envelope.refused", or "row.malformed" when it is not the one that the key
/// speaks of; the row's key is in detail.
template <class T>
base::Result<T> open_object(RowOpener& opener, ByteView row_key, ByteView row) {
    const auto plaintext = opener.open(row_key, row);
    if (!plaintext) return std::unexpected(plaintext.error());
    auto object = decode_object<T>(*plaintext);
    if (!object || object->id.key() != row_key.substr(1)) return std::unexpected(malformed_row(row_key));
    return object;
}

/// The same row, sealed by another generation of its owner's key. corrupt "envelope.refused".
base::Result<base::Bytes> reseal_row(const KeyRing& keys, const KeyRing::OwnerKey& before,
                                     const KeyRing::OwnerKey& after, ByteView row_key, ByteView row);

/// Rows of one credential version.
base::Bytes secret_key(const Credential& credential);
crypto::Place value_place(const KeyRing& keys, const Credential& credential);
/// `generation` is that of the vault's key which seals the data key; the row's own envelope names it.
crypto::Place data_key_place(const KeyRing& keys, const Credential& credential, std::uint64_t generation);

/// The plaintext of a value: {tag u8, length u32, bytes} per part, in tag order (1 token, 2 refresh token, 3
/// client secret, 4 the refresh token before).
crypto::Secret join_parts(const SecretParts& parts);
base::Result<SecretParts> split_parts(const crypto::Secret& joined);
base::Result<crypto::Secret> token_of(const crypto::Secret& joined);

/// The rows of the credential's current version, with the key that opens them. not_found
/// "credential.no_secret"; corrupt "envelope.refused".
base::Result<SealedSecret> read_sealed(const StorageEngine& engine, const KeyRing& keys,
                                       const Credential& credential);
/// Its value, whole. corrupt "envelope.refused".
base::Result<crypto::Secret> open_joined(const SealedSecret& sealed);

}  // namespace claviger::vault
