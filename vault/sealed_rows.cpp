#include "vault/sealed_rows.h"

#include <algorithm>
#include <cstring>

namespace claviger::vault {
namespace {

using base::ErrorKind;

void append_id(Bytes& out, const base::RawId& id) {
    out.append(reinterpret_cast<const char*>(id.data()), id.size());
}

std::unexpected<base::Error> row_refused(ByteView row_key, std::string why) {
    return base::failure(ErrorKind::corrupt, "envelope.refused",
                         "A stored object does not open: it was changed, moved or replaced.",
                         "Restore from a backup, and find out who can write to the data folder.",
                         "table meta, row " + base::to_hex(row_key) + ": " + std::move(why));
}

enum class RowOwner { nobody, instance, workspace, vault };

/// Whose key seals a row of this kind.
RowOwner owner_of(MetaKind kind) {
    switch (kind) {
        case MetaKind::workspace:
        case MetaKind::api_key:
        case MetaKind::operation:
        case MetaKind::shredding:
            return RowOwner::instance;
        case MetaKind::credential:
        case MetaKind::grant:
        case MetaKind::rotation:
        case MetaKind::connect_flow:
            return RowOwner::vault;
        case MetaKind::vault:
        case MetaKind::environment:
        case MetaKind::agent:
        case MetaKind::session:
        case MetaKind::session_token:
        case MetaKind::agent_version:
        case MetaKind::oauth_client:
        case MetaKind::webhook_endpoint:
        case MetaKind::outbox_item:
            return RowOwner::workspace;
    }
    return RowOwner::nobody;
}

base::RawId owner_of(const KeyRing& keys, MetaKind kind, const RowHeader& header) {
    switch (owner_of(kind)) {
        case RowOwner::instance:
            return keys.instance();
        case RowOwner::workspace:
            return header.workspace;
        case RowOwner::vault:
            return header.vault;
        case RowOwner::nobody:
            break;
    }
    return {};
}

crypto::Place row_place(const KeyRing& keys, const RowHeader& header, ByteView row_key) {
    crypto::Place place;
    place.type = crypto::ObjectType::metadata;
    // The kind stands in the schema's upper half: a vault's row cannot pose as an agent's, whatever its id.
    place.schema = (static_cast<std::uint32_t>(static_cast<unsigned char>(row_key[0])) << 16) | 4;
    place.instance = keys.instance();
    place.workspace = header.workspace;
    place.vault = header.vault;
    std::memcpy(place.object.data(), row_key.data() + 1, place.object.size());
    place.version = header.created_seq;  // the commit sequence tells its versions apart
    place.wrapping_key = header.generation;
    place.commit_seq = header.commit_seq;
    place.created_ms = header.created_ms;
    place.writer = header.writer;
    return place;
}

enum PartTag : unsigned char {
    kToken = 1,
    kRefreshToken = 2,
    kClientSecret = 3,
    kPreviousRefreshToken = 4,
    kDpopKey = 5,
    kSubjectToken = 6
};

std::optional<std::span<const std::byte>> find_part(std::span<const std::byte> joined, PartTag wanted) {
    while (joined.size() >= 5) {
        const auto size =
            base::read_big_endian<std::uint32_t>(reinterpret_cast<const char*>(joined.data()) + 1);
        if (size > joined.size() - 5) return std::nullopt;
        if (static_cast<PartTag>(joined[0]) == wanted) return joined.subspan(5, size);
        joined = joined.subspan(5 + size);
    }
    return std::nullopt;
}

base::Error no_token() {
    return {ErrorKind::corrupt,
            "envelope.refused",
            "The credential cannot be opened.",
            {},
            "value without a token"};
}

}  // namespace

Bytes meta_key(MetaKind kind, const base::RawId& id) {
    Bytes key(1, static_cast<char>(kind));
    append_id(key, id);
    return key;
}

Bytes meta_key(MetaKind kind, const base::RawId& id, std::uint64_t version) {
    Bytes key = meta_key(kind, id);
    base::append_big_endian(key, version);
    return key;
}

Bytes seal_row(const KeyRing& keys, const KeyRing::OwnerKey& owner_key, const RowHeader& header,
               ByteView row_key, ByteView plaintext) {
    Bytes row;
    row.reserve(kRowHeaderBytes + crypto::kEnvelopeOverhead + plaintext.size());
    for (const auto number : {header.commit_seq, header.created_seq, header.created_ms, header.generation})
        base::append_big_endian(row, number);
    append_id(row, header.workspace);
    append_id(row, header.vault);
    append_id(row, header.writer);
    row += crypto::seal(owner_key.key, row_place(keys, header, row_key), base::as_span(plaintext));
    return row;
}

base::Result<Bytes> open_row(const StorageEngine& engine, const KeyRing& keys, ByteView row_key,
                             ByteView row) {
    return RowOpener(engine, keys).open(row_key, row);
}

base::Result<Bytes> RowOpener::open(ByteView row_key, ByteView row) {
    const auto header = header_of(row);
    if (row_key.size() < 17 || !header) return row_refused(row_key, "too short");
    const auto owner = owner_of(keys_, static_cast<MetaKind>(row_key[0]), *header);
    if (!key_ || owner_ != owner || key_->generation != header->generation) {
        // The instance's own key belongs to no workspace.
        const auto workspace = owner == keys_.instance() ? base::RawId{} : header->workspace;
        auto key = keys_.owner_key(engine_, workspace, owner, header->generation);
        if (!key) return row_refused(row_key, std::string(key.error().code) + " " + key.error().detail);
        owner_ = owner;
        key_ = std::move(*key);
    }
    auto opened =
        crypto::open_metadata(key_->key, row_place(keys_, *header, row_key), row.substr(kRowHeaderBytes));
    if (!opened) return row_refused(row_key, "does not open at its place");
    return opened;
}

base::Error malformed_row(ByteView row_key, std::string_view why) {
    return {ErrorKind::corrupt,
            "row.malformed",
            "A stored object cannot be read.",
            {},
            "table meta, row " + base::to_hex(row_key) + std::string(why)};
}

base::Result<Bytes> reseal_row(const KeyRing& keys, const KeyRing::OwnerKey& before,
                               const KeyRing::OwnerKey& after, ByteView row_key, ByteView row) {
    auto header = header_of(row);
    if (row_key.size() < 17 || !header) return row_refused(row_key, "too short");
    const auto plaintext =
        crypto::open_metadata(before.key, row_place(keys, *header, row_key), row.substr(kRowHeaderBytes));
    if (!plaintext) return row_refused(row_key, "does not open at its place");
    header->generation = after.generation;
    return seal_row(keys, after, *header, row_key, *plaintext);
}

std::optional<RowHeader> header_of(ByteView row) {
    if (row.size() < kRowHeaderBytes) return std::nullopt;
    RowHeader header;
    header.commit_seq = base::read_big_endian<std::uint64_t>(row.data());
    header.created_seq = base::read_big_endian<std::uint64_t>(row.data() + 8);
    header.created_ms = base::read_big_endian<std::uint64_t>(row.data() + 16);
    header.generation = base::read_big_endian<std::uint64_t>(row.data() + 24);
    std::memcpy(header.workspace.data(), row.data() + 32, 16);
    std::memcpy(header.vault.data(), row.data() + 48, 16);
    std::memcpy(header.writer.data(), row.data() + 64, 16);
    return header;
}

bool is_sealed_by_vault(ByteView row_key) {
    return !row_key.empty() && owner_of(static_cast<MetaKind>(row_key[0])) == RowOwner::vault;
}

Bytes secret_key(const Credential& credential) {
    Bytes key(credential.id.key());
    base::append_big_endian(key, credential.version);
    return key;
}

crypto::Place data_key_place(const KeyRing& keys, const Credential& credential, std::uint64_t generation) {
    crypto::Place place;
    place.type = crypto::ObjectType::data_key;
    place.instance = keys.instance();
    place.workspace = credential.workspace.raw;
    place.vault = credential.vault.raw;
    place.object = credential.id.raw;
    place.version = credential.version;
    place.wrapping_key = generation;
    place.commit_seq = credential.value_commit_seq;
    place.created_ms = static_cast<std::uint64_t>(credential.value_created.time_since_epoch().count());
    place.writer = credential.value_writer;
    return place;
}

crypto::Place value_place(const KeyRing& keys, const Credential& credential) {
    auto place = data_key_place(keys, credential, credential.version);  // seals exactly one version
    place.type = credential.type == AuthType::mcp_oauth ? crypto::ObjectType::oauth_grant
                                                        : crypto::ObjectType::static_value;
    place.constraints = crypto::constraint_digest(constraints_of(credential));
    return place;
}

crypto::Secret join_parts(const SecretParts& parts) {
    const std::pair<PartTag, const std::optional<crypto::Secret>*> all[] = {
        {kToken, &parts.token},
        {kRefreshToken, &parts.refresh_token},
        {kClientSecret, &parts.client_secret},
        {kPreviousRefreshToken, &parts.previous_refresh_token},
        {kDpopKey, &parts.dpop_key},
        {kSubjectToken, &parts.subject_token}};
    std::size_t size = 0;
    for (const auto& [tag, part] : all)
        if (*part) size += 5 + (*part)->size();
    return crypto::Secret::filled(size, [&](std::span<std::byte> out) {
        for (const auto& each : all) {
            const auto& part = *each.second;
            if (!part) continue;
            part->expose([&](std::span<const std::byte> bytes) {
                Bytes head(1, static_cast<char>(each.first));
                base::append_big_endian(head, static_cast<std::uint32_t>(bytes.size()));
                std::memcpy(out.data(), head.data(), head.size());
                std::ranges::copy(bytes, out.begin() + static_cast<std::ptrdiff_t>(head.size()));
                out = out.subspan(head.size() + bytes.size());
            });
        }
    });
}

base::Result<SecretParts> split_parts(const crypto::Secret& joined) {
    SecretParts parts;
    joined.expose([&](std::span<const std::byte> bytes) {
        if (const auto part = find_part(bytes, kToken)) parts.token = crypto::Secret::copy_of(*part);
        if (const auto part = find_part(bytes, kRefreshToken))
            parts.refresh_token = crypto::Secret::copy_of(*part);
        if (const auto part = find_part(bytes, kClientSecret))
            parts.client_secret = crypto::Secret::copy_of(*part);
        if (const auto part = find_part(bytes, kPreviousRefreshToken))
            parts.previous_refresh_token = crypto::Secret::copy_of(*part);
        if (const auto part = find_part(bytes, kDpopKey)) parts.dpop_key = crypto::Secret::copy_of(*part);
        if (const auto part = find_part(bytes, kSubjectToken))
            parts.subject_token = crypto::Secret::copy_of(*part);
    });
    if (!parts.token) return std::unexpected(no_token());
    return parts;
}

base::Result<crypto::Secret> token_of(const crypto::Secret& joined) {
    return joined.expose([](std::span<const std::byte> bytes) -> base::Result<crypto::Secret> {
        const auto part = find_part(bytes, kToken);
        if (!part) return std::unexpected(no_token());
        return crypto::Secret::copy_of(*part);
    });
}

namespace {

base::Error missing_secret() {
    return {base::ErrorKind::not_found, "credential.no_secret", "The credential holds no secret any more.",
            "It was archived; create a new credential for this server."};
}

}  // namespace

base::Result<SealedSecret> read_sealed(const StorageEngine& engine, const KeyRing& keys,
                                       const Credential& credential) {
    if (credential.version == 0) return std::unexpected(missing_secret());
    const auto row_key = secret_key(credential);
    const auto value = engine.get(Table::value, row_key);
    if (!value) return std::unexpected(value.error());
    const auto refused = [&](std::string_view why) {
        return base::failure(
            base::ErrorKind::corrupt, "envelope.refused", "The credential cannot be opened.", {},
            "tables value and data_key, row " + base::to_hex(row_key) + ": " + std::string(why));
    };
    std::uint64_t before = 0;
    for (;;) {
        const auto data_key = engine.get(Table::data_key, row_key);
        if (!data_key) return std::unexpected(data_key.error());
        if (!*value || !*data_key) return refused("missing");
        const auto generation = crypto::key_ref_of((*data_key)->value);
        if (!generation) return refused("no envelope");
        auto vault_key = keys.owner_key(engine, credential.workspace.raw, credential.vault.raw, *generation);
        // A rotation of the vault's key may end between the two reads; then the row names another one.
        if (!vault_key && vault_key.error().kind == ErrorKind::not_found) {
            if (*generation == before)
                return refused("sealed by generation " + std::to_string(before) +
                               " of its vault's key, which there is none of");
            before = *generation;
            continue;
        }
        if (!vault_key) return std::unexpected(std::move(vault_key).error());
        return SealedSecret{.value_place = value_place(keys, credential),
                            .data_key_place = data_key_place(keys, credential, *generation),
                            .value = std::move((*value)->value),
                            .data_key = std::move((*data_key)->value),
                            .vault_key = std::move(*vault_key),
                            .opened_data_key = std::make_shared<OpenedKey>()};
    }
}

base::Result<crypto::Secret> open_joined(const SealedSecret& sealed) {
    const auto refused = [&](std::string_view which) -> base::Result<crypto::Secret> {
        return base::failure(base::ErrorKind::corrupt, "envelope.refused", "The credential cannot be opened.",
                             {},
                             std::string("table ") + std::string(which) + ", credential " +
                                 base::CredentialId{sealed.value_place.object}.text() + " version " +
                                 std::to_string(sealed.value_place.version) + ": does not open at its place");
    };
    const auto open_value = [&](const crypto::Key& data_key) {
        auto value = crypto::open(data_key, sealed.value_place, sealed.value);
        return value ? std::move(value) : refused("value");
    };
    if (sealed.opened_data_key)
        if (const auto* data_key = sealed.opened_data_key->get()) return open_value(*data_key);
    auto opened = crypto::open(sealed.vault_key->key, sealed.data_key_place, sealed.data_key);
    if (!opened) return refused("data_key");
    auto data_key = crypto::Key::from(std::move(*opened));
    if (!data_key) return refused("data_key");
    auto value = open_value(*data_key);
    if (value && sealed.opened_data_key) sealed.opened_data_key->keep(std::move(*data_key));
    return value;
}

}  // namespace claviger::vault
