#include "policy/host_name.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <vector>

namespace claviger::policy {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }
bool is_label_character(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_'; }

std::string lower(std::string_view text) {
    std::string result(text);
    for (auto& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

std::vector<std::string_view> labels_of(std::string_view host) {
    std::vector<std::string_view> labels;
    for (std::size_t from = 0;;) {
        const auto dot = host.find('.', from);
        labels.push_back(host.substr(from, dot - from));
        if (dot == std::string_view::npos) return labels;
        from = dot + 1;
    }
}

/// Resolvers that follow inet_aton take such a last label for an address, whatever stands before it.
bool reads_as_number(std::string_view label) {
    if (label.starts_with("0x")) return std::ranges::all_of(label.substr(2), is_lower_hex);
    return !label.empty() && std::ranges::all_of(label, is_digit);
}

bool is_octet(std::string_view text) {
    if (text.empty() || text.size() > 3 || !std::ranges::all_of(text, is_digit)) return false;
    if (text.size() > 1 && text[0] == '0') return false;
    int value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value <= 255;
}

}  // namespace

bool is_ipv4(std::string_view host) {
    const auto labels = labels_of(host);
    return labels.size() == 4 && std::ranges::all_of(labels, is_octet);
}

std::expected<std::string, std::string> normalise_host_name(std::string_view text) {
    if (text.empty()) return std::unexpected("the host is missing");
    if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }))
        return std::unexpected("the host has non-ASCII characters; write it in punycode (xn--...)");
    auto host = lower(text);
    if (host.find('%') != std::string::npos) return std::unexpected("the host is percent-encoded");
    if (host.back() == '.') return std::unexpected("the host ends with a dot");
    if (!std::ranges::all_of(host, [](char c) { return c == '.' || is_label_character(c); }))
        return std::unexpected("the host has a character that no host name has");
    if (host.size() > 253) return std::unexpected("the host is longer than 253 characters");

    const auto labels = labels_of(host);
    for (const auto label : labels) {
        if (label.empty()) return std::unexpected("the host has an empty label");
        if (label.size() > 63) return std::unexpected("the host has a label longer than 63 characters");
        if (label.front() == '-' || label.back() == '-')
            return std::unexpected("the host has a label that begins or ends with a hyphen");
    }
    if (reads_as_number(labels.back()) && !is_ipv4(host))
        return std::unexpected(
            "the host is an IPv4 address in an unusual spelling; write it as four decimal numbers");
    return host;
}

std::expected<std::string, std::string> normalise_ipv6(std::string_view text) {
    std::array<unsigned char, 16> bytes{};
    const std::string terminated(text);
    if (text.find('\0') != std::string_view::npos ||
        inet_pton(AF_INET6, terminated.c_str(), bytes.data()) != 1)
        return std::unexpected("the host in brackets is not an IPv6 address");

    std::array<unsigned, 8> groups{};
    for (std::size_t i = 0; i < 8; ++i) groups[i] = bytes[2 * i] * 256u + bytes[2 * i + 1];
    std::size_t run_at = 8,
                run_size = 1;  // the longest run of zeros, the first of equals; a single zero is written out
    for (std::size_t i = 0; i < 8; ++i) {
        std::size_t size = 0;
        while (i + size < 8 && groups[i + size] == 0) ++size;
        if (size > run_size) run_at = i, run_size = size;
    }

    std::string result;
    for (std::size_t i = 0; i < 8;) {
        if (i == run_at) {
            result += "::";
            i += run_size;
            continue;
        }
        if (!result.empty() && result.back() != ':') result += ':';
        std::array<char, 4> hex{};
        const auto end = std::to_chars(hex.data(), hex.data() + hex.size(), groups[i], 16).ptr;
        result.append(hex.data(), end);
        ++i;
    }
    return result;
}

}  // namespace claviger::policy
