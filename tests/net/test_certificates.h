// Certificates made for one test: an authority, and servers that it vouches for, or does not.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace claviger::test {

using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
using Certificate = std::unique_ptr<X509, void (*)(X509*)>;
using TlsContext = std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)>;

struct Identity {
    Key key{nullptr, &EVP_PKEY_free};
    Certificate certificate{nullptr, &X509_free};
};

/// `names` as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1"; empty makes an authority. Without issuer:
/// signed by itself.
inline Identity make_identity(const std::string& names, const Identity* issuer,
                              long valid_from_seconds = -3600, long valid_to_seconds = 3600) {
    static long serial = 1;
    Identity made;
    made.key.reset(EVP_EC_gen("P-256"));
    made.certificate.reset(X509_new());
    auto* certificate = made.certificate.get();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), valid_from_seconds);
    X509_gmtime_adj(X509_getm_notAfter(certificate), valid_to_seconds);
    X509_set_pubkey(certificate, made.key.get());
    const std::string common = names.empty() ? "test authority" : "test server";
    auto* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(common.c_str()), -1, -1, 0);
    X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer->certificate.get()) : name);

    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer ? issuer->certificate.get() : certificate, certificate, nullptr, nullptr,
                   0);
    const auto extend = [&](int kind, const std::string& value) {
        auto* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
        if (!extension) std::abort();
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    };
    extend(NID_basic_constraints, names.empty() ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!names.empty()) extend(NID_subject_alt_name, names);
    if (X509_sign(certificate, issuer ? issuer->key.get() : made.key.get(), EVP_sha256()) == 0) std::abort();
    return made;
}

inline std::string pem_of(const std::function<void(BIO*)>& write) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
    write(out.get());
    char* bytes = nullptr;
    const auto size = BIO_get_mem_data(out.get(), &bytes);
    return {bytes, static_cast<std::size_t>(size)};
}
inline std::string certificate_of(const Identity& identity) {
    return pem_of([&](BIO* out) { PEM_write_bio_X509(out, identity.certificate.get()); });
}
inline std::string key_of(const Identity& identity) {
    return pem_of([&](BIO* out) {
        PEM_write_bio_PrivateKey(out, identity.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
}

inline TlsContext server_context(const Identity& identity) {
    TlsContext context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
    if (SSL_CTX_use_certificate(context.get(), identity.certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context.get(), identity.key.get()) != 1)
        std::abort();
    return context;
}

/// A directory of this test alone, gone with it.
struct TestDirectory {
    std::filesystem::path path;
    TestDirectory() {
        std::string pattern = (std::filesystem::temp_directory_path() / "claviger-net-XXXXXX").string();
        if (!::mkdtemp(pattern.data())) std::abort();
        path = pattern;
    }
    ~TestDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    TestDirectory(const TestDirectory&) = delete;
    TestDirectory& operator=(const TestDirectory&) = delete;
};

inline std::filesystem::path write_certificate(const TestDirectory& directory, const Identity& identity) {
    const auto path = directory.path / "authority.pem";
    auto* file = std::fopen(path.c_str(), "w");
    if (!file || PEM_write_X509(file, identity.certificate.get()) != 1) std::abort();
    std::fclose(file);
    return path;
}

}  // namespace claviger::test
