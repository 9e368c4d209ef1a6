#include "proxy/proof.h"

#include "oauth/challenge.h"
#include "oauth/dpop.h"

#include <algorithm>

namespace claviger::proxy {
namespace {

std::string key_of(const net::Origin& origin) {
    return (origin.tls ? "https://" : "http://") + origin.authority();
}

/// RFC 9449 8.1: the characters of an OAuth error description, and short.
bool sendable(std::string_view nonce) {
    return !nonce.empty() && nonce.size() <= 512 &&
           std::ranges::all_of(nonce, [](char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

}  // namespace

std::string_view Nonces::of(const net::Origin& origin) const {
    const auto found = known_.find(key_of(origin));
    return found == known_.end() ? std::string_view() : std::string_view(found->second);
}

void Nonces::learn(const net::Origin& origin, const net::Headers& headers) {
    const auto nonce = headers.find("DPoP-Nonce");
    if (!nonce || !sendable(*nonce)) return;
    if (known_.size() >= kMost) known_.clear();
    known_[key_of(origin)] = *nonce;
}

bool needs_proof(const ServerContext& server) {
    return server.credential && server.credential->type == vault::AuthType::mcp_oauth &&
           server.credential->injection.scheme == "DPoP";
}

base::Status add_proof(net::OutboundHead& head, std::string_view method, const ServerContext& server,
                       vault::Records& records, const Nonces& nonces) {
    const auto parts = records.open_parts(server.sealed);
    if (!parts) return std::unexpected(parts.error());
    const auto missing = [] {
        return base::failure(base::ErrorKind::denied, "credential.not_sendable",
                             "The key that this credential's token is bound to is missing.",
                             "An administrator has to connect the account again.");
    };
    if (!parts->dpop_key || !parts->token) return missing();
    const auto key = oauth::DpopKey::import(*parts->dpop_key);
    if (!key) return std::unexpected(key.error());
    oauth::DpopRequest request{.method = method, .url = {}, .access_token = &*parts->token};
    const auto url = key_of(server.origin) + server.url.target;
    request.url = url;
    if (const auto nonce = nonces.of(server.origin); !nonce.empty()) request.nonce = nonce;
    const auto proof = key->proof(request, records.clock().now());
    if (!proof) return std::unexpected(proof.error());
    if (!head.add("DPoP", *proof)) return missing();
    return {};
}

bool wants_nonce(const net::ResponseHead& head) {
    if (head.status != 401 || !head.headers.find("DPoP-Nonce")) return false;
    const auto challenges = oauth::parse_challenges(head.headers);
    return challenges && oauth::token_challenge(*challenges).error == "use_dpop_nonce";
}

}  // namespace claviger::proxy
