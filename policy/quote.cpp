#include "policy/quote.h"

namespace claviger::policy {

std::string in_quotes(std::string_view text) {
    constexpr std::size_t kLongest = 128;
    auto size = text.size();
    if (size > kLongest) {
        size = kLongest;
        while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
    }
    std::string result = "'";
    for (const char c : text.substr(0, size))
        result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return result + (size < text.size() ? "...'" : "'");
}

}  // namespace claviger::policy
