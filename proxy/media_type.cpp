#include "proxy/media_type.h"

#include <algorithm>
#include <string>

namespace claviger::proxy {

std::string_view media_type(const net::ResponseHead& head) {
    const auto value = head.headers.find("Content-Type");
    if (!value || head.headers.count("Content-Type") != 1) return {};
    const auto end = value->find_first_of("; \t");
    if (end == value->npos) return *value;
    std::string lower(*value);
    std::ranges::transform(lower, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (const auto at = lower.find("charset="); at != lower.npos) {
        auto charset = std::string_view(lower).substr(at + 8);
        charset = charset.substr(0, charset.find_first_of("; \t"));
        if (charset != "utf-8" && charset != "\"utf-8\"") return {};
    }
    return value->substr(0, end);
}

bool is_json(const net::ResponseHead& head) {
    return net::equal_ignoring_case(media_type(head), "application/json");
}
bool is_event_stream(const net::ResponseHead& head) {
    return net::equal_ignoring_case(media_type(head), "text/event-stream");
}

}  // namespace claviger::proxy
