#include "admin/api/client_siblings.h"

#include "admin/api/announce.h"
#include "oauth/client_users.h"
#include "oauth/grant_event.h"
#include "oauth/grant_notice.h"
#include "oauth/stored_grant.h"

#include <utility>

namespace claviger::admin::api {
namespace {

/// A hold does not matter: what is behind it waits.
bool waits_for_operator(const oauth::GrantFacts& facts) {
    const auto state = facts.state == oauth::GrantState::suspended ? facts.resume_to : facts.state;
    return state == oauth::GrantState::needs_config && facts.reason != "issuer_changed";
}

std::vector<vault::Ref<vault::Credential>> siblings_of(const vault::Catalog& catalog,
                                                       const vault::Credential& credential) {
    auto siblings = oauth::users_of_client(catalog, *credential.refresh, credential.workspace);
    std::erase_if(siblings, [&](const auto& other) {
        return other->id == credential.id || other->refresh->auth != credential.refresh->auth;
    });
    return siblings;
}

base::Status repair(vault::Change& change, const vault::Credential& sibling, oauth::StoredGrant grant,
                    const crypto::Secret& client_secret) {
    auto transition = oauth::apply(grant.facts, oauth::ConfigChanged{}, change.now());
    if (!transition.taken()) return {};
    auto parts = change.open_secret(sibling);
    if (!parts) return std::unexpected(std::move(parts).error());
    parts->client_secret =
        client_secret.expose([](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); });
    if (auto told = announce(change, vault::Action::update, sibling, vault::EntryKind::rotate); !told)
        return told;
    if (auto told = oauth::post_notice(change, sibling, transition); !told) return told;
    grant.facts = std::move(transition.facts);
    if (auto stored = oauth::store_grant(change, sibling, grant); !stored) return stored;
    auto updated = sibling;
    updated.updated = change.now();
    return change.store_with_secret(updated, *parts);
}

}  // namespace

base::Result<std::vector<base::CredentialId>> repair_siblings(vault::Change& change,
                                                              const vault::Credential& repaired,
                                                              const crypto::Secret& client_secret) {
    std::vector<base::CredentialId> woken;
    if (!repaired.refresh) return woken;
    for (const auto& sibling : siblings_of(change.catalog(), repaired)) {
        auto grant = oauth::grant_of(change.catalog(), *sibling);
        if (!grant || !waits_for_operator(grant->facts)) continue;
        if (auto done = repair(change, *sibling, std::move(*grant), client_secret); !done)
            return std::unexpected(std::move(done).error());
        woken.push_back(sibling->id);
    }
    return woken;
}

}  // namespace claviger::admin::api
