#include "crypto/recipient.h"

#include "crypto/bech32.h"
#include "crypto/random.h"
#include "crypto/seal_slot.h"

#include <sodium.h>

#include <algorithm>

namespace claviger::crypto {
namespace {

using base::ErrorKind;

constexpr std::string_view kPublicPrefix = "age";
constexpr std::string_view kSecretPrefix = "age-secret-key-";
constexpr unsigned char kPersonal[crypto_generichash_blake2b_PERSONALBYTES + 1] = "vlt-recipient-v1";
constexpr std::size_t kEphemeralBytes = crypto_scalarmult_BYTES;

const unsigned char* raw(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

std::unexpected<base::Error> unusable() {
    return base::failure(ErrorKind::invalid_request, "recipient.refused",
                         "The public key is one that everybody could open.",
                         "Make a key with `claviger seal keygen`.");
}

/// Both public keys go in, so that a wrap cannot be turned into another recipient's.
Key derive_opening(const Key& shared, const Recipient& ephemeral, const Recipient& recipient) {
    return Key::filled([&](std::span<std::byte> out) {
        shared.expose([&](std::span<const std::byte> secret) {
            crypto_generichash_blake2b_state state;
            crypto_generichash_blake2b_init_salt_personal(&state, raw(secret), secret.size(), out.size(),
                                                          nullptr, kPersonal);
            crypto_generichash_blake2b_update(&state, ephemeral.key.data(), ephemeral.key.size());
            crypto_generichash_blake2b_update(&state, recipient.key.data(), recipient.key.size());
            crypto_generichash_blake2b_final(&state, reinterpret_cast<unsigned char*>(out.data()),
                                             out.size());
            sodium_memzero(&state, sizeof state);
        });
    });
}

std::unexpected<base::Error> bad_identity(std::string message) {
    return base::failure(ErrorKind::invalid_request, "identity.refused", std::move(message),
                         "Name the file that `claviger seal keygen` or `age-keygen` wrote.");
}

}  // namespace

std::string Recipient::text() const {
    return to_bech32(kPublicPrefix, std::as_bytes(std::span<const unsigned char, 32>(key)));
}

std::optional<Recipient> Recipient::parse(std::string_view text) {
    const auto bytes = from_bech32(kPublicPrefix, text);
    if (!bytes) return std::nullopt;
    Recipient recipient;
    bytes->expose([&](std::span<const std::byte> from) {
        std::ranges::copy(std::span(raw(from), from.size()), recipient.key.begin());
    });
    if (!recipient.usable()) return std::nullopt;
    return recipient;
}

bool Recipient::usable() const {
    // A point of low order gives zeros with any secret.
    return Identity::generate().shared_with(*this).has_value();
}

Identity::Identity(Key secret) : secret_(std::move(secret)) {
    secret_.expose(
        [&](std::span<const std::byte> bytes) { crypto_scalarmult_base(recipient_.key.data(), raw(bytes)); });
}

Identity Identity::generate() { return Identity(Key::generate()); }
Identity Identity::of(Key secret) { return Identity(std::move(secret)); }

base::Result<Identity> Identity::parse(const Secret& file) {
    return file.expose([](std::span<const std::byte> bytes) -> base::Result<Identity> {
        auto rest = base::as_view(bytes);
        std::optional<Identity> found;
        while (!rest.empty()) {
            const auto end = rest.find('\n');
            auto line = rest.substr(0, end);
            rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
            while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
            if (line.empty() || line.starts_with('#')) continue;
            if (found) return bad_identity("The identity file holds more than one key.");
            auto key = from_bech32(kSecretPrefix, line);
            if (!key)
                return bad_identity(
                    "The identity file has a line that is neither a comment nor AGE-SECRET-KEY-1 with its "
                    "checksum.");
            found.emplace(Identity(std::move(*key)));
        }
        if (!found) return bad_identity("The identity file holds no key.");
        return std::move(*found);
    });
}

Secret Identity::text() const {
    auto text = secret_.expose([](std::span<const std::byte> bytes) {
        return to_bech32(kSecretPrefix, bytes.first<Key::kBytes>());
    });
    for (auto& c : text)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    auto secret = Secret::copy_of(std::string_view(text));
    wipe(std::span(text.data(), text.size()));
    return secret;
}

std::optional<Key> Identity::shared_with(const Recipient& other) const {
    bool good = true;
    auto shared = Key::filled([&](std::span<std::byte> out) {
        secret_.expose([&](std::span<const std::byte> own) {
            good = crypto_scalarmult(reinterpret_cast<unsigned char*>(out.data()), raw(own),
                                     other.key.data()) == 0;
        });
    });
    if (!good) return std::nullopt;
    return shared;
}

base::Result<RecipientSeal> fresh_seal_to(const Recipient& recipient) {
    const auto ephemeral = Identity::generate();
    const auto shared = ephemeral.shared_with(recipient);
    if (!shared) return unusable();
    return RecipientSeal{ephemeral.recipient(), derive_opening(*shared, ephemeral.recipient(), recipient)};
}

base::Bytes wrap_root_to(const RecipientSeal& seal, const Place& place, const Key& root) {
    const auto& key = seal.ephemeral.key;
    base::Bytes wrapped(reinterpret_cast<const char*>(key.data()), key.size());
    return wrapped += wrap_root(seal.opening, place, root);
}

std::optional<Recipient> ephemeral_of(base::ByteView wrapped) {
    if (wrapped.size() <= kEphemeralBytes) return std::nullopt;
    Recipient ephemeral;
    std::copy_n(wrapped.begin(), kEphemeralBytes, ephemeral.key.begin());
    return ephemeral;
}

base::Result<Key> opening_key(const Identity& identity, const Recipient& ephemeral) {
    const auto shared = identity.shared_with(ephemeral);
    if (!shared) return unusable();
    return derive_opening(*shared, ephemeral, identity.recipient());
}

base::Result<Key> unwrap_root_with(const Key& opening, const Place& place, base::ByteView wrapped) {
    return unwrap_root(opening, place, wrapped.substr(std::min(wrapped.size(), kEphemeralBytes)));
}

}  // namespace claviger::crypto
