#include "crypto/age_file.h"

#include "base/require.h"
#include "crypto/hash.h"
#include "crypto/random.h"

#include <sodium.h>

#include <array>
#include <string>

namespace claviger::crypto {
namespace {

using base::Bytes;
using base::ByteView;
using base::ErrorKind;

constexpr std::string_view kVersionLine = "age-encryption.org/v1\n";
constexpr std::string_view kStanza = "-> X25519 ";
constexpr std::string_view kMacLine = "---";  // and a space, which the MAC does not cover
constexpr std::size_t kFileKeyBytes = 16, kNonceBytes = 16, kMaxHeader = 16 * 1024;
constexpr std::size_t kTag = crypto_aead_chacha20poly1305_ietf_ABYTES;
constexpr std::array<unsigned char, crypto_aead_chacha20poly1305_ietf_NPUBBYTES> kZeroNonce{};
/// The only chunk is also the last.
constexpr std::array<unsigned char, crypto_aead_chacha20poly1305_ietf_NPUBBYTES> kLastChunk{0, 0, 0, 0, 0, 0,
                                                                                            0, 0, 0, 0, 0, 1};

const unsigned char* raw(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
const unsigned char* raw(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
ByteView view(const Recipient& recipient) {
    return {reinterpret_cast<const char*>(recipient.key.data()), recipient.key.size()};
}

Bytes unpadded(ByteView bytes) {
    auto text = base::to_base64(bytes);
    while (text.ends_with('=')) text.pop_back();
    return text;
}
std::optional<Bytes> from_unpadded(std::string_view text) {
    if (text.ends_with('=')) return std::nullopt;
    return base::from_base64(std::string(text) + std::string((4 - text.size() % 4) % 4, '='));
}

Bytes seal_with(const Key& key, ByteView nonce, std::span<const std::byte> plain) {
    Bytes out(plain.size() + kTag, '\0');
    key.expose([&](std::span<const std::byte> k) {
        crypto_aead_chacha20poly1305_ietf_encrypt(reinterpret_cast<unsigned char*>(out.data()), nullptr,
                                                  raw(plain), plain.size(), nullptr, 0, nullptr, raw(nonce),
                                                  raw(k));
    });
    return out;
}

std::optional<Secret> open_with(const Key& key, ByteView nonce, ByteView sealed) {
    if (sealed.size() < kTag) return std::nullopt;
    bool good = true;
    auto plain = Secret::filled(sealed.size() - kTag, [&](std::span<std::byte> out) {
        key.expose([&](std::span<const std::byte> k) {
            good = crypto_aead_chacha20poly1305_ietf_decrypt(reinterpret_cast<unsigned char*>(out.data()),
                                                             nullptr, nullptr, raw(sealed), sealed.size(),
                                                             nullptr, 0, raw(nonce), raw(k)) == 0;
        });
    });
    if (!good) return std::nullopt;
    return plain;
}

template <std::size_t N>
ByteView view(const std::array<unsigned char, N>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), N};
}

Key wrapping_key(const Key& shared, const Recipient& ephemeral, const Recipient& recipient) {
    Bytes salt(view(ephemeral));
    salt.append(view(recipient));
    return shared.expose([&](std::span<const std::byte> bytes) {
        return hkdf_sha256(bytes, salt, "age-encryption.org/v1/X25519");
    });
}

Digest header_mac(const Secret& file_key, ByteView header) {
    const auto key =
        file_key.expose([](std::span<const std::byte> bytes) { return hkdf_sha256(bytes, {}, "header"); });
    const auto secret = key.expose([](std::span<const std::byte> bytes) { return Secret::copy_of(bytes); });
    return hmac_sha256(secret, {header});
}

Key payload_key(const Secret& file_key, ByteView nonce) {
    return file_key.expose(
        [&](std::span<const std::byte> bytes) { return hkdf_sha256(bytes, nonce, "payload"); });
}

std::unexpected<base::Error> refused(std::string detail) {
    return base::failure(
        ErrorKind::invalid_request, "age.refused",
        "The encrypted file cannot be read: it was changed, cut short, or is of another kind.",
        "Ask for a fresh copy of the file.", std::move(detail));
}

/// Takes one line off `rest`, without its line end.
std::optional<std::string_view> take_line(ByteView& rest) {
    const auto end = rest.find('\n');
    if (end == ByteView::npos) return std::nullopt;
    const auto line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    return line;
}

/// The file key, if a stanza is for this identity.
std::optional<Secret> file_key_from(const Identity& identity, std::string_view argument,
                                    std::string_view body) {
    const auto point = from_unpadded(argument);
    const auto wrapped = from_unpadded(body);
    if (!point || point->size() != 32 || !wrapped || wrapped->size() != kFileKeyBytes + kTag)
        return std::nullopt;
    Recipient ephemeral;
    std::copy_n(point->begin(), 32, ephemeral.key.begin());
    const auto shared = identity.shared_with(ephemeral);
    if (!shared) return std::nullopt;
    return open_with(wrapping_key(*shared, ephemeral, identity.recipient()), view(kZeroNonce), *wrapped);
}

}  // namespace

base::Result<Bytes> age_encrypt(const Recipient& recipient, const Secret& plain) {
    base::require(plain.size() <= kMaxAgePlain, "callers of age_encrypt() bound the text");
    const auto ephemeral = Identity::generate();
    const auto shared = ephemeral.shared_with(recipient);
    if (!shared)
        return base::failure(ErrorKind::invalid_request, "recipient.refused",
                             "The public key is one that everybody could open.",
                             "Make a key with `claviger seal keygen`.");
    const auto file_key = Secret::random(kFileKeyBytes);
    const auto wrapped = file_key.expose([&](std::span<const std::byte> bytes) {
        return seal_with(wrapping_key(*shared, ephemeral.recipient(), recipient), view(kZeroNonce), bytes);
    });
    Bytes file(kVersionLine);
    file.append(kStanza).append(unpadded(view(ephemeral.recipient()))).append("\n");
    file.append(unpadded(wrapped)).append("\n").append(kMacLine);
    const auto mac = header_mac(file_key, file);  // before anything follows the three dashes
    file.append(" ").append(unpadded(crypto::view(mac))).append("\n");

    std::array<unsigned char, kNonceBytes> nonce;
    random_bytes(std::as_writable_bytes(std::span(nonce)));
    file.append(view(nonce));
    file += plain.expose([&](std::span<const std::byte> bytes) {
        return seal_with(payload_key(file_key, view(nonce)), view(kLastChunk), bytes);
    });
    return file;
}

bool is_age_file(ByteView bytes) { return bytes.starts_with(kVersionLine); }

base::Result<Secret> age_decrypt(const Identity& identity, ByteView file) {
    if (!is_age_file(file)) return refused("no version line");
    auto rest = file.substr(kVersionLine.size());
    std::optional<Secret> file_key;
    std::string_view mac_text;
    ByteView header;
    for (;;) {
        if (file.size() - rest.size() > kMaxHeader) return refused("header too long");
        header = file.substr(0, file.size() - rest.size() + kMacLine.size());
        const auto line = take_line(rest);
        if (!line) return refused("header without end");
        if (line->starts_with(kMacLine) && line->size() > kMacLine.size() &&
            (*line)[kMacLine.size()] == ' ') {
            mac_text = line->substr(kMacLine.size() + 1);
            break;
        }
        if (!line->starts_with("-> ")) return refused("a line is no stanza");
        std::string body;  // of any kind of stanza: lines of 64 characters, the last one shorter
        for (;;) {
            const auto more = take_line(rest);
            if (!more || more->size() > 64) return refused("a stanza without end");
            body += *more;
            if (more->size() < 64) break;
        }
        if (!file_key && line->starts_with(kStanza))
            file_key = file_key_from(identity, line->substr(kStanza.size()), body);
    }
    if (!file_key)
        return base::failure(ErrorKind::invalid_request, "age.other_recipient",
                             "The encrypted file is not for this identity.",
                             "Use the identity file whose public key it was encrypted to.");
    const auto mac = from_unpadded(mac_text);
    if (!mac || !equal(*mac, crypto::view(header_mac(*file_key, header)))) return refused("header MAC");
    if (rest.size() < kNonceBytes || rest.size() > kNonceBytes + kMaxAgePlain + kTag)
        return refused("payload size");
    auto plain = open_with(payload_key(*file_key, rest.substr(0, kNonceBytes)), view(kLastChunk),
                           rest.substr(kNonceBytes));
    if (!plain) return refused("payload");
    return std::move(*plain);
}

}  // namespace claviger::crypto
