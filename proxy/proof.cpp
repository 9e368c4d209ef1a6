#include "proxy/proof.h"

#include "oauth/challenge.h"
#include "oauth/grant_client.h"
#include "oauth/resource_proof.h"

#include <algorithm>

namespace claviger::proxy {
namespace {

/// RFC 9449 8.1: the characters of an OAuth error description, and short.
bool sendable(std::string_view nonce) {
    return !nonce.empty() && nonce.size() <= 512 &&
           std::ranges::all_of(nonce, [](char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

}  // namespace

std::string_view Nonces::of(const net::Origin& origin) const {
    const auto found = known_.find(oauth::text_of(origin));
    return found == known_.end() ? std::string_view() : std::string_view(found->second);
}

void Nonces::learn(const net::Origin& origin, const net::Headers& headers) {
    const auto nonce = headers.find("DPoP-Nonce");
    if (!nonce || !sendable(*nonce)) return;
    if (known_.size() >= kMost) known_.clear();
    known_[oauth::text_of(origin)] = *nonce;
}

bool needs_proof(const ServerContext& server) {
    return server.credential && server.credential->type == vault::AuthType::mcp_oauth &&
           server.credential->injection.scheme == "DPoP";
}

base::Status add_proof(net::OutboundHead& head, std::string_view method, const ServerContext& server,
                       vault::Records& records, const Nonces& nonces) {
    const auto parts = records.open_parts(server.token.sealed());
    if (!parts) return std::unexpected(parts.error());
    return oauth::add_resource_proof(head,
                                     {.method = method,
                                      .origin = server.origin,
                                      .target = server.url.target,
                                      .nonce = nonces.of(server.origin)},
                                     *parts, records.clock().now());
}

base::Result<std::shared_ptr<const net::TlsIdentity>> certificate_for(const ServerContext& server,
                                                                      vault::Records& records) {
    if (!server.credential || !oauth::shows_certificate(*server.credential)) return nullptr;
    const auto parts = records.open_parts(server.token.sealed());
    if (!parts) return std::unexpected(parts.error());
    return oauth::certificate_of(*parts);
}

bool wants_nonce(const net::ResponseHead& head) {
    if (head.status != 401 || !head.headers.find("DPoP-Nonce")) return false;
    const auto challenges = oauth::parse_challenges(head.headers);
    return challenges && oauth::token_challenge(*challenges).error == "use_dpop_nonce";
}

}  // namespace claviger::proxy
