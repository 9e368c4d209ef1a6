#include "oauth/web_url.h"

#include "net/address.h"
#include "net/http.h"

#include <charconv>

namespace claviger::oauth {
namespace {

constexpr std::size_t kMaxUrl = 2048;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool is_host_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

std::optional<std::uint16_t> port_of(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value == 0 || value > 65535)
        return std::nullopt;
    return static_cast<std::uint16_t>(value);
}

bool is_numeric(std::string_view host, net::NumericAddress::Family family) {
    const auto address = net::parse_numeric_address(host);
    return address && address->family == family;
}

/// Takes the host and the port out of "host:port".
bool read_authority(std::string_view authority, WebUrl& url) {
    std::string_view port;
    bool has_port = false;
    if (authority.starts_with('[')) {
        const auto close = authority.find(']');
        if (close == std::string_view::npos) return false;
        const auto rest = authority.substr(close + 1);
        if (!rest.empty() && rest.front() != ':') return false;
        has_port = !rest.empty();
        if (has_port) port = rest.substr(1);
        url.host = authority.substr(1, close - 1);
        for (char& c : url.host) c = lower(c);
        if (!is_numeric(url.host, net::NumericAddress::Family::ipv6)) return false;
    } else {
        const auto colon = authority.find(':');
        has_port = colon != std::string_view::npos;
        if (has_port) port = authority.substr(colon + 1);
        url.host = authority.substr(0, colon);
        if (url.host.empty() || url.host.size() > 253) return false;
        for (char& c : url.host) {
            c = lower(c);
            if (!is_host_character(c)) return false;
        }
        if (url.host.front() == '.' || url.host.find("..") != std::string::npos) return false;
    }
    url.port = url.tls ? 443 : 80;
    if (!has_port) return true;
    const auto number = port_of(port);
    if (number) url.port = *number;
    return number.has_value();
}

}  // namespace

std::string WebUrl::origin() const {
    std::string text = tls ? "https://" : "http://";
    text += host.find(':') == std::string::npos ? host : "[" + host + "]";
    if (port != (tls ? 443 : 80)) text += ":" + std::to_string(port);
    return text;
}

std::string WebUrl::target() const {
    return (path.empty() ? "/" : path) + (query.empty() ? "" : "?" + query);
}

bool WebUrl::same_origin(const WebUrl& other) const {
    return tls == other.tls && host == other.host && port == other.port;
}

bool WebUrl::loopback() const {
    if (host == "localhost" || host == "::1") return true;
    return host.starts_with("127.") && is_numeric(host, net::NumericAddress::Family::ipv4);
}

std::optional<WebUrl> parse_web_url(std::string_view text) {
    if (text.size() > kMaxUrl) return std::nullopt;
    for (const char c : text)
        if (c <= 0x20 || c >= 0x7f || c == '\\' || c == '#' || c == '"' || c == '<' || c == '>')
            return std::nullopt;
    WebUrl url;
    const auto scheme_end = text.find("://");
    if (scheme_end == std::string_view::npos) return std::nullopt;
    const auto scheme = text.substr(0, scheme_end);
    if (!net::equal_ignoring_case(scheme, "https") && !net::equal_ignoring_case(scheme, "http"))
        return std::nullopt;
    url.tls = scheme.size() == 5;
    text.remove_prefix(scheme_end + 3);
    const auto authority_end = text.find_first_of("/?");
    if (!read_authority(text.substr(0, authority_end), url)) return std::nullopt;
    if (authority_end == std::string_view::npos) return url;
    text.remove_prefix(authority_end);
    const auto question = text.find('?');
    url.path = text.substr(0, question);
    if (question != std::string_view::npos) url.query = text.substr(question + 1);
    return url;
}

std::optional<WebUrl> parse_secure_url(std::string_view text, PlainLoopback loopback) {
    auto url = parse_web_url(text);
    if (url && !url->tls && !(loopback == PlainLoopback::allow && url->loopback())) return std::nullopt;
    return url;
}

}  // namespace claviger::oauth
