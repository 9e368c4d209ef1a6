#include "vault/shredding.h"

#include "vault/log_rows.h"
#include "vault/sealed_rows.h"

#include <algorithm>
#include <functional>
#include <iterator>

namespace claviger::vault {
namespace {

using Prefixes = std::vector<StorageEngine::KeyPrefix>;

constexpr std::size_t kSingly = 100;  // beyond this many credentials whole tables are gone through once

template <class T>
void add_objects(const Vault& vault, const Catalog& catalog, Prefixes& prefixes) {
    const std::function<bool(const T&)> held = [&](const T& object) { return object.vault == vault.id; };
    for (const auto& object : catalog.all<T>(held))
        prefixes.push_back({Table::meta, meta_key(kMetaKind<T>, object->id.raw)});
}

}  // namespace

Prefixes rows_of(const Credential& credential) {
    const Bytes id(id_view(credential.id.raw));
    return {{Table::data_key, id},
            {Table::value, id},
            {Table::usage, id},
            {Table::meta, meta_key(MetaKind::grant, credential.id.raw)},
            {Table::meta, meta_key(MetaKind::credential, credential.id.raw)}};
}

Prefixes rows_of(const Vault& vault, const Catalog& catalog) {
    Prefixes prefixes = {{Table::owner_key, Bytes(id_view(vault.id.raw))},
                         {Table::meta, meta_key(MetaKind::vault, vault.id.raw)}};
    const std::function<bool(const Credential&)> held = [&](const Credential& credential) {
        return credential.vault == vault.id;
    };
    const auto credentials = catalog.all<Credential>(held);
    if (credentials.size() > kSingly) return all_secret_rows();
    for (const auto& credential : credentials) {
        auto rows = rows_of(*credential);
        std::ranges::move(rows, std::back_inserter(prefixes));
    }
    add_objects<ConnectFlow>(vault, catalog, prefixes);
    return prefixes;
}

Prefixes all_secret_rows() {
    return {{Table::owner_key, {}},
            {Table::data_key, {}},
            {Table::value, {}},
            {Table::meta, {}},
            {Table::usage, {}}};
}

}  // namespace claviger::vault
