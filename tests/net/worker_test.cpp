#include "net/worker.h"

#include "tests/support/net_loop.h"
#include "tests/support/spec.h"

#include <boost/asio/ip/tcp.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

using namespace claviger;
using namespace std::chrono_literals;

TEST_CASE("Work delivered from several threads runs on the worker, in each sender's order", "[net]") {
    test::Loop loop;
    std::vector<std::vector<int>> seen(4);  // touched by the worker only
    std::vector<std::thread> senders;
    for (std::size_t sender = 0; sender < 4; ++sender)
        senders.emplace_back([&, sender] {
            for (int i = 0; i < 1000; ++i)
                loop.worker.deliver([&seen, sender, i] { seen[sender].push_back(i); });
        });
    for (auto& sender : senders) sender.join();

    std::vector<int> expected;
    for (int i = 0; i < 1000; ++i) expected.push_back(i);
    const auto copy = loop.call([&] { return seen; });
    for (const auto& one : copy) CHECK(one == expected);
}

TEST_CASE("A coroutine waits for a callback from another thread and goes on on its worker", "[net]") {
    test::Loop loop;
    const auto worker_thread = loop.call([] { return std::this_thread::get_id(); });
    std::thread::id resumed_on;
    std::thread other;

    const auto length = loop.await<std::size_t>([&](net::Worker& worker) -> net::awaitable<std::size_t> {
        auto text = co_await net::await_callback<std::unique_ptr<std::string>>(worker, [&](auto answer) {
            other = std::thread([answer] { answer(std::make_unique<std::string>("from elsewhere")); });
        });
        resumed_on = std::this_thread::get_id();
        co_return text->size();
    });
    other.join();

    CHECK(length == 14);
    CHECK(resumed_on == worker_thread);
}

TEST_CASE("A callback that answers before it returns is no special case", "[net]") {
    test::Loop loop;
    const auto sum = loop.await<int>([](net::Worker& worker) -> net::awaitable<int> {
        int total = 0;
        for (int i = 0; i < 1000; ++i)
            total += co_await net::await_callback<int>(worker, [i](auto answer) { answer(i); });
        co_return total;
    });
    CHECK(sum == 499'500);
}

TEST_CASE("A worker that ends takes its suspended coroutines with it", "[net]") {
    const auto alive = std::make_shared<int>(1);
    {
        test::Loop loop;
        loop.begin([](net::Worker& worker, std::shared_ptr<int> held) -> net::awaitable<void> {
            co_await net::await_callback<int>(worker, [](auto) {});  // never answered
            *held = 2;
        }(loop.worker, alive));
        loop.call([] { return 0; });
        REQUIRE(alive.use_count() == 2);
    }
    CHECK(alive.use_count() == 1);
    CHECK(*alive == 1);
}

TEST_CASE("Mail that nobody opened may own sockets and goes before what they need", "[net]") {
    const auto alive = std::make_shared<int>(1);
    {
        test::Loop loop;
        loop.stop();
        const auto socket =
            std::make_shared<net::asio::ip::tcp::socket>(loop.worker.context(), net::asio::ip::tcp::v4());
        loop.worker.deliver([socket, alive] {});
    }
    CHECK(alive.use_count() == 1);
}

TEST_CASE("Periodic work comes again and again, several at a time", "[net]") {
    test::Loop loop;
    std::atomic<int> quick{0}, slow{0};
    loop.worker.every(1ms, [&] { ++quick; });
    loop.worker.every(500ms, [&] { ++slow; });
    REQUIRE(test::soon([&] { return slow >= 1; }));
    CHECK(test::soon([&] { return quick >= 2; }));
}

TEST_CASE("Buffers are reused, large ones are not kept, and wiping leaves nothing behind", "[net]") {
    test::Loop loop;
    loop.call([&] {
        const char* first = nullptr;
        {
            net::PooledBuffer buffer(loop.worker);
            buffer.bytes() = "a secret that must not stay here";
            first = buffer.bytes().data();
            buffer.wipe();
            CHECK(std::string_view(first, 32) == std::string(32, '\0'));
        }
        std::string again = loop.worker.take_buffer();
        CHECK(again.data() == first);
        CHECK(again.empty());

        again = "what came back from a server";
        first = again.data();
        loop.worker.give_back(std::move(again));
        CHECK(std::string_view(first, 28) == std::string(28, '\0'));

        again = loop.worker.take_buffer();
        again.resize(300 * 1024);
        loop.worker.give_back(std::move(again));
        CHECK(loop.worker.take_buffer().capacity() < 256 * 1024);
        return 0;
    });
}
