#include "crypto/sealed_text.h"

#include "base/require.h"
#include "crypto/random.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <span>

namespace claviger::crypto {
namespace {

constexpr std::size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kOverhead = kNonceBytes + crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(kMaxSealedPlain + kOverhead == kMaxSealedText / 4 * 3);

const unsigned char* raw(std::string_view bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
const unsigned char* raw(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

std::string seal(const Key& key, std::string_view context, base::ByteView plain,
                 std::span<const unsigned char, kNonceBytes> nonce) {
    base::Bytes sealed(kOverhead + plain.size(), '\0');
    auto* const out = reinterpret_cast<unsigned char*>(sealed.data());
    std::ranges::copy(nonce, out);
    key.expose([&](std::span<const std::byte> k) {
        crypto_aead_xchacha20poly1305_ietf_encrypt(out + kNonceBytes, nullptr, raw(plain), plain.size(),
                                                   raw(context), context.size(), nullptr, out, raw(k));
    });
    return base::to_base64url(sealed);
}

}  // namespace

std::string seal_text(const Key& key, std::string_view context, base::ByteView plain) {
    base::require(plain.size() <= kMaxSealedPlain, "callers of seal_text() bound the text");
    std::array<unsigned char, kNonceBytes> nonce;
    random_bytes(std::as_writable_bytes(std::span(nonce)));
    return seal(key, context, plain, nonce);
}

std::string seal_text_repeatably(const Key& key, std::string_view context, base::ByteView plain) {
    base::require(plain.size() <= kMaxSealedPlain, "callers of seal_text_repeatably() bound the text");
    // A nonce comes twice only with the same context and text, which then give the same bytes anyway.
    constexpr unsigned char purpose[crypto_generichash_blake2b_PERSONALBYTES + 1] = "sealed-text-nonc";
    base::Bytes length;
    base::append_big_endian(length, std::uint64_t{context.size()});
    std::array<unsigned char, kNonceBytes> nonce;
    key.expose([&](std::span<const std::byte> k) {
        crypto_generichash_blake2b_state state;
        crypto_generichash_blake2b_init_salt_personal(&state, raw(k), k.size(), nonce.size(), nullptr,
                                                      purpose);
        for (const auto part : {std::string_view(length), context, std::string_view(plain)})
            crypto_generichash_blake2b_update(&state, raw(part), part.size());
        crypto_generichash_blake2b_final(&state, nonce.data(), nonce.size());
        sodium_memzero(&state, sizeof state);
    });
    return seal(key, context, plain, nonce);
}

std::optional<base::Bytes> open_text(const Key& key, std::string_view context, std::string_view text) {
    if (text.size() > kMaxSealedText) return std::nullopt;
    const auto sealed = base::from_base64url(text);
    if (!sealed || sealed->size() < kOverhead) return std::nullopt;
    base::Bytes plain(sealed->size() - kOverhead, '\0');
    const bool opened = key.expose([&](std::span<const std::byte> k) {
        return crypto_aead_xchacha20poly1305_ietf_decrypt(reinterpret_cast<unsigned char*>(plain.data()),
                                                          nullptr, nullptr, raw(*sealed) + kNonceBytes,
                                                          sealed->size() - kNonceBytes, raw(context),
                                                          context.size(), raw(*sealed), raw(k)) == 0;
    });
    if (!opened) return std::nullopt;
    return plain;
}

}  // namespace claviger::crypto
