#include "net/tls.h"

#include "net/tls_identity.h"

#include <memory>
#include <mutex>
#include <string_view>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

namespace claviger::net {
namespace {

using Context = std::shared_ptr<SSL_CTX>;  // swapped by reload() while handshakes of the old one still run

constexpr unsigned char kProtocols[] = "\x08http/1.1";
constexpr unsigned kProtocolsBytes = sizeof kProtocols - 1;

Context make_context(const SSL_METHOD* method) {
    Context context(::SSL_CTX_new(method), &::SSL_CTX_free);
    if (!context) return context;
    ::SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    // TLS 1.2 keeps only forward-secret AEAD suites; TLS 1.3 has no others.
    ::SSL_CTX_set_cipher_list(context.get(), "ECDHE+AESGCM:ECDHE+CHACHA20");
    ::SSL_CTX_set_options(context.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                             SSL_OP_PRIORITIZE_CHACHA | SSL_OP_CLEANSE_PLAINTEXT);
    ::SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
    return context;
}

/// A client that offers protocols but not HTTP/1.1 would speak something else: refuse it here, with a clear
/// alert.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_bytes,
                    const unsigned char* offered, unsigned offered_bytes, void*) {
    unsigned char* found = nullptr;
    if (::SSL_select_next_proto(&found, chosen_bytes, kProtocols, kProtocolsBytes, offered, offered_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

std::unexpected<base::Error> unusable(std::string_view code, const char* what) {
    return base::failure(
        base::ErrorKind::invalid_request, code, std::string("The ") + what + " cannot be used for TLS.",
        "It must be a readable PEM file, and the private key must belong to the first certificate.",
        tls_error_text());
}

base::Result<Context> listener_context(const std::filesystem::path& certificate_chain,
                                       const std::filesystem::path& private_key) {
    ::ERR_clear_error();
    auto context = make_context(::TLS_server_method());
    if (!context) return unusable("tls.unavailable", "TLS library");
    ::SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
    static constexpr unsigned char kSessions[] = "claviger";
    ::SSL_CTX_set_session_id_context(context.get(), kSessions, sizeof kSessions - 1);
    ::SSL_CTX_set_session_cache_mode(context.get(),
                                     SSL_SESS_CACHE_OFF);  // tickets resume; nothing is kept here
    ::SSL_CTX_set_alpn_select_cb(context.get(), &choose_protocol, nullptr);
    if (::SSL_CTX_use_certificate_chain_file(context.get(), certificate_chain.c_str()) != 1)
        return unusable("tls.certificate", "certificate file");
    if (::SSL_CTX_use_PrivateKey_file(context.get(), private_key.c_str(), SSL_FILETYPE_PEM) != 1)
        return unusable("tls.private_key", "private key file");
    if (::SSL_CTX_check_private_key(context.get()) != 1)
        return unusable("tls.private_key", "private key file");
    return context;
}

bool is_address(const std::string& host) {
    ASN1_OCTET_STRING* parsed = ::a2i_IPADDRESS(host.c_str());
    ::ERR_clear_error();
    ::ASN1_OCTET_STRING_free(parsed);
    return parsed != nullptr;
}

}  // namespace

std::string tls_error_text() {
    std::string text;
    while (const unsigned long code = ::ERR_get_error()) {
        char line[256];
        ::ERR_error_string_n(code, line, sizeof line);
        if (!text.empty()) text += "; ";
        text += line;
    }
    return text;
}

std::string tls_refusal(const SSL* ssl) {
    if (const long verdict = ::SSL_get_verify_result(ssl); verdict != X509_V_OK)
        return std::string("The certificate of the other side was not accepted: ") +
               ::X509_verify_cert_error_string(verdict) + ".";
    const char* reason = ::ERR_reason_error_string(::ERR_peek_error());
    return std::string("The TLS handshake failed: ") + (reason ? reason : "no reason known") + ".";
}

struct TlsServer::State {
    std::filesystem::path certificate_chain, private_key;
    mutable std::mutex guard;
    Context context;  // guarded
};

TlsServer::TlsServer() : state_(std::make_unique<State>()) {}
TlsServer::~TlsServer() = default;

base::Result<std::shared_ptr<TlsServer>> TlsServer::load(const std::filesystem::path& certificate_chain,
                                                         const std::filesystem::path& private_key) {
    std::shared_ptr<TlsServer> server(new TlsServer);
    server->state_->certificate_chain = certificate_chain;
    server->state_->private_key = private_key;
    if (auto loaded = server->reload(); !loaded) return std::unexpected(std::move(loaded).error());
    return server;
}

base::Status TlsServer::reload() {
    auto fresh = listener_context(state_->certificate_chain, state_->private_key);
    if (!fresh) return std::unexpected(std::move(fresh).error());
    const std::lock_guard hold(state_->guard);
    state_->context = std::move(*fresh);
    return {};
}

SslPointer TlsServer::accept() const {
    Context context;
    {
        const std::lock_guard hold(state_->guard);
        context = state_->context;
    }
    SslPointer ssl(::SSL_new(context.get()), &::SSL_free);  // counts its own reference to the context
    if (ssl) ::SSL_set_accept_state(ssl.get());
    return ssl;
}

struct TlsClient::State {
    Context context;
};

TlsClient::TlsClient() : state_(std::make_unique<State>()) {
    ::ERR_clear_error();
    state_->context = make_context(::TLS_client_method());
    if (!state_->context) return;
    ::SSL_CTX_set_verify(state_->context.get(), SSL_VERIFY_PEER, nullptr);
    ::SSL_CTX_set_alpn_protos(state_->context.get(), kProtocols, kProtocolsBytes);
}
TlsClient::~TlsClient() = default;

base::Result<std::shared_ptr<TlsClient>> TlsClient::system_store() {
    std::shared_ptr<TlsClient> client(new TlsClient);
    if (!client->state_->context || ::SSL_CTX_set_default_verify_paths(client->state_->context.get()) != 1)
        return base::failure(base::ErrorKind::unavailable, "tls.no_trust",
                             "The system's certificate authorities cannot be read.",
                             "Install the package ca-certificates, or name a CA bundle in the configuration.",
                             tls_error_text());
    return client;
}

base::Result<std::shared_ptr<TlsClient>> TlsClient::with_ca(const std::filesystem::path& ca_bundle) {
    std::shared_ptr<TlsClient> client(new TlsClient);
    if (!client->state_->context ||
        ::SSL_CTX_load_verify_file(client->state_->context.get(), ca_bundle.c_str()) != 1)
        return base::failure(base::ErrorKind::invalid_request, "tls.ca_bundle",
                             "The CA bundle cannot be read.",
                             "It must be a PEM file with at least one certificate.", tls_error_text());
    return client;
}

SslPointer TlsClient::connect(const std::string& host, const TlsIdentity* identity) const {
    SslPointer ssl(::SSL_new(state_->context.get()), &::SSL_free);
    if (!ssl) return ssl;
    ::SSL_set_connect_state(ssl.get());
    bool bound = false;
    if (is_address(host)) {
        bound = ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(ssl.get()), host.c_str()) == 1;
    } else {
        ::SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        bound = ::SSL_set1_host(ssl.get(), host.c_str()) == 1 &&
                ::SSL_set_tlsext_host_name(ssl.get(), host.c_str()) == 1;
    }
    bound = bound && (identity == nullptr || identity->show_on(ssl.get()));
    if (!bound) ssl.reset();  // a name that cannot be checked is not connected to
    return ssl;
}

}  // namespace claviger::net
