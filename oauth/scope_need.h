// A call that needs more than its grant allows: what is missing, and who can help (oauth.md 1.15).
#pragma once

#include "base/result.h"
#include "oauth/scopes.h"
#include "oauth/stored_grant.h"

#include <string_view>

namespace claviger::oauth {

struct ScopeNeed {
    enum class Remedy {
        consent,        // a person grants them: a connect link asks for what there was and for these
        configuration,  // tokens are minted without a person: an administrator widens what is asked for
        none            // they were asked for before, and the authorization server did not give them
    };
    Scopes missing = {};  // empty: the server named none
    Remedy remedy = Remedy::consent;
};

/// `challenged` as the server named them: names that no scope can have are left out (RFC 6749 3.3), and of
/// very many all. Where it names none, those that the operation was found to need before.
ScopeNeed scope_need(const vault::Credential& credential, const StoredGrant& grant,
                     std::string_view operation, const Scopes& challenged);

/// Denied "upstream.insufficient_scope", with the names in its message.
base::Error why_out_of_scope(const ScopeNeed& need);

/// The names among `scopes` that may be stored and shown; none at all of more than 64.
Scopes presentable(const Scopes& scopes);
/// The name under which an operation's needs are kept: printable, at most 128 characters.
std::string operation_name(std::string_view operation);

}  // namespace claviger::oauth
