// What an allowed call takes along to its server, made ready before anything leaves: the session there, the
// credential, the head of the request.
#pragma once

#include "base/result.h"
#include "net/client.h"
#include "proxy/handles.h"
#include "proxy/lane.h"
#include "proxy/shared_token.h"
#include "proxy/tool_call.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// The agent's Mcp-Session-Id and what it stands for; both empty when it named none.
struct LegacySession {
    std::string given, upstream;
    std::optional<std::string> for_server() const {
        return given.empty() ? std::nullopt : std::optional(upstream);
    }
};

struct Departure {
    explicit Departure(net::Worker& worker) : head(worker) {}

    LegacySession session = {};
    std::shared_ptr<const OpenedToken> token = {};             // the forms of it are looked for in the answer
    net::OutboundHead head;                                    // with the secret in it
    std::string_view body = {};                                // the call's own or the message's
    std::shared_ptr<const net::TlsIdentity> certificate = {};  // null: the server asks for none
};

/// Only once the call's intent is durable: what was revoked since the decision is not used any more. `call`
/// and `message` must live as long as the departure. Errors: not_found "session.unknown" (a session that is
/// not the agent's own); those of still_allowed, SharedToken::open, write_head, add_proof and
/// certificate_for; invalid_request "request.invalid".
base::Status prepare(Lane& lane, const Call& call, const ForServer& message, Departure& departure);

}  // namespace claviger::proxy
