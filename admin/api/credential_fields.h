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

/// The value that follows the stored one, from `auth`: of the same type, and nothing else.
crypto::Secret read_next_value(Fields& in, const vault::Credential& credential);

/// `rotate_by`: by when the value is to be rotated; none when absent or null.
std::optional<base::Time> read_deadline(Fields& in, base::Time now);

/// Takes the URL of a server that will be sent a secret, and its normal form.
std::string read_server_url(Fields& in, std::string_view name, const ApiSettings& settings,
                            std::string& normal);

/// `rotation` as shown_rotation() gives it; null is left out.
Json shown(const vault::Credential& credential, const vault::CredentialUse& use, Json rotation);

}  // namespace claviger::admin::api
