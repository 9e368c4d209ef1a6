// What connect links need while nobody looks at them: devices are polled, answers that were left are
// finished, and what came to nothing is ended and its secrets with it.
#pragma once

#include "oauth/connect_flow.h"

#include <functional>
#include <memory>

namespace claviger::oauth {

/// Runs on one worker; what is on record survives a restart, and so does the work. Everything is borrowed and
/// outlives the worker's last tick.
class ConnectUpkeep {
public:
    using OutboundFor = std::function<Outbound(const vault::ConnectFlow&)>;  // called on the worker

    /// Before anybody can connect anything: what is being exchanged now was begun by a process that is gone.
    ConnectUpkeep(const ConnectWorld& world, net::Worker& worker, OutboundFor outbound_for);
    /// Nothing further begins.
    ~ConnectUpkeep();
    ConnectUpkeep(const ConnectUpkeep&) = delete;
    ConnectUpkeep& operator=(const ConnectUpkeep&) = delete;

    /// Once. Takes away what no link waits for any more; blocks for the disk.
    void start();
    /// Nothing further begins; returns when what runs has ended, which takes no longer than a token request.
    /// Not on the worker.
    void drain();

private:
    struct State;
    std::shared_ptr<State> state_;  // with the worker's tick and the work under way, which end later
};

/// Ends the flow if its time has run out, and forgets one that ended a day ago. On the commit thread.
base::Status end_in_time(const ConnectWorld& world, vault::Change& change, const base::ConnectLinkId& id);

}  // namespace claviger::oauth
