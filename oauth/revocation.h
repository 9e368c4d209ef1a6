// Tokens that nobody will use again, on their way to being revoked where they came from (RFC 7009 and the
// ways of providers that do not know it). Nothing here waits for the server: the outbox does.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/stored_grant.h"
#include "vault/records.h"

#include <string_view>

namespace claviger::oauth {

/// What is left of a credential for whoever revokes its tokens; rests in an outbox item.
struct RevocationJob {
    vault::Credential credential;  // as it was; it may be gone
    StoredGrant grant;
    bool ends_grant = false;  // the credential was let go, and its grant ends with this
    vault::SecretParts parts = {};
};

/// For GrantHooks.revoke, inside Records::change: `strays` are tokens of this credential that were superseded
/// before they were used. Where they have no client secret the credential's own is taken, while it has one.
base::Status revoke_strays(vault::Change& change, const vault::Credential& credential,
                           const StoredGrant& grant, vault::SecretParts strays);

enum class LetGo { archived, erased };
/// Row 22, inside the change that archives or deletes a credential, before its secret is purged: its tokens
/// go into the outbox in the same commit if it has a refresh block, and `connection.deleted` is told. An
/// archived credential's grant is revoking from then on, or revoked when there is nothing to revoke. Does
/// nothing for credentials that are no OAuth grant. A secret that does not open is no reason to keep a
/// credential: the log says so, and it goes unrevoked.
base::Status let_go(vault::Change& change, const vault::Credential& credential, LetGo how);

/// Corrupt "revocation.refused" when the item is not one of revoke_strays() and let_go().
base::Result<RevocationJob> read_job(const vault::KeyRing& keys, const vault::OutboxItem& item);

}  // namespace claviger::oauth
