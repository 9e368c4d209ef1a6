// JSON-RPC batches of the 2025-03-26 revision: taken apart, and every element carried out as if it had come
// alone.
#pragma once

#include "proxy/tool_call.h"

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace claviger::proxy {

struct BatchElement {
    std::string_view text;  // within the body
    Message message;
};

/// True when the body is an array, whatever is in it.
bool is_batch(std::string_view body);

/// Errors as of parse_message, and "rpc.batch" (-32600): no element or more than 32, an array in the array,
/// requests mixed with responses, an element of a revision without batches, an initialize, an id that
/// appears twice. One bad element refuses all of them, before any was carried out.
base::Result<std::vector<BatchElement>> parse_batch(std::string_view body, JsonLimits limits);

/// Only agents that speak 2025-03-26 may send batches: their session was negotiated so; or without a session,
/// where no header names another revision. `nullopt` when it may, else the answer.
std::optional<net::Response> refuse_batch(Lane& lane, const net::Request& request,
                                          const SessionContext& context, const ServerContext& server);

/// One element after the other, each decided, noted, sent and redacted on its own. Answers with one array of
/// responses; or, from the first upstream that answers with an event stream on, with a stream of events;
/// or with 202 when no element asks for a response.
net::awaitable<void> run_batch(Lane& lane, ProxyCounters& counters, const net::Request& request,
                               std::shared_ptr<const SessionContext> context, const ServerContext& server,
                               std::vector<BatchElement> elements, net::ResponseWriter& writer);

}  // namespace claviger::proxy
