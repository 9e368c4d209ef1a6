// The first half of a connect: from the person's click to the provider's page.
#pragma once

#include "oauth/connect_terms.h"

#include <string>

namespace claviger::oauth {

struct Departure {
    std::string location;   // the provider's page; holds the state
    crypto::Secret cookie;  // what the browser has to bring back with it
};

/// Counts the start, settles the terms, stores state, verifier and browser of the flow (as digests, or
/// sealed), and only then says where to go. A click that comes again, while nobody has come back yet, starts
/// anew; one start of a link runs at a time. Trouble that may pass leaves the link open with its problem, up
/// to kMostStarts; any other closes it, unless the person has come back from an earlier start meanwhile.
/// Errors: conflict "connect.ended", "connect.starting", "connect.too_many_starts"; those of negotiate;
/// unavailable "connect.push_failed", invalid_request "connect.push_refused" (RFC 9126).
net::awaitable<base::Result<Departure>> depart(const ConnectWorld& world, const Outbound& out,
                                               const vault::Actor& actor, base::ConnectLinkId id);

}  // namespace claviger::oauth
