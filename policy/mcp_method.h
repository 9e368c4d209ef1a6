// The methods an agent may send, of both protocol eras.
#pragma once

#include <string_view>

namespace claviger::policy {

enum class McpMethod {
    unknown,    // refused: what we cannot name, we cannot decide on
    protocol,   // handshake, lists, reading, notifications, tasks: follows from the server being permitted
    tool_call,  // decided tool by tool
};

/// Exact names only; a method that an upstream would understand in another spelling is unknown here.
McpMethod classify(std::string_view method);

}  // namespace claviger::policy
