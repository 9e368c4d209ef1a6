// Bytes as values, and the text forms they take: hex, base64, base64url.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace claviger::base {

/// A byte string that owns its bytes. std::string, because stores and sockets speak it.
using Bytes = std::string;
using ByteView = std::string_view;

inline std::span<const std::byte> as_span(ByteView bytes) {
    return std::as_bytes(std::span(bytes.data(), bytes.size()));
}
inline ByteView as_view(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Big-endian, fixed width: the only integer encoding on disk.
template <class Unsigned>
void append_big_endian(Bytes& out, Unsigned value) {
    for (int shift = static_cast<int>(sizeof(Unsigned)) * 8 - 8; shift >= 0; shift -= 8)
        out.push_back(static_cast<char>((value >> shift) & 0xff));
}
/// Reads sizeof(Unsigned) bytes; the caller has checked that they are there.
template <class Unsigned>
Unsigned read_big_endian(const char* at) {
    Unsigned value = 0;
    for (std::size_t i = 0; i < sizeof(Unsigned); ++i)
        value = static_cast<Unsigned>((value << 8) | static_cast<unsigned char>(at[i]));
    return value;
}

std::string to_hex(ByteView bytes);
std::optional<Bytes> from_hex(std::string_view text);
/// Standard alphabet with padding (RFC 4648 section 4). Decoding is strict: canonical padding, no spaces.
std::string to_base64(ByteView bytes);
std::optional<Bytes> from_base64(std::string_view text);
/// URL-safe alphabet without padding (RFC 4648 section 5).
std::string to_base64url(ByteView bytes);
std::optional<Bytes> from_base64url(std::string_view text);

}  // namespace claviger::base
