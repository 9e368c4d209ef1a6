#include "net/client.h"

#include "crypto/secret.h"
#include "net/wiping.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

namespace claviger::net {
namespace {

using Bytes = std::array<bool, 256>;  // which may stand somewhere

/// RFC 9110 5.6.2.
constexpr Bytes kTokenBytes = [] {
    Bytes allowed{};
    for (unsigned c = 0; c < 256; ++c)
        allowed[c] = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    for (const char c : std::string_view("!#$%&'*+-.^_`|~")) allowed[static_cast<unsigned char>(c)] = true;
    return allowed;
}();

constexpr Bytes visible_but(std::string_view excluded) {
    Bytes allowed{};
    for (unsigned c = 0x21; c < 0x7f; ++c) allowed[c] = true;
    for (const char c : excluded) allowed[static_cast<unsigned char>(c)] = false;
    return allowed;
}
constexpr Bytes kTargetBytes = visible_but("#"), kHostBytes = visible_but("/\\?#@[]");

bool consists_of(std::string_view text, const Bytes& allowed) {
    return !text.empty() &&
           std::ranges::all_of(text, [&](char c) { return allowed[static_cast<unsigned char>(c)]; });
}

/// Looks at all of it, without a branch: nearly always it is, and so a compiler can take many bytes at once.
bool is_field_text(std::string_view text) {
    bool good = true;
    for (const char c : text) good &= (c == '\t') | ((static_cast<unsigned char>(c) >= 0x20) & (c != 0x7f));
    return good;
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

void OutboundHead::begin(std::string_view method, std::string_view target, const Origin& origin) {
    wipe();
    if (bytes_.empty()) bytes_ = worker_.take_buffer();
    bytes_.clear();
    usable_ = consists_of(method, kTokenBytes) && consists_of(target, kTargetBytes) &&
              consists_of(origin.host, kHostBytes);
    append_wiping(bytes_, {method, " ", target, " HTTP/1.1\r\nHost: ", origin.authority(), "\r\n"});
}

bool OutboundHead::is_for(std::string_view method) const {
    return bytes_.size() > method.size() && bytes_.starts_with(method) && bytes_[method.size()] == ' ';
}

void OutboundHead::finish(std::size_t body_bytes) {
    if (body_bytes > 0 || is_for("POST") || is_for("PUT") || is_for("PATCH")) {
        std::array<char, 20> digits;
        const auto* end = std::to_chars(digits.data(), digits.data() + digits.size(), body_bytes).ptr;
        append_wiping(
            bytes_,
            {"Content-Length: ", {digits.data(), static_cast<std::size_t>(end - digits.data())}, "\r\n"});
    }
    append_wiping(bytes_, {"\r\n"});
}

bool OutboundHead::add(std::string_view name, std::string_view value) { return add(name, {}, value); }

bool OutboundHead::add(std::string_view name, std::string_view scheme, std::string_view value) {
    if (!usable_ || !consists_of(name, kTokenBytes) || is_ours_to_write(name) || !is_field_text(scheme) ||
        !is_field_text(value))
        return false;
    append_wiping(bytes_, {name, ": ", scheme, value, "\r\n"});
    return true;
}

}  // namespace claviger::net
