// What the proxy must know of a JSON-RPC message, read strictly; the message itself is forwarded byte for
// byte.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

enum class MessageKind { request, notification, response };

struct Message {
    MessageKind kind = MessageKind::request;
    std::string method;          // decoded; empty for responses
    std::string id;              // JSON text exactly as sent (7, "a"); empty for notifications
    std::string name;            // params.name, decoded: tool or prompt
    std::string uri;             // params.uri
    std::string task_id;         // params.taskId
    std::string progress_token;  // JSON text of params._meta.progressToken
    /// params._meta["io.modelcontextprotocol/protocolVersion"]: its presence, of whatever type, makes a
    /// message modern (mcp.md 3.3); the text when it is a string.
    bool modern = false;
    std::optional<std::string> claimed_version;
    bool client_capabilities =
        false;  // params._meta["io.modelcontextprotocol/clientCapabilities"] is an object
    bool has_arguments = false;
    bool may_hold_handles = false;  // a task id, request state or cursor, where handle_rewriter.h finds it
};

/// Of the _meta of a message that belongs to a task of the 2025-11-25 revision.
inline constexpr std::string_view kRelatedTaskKey = "io.modelcontextprotocol/related-task";

/// Readers that ignore case (Go's encoding/json does, with Unicode folding) take "Method" or "method" spelled
/// with U+017F for "method": what they would read must be what is decided on.
bool spelled_alike(std::string_view key, std::string_view known);

struct JsonLimits {
    std::size_t depth = 64;
};

/// RFC 8259 strictly, UTF-8 checked, no duplicate key among jsonrpc, method, id, params, result, error at the
/// top, nor among name, uri, taskId, cursor, requestState, _meta, arguments in params, nor of the version and
/// related-task keys in _meta; in the first two places and for the last no other spelling of these keys
/// either
/// ("Method"), because some servers ignore case.
/// Error codes: "json.invalid" (-32700), "json.too_deep" (-32700), "rpc.batch" (-32600: arrays are refused),
/// "rpc.invalid" (-32600: not an object, jsonrpc not "2.0", id null or of another type, method not a string,
/// both result and error, …), "rpc.duplicate_key" (-32600). On an error `id_if_known` holds the id's JSON
/// text when it could be read.
base::Result<Message> parse_message(std::string_view body, JsonLimits limits, std::string& id_if_known);

/// The JSON text of params.arguments as it stands, for policies with argument conditions. Call only on a body
/// that parse_message accepted.
std::string arguments_text(std::string_view body);

/// JSON string literal of `text`, quotes included; invalid UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

}  // namespace claviger::proxy
