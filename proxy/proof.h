// Proof of possession towards MCP servers: tokens that are bound to a key travel with a signature of the
// request (RFC 9449 7).
#pragma once

#include "base/clock.h"
#include "net/client.h"
#include "proxy/session_context.h"
#include "vault/records.h"

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace claviger::proxy {

/// The newest nonce that each server gave. Not thread safe.
class Nonces {
public:
    /// Empty when it gave none.
    std::string_view of(const net::Origin& origin) const;
    /// Takes the DPoP-Nonce of any answer (RFC 9449 8.2).
    void learn(const net::Origin& origin, const net::Headers& headers);

private:
    static constexpr std::size_t kMost = 1'000;
    std::unordered_map<std::string, std::string> known_;
};

/// Whether the server's credential is sent with a proof.
bool needs_proof(const ServerContext& server);
/// Adds the DPoP header for this request. Errors: those of Records::open_parts and of
/// oauth::add_resource_proof.
base::Status add_proof(net::OutboundHead& head, std::string_view method, const ServerContext& server,
                       vault::Records& records, const Nonces& nonces);
/// What the server's credential is sent by besides: the client certificate that its token is bound to
/// (RFC 8705 3); null for all others. Errors: those of Records::open_parts; denied "credential.not_sendable"
/// when it is missing.
base::Result<std::shared_ptr<const net::TlsIdentity>> certificate_for(const ServerContext& server,
                                                                      vault::Records& records);
/// Whether this 401 asks only for a proof with the nonce that came along (RFC 9449 8).
bool wants_nonce(const net::ResponseHead& head);

}  // namespace claviger::proxy
