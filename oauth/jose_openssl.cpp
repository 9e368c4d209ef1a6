#include "oauth/jose_openssl.h"

#include "base/bytes.h"
#include "base/require.h"
#include "crypto/secret.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <memory>
#include <vector>

namespace claviger::oauth {
namespace {

using base::ErrorKind;

template <auto Free>
struct Freeing {
    template <class T>
    void operator()(T* object) const {
        Free(object);
    }
};
using Number = std::unique_ptr<BIGNUM, Freeing<BN_clear_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freeing<EVP_MD_CTX_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freeing<EVP_PKEY_CTX_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Freeing<ECDSA_SIG_free>>;

constexpr int kLeastRsaBits = 2048;
constexpr int kMostRsaBits = 8192;  // beyond that a single verification is an attack
constexpr std::size_t kMostNumberBytes = kMostRsaBits / 8 + 1;
constexpr std::size_t kMostExponentBytes = 8;
constexpr std::size_t kEd25519Bytes = 32;

struct Curve {
    KeyShape shape;
    const char* name;        // in a JWK, and for OpenSSL
    const char* short_name;  // what OpenSSL answers
    std::size_t coordinate_bytes;
};
constexpr std::array<Curve, 3> kCurves{{{KeyShape::p256, "P-256", "prime256v1", 32},
                                        {KeyShape::p384, "P-384", "secp384r1", 48},
                                        {KeyShape::p521, "P-521", "secp521r1", 66}}};

const Curve* curve_of(KeyShape shape) {
    const auto found = std::ranges::find(kCurves, shape, &Curve::shape);
    return found == kCurves.end() ? nullptr : &*found;
}

const unsigned char* raw(std::string_view bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(std::string& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

std::unexpected<base::Error> unsupported() {
    return base::failure(ErrorKind::invalid_request, "jwk.unsupported",
                         "The key is of a kind that is not supported.",
                         "Use RSA with 2048 to 8192 bits, EC P-256, P-384 or P-521, or OKP Ed25519.");
}
std::unexpected<base::Error> invalid() {
    return base::failure(ErrorKind::invalid_request, "jwk.invalid", "The JSON Web Key is not valid.",
                         "Check that every number of the key is there, is base64url without padding, and "
                         "belongs to the same key.");
}

/// The numbers of a key to be, in memory that is wiped.
class KeyNumbers {
public:
    ~KeyNumbers() {
        for (auto& buffer : buffers_) crypto::wipe(std::span<char>(buffer));
    }

    void add_number(const char* name, std::string big_endian) {
        if constexpr (std::endian::native == std::endian::little) std::ranges::reverse(big_endian);
        auto& kept = keep(std::move(big_endian));
        parameters_.push_back(OSSL_PARAM_construct_BN(name, raw(kept), kept.size()));
    }
    void add_octets(const char* name, std::string octets) {
        auto& kept = keep(std::move(octets));
        parameters_.push_back(OSSL_PARAM_construct_octet_string(name, kept.data(), kept.size()));
    }
    void add_text(const char* name, std::string text) {
        auto& kept = keep(std::move(text));
        parameters_.push_back(OSSL_PARAM_construct_utf8_string(name, kept.data(), kept.size()));
    }

    /// Null when OpenSSL refuses the numbers.
    KeyHandle build(const char* type, KeyPart part) {
        parameters_.push_back(OSSL_PARAM_construct_end());
        const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
        base::require(context && EVP_PKEY_fromdata_init(context.get()) == 1,
                      "OpenSSL makes keys of known kinds");
        EVP_PKEY* key = nullptr;
        const int selection = part == KeyPart::with_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;
        EVP_PKEY_fromdata(context.get(), &key, selection, parameters_.data());
        return KeyHandle(key);
    }

private:
    std::string& keep(std::string bytes) { return buffers_.emplace_back(std::move(bytes)); }

    std::deque<std::string> buffers_;  // a deque, because the parameters point into it
    std::vector<OSSL_PARAM> parameters_;
};

/// The member's bytes; nothing when it is absent, empty, too long or not base64url. The caller wipes.
std::optional<std::string> bytes_of(const JwkMembers& members, std::string_view name) {
    const auto text = members(name);
    if (!text || text->empty() || text->size() > kMostNumberBytes * 2) return std::nullopt;
    auto bytes = base::from_base64url(*text);
    if (bytes && bytes->size() > kMostNumberBytes) return std::nullopt;
    return bytes;
}

bool usable_exponent(std::string_view exponent) {
    while (exponent.starts_with('\0')) exponent.remove_prefix(1);
    if (exponent.empty() || exponent.size() > kMostExponentBytes) return false;
    const bool is_one = exponent == "\x01";
    return (exponent.back() & 1) == 1 && !is_one;
}

base::Result<KeyHandle> rsa_key(const JwkMembers& members, KeyPart part) {
    constexpr std::array<std::pair<const char*, const char*>, 6> kPrivate{
        {{"d", OSSL_PKEY_PARAM_RSA_D},
         {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
         {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},
         {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
         {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2},
         {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}}};
    auto modulus = bytes_of(members, "n");
    auto exponent = bytes_of(members, "e");
    if (!modulus || !exponent || (modulus->back() & 1) == 0 || !usable_exponent(*exponent)) return invalid();
    KeyNumbers numbers;
    numbers.add_number(OSSL_PKEY_PARAM_RSA_N, std::move(*modulus));
    numbers.add_number(OSSL_PKEY_PARAM_RSA_E, std::move(*exponent));
    if (part == KeyPart::with_private) {
        for (const auto& [member, parameter] : kPrivate) {
            auto number = bytes_of(members, member);
            if (!number) return invalid();
            numbers.add_number(parameter, std::move(*number));
        }
    }
    auto key = numbers.build("RSA", part);
    if (!key) return invalid();
    if (!shape_of(key.get())) return unsupported();
    return key;
}

base::Result<KeyHandle> ec_key(const JwkMembers& members, KeyPart part) {
    const auto name = members("crv").value_or("");
    const auto curve = std::ranges::find(kCurves, name, &Curve::name);
    if (curve == kCurves.end()) return unsupported();
    const auto x = bytes_of(members, "x"), y = bytes_of(members, "y");
    if (!x || !y || x->size() != curve->coordinate_bytes || y->size() != curve->coordinate_bytes)
        return invalid();
    KeyNumbers numbers;
    numbers.add_text(OSSL_PKEY_PARAM_GROUP_NAME, curve->name);
    numbers.add_octets(OSSL_PKEY_PARAM_PUB_KEY, "\x04" + *x + *y);
    if (part == KeyPart::with_private) {
        auto number = bytes_of(members, "d");
        if (!number || number->size() != curve->coordinate_bytes) {
            if (number) crypto::wipe(std::span<char>(*number));
            return invalid();
        }
        numbers.add_number(OSSL_PKEY_PARAM_PRIV_KEY, std::move(*number));
    }
    auto key = numbers.build("EC", part);  // refuses points that are not on the curve
    if (!key) return invalid();
    return key;
}

base::Result<KeyHandle> okp_key(const JwkMembers& members, KeyPart part) {
    if (members("crv") != "Ed25519") return unsupported();
    const auto x = bytes_of(members, "x");
    if (!x || x->size() != kEd25519Bytes) return invalid();
    if (part == KeyPart::public_only)
        return KeyHandle(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw(*x), x->size()));
    auto d = bytes_of(members, "d");
    if (!d) return invalid();
    KeyHandle key(d->size() == kEd25519Bytes
                      ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, raw(*d), d->size())
                      : nullptr);
    crypto::wipe(std::span<char>(*d));
    std::string own(kEd25519Bytes, '\0');
    std::size_t bytes = own.size();
    if (!key || EVP_PKEY_get_raw_public_key(key.get(), raw(own), &bytes) != 1 || own != *x) return invalid();
    return key;
}

/// An unsigned number of the key, big-endian, in exactly `bytes` bytes or, for 0, as few as it needs.
std::string number_in(EVP_PKEY* key, const char* name, std::size_t bytes) {
    BIGNUM* found = nullptr;
    base::require(EVP_PKEY_get_bn_param(key, name, &found) == 1, "a public key shows its numbers");
    const Number number(found);
    std::string text(bytes == 0 ? static_cast<std::size_t>(BN_num_bytes(found)) : bytes, '\0');
    base::require(BN_bn2binpad(found, raw(text), static_cast<int>(text.size())) >= 0,
                  "a coordinate fits its field");
    return base::to_base64url(text);
}

const char* digest_of(Algorithm algorithm) {
    switch (algorithm) {
        case Algorithm::rs256:
        case Algorithm::ps256:
        case Algorithm::es256:
            return "SHA256";
        case Algorithm::es384:
            return "SHA384";
        case Algorithm::es512:
            return "SHA512";
        case Algorithm::eddsa:
            return nullptr;  // Ed25519 hashes by itself
    }
    return nullptr;
}

std::size_t coordinate_bytes(Algorithm algorithm) {
    switch (algorithm) {
        case Algorithm::es256:
            return 32;
        case Algorithm::es384:
            return 48;
        case Algorithm::es512:
            return 66;
        case Algorithm::rs256:
        case Algorithm::ps256:
        case Algorithm::eddsa:
            return 0;
    }
    return 0;
}

bool set_padding(EVP_PKEY_CTX* context, Algorithm algorithm) {
    if (algorithm == Algorithm::rs256) return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    if (algorithm != Algorithm::ps256) return true;
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

std::optional<std::string> raw_of_der(std::string_view der, std::size_t half) {
    const unsigned char* at = raw(der);
    const EcdsaSignature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
    std::string out(half * 2, '\0');
    const int width = static_cast<int>(half);
    if (!signature || BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw(out), width) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw(out) + half, width) < 0)
        return std::nullopt;
    return out;
}

std::optional<std::string> der_of_raw(std::string_view text, std::size_t half) {
    if (text.size() != half * 2) return std::nullopt;
    const EcdsaSignature signature(ECDSA_SIG_new());
    BIGNUM* r = BN_bin2bn(raw(text), static_cast<int>(half), nullptr);
    BIGNUM* s = BN_bin2bn(raw(text) + half, static_cast<int>(half), nullptr);
    base::require(signature && ECDSA_SIG_set0(signature.get(), r, s) == 1,
                  "OpenSSL has memory for a signature");
    unsigned char* der = nullptr;
    const int bytes = i2d_ECDSA_SIG(signature.get(), &der);
    if (bytes <= 0) return std::nullopt;
    std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(bytes));
    OPENSSL_free(der);
    return out;
}

}  // namespace

QuietOpenSsl::QuietOpenSsl() { ERR_set_mark(); }
QuietOpenSsl::~QuietOpenSsl() { ERR_pop_to_mark(); }

void FreeKey::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }

base::Result<KeyHandle> key_of_jwk(const JwkMembers& members, KeyPart part) {
    const QuietOpenSsl quiet;
    const auto type = members("kty");
    if (!type) return invalid();
    auto key = *type == "RSA"   ? rsa_key(members, part)
               : *type == "EC"  ? ec_key(members, part)
               : *type == "OKP" ? okp_key(members, part)
                                : unsupported();
    if (key && !*key) return invalid();
    return key;
}

std::optional<KeyShape> shape_of(EVP_PKEY* key) {
    switch (EVP_PKEY_get_base_id(key)) {
        case EVP_PKEY_ED25519:
            return KeyShape::ed25519;
        case EVP_PKEY_RSA: {
            const int bits = EVP_PKEY_get_bits(key);
            if (bits < kLeastRsaBits || bits > kMostRsaBits) return std::nullopt;
            return KeyShape::rsa;
        }
        case EVP_PKEY_EC: {
            std::array<char, 64> group{};
            std::size_t bytes = 0;
            if (EVP_PKEY_get_group_name(key, group.data(), group.size(), &bytes) != 1) return std::nullopt;
            const auto curve = std::ranges::find(kCurves, std::string_view(group.data()), &Curve::short_name);
            if (curve == kCurves.end()) return std::nullopt;
            return curve->shape;
        }
        default:
            return std::nullopt;
    }
}

std::string canonical_jwk(EVP_PKEY* key, KeyShape shape) {
    if (shape == KeyShape::rsa)
        return R"({"e":")" + number_in(key, OSSL_PKEY_PARAM_RSA_E, 0) + R"(","kty":"RSA","n":")" +
               number_in(key, OSSL_PKEY_PARAM_RSA_N, 0) + R"("})";
    if (const auto* curve = curve_of(shape))
        return R"({"crv":")" + std::string(curve->name) + R"(","kty":"EC","x":")" +
               number_in(key, OSSL_PKEY_PARAM_EC_PUB_X, curve->coordinate_bytes) + R"(","y":")" +
               number_in(key, OSSL_PKEY_PARAM_EC_PUB_Y, curve->coordinate_bytes) + R"("})";
    std::string bytes(kEd25519Bytes, '\0');
    std::size_t size = bytes.size();
    base::require(EVP_PKEY_get_raw_public_key(key, raw(bytes), &size) == 1,
                  "an Ed25519 key shows its public half");
    return R"({"crv":"Ed25519","kty":"OKP","x":")" + base::to_base64url(bytes) + R"("})";
}

bool fits(KeyShape shape, Algorithm algorithm) {
    switch (algorithm) {
        case Algorithm::rs256:
        case Algorithm::ps256:
            return shape == KeyShape::rsa;
        case Algorithm::es256:
            return shape == KeyShape::p256;
        case Algorithm::es384:
            return shape == KeyShape::p384;
        case Algorithm::es512:
            return shape == KeyShape::p521;
        case Algorithm::eddsa:
            return shape == KeyShape::ed25519;
    }
    return false;
}

std::optional<std::string> signature_of(EVP_PKEY* key, Algorithm algorithm, std::string_view message) {
    const QuietOpenSsl quiet;
    const DigestContext context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* padding = nullptr;  // the digest context's own
    std::size_t bytes = 0;
    if (!context ||
        EVP_DigestSignInit_ex(context.get(), &padding, digest_of(algorithm), nullptr, nullptr, key,
                              nullptr) != 1 ||
        !set_padding(padding, algorithm) ||
        EVP_DigestSign(context.get(), nullptr, &bytes, raw(message), message.size()) != 1)
        return std::nullopt;
    std::string signature(bytes, '\0');
    if (EVP_DigestSign(context.get(), raw(signature), &bytes, raw(message), message.size()) != 1)
        return std::nullopt;
    signature.resize(bytes);
    const std::size_t half = coordinate_bytes(algorithm);
    return half == 0 ? signature : raw_of_der(signature, half);
}

bool signature_holds(EVP_PKEY* key, Algorithm algorithm, std::string_view message,
                     std::string_view signature) {
    const QuietOpenSsl quiet;
    std::optional<std::string> der;
    if (const std::size_t half = coordinate_bytes(algorithm)) {
        der = der_of_raw(signature, half);
        if (!der) return false;
        signature = *der;
    }
    const DigestContext context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* padding = nullptr;
    return context &&
           EVP_DigestVerifyInit_ex(context.get(), &padding, digest_of(algorithm), nullptr, nullptr, key,
                                   nullptr) == 1 &&
           set_padding(padding, algorithm) &&
           EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(message), message.size()) ==
               1;
}

}  // namespace claviger::oauth
