#include "vault/vault_key_rotation.h"

#include "vault/rotation.h"
#include "vault/sealed_rows.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr int kTries = 5;
constexpr std::chrono::milliseconds kCatalogFollows{5};
constexpr std::size_t kAll = std::size_t{1} << 20;
constexpr std::size_t kCounted = 1'024;  // credentials at a time

/// Where the data key of that version was sealed; one where nothing ever was when there is no such version.
crypto::Place place_of(const KeyRing& keys, const Catalog& catalog, const base::CredentialId& id,
                       std::uint64_t version, std::uint64_t generation) {
    const auto credential = catalog.find<Credential>(id);
    if (!credential) return {};
    if (credential->version == version) return data_key_place(keys, *credential, generation);
    if (const auto rotation = catalog.find<Rotation>(id))
        for (const auto& kept : rotation->kept)
            if (kept.version == version) return data_key_place(keys, as_of(*credential, kept), generation);
    return {};
}

base::CredentialId credential_in(ByteView key) {
    base::CredentialId id;
    std::memcpy(id.raw.data(), key.data(), std::min(key.size(), id.raw.size()));
    return id;
}

}  // namespace

bool GenerationRows::wanted(ByteView key, ByteView row) const {
    if (table_ == Table::data_key) return key.size() == 24 && crypto::key_ref_of(row) == from_;
    const auto header = header_of(row);
    return header && header->generation == from_ && header->vault == vault_.id.raw && is_sealed_by_vault(key);
}

base::Status GenerationRows::find(const Bytes& key, Look look, std::vector<Found>& found) const {
    if (look == Look::every_row)
        return records_.engine().scan(table_, key, {}, Order::ascending,
                                      [&](ByteView at, ByteView row, std::uint64_t version) {
                                          if (wanted(at, row))
                                              found.push_back({Bytes(at), {Bytes(row), version}});
                                          return true;
                                      });
    auto row = records_.engine().get(table_, key);
    if (!row) return std::unexpected(std::move(row).error());
    if (*row && wanted(key, (*row)->value)) found.push_back({key, *std::move(*row)});
    return {};
}

/// Whole ones, or of every row what all keys of the credential begin with.
std::vector<Bytes> GenerationRows::keys_of(const Credential& credential, Look look) const {
    const auto& catalog = records_.catalog();
    const bool all = look == Look::every_row;
    const auto rotation = all ? nullptr : catalog.find<Rotation>(credential.id);
    if (table_ == Table::meta) {
        std::vector<Bytes> keys{meta_key(MetaKind::credential, credential.id.raw)};
        if (all || catalog.find<Grant>(credential.id))
            keys.push_back(meta_key(MetaKind::grant, credential.id.raw));
        if (all || rotation) keys.push_back(meta_key(MetaKind::rotation, credential.id.raw));
        return keys;
    }
    if (all) return {Bytes(credential.id.key())};
    std::vector<Bytes> keys;
    if (credential.version != 0) keys.push_back(secret_key(credential));
    if (rotation)
        for (const auto& kept : rotation->kept) keys.push_back(secret_key(as_of(credential, kept)));
    return keys;
}

base::Result<std::string> GenerationRows::find(const std::string& at, std::size_t credentials, Look look,
                                               std::vector<Found>& found) const {
    const auto& catalog = records_.catalog();
    PageQuery<Credential> query{
        .scope = vault_.id.raw, .order = PageQuery<Credential>::Order::oldest_first, .limit = credentials};
    if (!at.empty()) query.after = std::strtoull(at.c_str(), nullptr, 10);
    auto page = catalog.page(query);
    const bool more = page.size() > credentials;
    if (more) page.pop_back();
    for (const auto& credential : page)
        for (const auto& key : keys_of(*credential, look))
            if (auto looked = find(key, look, found); !looked)
                return std::unexpected(std::move(looked).error());
    if (more) return std::to_string(page.back()->created_seq);
    if (table_ == Table::data_key) return std::string();
    for (const auto& flow : catalog.page<ConnectFlow>({.scope = vault_.id.raw, .limit = kAll}))
        if (auto looked = find(meta_key(MetaKind::connect_flow, flow->id.raw), look, found); !looked)
            return std::unexpected(std::move(looked).error());
    return std::string();
}

base::Result<Stretch> GenerationRows::next(const std::string& at, std::size_t credentials, Look look) const {
    Stretch stretch;
    stretch.from = at;
    std::vector<Found> found;
    auto next = find(at, credentials, look, found);
    if (!next) return std::unexpected(std::move(next).error());
    stretch.next = std::move(*next);
    for (auto& each : found) {
        auto resealed = reseal_if_still_there(each);
        if (!resealed) return std::unexpected(std::move(resealed).error());
        if (*resealed)
            stretch.rows.push_back({table_, std::move(each.key), std::move(each.row), *std::move(*resealed)});
    }
    return stretch;
}

/// The catalog may be a moment ahead of the scan or behind the disk; then the row does not open, or is gone.
base::Result<std::optional<Bytes>> GenerationRows::reseal_if_still_there(const Found& found) const {
    for (int tries = 1;; ++tries) {
        auto resealed = reseal(found);
        if (resealed) return std::optional<Bytes>(std::move(*resealed));
        const auto row = records_.engine().get(table_, found.key);
        if (!row) return std::unexpected(row.error());
        if (!*row || (*row)->version != found.row.version) return std::nullopt;
        if (tries == kTries) return std::unexpected(std::move(resealed).error());
        std::this_thread::sleep_for(kCatalogFollows);
    }
}

base::Result<Bytes> GenerationRows::reseal(const Found& found) const {
    const auto& keys = records_.keys();
    const auto& engine = records_.engine();
    const auto old_key = keys.owner_key(engine, vault_.workspace.raw, vault_.id.raw, from_);
    if (!old_key) return std::unexpected(old_key.error());
    const auto new_key = keys.owner_key(engine, vault_.workspace.raw, vault_.id.raw, to_);
    if (!new_key) return std::unexpected(new_key.error());
    if (table_ == Table::meta) return reseal_row(keys, **old_key, **new_key, found.key, found.row.value);
    const auto id = credential_in(found.key);
    const auto version = base::read_big_endian<std::uint64_t>(found.key.data() + id.raw.size());
    auto place = place_of(keys, records_.catalog(), id, version, from_);
    const auto data_key = crypto::open((*old_key)->key, place, found.row.value);
    if (!data_key)
        return base::failure(ErrorKind::corrupt, "envelope.refused",
                             "The key of a secret does not open: it was changed, moved or replaced.",
                             "Run `claviger fsck`, and restore what it names from a backup.",
                             "table data_key, row " + base::to_hex(found.key));
    place.wrapping_key = to_;
    return data_key->expose(
        [&](std::span<const std::byte> bytes) { return crypto::seal((*new_key)->key, place, bytes); });
}

std::uint64_t count_sealed_rows(const Catalog& catalog, const Vault& vault) {
    std::uint64_t rows = catalog.page<ConnectFlow>({.scope = vault.id.raw, .limit = kAll}).size();
    PageQuery<Credential> query{
        .scope = vault.id.raw, .order = PageQuery<Credential>::Order::oldest_first, .limit = kCounted};
    for (auto page = catalog.page(query); !page.empty(); page = catalog.page(query)) {
        for (const auto& credential : page) {
            rows += credential->version != 0 ? 2 : 1;
            if (catalog.find<Grant>(credential->id)) ++rows;
            if (const auto rotation = catalog.find<Rotation>(credential->id))
                rows += 1 + rotation->kept.size();
        }
        query.after = page.back()->created_seq;
    }
    return rows;
}

void put(Change& change, std::vector<Resealed> rows) {
    auto& batch = change.transaction().batch();
    for (auto& each : rows)
        batch.replace(each.table, std::move(each.key), std::move(each.was), std::move(each.row));
}

base::Result<Vault> begin_generation(Change& change, Vault vault) {
    const auto generation = std::max(vault.generation(), vault.last_generation.value_or(1)) + 1;
    change.create_key_of(vault.workspace.raw, vault.id.raw, generation);
    vault.key_generation = vault.last_generation = generation;
    if (auto stored = change.store(vault); !stored) return std::unexpected(std::move(stored).error());
    return vault;
}

base::Result<Vault> return_to_generation(Change& change, Vault vault, std::uint64_t generation) {
    vault.key_generation = generation;
    if (auto stored = change.store(vault); !stored) return std::unexpected(std::move(stored).error());
    return vault;
}

base::Status drop_generation(Change& change, Vault vault, std::uint64_t generation) {
    change.transaction().keys().forget_owner(vault.id.raw, change.transaction().batch(), generation);
    vault.key_rotated = change.now();
    return change.store(std::move(vault));
}

}  // namespace claviger::vault
