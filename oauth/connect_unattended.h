// Connecting without a browser: by the client's own proof, or by a code that a person types elsewhere.
#pragma once

#include "oauth/connect_finish.h"

#include <memory>

namespace claviger::oauth {

/// For the grants that mint: settles the terms, sends the one request, stores what came. Errors: those of
/// negotiate, mint_request and take_answer; any of them closes the flow.
net::awaitable<base::Result<Finished>> connect_unattended(const ConnectWorld& world, const Outbound& out,
                                                          const vault::Actor& actor, base::ConnectLinkId id);

/// For the device grant (RFC 8628): gets a code for the person and leaves the flow waiting for them. Errors:
/// those of negotiate and parse_device_authorization; unavailable "connect.device_unreachable",
/// invalid_request "connect.device_refused". Any of them closes the flow.
net::awaitable<base::Status> begin_device(const ConnectWorld& world, const Outbound& out,
                                          const vault::Actor& actor, base::ConnectLinkId id);

/// Asks once whether the person is done, and notes what the answer says: tokens, when to ask again, or the
/// end.
net::awaitable<void> poll_device(const ConnectWorld& world, const Outbound& out, base::ConnectLinkId id);

/// Polls every flow that waits for a device, each when it is due; what is on record survives a restart, so
/// does the waiting. Everything is borrowed and outlives the worker's last tick.
class DevicePolls {
public:
    using OutboundFor = std::function<Outbound(const vault::ConnectFlow&)>;  // called on the worker

    DevicePolls(const ConnectWorld& world, net::Worker& worker, OutboundFor outbound_for);
    /// No further poll begins.
    ~DevicePolls();
    DevicePolls(const DevicePolls&) = delete;
    DevicePolls& operator=(const DevicePolls&) = delete;

    void start();  // any thread, once

private:
    struct State;
    std::shared_ptr<State> state_;  // with the worker's tick and the polls under way, which end later
};

}  // namespace claviger::oauth
