#include "vault/vault_key_rotation.h"

#include "vault/rotation.h"
#include "vault/sealed_rows.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

namespace claviger::vault {
namespace {

using base::ErrorKind;

constexpr int kTries = 5;
constexpr std::chrono::milliseconds kCatalogFollows{5};

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

/// The keys that a stretch is moved between.
struct GenerationRows::Keys {
    std::shared_ptr<const KeyRing::OwnerKey> from, to;
};

GenerationRows::GenerationRows(const Records& records, const Vault& vault, Table table, std::uint64_t from,
                               std::uint64_t to)
    : records_(records), workspace_(vault.workspace), vault_(vault.id), table_(table), from_(from), to_(to) {
    credentials_ = records.catalog().ids_of<Credential>(vault_.raw);
    std::ranges::sort(credentials_);
}

GenerationRows::Ids GenerationRows::behind(const std::string& at, std::size_t most) const {
    const Ids all(credentials_);
    const auto id = base::from_hex(at);
    if (!id || id->size() != sizeof(base::RawId)) return all.first(std::min(most, all.size()));
    const auto rest = all.subspan(
        static_cast<std::size_t>(std::ranges::upper_bound(all, credential_in(*id)) - all.begin()));
    return rest.first(std::min(most, rest.size()));
}

/// What the keys of all rows begin with that could be theirs, ascending. `others`: those of the vault's other
/// objects, too.
std::vector<Bytes> GenerationRows::prefixes_of(Ids credentials, bool others) const {
    std::vector<Bytes> prefixes;
    if (table_ == Table::data_key) {
        for (const auto& id : credentials) prefixes.emplace_back(id.key());
        return prefixes;
    }
    for (const auto kind : {MetaKind::credential, MetaKind::grant, MetaKind::rotation})
        for (const auto& id : credentials) prefixes.push_back(meta_key(kind, id.raw));
    if (others)
        for (const auto& flow : records_.catalog().ids_of<ConnectFlow>(vault_.raw))
            prefixes.push_back(meta_key(MetaKind::connect_flow, flow.raw));
    std::ranges::sort(prefixes);
    return prefixes;
}

bool GenerationRows::wanted(ByteView key, ByteView row) const {
    if (table_ == Table::data_key) return key.size() == 24 && crypto::key_ref_of(row) == from_;
    const auto header = header_of(row);
    return header && header->generation == from_ && header->vault == vault_.raw && is_sealed_by_vault(key);
}

/// The rows that the catalog has not opened yet are those of before: the key that opens them goes.
void GenerationRows::open_in_memory(Ids credentials) const {
    for (const auto& id : credentials) {
        records_.catalog().find<Credential>(id);
        records_.catalog().find<Grant>(id);
    }
}

base::Result<Stretch> GenerationRows::next(const std::string& at, std::size_t credentials) const {
    const auto ids = behind(at, credentials);
    const bool last = ids.empty() || ids.back() == credentials_.back();
    if (table_ == Table::meta) open_in_memory(ids);
    std::vector<Found> found;
    const auto prefixes = prefixes_of(ids, last);
    const auto& engine = records_.engine();
    auto looked = engine.scan_each(table_, prefixes, [&](ByteView key, ByteView row, std::uint64_t version) {
        if (wanted(key, row)) found.push_back({Bytes(key), {Bytes(row), version}});
        return true;
    });
    if (!looked) return std::unexpected(std::move(looked).error());

    Stretch stretch;
    stretch.from = at;
    if (!last) stretch.next = base::to_hex(ids.back().key());
    if (found.empty()) return stretch;
    Keys keys;
    for (const auto& [key, generation] : {std::pair{&keys.from, from_}, std::pair{&keys.to, to_}}) {
        auto opened = records_.keys().owner_key(engine, workspace_.raw, vault_.raw, generation);
        if (!opened) return std::unexpected(std::move(opened).error());
        *key = std::move(*opened);
    }
    for (auto& each : found) {
        auto resealed = reseal_if_still_there(each, keys);
        if (!resealed) return std::unexpected(std::move(resealed).error());
        if (*resealed)
            stretch.rows.push_back({table_, std::move(each.key), std::move(each.row), *std::move(*resealed)});
    }
    return stretch;
}

/// The catalog may be a moment ahead of the scan or behind the disk; then the row does not open, or is gone.
base::Result<std::optional<Bytes>> GenerationRows::reseal_if_still_there(const Found& found,
                                                                         const Keys& keys) const {
    for (int tries = 1;; ++tries) {
        auto resealed = reseal(found, keys);
        if (resealed) return std::optional<Bytes>(std::move(*resealed));
        const auto row = records_.engine().get(table_, found.key);
        if (!row) return std::unexpected(row.error());
        if (!*row || (*row)->version != found.row.version) return std::nullopt;
        if (tries == kTries) return std::unexpected(std::move(resealed).error());
        std::this_thread::sleep_for(kCatalogFollows);
    }
}

base::Result<Bytes> GenerationRows::reseal(const Found& found, const Keys& keys) const {
    const auto& ring = records_.keys();
    if (table_ == Table::meta) return reseal_row(ring, *keys.from, *keys.to, found.key, found.row.value);
    const auto id = credential_in(found.key);
    const auto version = base::read_big_endian<std::uint64_t>(found.key.data() + id.raw.size());
    auto place = place_of(ring, records_.catalog(), id, version, from_);
    const auto data_key = crypto::open(keys.from->key, place, found.row.value);
    if (!data_key)
        return base::failure(ErrorKind::corrupt, "envelope.refused",
                             "The key of a secret does not open: it was changed, moved or replaced.",
                             "Run `claviger fsck`, and restore what it names from a backup.",
                             "table data_key, row " + base::to_hex(found.key));
    place.wrapping_key = to_;
    return data_key->expose(
        [&](std::span<const std::byte> bytes) { return crypto::seal(keys.to->key, place, bytes); });
}

std::uint64_t count_sealed_rows(const Catalog& catalog, const Vault& vault) {
    std::uint64_t rows = catalog.ids_of<ConnectFlow>(vault.id.raw).size() +
                         2 * catalog.ids_of<Credential>(vault.id.raw).size() +
                         catalog.ids_of<Grant>(vault.id.raw).size();
    catalog.each<Rotation>(vault.id.raw, [&](const Rotation& rotation) { rows += 1 + rotation.kept.size(); });
    return rows;
}

void put(Change& change, std::vector<Resealed> rows) {
    auto& batch = change.transaction().batch();
    for (auto& each : rows)
        batch.replace(each.table, std::move(each.key), std::move(each.was), std::move(each.row));
}

base::Result<Vault> begin_generation(Change& change, Vault vault) {
    const auto generation =
        std::max({vault.generation(), vault.last_generation.value_or(1), change.keys().history()}) + 1;
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
