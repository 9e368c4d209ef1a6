// Where a key stands in a text, at a fraction of what reading the text as JSON costs.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace claviger::net {

/// `text` is in lower case and at least two bytes long; `rare` is where its two bytes begin that texts have
/// least of: only where these stand the rest is looked at. Both are letters, or otherwise the same with bit
/// 0x20 set.
struct Key {
    std::string_view text;
    std::size_t rare;
};

/// Which instructions a search uses: those of the processor it runs on, unless a test says otherwise.
enum class Vectors { baseline, avx2 };
Vectors widest_vectors();

/// Where `key` first stands in `text`, in any case of ASCII letters; npos: nowhere. Several GB/s where its
/// rare bytes are rare.
std::size_t find_ignoring_case(std::string_view text, const Key& key, Vectors vectors = widest_vectors());

/// Whether one of these keys stands in `text`, in any case of ASCII letters. The text is read once for all.
using FourKeys = std::array<Key, 4>;
bool holds_ignoring_case(std::string_view text, const FourKeys& keys, Vectors vectors = widest_vectors());

}  // namespace claviger::net
