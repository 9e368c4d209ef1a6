// Names of hosts to addresses, by the system's resolver, which blocks and cannot be interrupted.
#pragma once

#include "net/worker.h"

#include <boost/asio/ip/address.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace claviger::net {

/// A name whose servers do not answer holds up neither the worker nor other names: each name that is looked
/// up has a thread of its own for as long as that takes, which all who ask for it share. One per worker; on
/// its thread alone.
class NameLookup {
public:
    struct Found {
        std::vector<asio::ip::address> addresses;
        std::string problem;  // why there are none
    };
    using Lookup = std::function<Found(const std::string& host)>;  // blocks; called on other threads
    using Done = std::function<void(const Found&)>;

    static constexpr std::size_t kMostNames = 64;  // that are being looked up at once

    static Found by_system(const std::string& host);
    explicit NameLookup(Worker& worker, Lookup lookup = by_system);
    ~NameLookup();
    NameLookup(const NameLookup&) = delete;
    NameLookup& operator=(const NameLookup&) = delete;

    /// `done` is called once, on the worker and later than this returns; when too many names are being looked
    /// up, with that as the problem. Not at all after end().
    void find(const std::string& host, Done done);
    /// Gives up what is under way, without waiting for it. Nothing reaches the worker any more.
    void end();

private:
    struct State;
    std::shared_ptr<State> state_;  // also with the threads, which may outlive us
};

}  // namespace claviger::net
