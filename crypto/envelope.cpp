#include "crypto/envelope.h"

#include "base/require.h"
#include "crypto/random.h"

#include <sodium.h>

#include <cstring>

namespace claviger::crypto {
namespace {

constexpr unsigned char kSuite = 1;
constexpr std::size_t kNonceAt = 9;
constexpr std::size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kCommitmentAt = kNonceAt + kNonceBytes;
constexpr std::size_t kCommitmentBytes = 32;
constexpr std::size_t kCiphertextAt = kCommitmentAt + kCommitmentBytes;
constexpr std::size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(kCiphertextAt + kTagBytes == kEnvelopeOverhead);
static_assert(Key::kBytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);

constexpr unsigned char kPersonal[crypto_generichash_blake2b_PERSONALBYTES + 1] = "vlt-env-suite1\0";

unsigned char* raw(char* at) { return reinterpret_cast<unsigned char*>(at); }
unsigned char* raw(std::byte* at) { return reinterpret_cast<unsigned char*>(at); }
const unsigned char* raw(const char* at) { return reinterpret_cast<const unsigned char*>(at); }
const unsigned char* raw(const std::byte* at) { return reinterpret_cast<const unsigned char*>(at); }

/// Writes the place field by field.
class AadWriter {
public:
    explicit AadWriter(std::array<std::byte, kAadBytes>& out) : at_(out.data()) {}

    template <class Unsigned>
    void number(Unsigned value) {
        for (int shift = static_cast<int>(sizeof value) * 8 - 8; shift >= 0; shift -= 8)
            *at_++ = static_cast<std::byte>((value >> shift) & 0xff);
    }
    template <class Array>
    void bytes(const Array& value) {
        std::memcpy(at_, value.data(), value.size());
        at_ += value.size();
    }

private:
    std::byte* at_;
};

/// The message key and the commitment that belong to one key, nonce and place. Wiped at its end.
struct Derived {
    std::array<unsigned char, 64> bytes;

    Derived(const Key& key, const unsigned char* nonce, const std::array<std::byte, kAadBytes>& aad) {
        std::array<unsigned char, kNonceBytes + crypto_generichash_blake2b_BYTES> message;
        std::memcpy(message.data(), nonce, kNonceBytes);
        crypto_generichash_blake2b(message.data() + kNonceBytes, crypto_generichash_blake2b_BYTES,
                                   raw(aad.data()), aad.size(), nullptr, 0);
        key.expose([&](std::span<const std::byte> k) {
            crypto_generichash_blake2b_salt_personal(bytes.data(), bytes.size(), message.data(),
                                                     message.size(), raw(k.data()), k.size(), nullptr,
                                                     kPersonal);
        });
    }
    Derived(const Derived&) = delete;
    Derived& operator=(const Derived&) = delete;
    ~Derived() { sodium_memzero(bytes.data(), bytes.size()); }

    const unsigned char* message_key() const { return bytes.data(); }
    const unsigned char* commitment() const { return bytes.data() + 32; }
};

std::unexpected<base::Error> refused() {
    return base::failure(
        base::ErrorKind::corrupt, "envelope.refused",
        "Sealed data does not open: its key, its place or its bytes are not the ones it was sealed with.",
        "Check that this store, its seal slots and its backups belong together.");
}

/// Opens into memory that `allocate(bytes)` gives once the commitment has proved key and place right.
template <class Allocate>
bool open_into(const Key& key, const Place& place, base::ByteView sealed, Allocate&& allocate) {
    if (key_ref_of(sealed) != place.wrapping_key) return false;
    const unsigned char* const blob = raw(sealed.data());
    const auto aad = aad_of(place);
    const Derived derived(key, blob + kNonceAt, aad);
    if (sodium_memcmp(derived.commitment(), blob + kCommitmentAt, kCommitmentBytes) != 0) return false;
    const std::size_t ciphertext_bytes = sealed.size() - kCiphertextAt;
    unsigned char* const out = allocate(ciphertext_bytes - kTagBytes);
    return crypto_aead_xchacha20poly1305_ietf_decrypt(out, nullptr, nullptr, blob + kCiphertextAt,
                                                      ciphertext_bytes, raw(aad.data()), aad.size(),
                                                      blob + kNonceAt, derived.message_key()) == 0;
}

}  // namespace

std::array<std::byte, kAadBytes> aad_of(const Place& place) {
    std::array<std::byte, kAadBytes> aad;
    AadWriter out(aad);
    out.bytes(std::string_view("vlt-aad1"));
    out.number(static_cast<std::uint8_t>(place.type));
    out.number(kSuite);
    out.number(std::uint16_t{0});
    out.number(place.schema);
    out.bytes(place.instance);
    out.bytes(place.workspace);
    out.bytes(place.vault);
    out.bytes(place.object);
    out.number(place.version);
    out.number(place.wrapping_key);
    out.number(place.commit_seq);
    out.number(place.created_ms);
    out.bytes(place.constraints);
    out.bytes(place.writer);
    return aad;
}

base::Bytes seal(const Key& key, const Place& place, std::span<const std::byte> plaintext) {
    base::require(plaintext.size() <= kMaxPlaintext, "callers of seal() bound the plaintext to 1 MiB");
    const auto aad = aad_of(place);
    base::Bytes blob;
    blob.reserve(kEnvelopeOverhead + plaintext.size());
    blob.push_back(static_cast<char>(kSuite));
    base::append_big_endian(blob, place.wrapping_key);
    blob.resize(kEnvelopeOverhead + plaintext.size());

    unsigned char* const out = raw(blob.data());
    random_bytes(std::as_writable_bytes(std::span(out + kNonceAt, kNonceBytes)));
    const Derived derived(key, out + kNonceAt, aad);
    std::memcpy(out + kCommitmentAt, derived.commitment(), kCommitmentBytes);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + kCiphertextAt, nullptr, raw(plaintext.data()),
                                               plaintext.size(), raw(aad.data()), aad.size(), nullptr,
                                               out + kNonceAt, derived.message_key());
    return blob;
}

base::Result<Secret> open(const Key& key, const Place& place, base::ByteView sealed) {
    std::optional<Secret> plaintext;
    const bool opened = open_into(key, place, sealed, [&](std::size_t bytes) {
        unsigned char* at = nullptr;
        plaintext = Secret::filled(bytes, [&](std::span<std::byte> out) { at = raw(out.data()); });
        return at;
    });
    if (!opened) return refused();
    return std::move(*plaintext);
}

base::Result<base::Bytes> open_metadata(const Key& key, const Place& place, base::ByteView sealed) {
    base::Bytes plaintext;
    const bool opened = open_into(key, place, sealed, [&](std::size_t bytes) {
        plaintext.resize(bytes);
        return raw(plaintext.data());
    });
    if (!opened) return refused();
    return plaintext;
}

std::optional<std::uint64_t> key_ref_of(base::ByteView sealed) {
    if (sealed.size() < kEnvelopeOverhead || sealed.size() > kEnvelopeOverhead + kMaxPlaintext)
        return std::nullopt;
    if (static_cast<unsigned char>(sealed[0]) != kSuite) return std::nullopt;
    return base::read_big_endian<std::uint64_t>(sealed.data() + 1);
}

}  // namespace claviger::crypto
