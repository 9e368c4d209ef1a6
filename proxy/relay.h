// The upstream's answer on its way to the agent: headers by a closed list, bodies redacted, events passed on
// as they come.
#pragma once

#include "net/client.h"
#include "net/http.h"
#include "proxy/cancellation.h"
#include "proxy/error_reply.h"
#include "proxy/handles.h"
#include "proxy/lane.h"
#include "proxy/redact.h"
#include "proxy/session_context.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// What the server owes: a response to a request, the event stream of a GET, or nothing but a status.
enum class Due { response, stream, nothing };

/// What the relay must know of the call it answers. Everything is borrowed.
struct RelayPlan {
    const SessionContext& context;
    const ServerContext& server;
    Era era;
    std::string_view method;      // of the HTTP request
    std::string_view rpc_method;  // of the message; of GET and DELETE the same
    Asked asked;
    Due due;
    std::string_view id;  // JSON text of the request's id; empty when no response is due
    bool filters_list;    // tool lists may come, and must be cut down
    bool in_batch;        // no event ids: the agent could fetch only a part of the batch with them
    std::string_view
        session_in;  // the agent's Mcp-Session-Id and what it stands for, so that the same id goes back
    std::string_view upstream_session_in;
    Cancellation& cancellation;  // may end the answer while the relay waits
};

/// For the outcome entry.
struct Relayed {
    unsigned status = 0;       // of the upstream
    std::uint64_t bytes = 0;   // towards the agent
    std::string_view failure;  // a literal code, empty when all went well
};

/// Answers through `writer`, always completely: a stream that ends without its response gets an error event
/// (mcp.md 11.2). Only JSON and event streams pass; of an error's body only a JSON-RPC message does.
net::awaitable<Relayed> relay(Lane& lane, net::Answer& answer, Redactor& redactor,
                              net::ResponseWriter& writer, const RelayPlan& plan);

}  // namespace claviger::proxy
