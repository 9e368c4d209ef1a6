// The one spelling in which MCP server URLs are compared, so that a credential meets its server and no other.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace claviger::policy {

struct ServerUrl {
    bool tls = true;
    std::string host;  // lower case name, IPv4, or IPv6 without brackets
    std::uint16_t port = 443;
    std::string target;  // path and query as given, what goes on the wire; "/" when the URL has none
    std::string normal;  // what is compared and stored as the credential's place
};

/// Accepts http and https URLs of 1 to 2047 characters that every client reads alike. Scheme and host become
/// lower case, the default port and trailing slashes of the path go, percent-hex of the path becomes upper
/// case; the query is kept literally. Errors: invalid_request "server_url.invalid", with a message that names
/// the fault and never repeats the URL.
base::Result<ServerUrl> parse_server_url(std::string_view text);

/// parse_server_url(text)->normal. Normalising twice changes nothing.
base::Result<std::string> normalise_server_url(std::string_view text);

}  // namespace claviger::policy
