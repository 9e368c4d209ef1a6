#include "oauth/grant_hold.h"

#include "oauth/grant_event.h"
#include "oauth/grant_notice.h"
#include "oauth/stored_grant.h"

#include <utility>

namespace claviger::oauth {
namespace {

base::Status take(vault::Change& change, const vault::Credential& credential, StoredGrant grant,
                  const GrantEvent& event, std::string_view reason) {
    auto transition = apply(grant.facts, event, change.now());
    if (!transition.taken())
        return base::failure(base::ErrorKind::conflict, "grant.nothing_to_hold",
                             "No account is connected to credential " + credential.id.text() + ".",
                             "Connect it first; a credential without an account is not used.");
    change.note_grant(vault::Action::update, credential, reason);
    if (auto told = post_notice(change, credential, transition); !told) return told;
    grant.facts = std::move(transition.facts);
    return store_grant(change, credential, grant);
}

}  // namespace

base::Status suspend_grant(vault::Change& change, const vault::Credential& credential) {
    auto grant = grant_of(change.catalog(), credential);
    if (!grant) return std::unexpected(std::move(grant).error());
    if (grant->facts.state == GrantState::suspended) return {};
    return take(change, credential, std::move(*grant), Suspended{}, "grant.suspended");
}

base::Status resume_grant(vault::Change& change, const vault::Credential& credential) {
    auto grant = grant_of(change.catalog(), credential);
    if (!grant) return std::unexpected(std::move(grant).error());
    if (grant->facts.state != GrantState::suspended) return {};
    return take(change, credential, std::move(*grant), Resumed{}, "grant.resumed");
}

}  // namespace claviger::oauth
