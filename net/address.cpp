#include "net/address.h"

#include <arpa/inet.h>

#include <cstdint>
#include <cstring>
#include <span>

namespace claviger::net {
namespace {

struct Range4 {
    std::uint32_t network;
    int prefix_bits;
};

constexpr std::uint32_t ipv4(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
    return a << 24 | b << 16 | c << 8 | d;
}

// IANA IPv4 Special-Purpose Address Registry, without the two relay addresses and the AS112 nets that are
// global.
constexpr Range4 kSpecial4[] = {
    {ipv4(0, 0, 0, 0), 8},        // this network
    {ipv4(10, 0, 0, 0), 8},       // private
    {ipv4(100, 64, 0, 0), 10},    // shared by a carrier
    {ipv4(127, 0, 0, 0), 8},      // loopback
    {ipv4(169, 254, 0, 0), 16},   // link-local, and the metadata service of clouds
    {ipv4(172, 16, 0, 0), 12},    // private
    {ipv4(192, 0, 0, 0), 24},     // protocol assignments
    {ipv4(192, 0, 2, 0), 24},     // documentation
    {ipv4(192, 88, 99, 0), 24},   // 6to4 relays, withdrawn
    {ipv4(192, 168, 0, 0), 16},   // private
    {ipv4(198, 18, 0, 0), 15},    // benchmarks
    {ipv4(198, 51, 100, 0), 24},  // documentation
    {ipv4(203, 0, 113, 0), 24},   // documentation
    {ipv4(224, 0, 0, 0), 4},      // multicast
    {ipv4(240, 0, 0, 0), 4},      // reserved, and 255.255.255.255
};

bool is_private4(std::uint32_t address) {
    for (const auto& range : kSpecial4)
        if ((address ^ range.network) >> (32 - range.prefix_bits) == 0) return true;
    return false;
}

std::uint32_t word_at(std::span<const unsigned char> bytes, std::size_t at) {
    return ipv4(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

bool is_private6(std::span<const unsigned char, 16> bytes) {
    const auto first = word_at(bytes, 0);
    const auto second = word_at(bytes, 4);
    const auto third = word_at(bytes, 8);
    const auto last = word_at(bytes, 12);
    if (first == 0 && second == 0 && third == 0x0000ffff)
        return is_private4(last);  // ::ffff:0:0/96, IPv4-mapped
    if (first == 0x0064ff9b && second == 0 && third == 0) return is_private4(last);  // 64:ff9b::/96, NAT64
    // Global unicast is 2000::/3 alone. The rest is loopback, unspecified, IPv4-compatible, discard
    // (100::/64), local NAT64 (64:ff9b:1::/48), segment routing (5f00::/16), unique local, link-local,
    // site-local, multicast or unassigned.
    if (first >> 29 != 1) return true;
    if (first >> 9 == 0x20010000u >> 9) return true;    // 2001::/23, protocol assignments and Teredo
    if (first == 0x20010db8) return true;               // 2001:db8::/32, documentation
    if (first >> 12 == 0x3fff0000u >> 12) return true;  // 3fff::/20, documentation
    if (first >> 16 == 0x2002)                          // 2002::/16, 6to4: the IPv4 address comes next
        return is_private4(first << 16 | second >> 16);
    return false;
}

}  // namespace

std::optional<NumericAddress> parse_numeric_address(std::string_view text) {
    char terminated[INET6_ADDRSTRLEN];
    if (text.empty() || text.size() >= sizeof terminated || text.find('\0') != text.npos) return std::nullopt;
    std::memcpy(terminated, text.data(), text.size());
    terminated[text.size()] = '\0';
    NumericAddress address;
    if (inet_pton(AF_INET, terminated, address.bytes.data()) == 1) return address;
    address = {NumericAddress::Family::ipv6, {}};
    if (inet_pton(AF_INET6, terminated, address.bytes.data()) == 1) return address;
    return std::nullopt;
}

bool is_private_address(const NumericAddress& address) {
    if (address.family == NumericAddress::Family::ipv4) return is_private4(word_at(address.bytes, 0));
    return is_private6(address.bytes);
}

bool is_private_address(std::string_view numeric_address) {
    const auto address = parse_numeric_address(numeric_address);
    return !address || is_private_address(*address);
}

}  // namespace claviger::net
