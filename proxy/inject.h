// The outbound request: the few headers that may travel, and the credential, put in last.
#pragma once

#include "base/result.h"
#include "net/client.h"
#include "net/http.h"
#include "proxy/error_reply.h"
#include "proxy/session_context.h"

#include <optional>
#include <string>

namespace claviger::proxy {

/// Whether the agent's Mcp-Name goes along: it was compared with the body, and stands for the same thing
/// upstream.
enum class MirroredName { travels, stays };

/// Writes the head of the request to the server's own host and path. Of the agent's headers only a closed
/// list goes along: whatever else it sent (Authorization, cookies, API keys, forwarding headers) stays here.
/// `upstream_session` is the opened Mcp-Session-Id. Errors: invalid_request "request.invalid" (a header that
/// cannot be sent), denied "credential.not_sendable" (the stored secret cannot stand in a header).
base::Status write_head(net::OutboundHead& head, const net::Request& request, Era era,
                        const ServerContext& server, const std::optional<std::string>& upstream_session,
                        const crypto::Secret& secret, MirroredName mirrored_name = MirroredName::travels);

}  // namespace claviger::proxy
