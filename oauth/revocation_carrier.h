// Revokes the tokens of outbox items at their authorization server, in the way of each provider.
#pragma once

#include "net/client.h"
#include "notify/outbox.h"
#include "oauth/provider_catalog.h"
#include "oauth/revocation.h"

#include <chrono>
#include <functional>
#include <string_view>

namespace claviger::oauth {

/// The refresh token first, then the access token. Ten tries over a day, like everything in the outbox; what
/// the server calls unknown counts as revoked. An authorization server without a known way to revoke is given
/// up at once: `connection.revocation_incomplete` says so.
class RevocationCarrier final : public notify::Carrier {
public:
    /// As GrantHooks.reach: which addresses a server's URL may have.
    using Reach = std::function<net::PrivateAddresses(const vault::Credential&, std::string_view url)>;

    /// On the pool's worker. Everything is borrowed.
    RevocationCarrier(net::Worker& worker, net::ClientPool& pool, const vault::Records& records,
                      const ProviderCatalog& providers, Reach reach,
                      std::chrono::milliseconds timeout = std::chrono::seconds(30))
        : worker_(worker),
          pool_(pool),
          records_(records),
          providers_(providers),
          reach_(std::move(reach)),
          timeout_(timeout) {}

    net::awaitable<notify::Attempt> carry(vault::Ref<vault::OutboxItem> item) override;
    base::Status settle(vault::Change& change, const vault::OutboxItem& item, const notify::Attempt& attempt,
                        notify::Fate fate) override;

private:
    net::Worker& worker_;
    net::ClientPool& pool_;
    const vault::Records& records_;
    const ProviderCatalog& providers_;
    Reach reach_;
    std::chrono::milliseconds timeout_;
};

}  // namespace claviger::oauth
