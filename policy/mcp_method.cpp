#include "policy/mcp_method.h"

#include <algorithm>
#include <array>

namespace claviger::policy {
namespace {

/// Without tasks/list: a server lists what its credential may see, and agents that share one are not to see
/// each other's tasks.
constexpr auto kProtocol = std::to_array<std::string_view>({
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "subscriptions/listen",
    "tasks/get",
    "tasks/result",
    "tasks/update",
    "tasks/cancel",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
});

}  // namespace

McpMethod classify(std::string_view method) {
    if (method == "tools/call") return McpMethod::tool_call;
    return std::ranges::find(kProtocol, method) == kProtocol.end() ? McpMethod::unknown : McpMethod::protocol;
}

}  // namespace claviger::policy
