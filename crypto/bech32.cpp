#include "crypto/bech32.h"

#include <algorithm>

namespace claviger::crypto {
namespace {

constexpr std::string_view kAlphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
constexpr std::size_t kSymbols = 52, kChecksum = 6;  // 32 bytes in fives of bits

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

class Checksum {
public:
    explicit Checksum(std::string_view prefix) {
        for (const char c : prefix) add(static_cast<unsigned char>(lower(c)) >> 5);
        add(0);
        for (const char c : prefix) add(static_cast<unsigned char>(lower(c)) & 31);
    }
    void add(unsigned value) {
        constexpr std::uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
        const auto top = state_ >> 25;
        state_ = (state_ & 0x1ffffff) << 5 ^ value;
        for (unsigned i = 0; i < 5; ++i)
            if (top >> i & 1) state_ ^= generator[i];
    }
    std::uint32_t state() const { return state_; }

private:
    std::uint32_t state_ = 1;
};

}  // namespace

base::Bytes to_bech32(std::string_view prefix, std::span<const std::byte, 32> key) {
    base::Bytes text;
    text.reserve(prefix.size() + 1 + kSymbols + kChecksum);
    text.append(prefix).push_back('1');
    Checksum sum(prefix);
    const auto put = [&](unsigned value) {
        sum.add(value);
        text.push_back(kAlphabet[value]);
    };
    unsigned bits = 0, held = 0;
    for (const auto byte : key) {
        bits = (bits << 8 | std::to_integer<unsigned>(byte)) & 0xfff;
        for (held += 8; held >= 5; held -= 5) put(bits >> (held - 5) & 31);
    }
    put(bits << (5 - held) & 31);
    for (std::size_t i = 0; i < kChecksum; ++i) sum.add(0);
    for (std::size_t i = 0; i < kChecksum; ++i)
        text.push_back(kAlphabet[(sum.state() ^ 1) >> (5 * (kChecksum - 1 - i)) & 31]);
    return text;
}

std::optional<Key> from_bech32(std::string_view prefix, std::string_view text) {
    if (text.size() != prefix.size() + 1 + kSymbols + kChecksum) return std::nullopt;
    const bool upper = std::ranges::any_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
    const bool small = std::ranges::any_of(text, [](char c) { return c >= 'a' && c <= 'z'; });
    if (upper && small) return std::nullopt;
    if (!std::ranges::equal(prefix, text.substr(0, prefix.size()), {}, lower, lower) ||
        text[prefix.size()] != '1')
        return std::nullopt;
    Checksum sum(prefix);
    bool good = true;
    auto key = Key::filled([&](std::span<std::byte> out) {
        unsigned bits = 0, held = 0;
        std::size_t filled = 0;
        for (std::size_t i = 0; i < kSymbols + kChecksum && good; ++i) {
            const auto value = kAlphabet.find(lower(text[prefix.size() + 1 + i]));
            good = value != std::string_view::npos;
            if (!good) break;
            sum.add(static_cast<unsigned>(value));
            if (i >= kSymbols) continue;
            bits = (bits << 5 | static_cast<unsigned>(value)) & 0xfff;
            held += 5;
            if (held < 8) continue;
            held -= 8;
            out[filled++] = static_cast<std::byte>(bits >> held & 0xff);
        }
        good = good && sum.state() == 1 && (bits & ((1U << held) - 1)) == 0;
    });
    if (!good) return std::nullopt;
    return key;
}

}  // namespace claviger::crypto
