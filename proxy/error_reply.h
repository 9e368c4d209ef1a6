// What an agent is told when a message is not answered by its server. One table from error kinds to the wire.
#pragma once

#include "base/result.h"
#include "net/http.h"

#include <span>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// JSON-RPC codes of our own lie outside the reserved range -32768 to -32000
/// (docs/decisions/0006-refusals-on-the-wire.md).
inline constexpr int kDenied = 40301;
inline constexpr int kUpstreamRefused = 40302;   // the server refused the stored credential
inline constexpr int kGrantUnavailable = 50301;  // its token is being renewed, or cannot be right now
inline constexpr int kUpstreamFailed = 50201;
inline constexpr int kUpstreamTimeout = 50401;
inline constexpr int kHeaderMismatch = -32020;
inline constexpr int kInvalidParams = -32602;
inline constexpr int kMethodNotFound = -32601;

struct Wire {
    unsigned status;
    int code;
};
/// For a request with an id; the code string decides where kinds are too coarse (upstream.*, json.*).
Wire wire_of(const base::Error& error);

/// {"jsonrpc":"2.0","id":…,"error":{"code":…,"message":…,"data":{"code":…,"hint":…}}}; `id` is JSON text, ""
/// becomes null.
std::string error_body(std::string_view id, int code, std::string_view message, std::string_view data_code,
                       std::string_view hint);
/// A 401 has a bare Bearer challenge: no resource_metadata, so no client starts OAuth against us.
net::Response error_reply(std::string_view id, const base::Error& error);
net::Response error_reply(std::string_view id, unsigned status, int code, std::string_view message,
                          std::string_view data_code = {}, std::string_view hint = {});
/// error_reply(), with data.missing_scopes: what the credential's grant would have to allow as well.
net::Response scopes_reply(std::string_view id, const base::Error& error,
                           std::span<const std::string> scopes);
/// A result that the model reads: the tool exists, but not now. Modern results carry resultType.
enum class Era { legacy, modern };
net::Response refused_result(std::string_view id, Era era, std::string_view text);
net::Response json_reply(unsigned status, std::string body);

}  // namespace claviger::proxy
