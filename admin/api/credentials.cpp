#include "admin/api/credentials.h"

#include "admin/api/announce.h"
#include "admin/api/client_siblings.h"
#include "admin/api/credential_fields.h"
#include "admin/api/page.h"
#include "admin/api/rotation.h"

#include "crypto/random.h"
#include "oauth/grant_event.h"
#include "oauth/grant_notice.h"
#include "oauth/revocation.h"
#include "oauth/stored_grant.h"
#include "vault/rotation.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::api {
namespace {

using base::ErrorKind;
using vault::Action;
using vault::EntryKind;

constexpr std::size_t kMostActive = 20;

Answer shown_answer(Call& call, const vault::Credential& credential) {
    return answer(shown(credential, call.records.access_log().use_of(credential.id.raw),
                        shown_rotation(call.catalog(), credential)));
}

bool same_key(const vault::Credential& a, const vault::Credential& b) {
    return a.normal_url == b.normal_url && a.secret_name == b.secret_name;
}

/// Which parts stay and which are replaced.
vault::SecretParts merged(vault::SecretParts stored, vault::SecretParts replaced,
                          const vault::Credential& credential) {
    if (replaced.token) {
        stored.token = std::move(replaced.token);
        stored.dpop_key.reset();  // it bound the token before
    }
    if (replaced.refresh_token) {
        stored.refresh_token = std::move(replaced.refresh_token);
        stored.previous_refresh_token.reset();
    }
    if (replaced.client_secret) stored.client_secret = std::move(replaced.client_secret);
    if (!credential.refresh) {
        stored.refresh_token.reset();
        stored.previous_refresh_token.reset();
        stored.client_secret.reset();
        stored.subject_token.reset();
    }
    return stored;
}

/// New tokens are a new grant; another client or endpoint is a reason to try again with the old one.
base::Status update_grant(vault::Change& change, const vault::Credential& before,
                          const vault::Credential& updated, const vault::SecretParts& replaced) {
    auto grant = oauth::grant_of(change.catalog(), before);
    if (replaced.token || replaced.refresh_token || !grant ||
        before.refresh.has_value() != updated.refresh.has_value())
        return oauth::store_grant(change, updated,
                                  oauth::handed_over(updated, grant ? &*grant : nullptr, change.now()));
    auto changed = oauth::apply(grant->facts, oauth::ConfigChanged{}, change.now());
    if (changed.taken()) {
        if (auto told = oauth::post_notice(change, updated, changed); !told) return told;
        grant->facts = std::move(changed.facts);
    }
    grant->facts.expires_at = updated.expires;
    return oauth::store_grant(change, updated, *grant);
}

base::Status update(vault::Change& change, const vault::Credential& before, vault::Credential& updated,
                    vault::SecretParts replaced, const std::optional<vault::Deadline>& deadline) {
    const bool rotates = replaced.token || replaced.refresh_token || replaced.client_secret;
    if (replaced.token && updated.type == vault::AuthType::mcp_oauth && updated.injection.scheme == "DPoP")
        updated.injection.scheme = "Bearer";  // whoever brings a token brings no key
    const bool reseals = rotates || crypto::constraint_digest(vault::constraints_of(before)) !=
                                        crypto::constraint_digest(vault::constraints_of(updated));
    const auto rotation = change.catalog().find<vault::Rotation>(before.id);
    const bool moves =
        deadline && deadline->rotate_by != (rotation ? rotation->rotate_by : std::optional<base::Time>());
    if (!reseals && !moves && vault::encode_object(before) == vault::encode_object(updated)) return {};
    updated.updated = change.now();
    if (auto told = announce(change, Action::update, updated, rotates ? EntryKind::rotate : EntryKind::write);
        !told)
        return told;
    if (updated.type == vault::AuthType::mcp_oauth && (reseals || before.expires != updated.expires))
        if (auto granted = update_grant(change, before, updated, replaced); !granted) return granted;
    if (auto kept = vault::update_rotation(change, before, updated, deadline); !kept) return kept;
    if (!reseals) return change.store(updated);

    // Where a secret may go is part of its seal, so a change of that seals it anew.
    auto stored = change.open_secret(before);
    if (!stored) return std::unexpected(std::move(stored).error());
    const auto parts = merged(std::move(*stored), std::move(replaced), updated);
    const auto next = vault::next_version(change.catalog(), before);
    auto sealed = change.store_with_secret(updated, parts);
    updated.version = next;
    return sealed;
}

}  // namespace

base::Status check_room(const vault::Catalog& catalog, const vault::Credential& made) {
    const auto active = catalog.page<vault::Credential>(
        {.scope = made.vault.raw, .after = {}, .limit = kMostActive, .wanted = [](const auto& credential) {
             return !credential.archived;
         }});
    for (const auto& other : active) {
        if (!same_key(*other, made)) continue;
        const bool variable = made.type == vault::AuthType::environment_variable;
        return base::failure(ErrorKind::conflict, "credential.duplicate",
                             std::string("A credential already exists in this vault for this ") +
                                 (variable ? "secret name: " : "MCP server URL: ") + other->id.text(),
                             "Update that credential to rotate its secret, or archive it first.");
    }
    if (active.size() >= kMostActive)
        return base::failure(ErrorKind::invalid_request, "vault.full",
                             "Vault " + made.vault.text() + " has " + std::to_string(kMostActive) +
                                 " active credentials, which is the most a vault can hold.",
                             "Archive one that is not needed, or use another vault.");
    return {};
}

base::Result<vault::Ref<vault::Credential>> find_credential(const Call& call, const vault::Catalog& catalog) {
    const auto vault = find<vault::Vault>(catalog, call.workspace(), call.ids[0]);
    if (!vault) return std::unexpected(vault.error());
    auto credential = find<vault::Credential>(catalog, call.workspace(), call.ids[1]);
    if (credential && (*credential)->vault != (*vault)->id)
        return base::failure(ErrorKind::not_found, "credential.not_found",
                             "Credential not found in vault " + call.ids[0] + ": " + call.ids[1]);
    return credential;
}

net::awaitable<Answered> create_credential(Call& call) {
    const auto vault = find<vault::Vault>(call.catalog(), call.workspace(), call.ids[0]);
    if (!vault) co_return std::unexpected(vault.error());
    Fields in(call.body);
    auto made = read_new_credential(in, call.settings, call.records.clock().now());
    const auto rotate_by = read_deadline(in, call.records.clock().now());
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());

    auto& credential = made.credential;
    credential.id = crypto::random_id<base::CredentialId>();
    credential.workspace = call.workspace();
    credential.vault = (*vault)->id;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto holder = find<vault::Vault>(change.catalog(), call.workspace(), call.ids[0]);
        if (!holder) return std::unexpected(holder.error());
        if ((*holder)->archived)
            return base::failure(ErrorKind::invalid_request, "vault.archived",
                                 "Vault " + call.ids[0] + " is archived and takes no credentials.");
        if (auto room = check_room(change.catalog(), credential); !room) return room;
        credential.created = credential.updated = change.now();
        if (auto told = announce(change, Action::create, credential); !told) return told;
        if (credential.type == vault::AuthType::mcp_oauth)
            if (auto granted = oauth::store_grant(change, credential,
                                                  oauth::handed_over(credential, nullptr, change.now()));
                !granted)
                return granted;
        if (rotate_by)
            if (auto due = vault::update_rotation(change, credential, credential, vault::Deadline{rotate_by});
                !due)
                return due;
        return change.store_with_secret(credential, made.secrets);
    });
    if (!stored) co_return std::unexpected(stored.error());
    if (call.grants != nullptr) call.grants->touched(credential.id);
    credential.version = 1;
    co_return shown_answer(call, credential);
}

net::awaitable<Answered> list_credentials(Call& call) {
    const auto vault = find<vault::Vault>(call.catalog(), call.workspace(), call.ids[0]);
    if (!vault) co_return std::unexpected(vault.error());
    const auto page = page_of<vault::Credential>(call, {.name = {"credentials", (*vault)->id.raw}});
    if (!page) co_return std::unexpected(page.error());
    auto data = Json::array();
    for (const auto& credential : page->objects)
        data.push_back(shown(*credential, call.records.access_log().use_of(credential->id.raw),
                             shown_rotation(call.catalog(), *credential)));
    co_return page_answer(std::move(data), page->next);
}

net::awaitable<Answered> retrieve_credential(Call& call) {
    const auto credential = find_credential(call, call.catalog());
    if (!credential) co_return std::unexpected(credential.error());
    co_return shown_answer(call, **credential);
}

net::awaitable<Answered> update_credential(Call& call) {
    vault::Credential before, updated;
    std::vector<base::CredentialId> siblings;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_credential(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        before = updated = **found;
        Fields in(call.body);
        auto replaced = read_credential_update(in, updated, change.now());
        std::optional<vault::Deadline> deadline;
        if (in.has("rotate_by")) deadline = {.rotate_by = read_deadline(in, change.now())};
        if (auto read = call.body.finish(); !read) return read;
        if (updated.archived)
            return base::failure(ErrorKind::invalid_request, "credential.archived",
                                 "Credential " + call.ids[1] + " is archived and cannot be changed.",
                                 "Create a new credential for the same server.");
        if (replaced.client_secret) {
            auto repaired = repair_siblings(change, updated, *replaced.client_secret);
            if (!repaired) return std::unexpected(std::move(repaired).error());
            siblings = std::move(*repaired);
        }
        return update(change, before, updated, std::move(replaced), deadline);
    });
    if (!stored) co_return std::unexpected(stored.error());
    if (updated.version != before.version) close_connections(call, {before});
    siblings.push_back(updated.id);
    for (const auto& id : siblings)
        if (call.grants != nullptr) call.grants->touched(id);
    co_return shown_answer(call, updated);
}

net::awaitable<Answered> archive_credential(Call& call) {
    if (auto read = call.body.finish(); !read) co_return std::unexpected(std::move(read).error());
    vault::Credential before, credential;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_credential(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        before = credential = **found;
        if (credential.archived) return {};
        credential.archived = credential.updated = change.now();
        if (auto told = announce(change, Action::archive, credential); !told) return told;
        if (auto gone = oauth::let_go(change, credential, oauth::LetGo::archived); !gone) return gone;
        auto purged = change.purge_secret(credential);
        credential.version = 0;
        return purged;
    });
    if (!stored) co_return std::unexpected(stored.error());
    close_connections(call, {before});
    if (call.grants != nullptr) call.grants->touched(credential.id);
    co_return shown_answer(call, credential);
}

base::Status erase_credential(vault::Change& change, const vault::Credential& credential) {
    if (auto told = announce(change, Action::erase, credential); !told) return told;
    if (auto gone = oauth::let_go(change, credential, oauth::LetGo::erased); !gone) return gone;
    return change.erase(credential);
}

net::awaitable<Answered> delete_credential(Call& call) {
    vault::Credential gone;
    const auto stored = co_await change(call, [&](vault::Change& change) -> base::Status {
        const auto found = find_credential(call, change.catalog());
        if (!found) return std::unexpected(found.error());
        gone = **found;
        return erase_credential(change, gone);
    });
    if (!stored) co_return std::unexpected(stored.error());
    close_connections(call, {gone});
    if (call.grants != nullptr) call.grants->touched(gone.id);
    co_return answer({{"id", call.ids[1]}, {"type", "vault_credential_deleted"}});
}

}  // namespace claviger::admin::api
