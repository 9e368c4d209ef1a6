// Upstream connections of one worker: counted per origin, kept for a while, and shared only inside one
// partition.
#pragma once

#include "net/client.h"
#include "net/connection.h"
#include "net/dialing.h"
#include "net/wire_response.h"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace claviger::net {

class ConnectionPool {
    struct OfOrigin;

public:
    /// The right to one connection, from choosing it to letting go of it.
    class Lease {
    public:
        explicit Lease(ConnectionPool& pool);
        ~Lease();  // closes the connection
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;

        /// Takes the idle connection that was used last; false when there is none that may be used and is
        /// alive.
        bool reuse(const Origin& origin, const SendOptions& options);
        /// Counts a connection that is about to be opened; false at the limit. An idle one of another
        /// partition makes room.
        bool reserve(const Origin& origin, const SendOptions& options);
        void opened(Dialed dialed);
        /// Gives the connection back for others, for so long.
        void rest(std::chrono::milliseconds duration);
        void drop();

        Connection* connection() { return connection_.get(); }
        /// Its partition was retired: drop it when it has done its work.
        bool retired() const { return retired_; }

    private:
        friend class ConnectionPool;
        ConnectionPool& pool_;
        OfOrigin* origin_ = nullptr;
        std::unique_ptr<Connection> connection_;
        std::string partition_;
        bool private_address_ = false;
        bool lasts_ =
            false;  // was found alive after it had rested: its server does not close after an answer
        bool retired_ = false;
        Lease* previous_ = nullptr;  // the pool's intrusive list
        Lease* next_ = nullptr;
    };

    ConnectionPool(Worker& worker, const ClientLimits& limits) : worker_(worker), limits_(limits) {}
    ConnectionPool(const ConnectionPool&) = delete;
    ConnectionPool& operator=(const ConnectionPool&) = delete;

    void retire(std::string_view partition);
    std::size_t idle_connections() const;
    /// Closes what has rested for too long or was closed by the other side. To be called about every second.
    void sweep();

private:
    struct Idle {
        std::unique_ptr<Connection> connection;
        std::string partition;
        bool private_address;
        bool lasts;  // as in Lease
        std::chrono::steady_clock::time_point since, usable_until;

        bool is_usable(std::chrono::steady_clock::time_point now) const;
    };
    struct OfOrigin {
        std::size_t count = 0;   // idle, busy and being opened
        std::vector<Idle> idle;  // the longest idle first

        void close_oldest() {
            idle.erase(idle.begin());
            --count;
        }
    };
    struct Hash {
        std::size_t operator()(const Origin& origin) const;
    };

    Worker& worker_;
    const ClientLimits& limits_;
    std::unordered_map<Origin, OfOrigin, Hash> origins_;
    Lease* first_ = nullptr;
};

}  // namespace claviger::net
