#include "admin/api/vaults.h"

#include "admin/api/announce.h"
#include "admin/api/fields.h"
#include "admin/api/page.h"
#include "admin/api/rotation.h"
#include "admin/api/shown.h"

#include "crypto/random.h"
#include "oauth/revocation.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;

constexpr TextLimits kName{1, 255};
constexpr auto kEverything = ~std::size_t{0} >> 1;

Json shown_vault(const vault::Vault& vault) {
    return {{"id", vault.id.text()},
            {"type", "vault"},
            {"display_name", vault.display_name},
            {"metadata", shown(vault.metadata)},
            {"created_at", shown(vault.created)},
            {"updated_at", shown(vault.updated)},
            {"archived_at", shown(vault.archived)}};
}

std::vector<vault::Ref<vault::Credential>> credentials_of(const vault::Catalog& catalog,
                                                          const base::VaultId& id) {
    return catalog.page<vault::Credential>(
        {.scope = id.raw, .after = {}, .limit = kEverything, .wanted = {}});
}

base::Status archive(vault::Change& change, vault::Vault& vault) {
    for (const auto& held : credentials_of(change.catalog(), vault.id)) {
        if (held->archived) continue;
        auto credential = *held;
        credential.archived = credential.updated = change.now();
        if (auto gone = oauth::let_go(change, credential, oauth::LetGo::archived); !gone) return gone;
        if (auto purged = change.purge_secret(credential); !purged) return purged;
        if (auto told = announce(change, Action::archive, credential); !told) return told;
    }
    vault.archived = vault.updated = change.now();
    if (auto told = announce(change, Action::archive, vault); !told) return told;
    return change.store(vault);
}

base::Status take_out_of_bindings(vault::Change& change, const vault::Vault& vault) {
    const auto bound = change.catalog().page<vault::Environment>(
        {.scope = vault.workspace.raw,
         .after = {},
         .limit = kEverything,
         .wanted = [&](const auto& environment) {
             return std::ranges::count(environment.vault_bindings, vault.id) != 0;
         }});
    for (const auto& holder : bound) {
        auto environment = *holder;
        std::erase(environment.vault_bindings, vault.id);
        environment.updated = change.now();
        if (auto stored = change.store(environment); !stored) return stored;
        if (auto told = announce(change, Action::update, environment); !told) return told;
    }
    return {};
}

}  // namespace

std::vector<vault::Credential> credentials_in_use(const vault::Catalog& catalog, const base::VaultId& vault) {
    std::vector<vault::Credential> in_use;
    for (const auto& credential : credentials_of(catalog, vault))
        if (!credential->archived) in_use.push_back(*credential);
    return in_use;
}

base::Status erase_vault(vault::Change& change, const vault::Vault& vault) {
    for (const auto& credential : credentials_of(change.catalog(), vault.id)) {
        if (auto gone = oauth::let_go(change, *credential, oauth::LetGo::erased); !gone) return gone;
        if (auto erased = change.erase(*credential); !erased) return erased;
        if (auto told = announce(change, Action::erase, *credential); !told) return told;
    }
    for (const auto& flow : change.catalog().page<vault::ConnectFlow>(
             {.scope = vault.id.raw, .after = {}, .limit = kEverything, .wanted = {}}))
        if (auto erased = change.erase(*flow); !erased) return erased;
    if (auto unbound = take_out_of_bindings(change, vault); !unbound) return unbound;
    if (auto erased = change.erase(vault); !erased) return erased;
    if (auto forgotten = change.forget_key_of(vault.id.raw); !forgotten) return forgotten;
    return announce(change, Action::erase, vault);
}

net::awaitable<Answered> create_vault(Call& call) {
    vault::Vault vault;
    Fields in(call.body);
    vault.display_name = in.text("display_name", kName);
    in.update_metadata("metadata", vault.metadata, MetadataIs::whole);
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    vault.id = crypto::random_id<base::VaultId>();
    vault.workspace = call.workspace();
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        vault.created = vault.updated = change.now();
        change.create_key_of(vault.workspace.raw, vault.id.raw);
        if (auto told = announce(change, Action::create, vault); !told) return told;
        return change.store(vault);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown_vault(vault));
}

net::awaitable<Answered> list_vaults(Call& call) {
    const auto page = page_of<vault::Vault>(call, {.name = {"vaults", call.workspace().raw}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& vault : page->objects) data.push_back(shown_vault(*vault));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> retrieve_vault(Call& call) {
    const auto vault = find<vault::Vault>(call.catalog(), call.workspace(), call.ids[0]);
    if (!vault) co_return std::unexpected(vault.error());
    co_return answer(shown_vault(**vault));
}

net::awaitable<Answered> update_vault(Call& call) {
    vault::Vault updated;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Vault>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        updated = **found;
        Fields in(call.body);
        in.update("display_name", updated.display_name, kName);
        in.update_metadata("metadata", updated.metadata, MetadataIs::patch);
        if (auto read = call.body.finish(); !read) return read;
        if (updated.archived)
            return base::failure(ErrorKind::invalid_request, "vault.archived",
                                 "Vault " + updated.id.text() + " is archived and cannot be changed.");
        if (updated.display_name == (*found)->display_name && updated.metadata == (*found)->metadata)
            return {};
        updated.updated = change.now();
        if (auto told = announce(change, Action::update, updated); !told) return told;
        return change.store(updated);
    });
    if (!stored) co_return std::unexpected(stored.error());
    co_return answer(shown_vault(updated));
}

net::awaitable<Answered> archive_vault(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    vault::Vault vault;
    std::vector<vault::Credential> in_use;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Vault>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        vault = **found;
        in_use = credentials_in_use(change.catalog(), vault.id);
        return vault.archived ? base::Status() : archive(change, vault);
    });
    if (!stored) co_return std::unexpected(stored.error());
    close_connections(call, in_use);
    co_return answer(shown_vault(vault));
}

net::awaitable<Answered> delete_vault(Call& call) {
    std::vector<vault::Credential> in_use;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find<vault::Vault>(change.catalog(), call.workspace(), call.ids[0]);
        if (!found) return std::unexpected(found.error());
        in_use = credentials_in_use(change.catalog(), (*found)->id);
        return erase_vault(change, **found);
    });
    if (!stored) co_return std::unexpected(stored.error());
    close_connections(call, in_use);
    co_return answer({{"id", call.ids[0]}, {"type", "vault_deleted"}});
}

}  // namespace claviger::admin::api
