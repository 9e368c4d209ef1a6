// The story of the product: decide, note, open, inject, send, redact, note again.
#pragma once

#include "net/http.h"
#include "proxy/eras.h"
#include "proxy/json_rpc.h"
#include "proxy/lane.h"

#include <memory>
#include <string>

namespace claviger::proxy {

/// One authenticated message from an agent to one declared server. Lives in the coroutine that answers it.
struct Call {
    std::shared_ptr<const SessionContext>
        context;  // shared with the lane's table, which may replace it meanwhile
    const ServerContext& server;
    const net::Request& request;
    Message message;  // of GET and DELETE: method "GET" or "DELETE", no id
    Era era = Era::legacy;
    bool in_batch = false;  // its answer is one of several, so nothing of it can be fetched again
    bool renewed = false;   // its OAuth token was renewed for it; that is not done twice
    bool retried = false;   // it runs again because the server refused the token before
    bool proven = false;    // it runs again with the nonce that the server asked for
};

/// Answers the call through `writer`, whatever happens. Never opens a credential before its intent is
/// durable.
net::awaitable<void> run_call(Lane& lane, ProxyCounters& counters, const Call& call,
                              net::ResponseWriter& writer);

}  // namespace claviger::proxy
