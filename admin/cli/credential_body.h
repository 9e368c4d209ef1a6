// The bodies that store and change credentials, with their secrets in locked memory only.
#pragma once

#include "admin/cli/objects.h"
#include "crypto/secret.h"

#include <string>
#include <vector>

namespace claviger::admin::cli {

std::vector<Flag> new_credential_flags();
std::vector<Flag> changed_credential_flags();

/// Reads the secrets that the flags name, the main one from standard input unless a file is given.
base::Result<crypto::Secret> new_credential_body(Context& context);
/// Reads only the secrets that the flags name; `type` is the stored auth.type.
base::Result<crypto::Secret> changed_credential_body(Context& context, const std::string& type);

std::vector<Flag> next_value_flags();
/// The value that follows, from the file that a flag names or from standard input, and how it comes into use.
base::Result<crypto::Secret> next_value_body(Context& context, const std::string& type);

}  // namespace claviger::admin::cli
