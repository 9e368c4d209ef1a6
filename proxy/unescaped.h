// What a reader makes of a text once it has taken the escapes away.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::proxy {

inline constexpr std::string_view kEscapable = "\"\\/";  // what stands for itself behind a backslash in JSON

/// A text with its escapes taken away ("\u0061", "\/", "%61"), and where each byte of it began.
struct Unescaped {
    std::string text;
    std::vector<std::size_t> began;  // in the raw text; one more than text: where the rest begins
    bool cut_short = false;          // the last escape is not complete

    /// `outer`: the reading whose text this is of, as escapes may stand behind escapes; null: of the raw
    /// text.
    Unescaped(std::string_view escaped, const Unescaped* outer);
    ~Unescaped();
    Unescaped(const Unescaped&) = delete;
    Unescaped& operator=(const Unescaped&) = delete;
};

/// Of one text, each of them of the text of the one before.
using Readings = std::vector<std::unique_ptr<const Unescaped>>;

}  // namespace claviger::proxy
