#include "proxy/media_type.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace claviger::proxy {
namespace {

MediaType type_named(std::string_view name) {
    if (net::equal_ignoring_case(name, "application/json")) return MediaType::json;
    if (net::equal_ignoring_case(name, "text/event-stream")) return MediaType::event_stream;
    return MediaType::other;
}

/// Of a Content-Type with parameters, none of which is a charset that is not read.
bool is_utf8(std::string_view value) {
    std::string lower(value);
    std::ranges::transform(lower, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const auto at = lower.find("charset=");
    if (at == lower.npos) return true;
    auto charset = std::string_view(lower).substr(at + 8);
    charset = charset.substr(0, charset.find_first_of("; \t"));
    return charset == "utf-8" || charset == "\"utf-8\"";
}

}  // namespace

MediaType media_type(const net::ResponseHead& head) {
    const auto value = head.headers.find_only("Content-Type");
    if (!value) return MediaType::other;
    const auto end = value->find_first_of("; \t");
    if (end == value->npos) return type_named(*value);
    return is_utf8(*value) ? type_named(value->substr(0, end)) : MediaType::other;
}

}  // namespace claviger::proxy
