// Connecting by a code that a person types on another device (RFC 8628).
#pragma once

#include "oauth/connect_finish.h"

namespace claviger::oauth {

/// Whether the provider may be asked again. A poll that is further away than any pause was planned before the
/// clock was put back, and is due.
bool poll_is_due(const vault::DeviceWait& device, base::Time now);

/// Gets a code for the person and leaves the flow waiting for them. Errors: those of negotiate and
/// parse_device_authorization; unavailable "connect.device_unreachable", invalid_request
/// "connect.device_refused". Any of them closes the flow.
net::awaitable<base::Status> begin_device(const ConnectWorld& world, const Outbound& out,
                                          const vault::Actor& actor, base::ConnectLinkId id);

/// Asks once whether the person is done, and notes what came of it: tokens, when to ask again, or the end.
net::awaitable<void> poll_device(const ConnectWorld& world, const Outbound& out, base::ConnectLinkId id);

}  // namespace claviger::oauth
