// Taking a credential's secrets out of a short text that its server sent.
#pragma once

#include "vault/records.h"

#include <string>

namespace claviger::admin::api {

/// Replaces every part of the secret by "[redacted]". A text that still holds a part behind JSON escapes,
/// percent, Base64 or hex encoding is withheld as a whole. Makes no copy of a secret.
std::string scrubbed(std::string text, const vault::SecretParts& secrets);

/// The beginning of a body as an answer of ours may show it: scrubbed, then cut to 4 KiB.
struct ShownBody {
    std::string text;
    bool truncated = false;
};
ShownBody shown_body(std::string body, const vault::SecretParts& secrets);

}  // namespace claviger::admin::api
