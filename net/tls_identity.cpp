#include "net/tls_identity.h"

#include "base/bytes.h"
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace claviger::net {
namespace {

constexpr std::size_t kLongestPem = 64 * 1024, kLongestChain = 10;

using Certificate = std::unique_ptr<X509, decltype(&::X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)>;
using Text = std::unique_ptr<BIO, decltype(&::BIO_free)>;

/// Reads only; `bytes` outlive it.
Text text_over(std::span<const std::byte> bytes) {
    return {::BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())), &::BIO_free};
}

/// Nobody is here to be asked for a passphrase.
int no_passphrase(char*, int, int, void*) { return -1; }

std::unexpected<base::Error> unusable(const char* why) {
    return base::failure(
        base::ErrorKind::invalid_request, "tls.identity_invalid",
        std::string("The client certificate cannot be used: ") + why + ".",
        "Give the certificate with its chain and its private key, without a passphrase, both "
        "in PEM.",
        tls_error_text());
}

std::string fingerprint_of(X509* certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned bytes = 0;
    if (::X509_digest(certificate, ::EVP_sha256(), digest.data(), &bytes) != 1) return {};
    return base::to_base64url({reinterpret_cast<const char*>(digest.data()), bytes});
}

}  // namespace

struct TlsIdentity::State {
    std::vector<Certificate> chain;  // ours first
    PrivateKey key{nullptr, &::EVP_PKEY_free};
    std::string fingerprint;
};

TlsIdentity::TlsIdentity() : state_(std::make_unique<State>()) {}
TlsIdentity::~TlsIdentity() = default;

base::Result<std::shared_ptr<const TlsIdentity>> TlsIdentity::from_pem(const crypto::Secret& pem) {
    ::ERR_clear_error();
    if (pem.size() > kLongestPem) return unusable("the text is too long");
    std::shared_ptr<TlsIdentity> identity(new TlsIdentity);
    auto& state = *identity->state_;
    pem.expose([&](std::span<const std::byte> bytes) {
        const auto certificates = text_over(bytes);
        while (state.chain.size() <= kLongestChain) {
            Certificate next(::PEM_read_bio_X509(certificates.get(), nullptr, &no_passphrase, nullptr),
                             &::X509_free);
            if (!next) break;
            state.chain.push_back(std::move(next));
        }
        state.key.reset(::PEM_read_bio_PrivateKey(text_over(bytes).get(), nullptr, &no_passphrase, nullptr));
    });
    if (state.chain.empty()) return unusable("there is none in the text");
    if (state.chain.size() > kLongestChain) return unusable("its chain is too long");
    if (!state.key) return unusable("there is no private key that can be read");
    if (::X509_check_private_key(state.chain.front().get(), state.key.get()) != 1)
        return unusable("the private key belongs to another certificate");
    state.fingerprint = fingerprint_of(state.chain.front().get());
    ::ERR_clear_error();  // the end of the text counts as an error there
    return identity;
}

const std::string& TlsIdentity::fingerprint() const { return state_->fingerprint; }

bool TlsIdentity::show_on(SSL* ssl) const {
    const auto& chain = state_->chain;
    bool good = ::SSL_use_certificate(ssl, chain.front().get()) == 1 &&
                ::SSL_use_PrivateKey(ssl, state_->key.get()) == 1;
    for (std::size_t i = 1; good && i < chain.size(); ++i)
        good = ::SSL_add1_chain_cert(ssl, chain[i].get()) == 1;
    return good;
}

}  // namespace claviger::net
