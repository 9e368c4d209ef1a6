#include "admin/api/scrub.h"

#include "base/bytes.h"

#include <array>
#include <cstdint>

namespace claviger::admin::api {
namespace {

constexpr std::size_t kShownBytes = 4 * 1024;
constexpr std::string_view kRedacted = "[redacted]";
constexpr std::string_view kWithheld = "[withheld: the answer repeats the credential in an encoded form]";

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

/// JSON escapes and percent-encoding resolved, wherever they are well-formed.
std::string unescaped(std::string_view text) {
    const auto hex_at = [&](std::size_t from, std::size_t digits) {
        int value = 0;
        if (from + digits > text.size()) return -1;
        for (std::size_t i = from; i < from + digits; ++i) {
            if (hex_value(text[i]) < 0) return -1;
            value = value * 16 + hex_value(text[i]);
        }
        return value;
    };
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool escape = text[i] == '\\' && i + 1 < text.size();
        if (const int byte = text[i] == '%' ? hex_at(i + 1, 2) : -1; byte >= 0) {
            out += static_cast<char>(byte);
            i += 2;
        } else if (const int code = escape && text[i + 1] == 'u' ? hex_at(i + 2, 4) : -1;
                   code >= 0 && code < 0x80) {
            out += static_cast<char>(code);
            i += 5;
        } else if (escape && std::string_view("\"\\/").find(text[i + 1]) != std::string_view::npos) {
            out += text[++i];
        } else {
            out += text[i];
        }
    }
    return out;
}

/// What the text says when its digits, `bits` of a byte each, are read from the `skip`th on; other characters
/// between them are left out.
std::string decoded(std::string_view text, int (*value_of)(char), int bits, int skip) {
    std::string out;
    std::uint32_t waiting = 0;
    int have = 0;
    for (const char c : text) {
        const int value = value_of(c);
        if (value < 0) {
            // A line break or padding inside the encoding goes on; anything else begins anew.
            if (c != '\n' && c != '\r' && c != '=') {
                out += '\n';
                waiting = 0;
                have = 0;
            }
            continue;
        }
        if (skip > 0) {
            --skip;
            continue;
        }
        waiting = (waiting << bits) | static_cast<std::uint32_t>(value);
        have += bits;
        if (have < 8) continue;
        have -= 8;
        out += static_cast<char>((waiting >> have) & 0xff);
    }
    return out;
}

/// Each run of digits may begin at any place of a group, so every offset is tried for every run.
bool holds_encoded(std::string_view text, base::ByteView secret, int (*value_of)(char), int bits, int group) {
    for (std::size_t at = 0; at < text.size();) {
        if (value_of(text[at]) < 0) {
            ++at;
            continue;
        }
        auto end = at;
        while (end < text.size() &&
               (value_of(text[end]) >= 0 || text[end] == '\n' || text[end] == '\r' || text[end] == '='))
            ++end;
        const auto run = text.substr(at, end - at);
        for (int skip = 0; skip < group; ++skip)
            if (decoded(run, value_of, bits, skip).find(secret) != std::string::npos) return true;
        at = end;
    }
    return false;
}

bool holds(std::string_view text, base::ByteView secret) {
    const auto plain = unescaped(text);
    if (plain.find(secret) != std::string::npos || unescaped(plain).find(secret) != std::string::npos)
        return true;
    return holds_encoded(plain, secret, base64_value, 6, 4) || holds_encoded(plain, secret, hex_value, 4, 2);
}

void replace_all(std::string& text, base::ByteView secret) {
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at + kRedacted.size()))
        text.replace(at, secret.size(), kRedacted);
}

}  // namespace

std::string scrubbed(std::string text, const vault::SecretParts& secrets) {
    bool withheld = false;
    for (const auto* part : {&secrets.token, &secrets.refresh_token, &secrets.client_secret,
                             &secrets.previous_refresh_token, &secrets.dpop_key, &secrets.subject_token}) {
        if (!*part) continue;
        (*part)->expose([&](std::span<const std::byte> bytes) { replace_all(text, base::as_view(bytes)); });
    }
    for (const auto* part : {&secrets.token, &secrets.refresh_token, &secrets.client_secret,
                             &secrets.previous_refresh_token, &secrets.dpop_key, &secrets.subject_token})
        if (*part)
            (*part)->expose([&](std::span<const std::byte> bytes) {
                withheld = withheld || holds(text, base::as_view(bytes));
            });
    return withheld ? std::string(kWithheld) : text;
}

ShownBody shown_body(std::string body, const vault::SecretParts& secrets) {
    ShownBody shown{.text = scrubbed(std::move(body), secrets)};
    if (shown.text.size() > kShownBytes) {
        shown.text.resize(kShownBytes);
        shown.truncated = true;
    }
    return shown;
}

}  // namespace claviger::admin::api
