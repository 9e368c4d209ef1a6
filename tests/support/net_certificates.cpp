#include "tests/support/net_certificates.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace claviger::test {
namespace {

void extend(X509* certificate, const X509* issuer, int what, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, const_cast<X509*>(issuer), certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = ::X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str());
    if (!extension) std::abort();
    ::X509_add_ext(certificate, extension, -1);
    ::X509_EXTENSION_free(extension);
}

bool is_address(const std::string& name) {
    return name.find_first_not_of("0123456789.:abcdef") == std::string::npos;
}

}  // namespace

Certificate::Certificate(const std::string& name, Role role, const Certificate* issuer)
    : key_(EVP_EC_gen("P-256"), &::EVP_PKEY_free), certificate_(::X509_new(), &::X509_free) {
    static std::atomic<long> serial{1};
    X509* made = certificate_.get();
    ::X509_set_version(made, X509_VERSION_3);
    ::ASN1_INTEGER_set(::X509_get_serialNumber(made), serial++);
    ::X509_gmtime_adj(::X509_getm_notBefore(made), -60);
    ::X509_gmtime_adj(::X509_getm_notAfter(made), 3600);
    ::X509_set_pubkey(made, key_.get());
    ::X509_NAME_add_entry_by_txt(::X509_get_subject_name(made), "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    const X509* signer = issuer ? issuer->certificate_.get() : made;
    ::X509_set_issuer_name(made, ::X509_get_subject_name(signer));
    if (role == Role::authority) {
        extend(made, signer, NID_basic_constraints, "critical,CA:TRUE");
        extend(made, signer, NID_key_usage, "critical,keyCertSign");
    } else {
        extend(made, signer, NID_basic_constraints, "critical,CA:FALSE");
        extend(made, signer, NID_subject_alt_name, (is_address(name) ? "IP:" : "DNS:") + name);
    }
    if (::X509_sign(made, issuer ? issuer->key_.get() : key_.get(), ::EVP_sha256()) == 0) std::abort();
}

void Certificate::write(const std::filesystem::path& certificate, const std::filesystem::path& key) const {
    const auto save = [](const std::filesystem::path& path, auto put) {
        std::FILE* file = std::fopen(path.c_str(), "w");
        if (!file || put(file) != 1 || std::fclose(file) != 0) std::abort();
    };
    save(certificate, [&](std::FILE* file) { return ::PEM_write_X509(file, certificate_.get()); });
    save(key, [&](std::FILE* file) {
        return ::PEM_write_PrivateKey(file, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
}

Directory::Directory() {
    std::string made = std::filesystem::temp_directory_path() / "claviger-XXXXXX";
    if (!::mkdtemp(made.data())) std::abort();
    path_ = made;
}

Directory::~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace claviger::test
