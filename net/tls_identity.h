// Who we are to an upstream that asks for a certificate (RFC 8705).
#pragma once

#include "base/result.h"
#include "crypto/secret.h"

#include <memory>
#include <string>

typedef struct ssl_st SSL;

namespace claviger::net {

/// A client certificate with its chain and its private key. Thread safe; the key stays in OpenSSL's memory
/// for as long as this lives.
class TlsIdentity {
public:
    /// PEM: the certificate, what else of its chain is to be shown, and the unencrypted key, in any order.
    /// Errors: invalid_request "tls.identity_invalid" (not both, or they do not belong together).
    static base::Result<std::shared_ptr<const TlsIdentity>> from_pem(const crypto::Secret& pem);
    ~TlsIdentity();
    TlsIdentity(const TlsIdentity&) = delete;
    TlsIdentity& operator=(const TlsIdentity&) = delete;

    /// "x5t#S256" (RFC 8705 3.1), which tells identities apart.
    const std::string& fingerprint() const;
    /// Shown on this connection, if the server asks. False when memory is short.
    bool show_on(SSL* ssl) const;

private:
    TlsIdentity();
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::net
