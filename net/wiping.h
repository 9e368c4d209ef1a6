// Text that may hold a secret: it leaves nothing behind when it grows, and nothing when it is emptied.
#pragma once

#include "crypto/secret.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace claviger::net {

/// Appends. Where that takes other memory, the old is wiped; std::string would free it with the bytes in it.
inline void append_wiping(std::string& text, std::string_view piece) {
    const std::size_t needed = text.size() + piece.size();
    if (needed > text.capacity()) {
        std::string larger;
        larger.reserve(std::max(text.capacity() * 2, needed));
        larger.append(text);
        crypto::wipe(std::span<char>(text));
        text = std::move(larger);
    }
    text.append(piece);
}

/// Empties the text; its capacity stays.
inline void wipe_and_clear(std::string& text) {
    crypto::wipe(std::span<char>(text));
    text.clear();
}

}  // namespace claviger::net
