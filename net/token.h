// The characters that HTTP grammar is made of.
#pragma once

#include <array>
#include <string_view>

namespace claviger::net {

constexpr std::array<bool, 256> make_token_table() {
    std::array<bool, 256> table{};
    for (const char c :
         std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        table[static_cast<unsigned char>(c)] = true;
    return table;
}

/// May stand in a method or a header name (RFC 9110 5.6.2).
inline bool is_token(char c) {
    static constexpr auto kToken = make_token_table();
    return kToken[static_cast<unsigned char>(c)];
}

/// May not stand in a header value.
inline bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

}  // namespace claviger::net
