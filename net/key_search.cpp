#include "net/key_search.h"

#include "net/http.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

namespace claviger::net {

namespace {

constexpr std::size_t kLanes = 32;          // bytes that are looked at together
constexpr std::size_t kBlock = 2 * kLanes;  // pairs, by the byte that they begin with, between two branches
using Lanes = std::uint8_t __attribute__((vector_size(kLanes)));

/// The rare bytes of a key.
struct Pair {
    std::uint8_t first, second;
};
template <std::size_t kKeys>
using Pairs = std::array<Pair, kKeys>;

[[gnu::always_inline]] inline Pair rare_pair(const Key& key) {
    return {static_cast<std::uint8_t>(key.text[key.rare]), static_cast<std::uint8_t>(key.text[key.rare + 1])};
}

template <std::size_t kKeys>
struct Spread {  // over all lanes
    std::array<Lanes, kKeys> first, second;
};

/// In which of the lanes at `at` one of the pairs begins: all bits of these are set. Reads one byte more.
template <std::size_t kKeys>
[[gnu::always_inline]] inline void pairs_at(const char* at, const Spread<kKeys>& pairs, Lanes& found) {
    Lanes here, next;
    std::memcpy(&here, at, sizeof here);
    std::memcpy(&next, at + 1, sizeof next);
    here |= 0x20;
    next |= 0x20;
    found = {};
    for (std::size_t key = 0; key < kKeys; ++key)
        found |= (here == pairs.first[key]) & (next == pairs.second[key]);
}

using Words = std::array<std::uint64_t, kLanes / 8>;

[[gnu::always_inline]] inline bool any(const Lanes& lanes) {
    const auto words = std::bit_cast<Words>(lanes);
    return (words[0] | words[1] | words[2] | words[3]) != 0;
}

/// The first lane that is set; kLanes: none.
[[gnu::always_inline]] inline std::size_t first_of(const Lanes& lanes) {
    static_assert(std::endian::native == std::endian::little);
    const auto words = std::bit_cast<Words>(lanes);
    for (std::size_t i = 0; i < words.size(); ++i)
        if (words[i] != 0) return 8 * i + static_cast<std::size_t>(std::countr_zero(words[i])) / 8;
    return kLanes;
}

/// The first of the kBlock bytes at `at` that one of the pairs begins with; kBlock: none.
template <std::size_t kKeys>
[[gnu::always_inline]] inline std::size_t find_in_block(const char* at, const Spread<kKeys>& pairs) {
    Lanes low, high;
    pairs_at(at, pairs, low);
    pairs_at(at + kLanes, pairs, high);
    if (!any(low | high)) return kBlock;
    return any(low) ? first_of(low) : kLanes + first_of(high);
}

/// The first byte of `text` that one of the pairs begins with; its size: none. Copies nothing: texts may hold
/// secrets.
template <std::size_t kKeys>
[[gnu::always_inline]] inline std::size_t find_pair(std::string_view text, const Pairs<kKeys>& pairs) {
    if (text.size() <= kBlock) {
        for (std::size_t at = 0; at + 1 < text.size(); ++at)
            for (const Pair& pair : pairs)
                if ((text[at] | 0x20) == pair.first && (text[at + 1] | 0x20) == pair.second) return at;
        return text.size();
    }
    Spread<kKeys> spread;
    for (std::size_t key = 0; key < kKeys; ++key) {
        spread.first[key] = Lanes{} + pairs[key].first;
        spread.second[key] = Lanes{} + pairs[key].second;
    }
    const std::size_t last = text.size() - 1 - kBlock;  // where the last block begins, which overlaps others
    for (std::size_t at = 0; at < last; at += kBlock)
        if (const auto found = find_in_block(text.data() + at, spread); found < kBlock) return at + found;
    const auto found = find_in_block(text.data() + last, spread);
    return found < kBlock ? last + found : text.size();
}

/// Where the first of the keys stands, by its rare pair; npos: nowhere.
template <std::size_t kKeys>
[[gnu::always_inline]] inline std::size_t find_first(std::string_view text,
                                                     const std::array<Key, kKeys>& keys) {
    Pairs<kKeys> rare;
    for (std::size_t key = 0; key < kKeys; ++key) rare[key] = rare_pair(keys[key]);
    for (std::size_t at = 0; at < text.size(); ++at) {
        at += find_pair(text.substr(at), rare);
        for (const Key& key : keys)
            if (at >= key.rare && equal_ignoring_case(text.substr(at - key.rare, key.text.size()), key.text))
                return at - key.rare;
    }
    return text.npos;
}

// The same once more, for processors that look at 32 bytes with one instruction.
#ifdef __x86_64__
template <std::size_t kKeys>
[[gnu::target("avx2")]] std::size_t find_first_avx2(std::string_view text,
                                                    const std::array<Key, kKeys>& keys) {
    return find_first(text, keys);
}
#endif

template <std::size_t kKeys>
std::size_t find_any(std::string_view text, const std::array<Key, kKeys>& keys,
                     [[maybe_unused]] Vectors vectors) {
#ifdef __x86_64__
    if (vectors == Vectors::avx2) return find_first_avx2(text, keys);
#endif
    return find_first(text, keys);
}

}  // namespace

Vectors widest_vectors() {
#ifdef __x86_64__
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    return has_avx2 ? Vectors::avx2 : Vectors::baseline;
#else
    return Vectors::baseline;
#endif
}

std::size_t find_ignoring_case(std::string_view text, const Key& key, Vectors vectors) {
    return find_any(text, std::array{key}, vectors);
}

bool holds_ignoring_case(std::string_view text, const FourKeys& keys, Vectors vectors) {
    return find_any(text, keys, vectors) != text.npos;
}

}  // namespace claviger::net
