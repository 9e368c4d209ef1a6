// Certificates for tests, made when they are needed.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

typedef struct evp_pkey_st EVP_PKEY;
typedef struct x509_st X509;

namespace claviger::test {

/// A P-256 key and a certificate for it, valid for an hour.
class Certificate {
public:
    enum class Role { authority, server };
    /// Signed by `issuer`, or by itself. `name` goes into the subject and, for a server, into the alternative
    /// names: an IP address as such, everything else as a DNS name.
    Certificate(const std::string& name, Role role, const Certificate* issuer = nullptr);

    /// PEM files, written in place of earlier ones.
    void write(const std::filesystem::path& certificate, const std::filesystem::path& key) const;

private:
    std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_;
    std::unique_ptr<X509, void (*)(X509*)> certificate_;
};

/// A directory that is removed with everything in it.
class Directory {
public:
    Directory();
    ~Directory();
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

}  // namespace claviger::test
