// The addresses that OAuth documents carry: endpoints, issuers, resources.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::oauth {

/// Whether http:// is good enough for an address on this machine. Only for development and tests.
enum class PlainLoopback { refuse, allow };

struct WebUrl {
    bool tls = true;
    std::string host;  // lower case name, IPv4, or IPv6 without brackets
    std::uint16_t port = 443;
    std::string path;   // as given; empty or begins with '/'
    std::string query;  // as given, without '?'; empty when there is none

    /// "https://host" or "https://host:8443": what stands before the path, default port left out.
    std::string origin() const;
    /// What goes on the request line: path and query, "/" when there is no path.
    std::string target() const;
    bool same_origin(const WebUrl& other) const;
    /// "localhost", 127.0.0.0/8 or ::1.
    bool loopback() const;
};

/// An absolute http or https URL (RFC 3986) of at most 2048 visible ASCII characters, without user name,
/// fragment, backslash, or anything else that two readers could split differently. Nothing when it is not
/// one.
std::optional<WebUrl> parse_web_url(std::string_view text);

/// Parses, and accepts https alone; with PlainLoopback::allow also http on loopback.
std::optional<WebUrl> parse_secure_url(std::string_view text, PlainLoopback loopback);

}  // namespace claviger::oauth
