#include "crypto/hash.h"

#include "base/require.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace claviger::crypto {
namespace {

// Picks the fast implementations for this processor; without it the same results come slowly.
[[maybe_unused]] const int sodium_is_ready = sodium_init();

const unsigned char* raw(base::ByteView bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
const unsigned char* raw(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

void blake2b_into(std::span<unsigned char> out, base::ByteView message, std::span<const std::byte> key) {
    crypto_generichash_blake2b(out.data(), out.size(), raw(message), message.size(), raw(key), key.size());
}

EVP_MD_CTX* sha256_context() {
    static const EVP_MD* const sha256_algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                                       &EVP_MD_CTX_free);
    base::require(
        sha256_algorithm && context && EVP_DigestInit_ex2(context.get(), sha256_algorithm, nullptr) == 1,
        "OpenSSL provides SHA-256");
    return context.get();
}

Key key_of(Digest digest) {
    auto key = Key::filled([&](std::span<std::byte> out) {
        std::copy_n(reinterpret_cast<const std::byte*>(digest.data()), out.size(), out.begin());
    });
    wipe(std::as_writable_bytes(std::span(digest)));
    return key;
}

}  // namespace

Digest blake2b(base::ByteView message) {
    Digest digest;
    blake2b_into(digest, message, {});
    return digest;
}

Digest blake2b_keyed(const Key& key, base::ByteView message) {
    Digest digest;
    key.expose([&](std::span<const std::byte> k) { blake2b_into(digest, message, k); });
    return digest;
}

base::RawId blake2b_128_keyed(const Key& key, base::ByteView message) {
    base::RawId id;
    key.expose([&](std::span<const std::byte> k) { blake2b_into(id, message, k); });
    return id;
}

Digest sha256(base::ByteView message) { return sha256({message}); }

Digest sha256(std::initializer_list<base::ByteView> parts) {
    EVP_MD_CTX* const context = sha256_context();
    Digest digest;
    bool done = true;
    for (const auto part : parts) done = done && EVP_DigestUpdate(context, part.data(), part.size()) == 1;
    base::require(done && EVP_DigestFinal_ex(context, digest.data(), nullptr) == 1,
                  "SHA-256 hashes what it is given");
    return digest;
}

Digest hmac_sha256(const Secret& key, std::initializer_list<base::ByteView> parts) {
    static_assert(crypto_auth_hmacsha256_BYTES == sizeof(Digest));
    Digest digest;
    crypto_auth_hmacsha256_state state;
    key.expose([&](std::span<const std::byte> k) { crypto_auth_hmacsha256_init(&state, raw(k), k.size()); });
    for (const auto part : parts) crypto_auth_hmacsha256_update(&state, raw(part), part.size());
    crypto_auth_hmacsha256_final(&state, digest.data());
    sodium_memzero(&state, sizeof state);
    return digest;
}

Key hkdf_sha256(std::span<const std::byte> secret, base::ByteView salt, base::ByteView info) {
    const auto salted =  // no salt counts as zeros
        salt.empty() ? Secret::filled(32, [](std::span<std::byte>) {})
                     : Secret::copy_of(std::string_view(salt));
    const auto extracted = key_of(hmac_sha256(salted, {base::as_view(secret)}));
    const auto inner =
        extracted.expose([](std::span<const std::byte> bytes) { return Secret::copy_of(bytes); });
    return key_of(hmac_sha256(inner, {info, base::ByteView("\1", 1)}));
}

bool equal(base::ByteView a, base::ByteView b) {
    return a.size() == b.size() && (a.empty() || sodium_memcmp(a.data(), b.data(), a.size()) == 0);
}

RowSum add(RowSum a, RowSum b) {
    const std::uint64_t low = a[0] + b[0];
    return {low, a[1] + b[1] + (low < a[0] ? 1 : 0)};
}

RowSum subtract(RowSum a, RowSum b) { return {a[0] - b[0], a[1] - b[1] - (a[0] < b[0] ? 1 : 0)}; }

RowPrf::RowPrf(const Key& key)
    : key_(Secret::filled(crypto_shorthash_siphashx24_KEYBYTES, [&](std::span<std::byte> out) {
          key.expose([&](std::span<const std::byte> k) {
              blake2b_into({reinterpret_cast<unsigned char*>(out.data()), out.size()}, "claviger row sum", k);
          });
      })) {}

RowSum RowPrf::row(std::uint8_t table, base::ByteView row_key, base::ByteView value) const {
    thread_local base::Bytes message;  // keeps its memory: this runs for every row of a start-up check
    message.assign(1, '\0');           // the form of the rest
    message.push_back(static_cast<char>(table));
    base::append_big_endian(message, std::uint64_t{row_key.size()});
    message.append(row_key);
    base::append_big_endian(message, std::uint64_t{value.size()});
    message.append(value);

    std::array<unsigned char, 16> out;
    key_.expose([&](std::span<const std::byte> k) {
        crypto_shorthash_siphashx24(out.data(), raw(message), message.size(), raw(k));
    });
    RowSum sum{};
    for (std::size_t i = 0; i < 8; ++i) {
        sum[0] |= static_cast<std::uint64_t>(out[i]) << (8 * i);
        sum[1] |= static_cast<std::uint64_t>(out[8 + i]) << (8 * i);
    }
    return sum;
}

}  // namespace claviger::crypto
