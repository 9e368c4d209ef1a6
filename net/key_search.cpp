#include "net/key_search.h"

#include "net/http.h"

#include <algorithm>
#include <cstdint>

namespace claviger::net {

namespace {

constexpr std::size_t kBlock = 64, kSmallBlock = 16;  // of pairs, by the byte that they begin with

/// Whether a pair begins among the bytes at `at`. Without a branch and in bytes alone, so that a compiler
/// puts sixteen of them into one register.
template <std::size_t kBytes>
bool pair_among(const char* at, char first, char second) {
    std::uint8_t found = 0;
    for (std::size_t i = 0; i < kBytes; ++i) {
        const auto left = static_cast<std::uint8_t>(static_cast<char>(at[i] | 0x20) == first);
        const auto right = static_cast<std::uint8_t>(static_cast<char>(at[i + 1] | 0x20) == second);
        found = static_cast<std::uint8_t>(found | (left & right));
    }
    return found != 0;
}

}  // namespace

std::size_t find_ignoring_case(std::string_view text, std::string_view key, std::size_t rare) {
    if (text.size() < key.size()) return text.npos;
    const char first = key[rare], second = key[rare + 1];
    const char* const bytes = text.data();
    const std::size_t pairs = text.size() - 1;
    for (std::size_t at = 0; at < pairs;) {
        if (at + kBlock <= pairs && !pair_among<kBlock>(bytes + at, first, second)) {
            at += kBlock;
            continue;
        }
        for (const std::size_t end = std::min(at + kBlock, pairs); at < end;) {
            if (at + kSmallBlock <= end && !pair_among<kSmallBlock>(bytes + at, first, second)) {
                at += kSmallBlock;
                continue;
            }
            for (const std::size_t small_end = std::min(at + kSmallBlock, end); at < small_end; ++at)
                if (at >= rare && (bytes[at] | 0x20) == first && (bytes[at + 1] | 0x20) == second &&
                    equal_ignoring_case(text.substr(at - rare, key.size()), key))
                    return at - rare;
        }
    }
    return text.npos;
}

}  // namespace claviger::net
