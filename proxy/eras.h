// The two protocol eras on one URL: which one a message belongs to, and whether its mirrored headers tell the
// truth.
#pragma once

#include "base/result.h"
#include "net/http.h"
#include "proxy/error_reply.h"
#include "proxy/json_rpc.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// A refusal that is due before anything else is looked at.
struct EraRefusal {
    unsigned status;
    int code;
    std::string message;
};

/// The body decides the era, never a header (mcp.md 3.3 and 17.4). For modern messages the mirrored headers
/// must equal the body; what only the server can know (supported versions, methods, tools) is left to the
/// server.
std::optional<EraRefusal> check_headers(const net::Headers& headers, const Message& message);

/// Whether Mcp-Name has a meaning for this message; where it has none it does not travel.
bool mirrors_name(const Message& message);

/// "=?base64?…?=" decoded, anything else as it is; nullopt for bad padding or alphabet.
std::optional<std::string> decode_mirrored(std::string_view value);
/// The other way round: as it is where a header can hold it, else in Base64.
std::string encode_mirrored(std::string_view text);

}  // namespace claviger::proxy
