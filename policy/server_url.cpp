#include "policy/server_url.h"

#include "policy/host_name.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace claviger::policy {
namespace {

constexpr std::size_t kLongestUrl = 2047;

std::unexpected<base::Error> refuse(std::string fault, std::string hint = {}) {
    return base::failure(base::ErrorKind::invalid_request, "server_url.invalid",
                         "server URL refused: " + std::move(fault), std::move(hint));
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
int hex_value(char c) { return c <= '9' ? c - '0' : upper(c) - 'A' + 10; }

bool starts_with_no_case(std::string_view text, std::string_view upper_case) {
    return text.size() >= upper_case.size() &&
           std::ranges::equal(text.substr(0, upper_case.size()), upper_case, {}, upper);
}

base::Status check_characters(std::string_view text) {
    if (text.empty()) return refuse("it is empty", "Give a URL such as https://mcp.example.com/mcp.");
    if (text.size() > kLongestUrl) return refuse("it is longer than 2047 characters");
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f) return refuse("it has a space or a control character");
        if (byte >= 0x80)
            return refuse("it has a non-ASCII character",
                          "Write the host in punycode (xn--...) and percent-encode the path.");
        if (c == '\\') return refuse("it has a backslash", "Separate path segments with '/'.");
        if (c == '#') return refuse("it has a fragment ('#'), which is never sent to a server");
    }
    return {};
}

/// The characters RFC 3986 allows as they are; everything else must be percent-encoded.
base::Status check_encoding(std::string_view part, std::string_view name) {
    constexpr std::string_view kPlain = "-._~!$&'()*+,;=:@/?";
    for (std::size_t i = 0; i < part.size(); ++i) {
        const char c = part[i];
        if (c == '%') {
            if (i + 2 >= part.size() || !is_hex(part[i + 1]) || !is_hex(part[i + 2]))
                return refuse("its " + std::string(name) + " has a '%' that two hex digits do not follow");
            i += 2;
        } else if (!is_hex(c) && !(upper(c) >= 'A' && upper(c) <= 'Z') &&
                   kPlain.find(c) == std::string_view::npos) {
            return refuse("its " + std::string(name) + " has a character that must be percent-encoded");
        }
    }
    return {};
}

std::string decoded(std::string_view part) {
    std::string result;
    for (std::size_t i = 0; i < part.size(); ++i) {
        if (part[i] != '%') {
            result += part[i];
            continue;
        }
        result += static_cast<char>(hex_value(part[i + 1]) * 16 + hex_value(part[i + 2]));
        i += 2;
    }
    return result;
}

/// Servers and gateways disagree on who resolves dot segments, and some decode first ("%2e%2e%2f") or drop
/// ";..." parts.
base::Status check_path(std::string_view path) {
    const auto plain = decoded(path);
    for (std::size_t from = 0; from <= plain.size();) {
        const auto end = std::min(plain.find_first_of("/\\", from), plain.size());
        auto segment = std::string_view(plain).substr(from, end - from);
        segment = segment.substr(0, segment.find(';'));
        if (segment == "." || segment == "..") return refuse("its path has a '.' or '..' segment");
        from = end + 1;
    }
    if (std::ranges::any_of(plain, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
        return refuse("its path has an encoded control character");
    return {};
}

struct Authority {
    std::string host;
    bool ipv6 = false;
    std::optional<std::uint16_t> port;
};

base::Result<Authority> parse_authority(std::string_view text) {
    if (text.find('@') != std::string_view::npos)
        return refuse("it has a user name or password", "Store the secret in a credential instead.");

    Authority authority;
    std::expected<std::string, std::string> host;
    if (text.starts_with('[')) {
        const auto close = text.find(']');
        if (close == std::string_view::npos) return refuse("the bracket of its IPv6 address is not closed");
        host = normalise_ipv6(text.substr(1, close - 1));
        authority.ipv6 = true;
        text.remove_prefix(close + 1);
        if (!text.empty() && text.front() != ':') return refuse("only a port may follow the IPv6 address");
    } else {
        const auto colon = std::min(text.find(':'), text.size());
        host = normalise_host_name(text.substr(0, colon));
        text.remove_prefix(colon);
    }
    if (!host) return refuse(std::move(host).error());
    authority.host = *std::move(host);

    if (text.empty()) return authority;
    text.remove_prefix(1);
    std::uint16_t port = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (fault != std::errc() || end != text.data() + text.size() || port == 0 || text.front() == '0')
        return refuse("its port is not a number from 1 to 65535");
    authority.port = port;
    return authority;
}

std::string normal_path(std::string_view path) {
    while (path.ends_with('/')) path.remove_suffix(1);
    std::string result(path);
    for (std::size_t i = 0; i < result.size(); ++i) {
        if (result[i] != '%') continue;
        result[i + 1] = upper(result[i + 1]);
        result[i + 2] = upper(result[i + 2]);
    }
    return result;
}

}  // namespace

base::Result<ServerUrl> parse_server_url(std::string_view text) {
    if (auto fine = check_characters(text); !fine) return std::unexpected(std::move(fine).error());
    const bool tls = starts_with_no_case(text, "HTTPS://");
    if (!tls && !starts_with_no_case(text, "HTTP://"))
        return refuse("it must begin with https:// or http://");
    text.remove_prefix(tls ? 8 : 7);

    const auto authority_end = std::min(text.find_first_of("/?"), text.size());
    auto authority = parse_authority(text.substr(0, authority_end));
    if (!authority) return std::unexpected(std::move(authority).error());
    text.remove_prefix(authority_end);

    const auto path = text.substr(0, text.find('?'));
    const auto query = text.substr(path.size());  // with its '?'
    if (auto fine = check_encoding(path, "path"); !fine) return std::unexpected(std::move(fine).error());
    if (auto fine = check_encoding(query, "query"); !fine) return std::unexpected(std::move(fine).error());
    if (auto fine = check_path(path); !fine) return std::unexpected(std::move(fine).error());

    const std::uint16_t usual_port = tls ? 443 : 80;
    ServerUrl url;
    url.tls = tls;
    url.host = std::move(authority->host);
    url.port = authority->port.value_or(usual_port);
    url.target = (path.empty() ? std::string("/") : std::string(path)) + std::string(query);
    url.normal = tls ? "https://" : "http://";
    url.normal += authority->ipv6 ? "[" + url.host + "]" : url.host;
    if (url.port != usual_port) url.normal += ":" + std::to_string(url.port);
    url.normal += normal_path(path);
    url.normal += query;
    if (url.normal.size() > kLongestUrl) return refuse("it is longer than 2047 characters");
    return url;
}

base::Result<std::string> normalise_server_url(std::string_view text) {
    auto url = parse_server_url(text);
    if (!url) return std::unexpected(std::move(url).error());
    return std::move(url->normal);
}

}  // namespace claviger::policy
