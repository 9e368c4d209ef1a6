// The server's local socket: the only way in while it is sealed.
#pragma once

#include "admin/cli/arguments.h"
#include "base/result.h"
#include "crypto/secret.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::admin::cli {

struct LocalReply {
    unsigned status = 0;
    std::string body;
};

/// POST /v1/unseal with `secret` as the body; `slot` is what X-Claviger-Slot says, `slot_id` may be empty.
/// Blocks for up to a minute. Errors: "cli.unreachable".
base::Result<LocalReply> post_unseal(const std::filesystem::path& socket, std::string_view slot,
                                     std::string_view slot_id, const crypto::Secret& secret);
/// GET /v1/seal. Errors: "cli.unreachable", and what the server refused with.
base::Result<nlohmann::json> seal_at(const std::filesystem::path& socket);
/// Forgets the shares that were given. Errors as seal_at().
base::Result<nlohmann::json> forget_shares(const std::filesystem::path& socket);
/// The answer's JSON, or the error in it.
base::Result<nlohmann::json> document_of(const LocalReply& reply);

/// Where --data or --socket says the socket is; nothing without them. "cli.usage" with both.
base::Result<std::optional<std::filesystem::path>> socket_of(const Arguments& arguments);

}  // namespace claviger::admin::cli
