#include "base/id.h"

namespace claviger::base {
namespace {
constexpr std::string_view kAlphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
constexpr std::size_t kTextSize = 22;
}  // namespace

std::string to_base58(const RawId& id) {
    RawId number = id;
    std::string text(kTextSize, '1');
    for (std::size_t place = kTextSize; place-- > 0;) {
        unsigned remainder = 0;
        for (auto& digit : number) {
            const unsigned value = remainder * 256 + digit;
            digit = static_cast<unsigned char>(value / 58);
            remainder = value % 58;
        }
        text[place] = kAlphabet[remainder];
    }
    return text;
}

std::optional<RawId> from_base58(std::string_view text) {
    if (text.size() != kTextSize) return std::nullopt;
    RawId number{};
    for (const char c : text) {
        const auto digit = kAlphabet.find(c);
        if (digit == std::string_view::npos) return std::nullopt;
        unsigned carry = static_cast<unsigned>(digit);
        for (std::size_t i = number.size(); i-- > 0;) {
            const unsigned value = number[i] * 58U + carry;
            number[i] = static_cast<unsigned char>(value & 0xff);
            carry = value >> 8;
        }
        if (carry != 0) return std::nullopt;  // larger than 16 bytes
    }
    return number;
}

}  // namespace claviger::base
