#include "crypto/sealed_text.h"

#include "crypto/random.h"
#include "crypto/require.h"

#include <sodium.h>

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

}  // namespace

std::string seal_text(const Key& key, std::string_view context, base::ByteView plain) {
    require(plain.size() <= kMaxSealedPlain, "callers of seal_text() bound the text");
    base::Bytes sealed(kOverhead + plain.size(), '\0');
    auto* const out = reinterpret_cast<unsigned char*>(sealed.data());
    random_bytes(std::as_writable_bytes(std::span(sealed).first(kNonceBytes)));
    key.expose([&](std::span<const std::byte> k) {
        crypto_aead_xchacha20poly1305_ietf_encrypt(out + kNonceBytes, nullptr, raw(plain), plain.size(),
                                                   raw(context), context.size(), nullptr, out, raw(k));
    });
    return base::to_base64url(sealed);
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
