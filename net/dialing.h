// Making an outbound connection: resolve, judge the addresses, connect to those very ones, secure.
#pragma once

#include "net/client.h"
#include "net/connection.h"
#include "net/name_lookup.h"

#include <chrono>
#include <memory>
#include <vector>

namespace claviger::net {

struct Dialed {
    std::unique_ptr<Connection> connection;
    bool private_address = false;
};

/// One attempt. Destroying it gives up.
class Dialing {
public:
    /// All that is borrowed must live until run() has ended; `tls` may be null for plain origins,
    /// `identity` for those that ask for no certificate.
    Dialing(Worker& worker, NameLookup& names, const Origin& origin, PrivateAddresses private_addresses,
            const TlsClient* tls, const TlsIdentity* identity);
    ~Dialing();
    Dialing(const Dialing&) = delete;
    Dialing& operator=(const Dialing&) = delete;

    /// Once. All of it together takes at most `limit`. Errors: unavailable "upstream.unreachable",
    /// "upstream.tls", "upstream.cancelled"; denied "network.private_address". Nothing has been sent when it
    /// fails.
    awaitable<base::Result<Dialed>> run(std::chrono::milliseconds limit);
    /// Same thread: makes a pending run() fail with "upstream.cancelled" at once.
    void cancel();

private:
    struct Pending;
    using Time = std::chrono::steady_clock::time_point;
    awaitable<base::Status> resolve(Time deadline);
    awaitable<base::Status> connect(Time deadline);
    awaitable<base::Status> secure(Connection& connection, Time deadline);

    Worker& worker_;
    NameLookup& names_;
    const Origin& origin_;
    PrivateAddresses private_addresses_;
    const TlsClient* tls_;
    const TlsIdentity* identity_;
    std::shared_ptr<Pending>
        pending_;  // owned as well by the callbacks of its operations, which may come after us
    Connection* securing_ = nullptr;
    bool cancelled_ = false;
};

}  // namespace claviger::net
