// Files in the format age-encryption.org/v1, so that holders open with age what Claviger hands out.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/recipient.h"
#include "crypto/secret.h"

namespace claviger::crypto {

inline constexpr std::size_t kMaxAgePlain = 60 * 1024;  // one chunk of the format

/// A file that `age -d -i` opens. Aborts above kMaxAgePlain. invalid_request "recipient.refused".
base::Result<base::Bytes> age_encrypt(const Recipient& recipient, const Secret& plain);

/// Whether the bytes begin like such a file.
bool is_age_file(base::ByteView bytes);
/// What is in it. invalid_request: "age.refused" for what is no age file or was changed,
/// "age.other_recipient" when none of its recipients is this identity.
base::Result<Secret> age_decrypt(const Identity& identity, base::ByteView file);

}  // namespace claviger::crypto
