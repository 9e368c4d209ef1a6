// Numeric addresses, and which of them an outbound connection must not reach (SSRF).
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace claviger::net {

/// An IPv4 or IPv6 address in network byte order; IPv4 uses the first four bytes.
struct NumericAddress {
    enum class Family { ipv4, ipv6 };
    Family family = Family::ipv4;
    std::array<unsigned char, 16> bytes{};
    bool operator==(const NumericAddress&) const = default;
};

/// Dotted-quad IPv4 (four decimals, no leading zeros) or IPv6 without brackets and zone. Forms that only a
/// resolver would take, such as "127.1", "0x7f.1" or "2130706433", are not numeric addresses.
std::optional<NumericAddress> parse_numeric_address(std::string_view text);

/// True for loopback, private, link-local, metadata, multicast, unspecified, shared (100.64/10), IPv4-mapped,
/// NAT64 and 6to4 forms of these, and every other range of the IANA special-purpose registries that is not
/// globally reachable.
bool is_private_address(const NumericAddress& address);
/// The same for text. What is not a numeric address counts as private: in doubt nothing is connected to.
bool is_private_address(std::string_view numeric_address);

}  // namespace claviger::net
