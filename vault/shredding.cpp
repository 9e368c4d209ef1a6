#include "vault/shredding.h"

#include "vault/log_rows.h"
#include "vault/sealed_rows.h"

#include <algorithm>
#include <iterator>

namespace claviger::vault {
namespace {

using Prefixes = std::vector<StorageEngine::KeyPrefix>;

constexpr std::size_t kSingly = 100;  // beyond this many credentials whole tables are gone through once

}  // namespace

Prefixes rows_of(const base::CredentialId& credential) {
    const Bytes id(credential.key());
    return {{Table::data_key, id},
            {Table::value, id},
            {Table::usage, id},
            {Table::meta, meta_key(MetaKind::grant, credential.raw)},
            {Table::meta, meta_key(MetaKind::rotation, credential.raw)},
            {Table::meta, meta_key(MetaKind::credential, credential.raw)}};
}

Prefixes rows_of(const Vault& vault, const Catalog& catalog) {
    Prefixes prefixes = {{Table::owner_key, Bytes(id_view(vault.id.raw))},
                         {Table::meta, meta_key(MetaKind::vault, vault.id.raw)}};
    const auto credentials = catalog.ids_of<Credential>(vault.id.raw);
    if (credentials.size() > kSingly) return all_secret_rows();
    for (const auto& credential : credentials)
        std::ranges::move(rows_of(credential), std::back_inserter(prefixes));
    for (const auto& flow : catalog.ids_of<ConnectFlow>(vault.id.raw))
        prefixes.push_back({Table::meta, meta_key(MetaKind::connect_flow, flow.raw)});
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
