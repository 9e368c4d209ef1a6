// The server's local socket: the only way in while it is sealed.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace claviger::admin::cli {

struct LocalReply {
    unsigned status = 0;
    std::string body;
};

/// POST /v1/unseal with `secret` as the body for the slot "passphrase" or "key_file". Blocks for up to a
/// minute. Errors: "cli.unreachable".
base::Result<LocalReply> post_unseal(const std::filesystem::path& socket, std::string_view slot,
                                     const crypto::Secret& secret);

}  // namespace claviger::admin::cli
