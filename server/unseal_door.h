// The one door that answers while sealed besides health: a local socket that takes what opens a slot.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "net/server.h"
#include "vault/key_ring.h"

#include <functional>
#include <memory>
#include <string>

namespace claviger::server {

/// Tries to unseal; blocks and burns CPU.
using Unseal = std::function<base::Status(const vault::SealInput&)>;

/// What the door can know without a key.
struct DoorView {
    std::function<base::Result<vault::InstanceSummary>()> summary;
    std::function<bool()> sealed;
    std::function<base::Result<vault::SealInput>()> token_input;  // module and PIN of the config
    const base::Clock& clock;
};

/// POST /v1/unseal with the slot's secret as the body and `X-Claviger-Slot`: passphrase, key_file, pkcs11 (an
/// empty body), recipient (the opening key, with the slot's id in `X-Claviger-Slot-Id`), or share: the text
/// of one share, which is kept in locked memory until enough of its set are there, and for half an hour at
/// most. GET /v1/seal says whether the store is sealed, which slots it has and which shares were given;
/// DELETE /v1/unseal forgets them. One attempt at a time, and a pause after each wrong one that grows from a
/// second to eight.
class UnsealDoor {
public:
    UnsealDoor(Unseal unseal, DoorView view);
    ~UnsealDoor();  // waits for a running attempt

    /// `worker` is the one that serves the local socket.
    net::awaitable<void> handle(net::Worker& worker, const net::Request& request,
                                net::ResponseWriter& writer);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::server
