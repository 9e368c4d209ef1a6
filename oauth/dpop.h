// Proof of possession (RFC 9449): a key per credential, and a proof per request.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "crypto/secret.h"
#include "oauth/jose_signing_key.h"

#include <optional>
#include <string>
#include <string_view>

namespace claviger::oauth {

struct DpopRequest {
    std::string_view method;  // "POST"
    std::string_view url;     // http or https; query and fragment are left out of the proof
    const crypto::Secret* access_token = nullptr;  // with resource requests: bound as "ath"
    std::optional<std::string_view> nonce = {};    // the newest that the server gave
};

/// ES256. Losing it is losing the grant, so it is stored together with the tokens. Move only; const members
/// are safe from several threads.
class DpopKey {
public:
    static DpopKey generate();
    /// What exported() gave. Errors: those of SigningKey::from_pkcs8, and corrupt "dpop.key_invalid" when it
    /// is a key of another kind.
    static base::Result<DpopKey> import(const crypto::Secret& exported);
    /// To be sealed at rest.
    crypto::Secret exported() const { return key_.pkcs8(); }

    /// The "jkt" that tokens are bound to (RFC 7638).
    std::string thumbprint() const { return key_.public_key().thumbprint(); }
    /// The DPoP header, good for one request. Errors, invalid_request: "dpop.url_invalid",
    /// "dpop.method_invalid", "dpop.nonce_invalid".
    base::Result<std::string> proof(const DpopRequest& request, base::Time now) const;

private:
    explicit DpopKey(SigningKey key) : key_(std::move(key)) {}

    SigningKey key_;
};

}  // namespace claviger::oauth
