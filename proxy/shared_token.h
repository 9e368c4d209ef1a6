// The token of a server's credential: sealed as it rests, and opened once for all calls that need it at the
// same time.
#pragma once

#include "base/result.h"
#include "crypto/secret.h"
#include "proxy/secret_forms.h"
#include "vault/records.h"

#include <memory>
#include <utility>

namespace claviger::proxy {

/// A token in the open: to inject, and to be looked for in what comes back. Locked memory, wiped with it.
struct OpenedToken {
    explicit OpenedToken(crypto::Secret opened) : secret(std::move(opened)), forms(secret) {}
    const crypto::Secret secret;
    const SecretForms forms;
};

/// One version of a credential: another version is another object. Not thread safe.
class SharedToken {
public:
    SharedToken() = default;
    explicit SharedToken(vault::SealedSecret sealed) : sealed_(std::move(sealed)) {}

    /// Only for a call whose intent is durable. Gives what a call that still holds it has opened before, else
    /// opens anew; it is gone with the last call that holds it. Errors: those of Records::open_token.
    base::Result<std::shared_ptr<const OpenedToken>> open(const vault::Records& records) const;
    const vault::SealedSecret& sealed() const { return sealed_; }

private:
    vault::SealedSecret sealed_;
    mutable std::weak_ptr<const OpenedToken> opened_;  // weak: between calls nothing stays open
};

}  // namespace claviger::proxy
