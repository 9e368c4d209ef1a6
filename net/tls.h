// TLS on both sides, by OpenSSL 3: what listeners present and what upstreams must prove.
#pragma once

#include "base/result.h"

#include <filesystem>
#include <memory>
#include <string>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

namespace claviger::net {

using SslPointer = std::unique_ptr<SSL, void (*)(SSL*)>;

/// OpenSSL's error queue of this thread as one line, emptied. For `detail` only.
std::string tls_error_text();
/// Why the handshake on `ssl` failed, in one sentence for people. Empties nothing.
std::string tls_refusal(const SSL* ssl);

/// A listener's certificate and key (PEM); TLS 1.2 with AEAD suites and 1.3 only. reload() swaps both at once
/// or not at all.
class TlsServer {
public:
    static base::Result<std::shared_ptr<TlsServer>> load(const std::filesystem::path& certificate_chain,
                                                         const std::filesystem::path& private_key);
    base::Status reload();      // any thread
    SslPointer accept() const;  // any thread; null only when memory is short
    ~TlsServer();

private:
    TlsServer();
    struct State;
    std::unique_ptr<State> state_;
};

class TlsIdentity;

/// How we verify upstreams: the system store, or one CA bundle instead of it.
class TlsClient {
public:
    static base::Result<std::shared_ptr<TlsClient>> system_store();
    static base::Result<std::shared_ptr<TlsClient>> with_ca(const std::filesystem::path& ca_bundle);
    /// SNI and verification of `host` (name or address) are set; there is no way to switch verification off.
    /// `identity` is shown to a server that asks for a certificate; null: none is. Null when `host` cannot be
    /// checked (empty, too long).
    SslPointer connect(const std::string& host, const TlsIdentity* identity = nullptr) const;
    ~TlsClient();

private:
    TlsClient();
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::net
