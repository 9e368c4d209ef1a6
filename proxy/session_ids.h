// Mcp-Session-Id of the legacy era: the agent holds a sealed form of the upstream's id, bound to who it is
// and what it calls.
#pragma once

#include "proxy/session_context.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// What a server may choose: visible ASCII (mcp.md 5), and no more than 2,048 bytes of it.
bool valid_session_id(std::string_view upstream_id);

/// Opens only for the same session, server and credential; another session's id is an unknown one. No table
/// is kept, so a restart or another node changes nothing (docs/decisions/0007-sealed-session-ids.md).
/// `upstream_id` must be valid.
std::string seal_session_id(const vault::KeyRing& keys, const SessionContext& context,
                            const ServerContext& server, std::string_view upstream_id,
                            std::string_view revision = {});

struct OpenedSession {
    std::string upstream_id;
    std::string revision;  // of the protocol, as the server's answer to initialize named it; may be empty
};
std::optional<OpenedSession> open_session_id(const vault::KeyRing& keys, const SessionContext& context,
                                             const ServerContext& server, std::string_view agent_id);

}  // namespace claviger::proxy
