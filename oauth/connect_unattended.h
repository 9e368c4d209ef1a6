// Connecting without a browser: by the client's own proof. Connecting by a code that is typed elsewhere
// shares its steps (connect_device.h).
#pragma once

#include "oauth/connect_finish.h"

namespace claviger::oauth {

/// For the grants that mint: settles the terms, sends the one request, stores what came. Errors: those of
/// negotiate, mint_request and take_answer; any of them closes the flow.
net::awaitable<base::Result<Finished>> connect_unattended(const ConnectWorld& world, const Outbound& out,
                                                          const vault::Actor& actor, base::ConnectLinkId id);

/// How a flow goes on once its terms are settled. Borrowed.
struct SettledStep {
    const Negotiated& settled;
    const ConnectSecrets& secrets;
    vault::ConnectState state;
    std::optional<vault::DeviceWait> device;
    base::Time until;
};
/// On the commit thread. Errors: conflict "connect.ended".
base::Status store_terms(const ConnectWorld& world, vault::Change& change, const base::ConnectLinkId& id,
                         const SettledStep& step);

/// A flow that no person goes on with, and what was settled for it.
struct Unattended {
    vault::Ref<vault::ConnectFlow> flow;
    Negotiated settled;
};
/// Errors: conflict "connect.ended"; those of negotiate, which close the flow.
net::awaitable<base::Result<Unattended>> settle_unattended(const ConnectWorld& world, const Outbound& out,
                                                           const vault::Actor& actor, base::ConnectLinkId id);

/// Closes the flow with the error and gives it back. Nobody will come who could try again.
net::awaitable<std::unexpected<base::Error>> end_unattended(const ConnectWorld& world, net::Worker& worker,
                                                            const vault::Actor& actor, base::ConnectLinkId id,
                                                            base::Error error, std::string_view reason);

}  // namespace claviger::oauth
