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

/// Takes the URL of a server that will be sent a secret, and its normal form.
std::string read_server_url(Fields& in, std::string_view name, const ApiSettings& settings,
                            std::string& normal);

Json shown(const vault::Credential& credential, const vault::CredentialUse& use);

}  // namespace claviger::admin::api
