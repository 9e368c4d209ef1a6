// Text that may hold a secret: it leaves nothing behind when it grows, and nothing when it is emptied.
#pragma once

#include "crypto/secret.h"

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace claviger::net {

/// Makes room for that many bytes. Where that takes other memory, the old is wiped; std::string would free it
/// with the bytes in it.
inline void reserve_wiping(std::string& text, std::size_t bytes) {
    if (bytes <= text.capacity()) return;
    std::string larger;
    larger.reserve(std::max(text.capacity() * 2, bytes));
    larger.append(text);
    crypto::wipe(std::span<char>(text));
    text = std::move(larger);
}

/// Appends, as reserve_wiping() makes room.
inline void append_wiping(std::string& text, std::initializer_list<std::string_view> pieces) {
    std::size_t needed = text.size();
    for (const auto piece : pieces) needed += piece.size();
    reserve_wiping(text, needed);
    text.resize_and_overwrite(needed, [&, at = text.size()](char* bytes, std::size_t size) mutable {
        for (const auto piece : pieces) at += piece.copy(bytes + at, piece.size());
        return size;
    });
}
inline void append_wiping(std::string& text, std::string_view piece) {
    append_wiping(text, std::initializer_list<std::string_view>{piece});
}

/// Makes it that many bytes long, of which the first `kept` stay and the others may be anything. Where that
/// takes other memory, the old is wiped.
inline void resize_wiping(std::string& text, std::size_t bytes, std::size_t kept) {
    if (bytes > text.capacity()) {
        std::string larger;
        larger.resize_and_overwrite(bytes, [&](char* at, std::size_t size) {
            text.copy(at, kept);
            return size;
        });
        crypto::wipe(std::span<char>(text));
        text = std::move(larger);
    } else {
        text.resize_and_overwrite(bytes, [](char*, std::size_t size) { return size; });
    }
}

/// Empties the text; its capacity stays.
inline void wipe_and_clear(std::string& text) {
    if (text.empty()) return;
    crypto::wipe(std::span<char>(text));
    text.clear();
}

}  // namespace claviger::net
