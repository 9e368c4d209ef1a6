#include "proxy/unescaped.h"

#include "crypto/secret.h"

#include <optional>
#include <span>
#include <utility>

namespace claviger::proxy {
namespace {

constexpr std::size_t kUnicodeEscape = 6;  // bytes of "\u0061"

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// One byte, or the code of a "\\u" escape, and how much it took; nothing taken when more is needed to
/// tell.
std::pair<unsigned, std::size_t> read(std::string_view raw) {
    const auto hex = [&](std::size_t from, std::size_t digits) -> std::optional<unsigned> {
        unsigned code = 0;
        for (std::size_t i = from; i < from + digits; ++i) {
            if (i >= raw.size()) return std::nullopt;
            const int digit = hex_digit(raw[i]);
            if (digit < 0) return 0x10000;
            code = code * 16 + static_cast<unsigned>(digit);
        }
        return code;
    };
    const auto plain = [&](std::size_t index) {
        return static_cast<unsigned>(static_cast<unsigned char>(raw[index]));
    };
    if (raw[0] == '%') {
        const auto code = hex(1, 2);
        if (!code) return {0, 0};
        return *code < 0x100 ? std::pair{*code, std::size_t{3}} : std::pair{plain(0), std::size_t{1}};
    }
    if (raw[0] != '\\') return {plain(0), 1};
    if (raw.size() == 1) return {0, 0};
    if (kEscapable.find(raw[1]) != kEscapable.npos) return {plain(1), 2};
    if (raw[1] != 'u') return {plain(0), 1};  // a control character in JSON, itself elsewhere
    const auto code = hex(2, 4);
    if (!code) return {0, 0};
    return *code < 0x10000 ? std::pair{*code, kUnicodeEscape} : std::pair{plain(0), std::size_t{1}};
}

}  // namespace

Unescaped::Unescaped(std::string_view escaped, const Unescaped* outer) {
    text.reserve(escaped.size());
    began.reserve(escaped.size() + 1);
    const auto place = [outer](std::size_t index) { return outer == nullptr ? index : outer->began[index]; };
    std::size_t i = 0;
    while (i < escaped.size()) {
        const auto [code, used] = read(escaped.substr(i));
        if (used == 0) {
            cut_short = true;
            break;
        }
        const auto put = [&](unsigned byte) {
            began.push_back(place(i));
            text.push_back(static_cast<char>(byte));
        };
        if (code < 0x80 || used < kUnicodeEscape) {
            put(code);
        } else if (code < 0x800) {  // as UTF-8, which is what a secret beyond ASCII is stored in
            put(0xc0 | code >> 6);
            put(0x80 | (code & 63));
        } else {
            put(0xe0 | code >> 12);
            put(0x80 | (code >> 6 & 63));
            put(0x80 | (code & 63));
        }
        i += used;
    }
    began.push_back(place(i));
}

Unescaped::~Unescaped() { crypto::wipe(std::span(text)); }

}  // namespace claviger::proxy
