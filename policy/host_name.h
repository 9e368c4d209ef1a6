// One spelling per host: what a URL and a network rule may call a machine.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace claviger::policy {

/// A name or an IPv4 address in its only accepted spelling, lower case, without a trailing dot. The error is
/// a clause for a message: "the host has an empty label". Refused because resolvers read them differently
/// from people: 127.1, 0x7f.1, 2130706433, octal digits, percent-encoding, non-ASCII names (punycode is
/// accepted).
std::expected<std::string, std::string> normalise_host_name(std::string_view text);

/// RFC 5952 without brackets, never dotted: "::FFFF:1.2.3.4" is "::ffff:102:304". Refuses zones ("%eth0").
std::expected<std::string, std::string> normalise_ipv6(std::string_view text);

/// Four canonical decimal numbers.
bool is_ipv4(std::string_view host);

}  // namespace claviger::policy
