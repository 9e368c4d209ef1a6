// One thread with one io_context: its connections, its deadline tick, its buffers, and its mailbox for other threads.
#pragma once

#include "base/result.h"
#include "net/awaitable.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace claviger::net {

class Connection;

/// A buffer taken from the worker's pool; goes back when destroyed. Capacity kept, content wiped when asked.
class PooledBuffer;

class Worker {
public:
    explicit Worker(std::size_t index);
    ~Worker();

    asio::io_context& context();
    std::size_t index() const;
    /// Runs until stop(). Call from the thread that is to own everything of this worker.
    void run();
    void stop();  // any thread

    /// Any thread: runs `work` on this worker. Many deliveries made while the worker is busy cost one wake-up.
    void deliver(std::function<void()> work);
    /// Coarse now, refreshed by the tick and after every poll; for deadlines only.
    std::chrono::steady_clock::time_point now() const;
    /// Calls `action` about every `period` (multiple of the 250 ms tick) until the worker stops.
    void every(std::chrono::milliseconds period, std::function<void()> action);
    std::string take_buffer();              // empty, with capacity from earlier use
    void give_back(std::string buffer);     // keeps at most a few hundred, none above 256 KiB
    std::size_t connections() const;

private:
    friend class Connection;
    struct State;
    std::unique_ptr<State> state_;
};

/// Suspends until `start` calls the function it is given, from any thread, exactly once; resumes on `worker`.
/// The bridge from callback interfaces (the commit thread, thread pools) into coroutines.
template <class T>
awaitable<T> await_callback(Worker& worker, std::function<void(std::function<void(T)>)> start);

}  // namespace claviger::net
