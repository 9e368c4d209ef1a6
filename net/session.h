// One accepted connection after another request: what the sessions of one worker share, and the loop of each.
#pragma once

#include "net/connection.h"
#include "net/server.h"
#include "net/wire_answer.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::net {

/// What a server and all of its sessions know. Shared, because sessions that were suspended when their worker
/// stopped are destroyed with the worker, after the server.
struct ServerCommon {
    ServerLimits limits;
    Handler handler;
    Knows knows;
    NewRequestId new_id;
    std::atomic<std::size_t> connections{0};

    OwnError own_error(unsigned status, std::string_view type, std::string_view message) const {
        return {status, type, message, new_id ? new_id() : std::string()};
    }

    std::mutex guard;
    std::condition_variable ended;  // notified whenever connections falls
};

class Session;
class Exchange;

/// The part of a server that one worker owns. Counters are written by that worker only and read by anyone.
class Shard {
public:
    Shard(Worker& worker, std::shared_ptr<ServerCommon> common);
    ~Shard();

    /// Takes over an accepted socket. On the worker's thread.
    static void begin_session(const std::shared_ptr<Shard>& shard, int socket, std::string peer,
                              std::shared_ptr<TlsServer> tls);
    void drain();      // idle sessions end now, the others after their answer; on the worker's thread
    void close_all();  // on the worker's thread
    bool draining() const { return draining_; }
    /// The value of the Date header, made once a second.
    std::string_view date();

    using Counter = std::atomic<std::uint64_t>;
    static void add(Counter& counter, std::uint64_t amount = 1) {
        counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }
    struct Counters {
        Counter accepted{0}, refused{0}, tls_failures{0}, requests{0}, slow_readers{0}, bytes_in{0},
            bytes_out{0};
        Counter bad_requests[kBadRequestReasons] = {};
    };

    Worker& worker;
    const std::shared_ptr<ServerCommon> common;
    Counters counters;

private:
    friend class Session;
    friend class ExchangeLease;
    bool draining_ = false;
    Session* first_ = nullptr;
    std::vector<std::unique_ptr<Exchange>> spare_;  // so that an idle connection holds none
    std::time_t date_second_ = 0;
    char date_[32] = "";
};

}  // namespace claviger::net
