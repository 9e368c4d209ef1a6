#include "net/key_search.h"

#include "net/http.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace claviger::net {

namespace {

constexpr std::size_t kLanes = 16;          // bytes that are looked at together
constexpr std::size_t kBlock = 4 * kLanes;  // pairs, by the byte that they begin with, between two branches
using Lanes = std::uint8_t __attribute__((vector_size(kLanes)));

Lanes lower(const char* at) {
    Lanes bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    return bytes | 0x20;
}

bool any(Lanes lanes) {
    std::uint64_t halves[2];
    std::memcpy(halves, &lanes, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

/// The rare bytes of a key, each in every lane.
struct Pair {
    Lanes first, second;
};

Pair rare_pair(const Key& key) {
    return {Lanes{} + static_cast<std::uint8_t>(key.text[key.rare]),
            Lanes{} + static_cast<std::uint8_t>(key.text[key.rare + 1])};
}

/// Whether one of the pairs begins among the kBytes bytes at `at`. Reads one byte more.
template <std::size_t kBytes, std::size_t kKeys>
bool pair_among(const char* at, const std::array<Pair, kKeys>& pairs) {
    Lanes found{};
    for (std::size_t i = 0; i < kBytes; i += kLanes) {
        const Lanes first = lower(at + i), second = lower(at + i + 1);
        for (const Pair& pair : pairs) found |= (first == pair.first) & (second == pair.second);
    }
    return any(found);
}

/// Where the first of the keys stands, by its rare pair; npos: nowhere.
template <std::size_t kKeys>
std::size_t find_first(std::string_view text, const std::array<Key, kKeys>& keys) {
    std::array<Pair, kKeys> rare;
    std::ranges::transform(keys, rare.begin(), rare_pair);
    const auto stands_at = [text](const Key& key, std::size_t pair) {
        return pair >= key.rare && (text[pair] | 0x20) == key.text[key.rare] &&
               (text[pair + 1] | 0x20) == key.text[key.rare + 1] &&
               equal_ignoring_case(text.substr(pair - key.rare, key.text.size()), key.text);
    };
    const std::size_t pairs = text.empty() ? 0 : text.size() - 1;
    for (std::size_t at = 0; at < pairs;) {
        if (at + kBlock <= pairs && !pair_among<kBlock>(text.data() + at, rare)) {
            at += kBlock;
            continue;
        }
        for (const std::size_t end = std::min(at + kBlock, pairs); at < end;) {
            if (at + kLanes <= end && !pair_among<kLanes>(text.data() + at, rare)) {
                at += kLanes;
                continue;
            }
            for (const std::size_t lanes_end = std::min(at + kLanes, end); at < lanes_end; ++at)
                for (const Key& key : keys)
                    if (stands_at(key, at)) return at - key.rare;
        }
    }
    return text.npos;
}

}  // namespace

std::size_t find_ignoring_case(std::string_view text, const Key& key) {
    return find_first(text, std::array{key});
}

bool holds_ignoring_case(std::string_view text, const FourKeys& keys) {
    return find_first(text, keys) != text.npos;
}

}  // namespace claviger::net
