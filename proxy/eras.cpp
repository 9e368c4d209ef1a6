#include "proxy/eras.h"

#include "base/bytes.h"

#include <algorithm>

namespace claviger::proxy {
namespace {

constexpr std::string_view kVersionHeader = "MCP-Protocol-Version";

/// Revisions are dates; everything from 2026-07-28 on is modern.
bool names_modern_revision(std::string_view version) {
    return version.size() == 10 && version[4] == '-' && version[7] == '-' && version >= "2026-07-28";
}

EraRefusal mismatch(std::string what) { return {400, kHeaderMismatch, std::move(what)}; }

/// The value a mirrored Mcp-Name must have, or nullptr when the method has none.
const std::string* mirrored_name(const Message& message) {
    if (message.method == "tools/call" || message.method == "prompts/get") return &message.name;
    if (message.method == "resources/read") return &message.uri;
    if (message.method == "tasks/get" || message.method == "tasks/update" || message.method == "tasks/cancel")
        return &message.task_id;
    return nullptr;
}

/// A header that is there tells the truth, on messages that need not have it too.
std::optional<EraRefusal> check_mirrored(const net::Headers& headers, const Message& message, bool required) {
    const auto method = headers.find("Mcp-Method");
    if (required && !method) return mismatch("The Mcp-Method header is missing.");
    if (method && *method != message.method)
        return mismatch("The Mcp-Method header differs from the body's method.");
    if (const auto* expected = mirrored_name(message)) {
        const auto name = headers.find("Mcp-Name");
        if (required && !name) return mismatch("The Mcp-Name header is missing.");
        const auto decoded = name ? decode_mirrored(*name) : *expected;
        if (!decoded) return mismatch("The Mcp-Name header is not valid Base64 behind its marker.");
        if (*decoded != *expected) return mismatch("The Mcp-Name header differs from the body.");
    }
    for (const auto* once : {"Mcp-Method", "Mcp-Name"})
        if (headers.count(once) > 1)
            return mismatch(std::string("The ") + once + " header appears more than once.");
    return std::nullopt;
}

}  // namespace

std::optional<std::string> decode_mirrored(std::string_view value) {
    constexpr std::string_view open = "=?base64?", close = "?=";
    if (!value.starts_with(open) || !value.ends_with(close) || value.size() < open.size() + close.size())
        return std::string(value);
    return base::from_base64(value.substr(open.size(), value.size() - open.size() - close.size()));
}

std::string encode_mirrored(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    const bool plain = std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; }) &&
                       (text.empty() || (!blank(text.front()) && !blank(text.back()))) &&
                       !(text.starts_with("=?base64?") && text.ends_with("?="));
    return plain ? std::string(text) : "=?base64?" + base::to_base64(text) + "?=";
}

std::optional<EraRefusal> check_headers(const net::Headers& headers, const Message& message) {
    const auto version = headers.find(kVersionHeader);
    if (headers.count(kVersionHeader) > 1)
        return mismatch("The MCP-Protocol-Version header appears more than once.");
    if (!message.modern) {
        if (version && names_modern_revision(*version)) {
            if (message.method == "initialize")
                return mismatch(
                    "The MCP-Protocol-Version header names a revision without a handshake, the body is an "
                    "initialize.");
            if (message.kind == MessageKind::request)
                return EraRefusal{400, kInvalidParams,
                                  "The MCP-Protocol-Version header names a revision whose requests carry it "
                                  "in params._meta too."};
        }
        return std::nullopt;
    }
    if (message.kind == MessageKind::notification)
        return check_mirrored(headers, message, false);  // they need no headers: mcp.md 3.2
    if (!message.claimed_version || !message.client_capabilities)
        return EraRefusal{400, kInvalidParams,
                          "params._meta must hold protocolVersion (string) and clientCapabilities (object)."};
    if (!version) return mismatch("The MCP-Protocol-Version header is missing.");
    if (*version != *message.claimed_version)
        return mismatch("The MCP-Protocol-Version header differs from params._meta.");
    // A revision we do not know: the server answers with what it supports.
    return check_mirrored(headers, message, names_modern_revision(*message.claimed_version));
}

bool mirrors_name(const Message& message) { return mirrored_name(message) != nullptr; }

}  // namespace claviger::proxy
