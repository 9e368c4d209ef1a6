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

/// The credential as it was when it had the version in the row's key; version 0 when it never had it.
Credential version_of(const Catalog& catalog, const base::CredentialId& id, std::uint64_t version) {
    const auto credential = catalog.find<Credential>(id);
    if (!credential) return {};
    if (credential->version == version) return *credential;
    const auto rotation = catalog.find<Rotation>(id);
    if (rotation)
        for (const auto& kept : rotation->kept)
            if (kept.version == version) return as_of(*credential, kept);
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

base::Status GenerationRows::find(ByteView prefix, std::vector<Found>& found) const {
    return records_.engine().scan(table_, prefix, {}, Order::ascending,
                                  [&](ByteView key, ByteView row, std::uint64_t version) {
                                      if (wanted(key, row))
                                          found.push_back({Bytes(key), Bytes(row), version});
                                      return true;
                                  });
}

base::Result<std::string> GenerationRows::find(const std::string& at, std::size_t credentials,
                                               std::vector<Found>& found) const {
    const auto& catalog = records_.catalog();
    PageQuery<Credential> query{
        .scope = vault_.id.raw, .order = PageQuery<Credential>::Order::oldest_first, .limit = credentials};
    if (!at.empty()) query.after = std::strtoull(at.c_str(), nullptr, 10);
    auto page = catalog.page(query);
    const bool more = page.size() > credentials;
    if (more) page.pop_back();
    for (const auto& credential : page) {
        std::vector<Bytes> prefixes;
        if (table_ == Table::data_key)
            prefixes.emplace_back(credential->id.key());
        else
            for (const auto kind : {MetaKind::credential, MetaKind::grant, MetaKind::rotation})
                prefixes.push_back(meta_key(kind, credential->id.raw));
        for (const auto& prefix : prefixes)
            if (auto looked = find(prefix, found); !looked) return std::unexpected(std::move(looked).error());
    }
    if (more) return std::to_string(page.back()->created_seq);
    if (table_ == Table::data_key) return std::string();
    for (const auto& flow : catalog.page<ConnectFlow>({.scope = vault_.id.raw, .limit = kAll}))
        if (auto looked = find(meta_key(MetaKind::connect_flow, flow->id.raw), found); !looked)
            return std::unexpected(std::move(looked).error());
    return std::string();
}

base::Result<Stretch> GenerationRows::next(const std::string& at, std::size_t credentials) const {
    Stretch stretch;
    stretch.from = at;
    std::vector<Found> found;
    auto next = find(at, credentials, found);
    if (!next) return std::unexpected(std::move(next).error());
    stretch.next = std::move(*next);
    for (const auto& each : found) {
        auto resealed = reseal_if_still_there(each);
        if (!resealed) return std::unexpected(std::move(resealed).error());
        if (*resealed) stretch.rows.push_back(*std::move(*resealed));
    }
    return stretch;
}

base::Result<std::uint64_t> GenerationRows::count() const {
    std::uint64_t counted = 0;
    for (std::string at;;) {
        std::vector<Found> found;
        auto next = find(at, kCounted, found);
        if (!next) return std::unexpected(std::move(next).error());
        counted += found.size();
        if (next->empty()) return counted;
        at = std::move(*next);
    }
}

/// The catalog may be a moment ahead of the scan or behind the disk; then the row does not open, or is gone.
base::Result<std::optional<Resealed>> GenerationRows::reseal_if_still_there(const Found& found) const {
    for (int tries = 1;; ++tries) {
        auto resealed = reseal(found);
        if (resealed) return std::optional<Resealed>(std::move(*resealed));
        const auto row = records_.engine().get(table_, found.key);
        if (!row) return std::unexpected(row.error());
        if (!*row || (*row)->version != found.version) return std::nullopt;
        if (tries == kTries) return std::unexpected(std::move(resealed).error());
        std::this_thread::sleep_for(kCatalogFollows);
    }
}

base::Result<Resealed> GenerationRows::reseal(const Found& found) const {
    const auto& keys = records_.keys();
    const auto& engine = records_.engine();
    const auto old_key = keys.owner_key(engine, vault_.workspace.raw, vault_.id.raw, from_);
    if (!old_key) return std::unexpected(old_key.error());
    const auto new_key = keys.owner_key(engine, vault_.workspace.raw, vault_.id.raw, to_);
    if (!new_key) return std::unexpected(new_key.error());
    Resealed resealed{table_, found.key, {}, found.version};
    if (table_ == Table::meta) {
        auto row = reseal_row(keys, **old_key, **new_key, found.key, found.row);
        if (!row) return std::unexpected(std::move(row).error());
        resealed.row = std::move(*row);
        return resealed;
    }
    const auto id = credential_in(found.key);
    const auto version = base::read_big_endian<std::uint64_t>(found.key.data() + id.raw.size());
    const auto credential = version_of(records_.catalog(), id, version);
    const auto data_key = crypto::open((*old_key)->key, data_key_place(keys, credential, from_), found.row);
    if (!data_key)
        return base::failure(ErrorKind::corrupt, "envelope.refused",
                             "The key of a secret does not open: it was changed, moved or replaced.",
                             "Run `claviger fsck`, and restore what it names from a backup.",
                             "table data_key, row " + base::to_hex(found.key));
    resealed.row = data_key->expose([&](std::span<const std::byte> bytes) {
        return crypto::seal((*new_key)->key, data_key_place(keys, credential, to_), bytes);
    });
    return resealed;
}

void put(Change& change, const std::vector<Resealed>& rows) {
    auto& batch = change.transaction().batch();
    for (const auto& each : rows) {
        batch.require(each.table, each.key, each.version);
        batch.put(each.table, each.key, each.row);
    }
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
