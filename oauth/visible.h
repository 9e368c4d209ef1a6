// Which characters may stand in what others send us.
#pragma once

#include <algorithm>
#include <string_view>

namespace claviger::oauth {

/// Non-empty, 0x21 to 0x7e alone: what may stand in an Authorization header without splitting it.
inline bool is_visible(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

/// No control characters; may be empty, may have bytes above 0x7f.
inline bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte >= 0x20 && byte != 0x7f;
    });
}

}  // namespace claviger::oauth
