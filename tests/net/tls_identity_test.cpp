#include "net/tls_identity.h"

#include "tests/net/test_certificates.h"
#include "tests/support/spec.h"

#include <openssl/err.h>

#include <memory>
#include <string>

using namespace claviger;

namespace {

using test::certificate_of;
using test::key_of;

base::Result<std::shared_ptr<const net::TlsIdentity>> read(const std::string& pem) {
    return net::TlsIdentity::from_pem(crypto::Secret::copy_of(std::string_view(pem)));
}

}  // namespace

TEST_CASE("A client certificate comes with its own key, in any order, and with its chain", "[net]") {
    const auto authority = test::make_identity("", nullptr);
    const auto ours = test::make_identity("DNS:robot", &authority);
    const auto one = read(certificate_of(ours) + key_of(ours));
    REQUIRE(one);
    CHECK((*one)->fingerprint().size() == 43);
    const auto other = read(key_of(ours) + certificate_of(ours) + certificate_of(authority));
    REQUIRE(other);
    CHECK((*other)->fingerprint() == (*one)->fingerprint());

    const test::TlsContext context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), &SSL_free);
    CHECK((*other)->show_on(ssl.get()));
    CHECK(X509_cmp(SSL_get_certificate(ssl.get()), ours.certificate.get()) == 0);
}

TEST_CASE("What cannot prove a client is refused before it is stored", "[net]") {
    const auto authority = test::make_identity("", nullptr);
    const auto ours = test::make_identity("DNS:robot", &authority);
    const auto stranger = test::make_identity("DNS:stranger", &authority);
    struct Row {
        const char* what;
        std::string pem;
        const char* says;
    };
    const Row rows[] = {
        {"nothing", "", "there is none"},
        {"no PEM", "hello", "there is none"},
        {"no key", certificate_of(ours), "no private key"},
        {"no certificate", key_of(ours), "there is none"},
        {"the key of another", certificate_of(ours) + key_of(stranger), "belongs to another certificate"},
        {"another's certificate first", certificate_of(authority) + certificate_of(ours) + key_of(ours),
         "belongs to another certificate"},
        {"far too much", std::string(70'000, 'x'), "too long"}};
    for (const auto& row : rows) {
        INFO(row.what);
        const auto refused = read(row.pem);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "tls.identity_invalid");
        CHECK(refused.error().message.find(row.says) != std::string::npos);
        CHECK(refused.error().message.find("BEGIN") == std::string::npos);
    }
    CHECK(ERR_peek_error() == 0);
}
