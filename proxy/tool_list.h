// tools/list answers, cut down to what the agent may call. Everything that stays, stays byte for byte.
#pragma once

#include "base/result.h"

#include <functional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// `response` is one JSON-RPC message, or a batch. Where it is a result with a `tools` array, gives it
/// without the tools that `visible` refuses; a modern result's cacheScope becomes "private" and its ttlMs at
/// most `max_ttl_ms`. Anything else comes back unchanged. invalid_request "upstream.invalid" when it is not
/// valid JSON or nests deeper than 64.
base::Result<std::string> filter_tool_list(std::string_view response,
                                           const std::function<bool(std::string_view tool)>& visible,
                                           std::uint64_t max_ttl_ms);

/// The `id` of a JSON-RPC response message as JSON text, empty when it is not a response. For matching SSE
/// events.
std::string response_id(std::string_view message);

}  // namespace claviger::proxy
