// A live question to an MCP server: does it take this credential?
#pragma once

#include "admin/api/call.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::admin::api {

/// What the server answered, fit to be shown: scrubbed and cut to 4 KiB.
struct ProbeAnswer {
    unsigned status = 0;
    std::string content_type;
    std::string body;
    bool body_truncated = false;
};

struct Probe {
    static constexpr std::string_view kFirstMethod = "server/discover";
    std::string_view method = kFirstMethod;  // whose answer decided
    enum class Verdict { valid, refused, forbidden, unknown } verdict = Verdict::unknown;
    std::optional<ProbeAnswer> answer;  // none: the server was not reached
    std::string_view failure;           // the Error's code then
    std::uint64_t response_bytes = 0;
};

/// Asks `server/discover` and, when that shows no server of the modern era, `initialize`; then `tools/list`,
/// whose answer decides, because some servers let everybody come as far as that. Ends the session that it may
/// have opened. Each request has the settings' probe_timeout, answer included. `private_addresses` as for
/// calls.
net::awaitable<Probe> probe(Call& call, const vault::Credential& credential,
                            const vault::SecretParts& secrets, net::PrivateAddresses private_addresses);

}  // namespace claviger::admin::api
