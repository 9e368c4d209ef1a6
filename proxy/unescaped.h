// What a reader makes of a text once it has taken the escapes away.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::proxy {

inline constexpr std::string_view kEscapable = "\"\\/";  // what stands for itself behind a backslash in JSON

/// A text with its escapes taken away ("\u0061", "\/", "%61"), and where each byte of it began.
struct Unescaped {
    std::string text;
    std::vector<std::size_t> began;  // one more than text: where the rest begins
    bool cut_short = false;          // the last escape is not complete

    explicit Unescaped(std::string_view raw);
    ~Unescaped();
    Unescaped(const Unescaped&) = delete;
    Unescaped& operator=(const Unescaped&) = delete;
};

}  // namespace claviger::proxy
