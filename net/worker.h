// One thread with one io_context: its connections, its deadline tick, its buffers, and its mailbox for other
// threads.
#pragma once

#include "base/result.h"
#include "net/awaitable.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace claviger::net {

class Connection;
class Parked;

class Worker {
public:
    explicit Worker(std::size_t index);
    /// Ends what is still suspended here. Whoever may call into this worker (deliver, await_callback) has
    /// stopped before.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    asio::io_context& context();
    std::size_t index() const;
    /// Runs until stop(). Call from the thread that is to own everything of this worker; SIGPIPE is blocked
    /// on it.
    void run();
    void stop();           // any thread
    bool running() const;  // any thread

    /// Any thread: runs `work` on this worker, in order. Many deliveries made while the worker is busy cost
    /// one wake-up.
    void deliver(std::function<void()> work);
    /// On this worker's thread: runs `work` once everything that is ready now has had its turn.
    void after_ready(std::function<void()> work);
    /// The same for a coroutine: `co_await worker.others_first()`.
    auto others_first() { return asio::post(context(), asio::deferred); }
    /// The kernel's coarse clock (a few milliseconds); for deadlines only.
    std::chrono::steady_clock::time_point now() const;
    /// Any thread: calls `action` about every `period` (multiple of the 250 ms tick) until the worker stops.
    void every(std::chrono::milliseconds period, std::function<void()> action);
    std::string take_buffer();  // empty, with capacity from earlier use
    /// Wipes what the buffer holds, up to its size. Keeps at most 8 MiB, none above 256 KiB.
    void give_back(std::string buffer);
    std::size_t connections() const;

private:
    friend class Connection;
    friend class Parked;
    void park(Parked& coroutine);
    void unpark(Parked& coroutine);
    void link(Connection& connection);
    void unlink(Connection& connection);

    struct State;
    std::unique_ptr<State> state_;
};

/// A buffer taken from the worker's pool; goes back when destroyed. Capacity kept, content wiped when asked.
class PooledBuffer {
public:
    explicit PooledBuffer(Worker& worker) : worker_(worker), bytes_(worker.take_buffer()) {}
    ~PooledBuffer() { worker_.give_back(std::move(bytes_)); }
    PooledBuffer(const PooledBuffer&) = delete;
    PooledBuffer& operator=(const PooledBuffer&) = delete;

    std::string& bytes() { return bytes_; }
    /// Overwrites all of the capacity, so that nothing once held here can be read later, and empties it.
    void wipe();

private:
    Worker& worker_;
    std::string bytes_;
};

/// A suspended coroutine's handler, kept inside the coroutine itself, so that waiting costs no allocation.
/// The worker knows it, because nobody else would destroy a coroutine that waits when the worker ends.
class Parked {
public:
    explicit Parked(Worker& worker) : worker_(worker) {}
    Parked(const Parked&) = delete;
    Parked& operator=(const Parked&) = delete;

    template <class Resume>
    void hold(Resume resume) {
        static_assert(sizeof(Resume) <= sizeof room_ && alignof(Resume) <= alignof(std::max_align_t));
        new (room_) Resume(std::move(resume));
        leave_ = [](void* at, Then then) {
            auto* held = static_cast<Resume*>(at);
            Resume taken =
                std::move(*held);  // either way the coroutine, and so *held, may be gone afterwards
            held->~Resume();
            if (then == Then::resume) std::move(taken)();
        };
        worker_.park(*this);
    }
    void resume() {
        worker_.unpark(*this);
        leave_(room_, Then::resume);
    }
    Worker& worker() { return worker_; }

private:
    friend class Worker;
    enum class Then { resume, destroy };

    Worker& worker_;
    alignas(std::max_align_t) std::byte room_[48];
    void (*leave_)(void* at, Then then) = nullptr;
    Parked* previous_ = nullptr;  // the worker's intrusive list
    Parked* next_ = nullptr;
};

/// Suspends until `start` calls the function it is given, from any thread, exactly once; resumes on `worker`.
/// The bridge from callback interfaces (the commit thread, thread pools) into coroutines.
template <class T, class Start>
awaitable<T> await_callback(Worker& worker, Start start) {
    struct Waiting {
        Parked coroutine;
        std::optional<T> value{};
    } waiting{.coroutine = Parked(worker)};
    co_await asio::async_initiate<const asio::deferred_t&, void()>(
        [&waiting, &start](auto handler) {
            waiting.coroutine.hold(std::move(handler));
            start(std::function<void(T)>([at = &waiting](T value) {
                at->value.emplace(std::move(value));
                at->coroutine.worker().deliver([at] { at->coroutine.resume(); });
            }));
        },
        asio::deferred);
    co_return std::move(*waiting.value);
}

}  // namespace claviger::net
