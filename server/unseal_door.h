// The one door that answers while sealed besides health: a local socket that takes what opens a slot.
#pragma once

#include "base/result.h"
#include "net/server.h"
#include "vault/key_ring.h"

#include <functional>
#include <memory>
#include <string>

namespace claviger::server {

/// Tries to unseal; blocks and burns CPU.
using Unseal = std::function<base::Status(const vault::SealInput&)>;

/// POST /v1/unseal with the slot's secret as the body and `X-Claviger-Slot: passphrase` or `key_file`; GET
/// /v1/seal says whether the store is sealed and which slots it has. One attempt at a time, and a second's
/// pause after a wrong one.
class UnsealDoor {
public:
    /// `summary` gives the JSON that GET /v1/seal answers.
    UnsealDoor(Unseal unseal, std::function<std::string()> summary);
    ~UnsealDoor();  // waits for a running attempt

    /// `worker` is the one that serves the local socket.
    net::awaitable<void> handle(net::Worker& worker, const net::Request& request,
                                net::ResponseWriter& writer);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::server
