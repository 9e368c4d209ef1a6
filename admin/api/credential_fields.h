// What a request says about a credential, and what an answer may say about one.
#pragma once

#include "admin/api/call.h"
#include "admin/api/fields.h"

namespace claviger::admin::api {

/// Faults of both are in the body.
struct NewCredential {
    vault::Credential credential;
    vault::SecretParts secrets;
};
NewCredential read_new_credential(Fields& in, const ApiSettings& settings, base::Time now);

/// Changes `credential` as the body says and gives the parts of its secret that are replaced.
vault::SecretParts read_credential_update(Fields& in, vault::Credential& credential, base::Time now);

Json shown(const vault::Credential& credential, const vault::CredentialUse& use);

}  // namespace claviger::admin::api
