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

/// Appends. Where that takes other memory, the old is wiped; std::string would free it with the bytes in it.
inline void append_wiping(std::string& text, std::initializer_list<std::string_view> pieces) {
    std::size_t needed = text.size();
    for (const auto piece : pieces) needed += piece.size();
    if (needed > text.capacity()) {
        std::string larger;
        larger.reserve(std::max(text.capacity() * 2, needed));
        larger.append(text);
        crypto::wipe(std::span<char>(text));
        text = std::move(larger);
    }
    std::size_t end = text.size();
    text.resize_and_overwrite(needed, [&](char* at, std::size_t size) {
        for (const auto piece : pieces) {
            piece.copy(at + end, piece.size());
            end += piece.size();
        }
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
    crypto::wipe(std::span<char>(text));
    text.clear();
}

}  // namespace claviger::net
