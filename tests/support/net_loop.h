// A worker on its own thread, and the ways a test talks to it. For tests of net/ and what stands on it.
#pragma once

#include "net/worker.h"

#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <thread>

namespace claviger::test {

/// Looks every few milliseconds, for at most a minute.
template <class Condition>
bool soon(Condition condition) {
    for (int i = 0; i < 12'000; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

struct Loop {
    net::Worker worker{0};
    std::thread thread{[this] { worker.run(); }};

    Loop() = default;
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;
    ~Loop() { stop(); }

    /// Ends the thread; what is suspended stays so until the worker is destroyed.
    void stop() {
        if (!thread.joinable()) return;
        worker.deliver([this] { worker.stop(); });
        thread.join();
    }

    /// Runs `work` on the worker and waits for what it returns.
    template <class Work>
    auto call(Work work) {
        std::promise<decltype(work())> promise;
        worker.deliver([&] { promise.set_value(work()); });
        return promise.get_future().get();
    }

    /// Starts a coroutine on the worker. What escapes from it ends the test program.
    void begin(net::awaitable<void> coroutine) {
        auto shared = std::make_shared<net::awaitable<void>>(std::move(coroutine));
        worker.deliver([this, shared] {
            asio_spawn(std::move(*shared), [](std::exception_ptr escaped) {
                if (escaped) std::terminate();
            });
        });
    }

    /// Runs the coroutine that `make` returns and waits for its value.
    template <class T>
    T await(std::function<net::awaitable<T>(net::Worker&)> make) {
        std::promise<T> promise;
        auto future = promise.get_future();
        begin([](net::Worker& on, auto& factory, std::promise<T>& answer) -> net::awaitable<void> {
            auto value = co_await factory(on);
            answer.set_value(std::move(value));
        }(worker, make, promise));
        return future.get();
    }

private:
    template <class Done>
    void asio_spawn(net::awaitable<void> coroutine, Done done) {
        net::asio::co_spawn(worker.context().get_executor(), std::move(coroutine), done);
    }
};

}  // namespace claviger::test
