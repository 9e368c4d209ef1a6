#include "net/client.h"

#include "crypto/secret.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

namespace claviger::net {
namespace {

bool is_token(std::string_view text) {
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::ranges::all_of(text, [kMarks](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               kMarks.contains(c);
    });
}

bool is_field_text(std::string_view text) {
    return std::ranges::all_of(
        text, [](char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); });
}

bool is_visible(std::string_view text, std::string_view excluded) {
    return !text.empty() && std::ranges::all_of(text, [excluded](char c) {
        return c > 0x20 && c < 0x7f && !excluded.contains(c);
    });
}

bool is_ours_to_write(std::string_view name) {
    for (const std::string_view framing : {"host", "content-length", "transfer-encoding", "connection"})
        if (equal_ignoring_case(name, framing)) return true;
    return false;
}

}  // namespace

std::string Origin::authority() const {
    std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
    if (port != (tls ? 443 : 80)) text += ":" + std::to_string(port);
    return text;
}

OutboundHead::OutboundHead(Worker& worker) : worker_(worker) {}

OutboundHead::~OutboundHead() {
    wipe();
    if (!bytes_.empty()) worker_.give_back(std::move(bytes_));
}

void OutboundHead::wipe() {
    crypto::wipe(std::span<char>(bytes_));
    usable_ = false;
}

void OutboundHead::append(std::string_view piece) {
    if (bytes_.size() + piece.size() > bytes_.capacity()) {
        // By hand, because std::string would leave the old bytes behind in freed memory.
        std::string larger;
        larger.reserve(std::max(bytes_.capacity() * 2, bytes_.size() + piece.size()));
        larger = std::string_view(bytes_);
        crypto::wipe(std::span<char>(bytes_));
        bytes_ = std::move(larger);
    }
    bytes_ += piece;
}

void OutboundHead::begin(std::string_view method, std::string_view target, const Origin& origin) {
    wipe();
    if (bytes_.empty()) bytes_ = worker_.take_buffer();
    bytes_.clear();
    usable_ = is_token(method) && is_visible(target, "#") && is_visible(origin.host, "/\\?#@[]");
    append(method);
    append(" ");
    append(target);
    append(" HTTP/1.1\r\nHost: ");
    append(origin.authority());
    append("\r\n");
}

bool OutboundHead::is_for(std::string_view method) const {
    return bytes_.size() > method.size() && bytes_.starts_with(method) && bytes_[method.size()] == ' ';
}

void OutboundHead::finish(std::size_t body_bytes) {
    if (body_bytes > 0 || is_for("POST") || is_for("PUT") || is_for("PATCH")) {
        std::array<char, 20> digits;
        const auto* end = std::to_chars(digits.data(), digits.data() + digits.size(), body_bytes).ptr;
        append("Content-Length: ");
        append({digits.data(), static_cast<std::size_t>(end - digits.data())});
        append("\r\n");
    }
    append("\r\n");
}

bool OutboundHead::add(std::string_view name, std::string_view value) { return add(name, {}, value); }

bool OutboundHead::add(std::string_view name, std::string_view scheme, std::string_view value) {
    if (!usable_ || !is_token(name) || is_ours_to_write(name) || !is_field_text(scheme) ||
        !is_field_text(value))
        return false;
    append(name);
    append(": ");
    append(scheme);
    append(value);
    append("\r\n");
    return true;
}

}  // namespace claviger::net
