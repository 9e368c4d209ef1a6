#include "oauth/jose_signing_key.h"

#include "base/bytes.h"
#include "base/require.h"
#include "oauth/jose_openssl.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <utility>

namespace claviger::oauth {
namespace {

using base::ErrorKind;
using crypto::Secret;
using nlohmann::json;

using PrivateKeyInfo = std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)>;

constexpr const char* kPemHint =
    "Give the private key as PEM: PKCS#8, PKCS#1 or SEC1, with its BEGIN and END lines, without a pass "
    "phrase.";

std::unexpected<base::Error> unsupported() {
    return base::failure(
        ErrorKind::invalid_request, "key.unsupported",
        "The private key is of a kind that is not supported, or its parts do not belong together.",
        "Use RSA with 2048 to 8192 bits, EC P-256, P-384 or P-521, or Ed25519.");
}
std::unexpected<base::Error> invalid_jwk() {
    return base::failure(ErrorKind::invalid_request, "jwk.invalid", "The private JSON Web Key is not valid.",
                         "Give one JWK object with all its members as plain base64url texts.");
}

/// Reads a private JWK where it stands. A JSON library would leave copies of the numbers in ordinary memory;
/// a JWK is flat and needs no escapes, so a walk over the text is enough. Refuses whatever is more than that.
class FlatObject {
public:
    explicit FlatObject(std::string_view text) : rest_(text) {}

    /// False when the text is not one flat object of texts, truth values, numbers and lists of texts.
    bool parse() {
        if (!take('{')) return false;
        if (!take('}')) {
            do {
                const auto name = string();
                if (!name || !take(':') || texts_.contains(*name)) return false;
                if (!value(*name)) return false;
            } while (take(','));
            if (!take('}')) return false;
        }
        skip_space();
        return rest_.empty();
    }
    std::optional<std::string_view> text(std::string_view name) const {
        const auto found = texts_.find(name);
        if (found == texts_.end()) return std::nullopt;
        return found->second;
    }

private:
    void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }
    bool take(char wanted) {
        skip_space();
        if (!rest_.starts_with(wanted)) return false;
        rest_.remove_prefix(1);
        return true;
    }
    std::optional<std::string_view> string() {
        if (!take('"')) return std::nullopt;
        for (std::size_t at = 0; at < rest_.size(); ++at) {
            const auto c = static_cast<unsigned char>(rest_[at]);
            if (c < 0x20 || c > 0x7e || c == '\\') return std::nullopt;
            if (c != '"') continue;
            const auto found = rest_.substr(0, at);
            rest_.remove_prefix(at + 1);
            return found;
        }
        return std::nullopt;
    }
    bool value(std::string_view name) {
        skip_space();
        if (rest_.starts_with('"')) {
            const auto found = string();
            if (found) texts_.emplace(name, *found);
            return found.has_value();
        }
        texts_.emplace(name, std::string_view());  // so that it cannot come twice
        if (take('[')) {
            if (take(']')) return true;
            do
                if (!string()) return false;
            while (take(','));
            return take(']');
        }
        const auto word = rest_.substr(0, rest_.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789"));
        rest_.remove_prefix(word.size());
        return word == "true" || word == "false" || word == "null" ||
               (!word.empty() && word.find_first_not_of("0123456789") == std::string_view::npos);
    }

    std::string_view rest_;
    std::map<std::string_view, std::string_view> texts_;
};

/// Instead of asking the terminal, which is what OpenSSL does when it gets no function.
int refuse_pass_phrase(char*, int, int, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
}

}  // namespace

base::Result<SigningKey> SigningKey::checked(KeyHandle key, const json& labels) {
    const QuietOpenSsl quiet;
    const auto shape = key ? shape_of(key.get()) : std::nullopt;
    if (!shape) return unsupported();
    json jwk = json::parse(canonical_jwk(key.get(), *shape));
    jwk.update(labels);
    auto public_key = PublicKey::from_jwk(jwk);
    if (!public_key) return std::unexpected(std::move(public_key).error());

    SigningKey signing(std::move(key), std::move(*public_key));
    constexpr std::string_view kProbe = "Do these halves belong together?";
    const auto signature = signing.sign(signing.algorithm(), kProbe);
    if (!signature || !signing.public_.verifies(signing.algorithm(), kProbe, *signature))
        return unsupported();
    return signing;
}

base::Result<SigningKey> SigningKey::from_pem(const Secret& pem) {
    const QuietOpenSsl quiet;
    bool asked = false;
    KeyHandle key;
    if (pem.size() <= kMostBytes)
        key = pem.expose([&](std::span<const std::byte> bytes) {
            const std::unique_ptr<BIO, decltype(&BIO_free)> text(
                BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())), &BIO_free);
            return KeyHandle(PEM_read_bio_PrivateKey(text.get(), nullptr, &refuse_pass_phrase, &asked));
        });
    if (asked)
        return base::failure(ErrorKind::invalid_request, "key.encrypted",
                             "The private key is protected by a pass phrase.",
                             "Remove it first, for example with: openssl pkey -in key.pem -out plain.pem");
    if (!key)
        return base::failure(ErrorKind::invalid_request, "key.pem_invalid",
                             "The text is not a private key in PEM.", kPemHint);
    return checked(std::move(key), json::object());
}

base::Result<SigningKey> SigningKey::from_jwk(const Secret& jwk) {
    if (jwk.size() > kMostBytes) return invalid_jwk();
    return jwk.expose([](std::span<const std::byte> bytes) -> base::Result<SigningKey> {
        FlatObject object(base::as_view(bytes));
        if (!object.parse()) return invalid_jwk();
        auto key =
            key_of_jwk([&](std::string_view name) { return object.text(name); }, KeyPart::with_private);
        if (!key) return std::unexpected(std::move(key).error());
        json labels = json::object();
        for (const char* name : {"kid", "alg", "use"})
            if (const auto text = object.text(name)) labels[name] = std::string(*text);
        auto signing = checked(std::move(*key), labels);
        if (!signing) return invalid_jwk();
        return signing;
    });
}

base::Result<SigningKey> SigningKey::from_pkcs8(const Secret& der) {
    const QuietOpenSsl quiet;
    auto key = der.expose([](std::span<const std::byte> bytes) {
        const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
        const auto* end = at + bytes.size();
        const PrivateKeyInfo info(d2i_PKCS8_PRIV_KEY_INFO(nullptr, &at, static_cast<long>(bytes.size())),
                                  &PKCS8_PRIV_KEY_INFO_free);
        return KeyHandle(info && at == end ? EVP_PKCS82PKEY(info.get()) : nullptr);
    });
    if (!key)
        return base::failure(ErrorKind::corrupt, "key.pkcs8_invalid",
                             "The stored signing key cannot be read.",
                             "Connect again; a new key is made then.");
    return checked(std::move(key), json::object());
}

SigningKey SigningKey::generate_p256() {
    const QuietOpenSsl quiet;
    auto made = checked(KeyHandle(EVP_EC_gen("P-256")), json::object());
    base::require(made.has_value(), "OpenSSL makes P-256 keys");
    return std::move(*made);
}

Secret SigningKey::pkcs8() const {
    const QuietOpenSsl quiet;
    const PrivateKeyInfo info(EVP_PKEY2PKCS8(key_.get()), &PKCS8_PRIV_KEY_INFO_free);
    const int bytes = info ? i2d_PKCS8_PRIV_KEY_INFO(info.get(), nullptr) : 0;
    base::require(bytes > 0, "OpenSSL writes its own keys down");
    return Secret::filled(static_cast<std::size_t>(bytes), [&](std::span<std::byte> out) {
        auto* at = reinterpret_cast<unsigned char*>(out.data());
        base::require(i2d_PKCS8_PRIV_KEY_INFO(info.get(), &at) == bytes, "OpenSSL writes its own keys down");
    });
}

Algorithm SigningKey::algorithm() const {
    constexpr std::array kUsual{Algorithm::rs256, Algorithm::ps256, Algorithm::es256,
                                Algorithm::es384, Algorithm::es512, Algorithm::eddsa};
    const auto found = std::ranges::find_if(kUsual, [&](Algorithm one) { return public_.fits(one); });
    return found == kUsual.end() ? Algorithm::rs256 : *found;  // sign() refuses what does not fit
}

base::Result<std::string> SigningKey::sign(Algorithm algorithm, std::string_view message) const {
    if (!public_.fits(algorithm))
        return base::failure(ErrorKind::invalid_request, "key.algorithm_mismatch",
                             "The key cannot sign with " + std::string(name_of(algorithm)) + ".",
                             "Choose an algorithm of the key's own kind, or another key.");
    auto signature = signature_of(key_.get(), algorithm, message);
    if (!signature)
        return base::failure(ErrorKind::internal, "key.cannot_sign", "The key could not sign.",
                             "Check that all parts of the private key belong together.");
    return std::move(*signature);
}

}  // namespace claviger::oauth
