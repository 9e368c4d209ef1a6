#include "oauth/resource_proof.h"

#include "oauth/dpop.h"

namespace claviger::oauth {

std::string text_of(const net::Origin& origin) {
    return (origin.tls ? "https://" : "http://") + origin.authority();
}

base::Status add_resource_proof(net::OutboundHead& head, const ProvenRequest& request,
                                const vault::SecretParts& secrets, base::Time now) {
    const auto missing = [] {
        return base::failure(base::ErrorKind::denied, "credential.not_sendable",
                             "The key that this credential's token is bound to is missing.",
                             "An administrator has to connect the account again.");
    };
    if (!secrets.dpop_key || !secrets.token) return missing();
    const auto key = DpopKey::import(*secrets.dpop_key);
    if (!key) return std::unexpected(key.error());
    const auto url = text_of(request.origin) + std::string(request.target);
    DpopRequest about{.method = request.method, .url = url, .access_token = &*secrets.token};
    if (!request.nonce.empty()) about.nonce = request.nonce;
    const auto proof = key->proof(about, now);
    if (!proof) return std::unexpected(proof.error());
    if (!head.add("DPoP", *proof)) return missing();
    return {};
}

}  // namespace claviger::oauth
