#include "admin/cli/secret_document.h"

#include "admin/cli/arguments.h"
#include "crypto/random.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

namespace claviger::admin::cli {
namespace {

using crypto::Secret;

/// Hands `put` every character of the secret as it stands inside a JSON string.
template <class Put>
void escape(std::span<const std::byte> secret, Put&& put) {
    constexpr std::string_view kHex = "0123456789abcdef";
    for (const auto byte : secret) {
        const char c = static_cast<char>(byte);
        if (c == '"' || c == '\\') put('\\');
        if (static_cast<unsigned char>(c) >= 0x20) {
            put(c);
            continue;
        }
        for (const char each : std::string_view("\\u00")) put(each);
        put(kHex[static_cast<unsigned char>(c) >> 4]);
        put(kHex[static_cast<unsigned char>(c) & 15]);
    }
}

/// Bytes that follow the lead byte in well-formed UTF-8 (no overlong forms, no surrogates); -1: none may.
int following(std::uint8_t lead, std::uint8_t second) {
    if (lead < 0x80) return 0;
    if (lead >= 0xc2 && lead <= 0xdf) return 1;
    if (lead == 0xe0) return second >= 0xa0 ? 2 : -1;
    if (lead == 0xed) return second <= 0x9f ? 2 : -1;
    if (lead >= 0xe1 && lead <= 0xef) return 2;
    if (lead == 0xf0) return second >= 0x90 ? 3 : -1;
    if (lead == 0xf4) return second <= 0x8f ? 3 : -1;
    return lead >= 0xf1 && lead <= 0xf3 ? 3 : -1;
}

bool is_utf8(std::span<const std::byte> bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
        const auto second = at + 1 < bytes.size() ? std::uint8_t(bytes[at + 1]) : std::uint8_t{0};
        const int more = following(std::uint8_t(bytes[at]), second);
        if (more < 0 || at + std::size_t(more) >= bytes.size()) return false;
        for (int i = 1; i <= more; ++i)
            if ((std::uint8_t(bytes[at + std::size_t(i)]) & 0xc0) != 0x80) return false;
        at += std::size_t(more) + 1;
    }
    return true;
}

}  // namespace

base::Result<std::string> SecretDocument::place(Secret secret) {
    if (!secret.expose(is_utf8))
        return usage("The secret has bytes that are not UTF-8 text, so it cannot be a token.",
                     "Check that the file holds the token itself, not an archive or a binary key.");
    auto mark = crypto::random_token_text("");
    secrets_.emplace_back(mark, std::move(secret));
    return mark;
}

Secret SecretDocument::render(const nlohmann::json& skeleton) const {
    const std::string text = skeleton.dump();
    const auto each_byte = [&](auto&& put) {
        std::string_view rest = text;
        while (!rest.empty()) {
            std::size_t at = rest.size();
            const Secret* next = nullptr;
            std::size_t mark_bytes = 0;
            for (const auto& [mark, secret] : secrets_)
                if (const auto found = rest.find(mark); found < at)
                    at = found, next = &secret, mark_bytes = mark.size();
            std::ranges::for_each(rest.substr(0, at), put);
            if (next == nullptr) break;
            next->expose([&](std::span<const std::byte> bytes) { escape(bytes, put); });
            rest.remove_prefix(at + mark_bytes);
        }
    };
    std::size_t size = 0;
    each_byte([&size](char) { ++size; });
    return Secret::filled(size, [&](std::span<std::byte> out) {
        auto at = out.begin();
        each_byte([&at](char c) { *at++ = static_cast<std::byte>(c); });
    });
}

}  // namespace claviger::admin::cli
