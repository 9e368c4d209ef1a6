// The `exchange` member of a connect link: what its tokens are exchanged for (RFC 8693, RFC 7523).
#pragma once

#include "admin/api/call.h"
#include "admin/api/fields.h"
#include "oauth/connect_secrets.h"
#include "oauth/provider_profile.h"

namespace claviger::admin::api {

/// Reads it for that grant, and refuses what does not fit; a subject token that was given goes into
/// `secrets`. Nothing when there is none.
std::optional<vault::Exchange> read_exchange(Fields& in, oauth::GrantType grant,
                                             oauth::ConnectSecrets& secrets);

/// Whether the credentials whose tokens are the subject's and the actor's may lend them: of this vault,
/// connected, and no exchanges themselves; and whether the caller may say so, who has to be an admin. Errors:
/// not_found "credential.not_found", invalid_request "exchange.subject", denied "exchange.admin_only".
base::Status check_exchange(const Call& call, const vault::Vault& vault, const vault::Exchange& exchange);

}  // namespace claviger::admin::api
