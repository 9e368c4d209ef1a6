#include "net/connection.h"

#include "net/worker.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"

#include <atomic>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace claviger;
using namespace std::chrono_literals;

namespace {

/// The far end of a connection, driven by the test with plain system calls.
struct Pair {
    int near = -1, far = -1;
    Pair() {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        near = ends[0];
        far = ends[1];
    }
    ~Pair() { close_far(); }
    void close_far() {
        if (far >= 0) ::close(std::exchange(far, -1));
    }
    std::size_t drain_far() {
        std::size_t bytes = 0;
        char some[64 * 1024];
        for (ssize_t got = 0; (got = ::recv(far, some, sizeof some, MSG_DONTWAIT)) > 0;)
            bytes += static_cast<std::size_t>(got);
        return bytes;
    }
    net::Connection::Socket take_near(net::Worker& worker) {
        return {worker.context(), net::asio::generic::stream_protocol(AF_UNIX, 0), std::exchange(near, -1)};
    }
};

template <class T>
T with_connection(test::Loop& loop, Pair& pair, std::function<net::awaitable<T>(net::Connection&)> use) {
    return loop.await<T>([&](net::Worker& worker) -> net::awaitable<T> {
        net::Connection connection(worker, pair.take_near(worker));
        co_return co_await use(connection);
    });
}

}  // namespace

TEST_CASE("A peer that vanished without a word is given up within minutes", "[net][connection]") {
    test::Loop loop;
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int same = ::dup(socket);
    loop.call([&] {
        const net::Connection connection(
            loop.worker, {loop.worker.context(), net::asio::generic::stream_protocol(AF_INET, 0), socket});
        const auto option = [same](int level, int name) {
            int value = 0;
            socklen_t bytes = sizeof value;
            CHECK(::getsockopt(same, level, name, &value, &bytes) == 0);
            return value;
        };
        CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 1);
        CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) +
                  option(IPPROTO_TCP, TCP_KEEPINTVL) * option(IPPROTO_TCP, TCP_KEEPCNT) <=
              180);
        return 0;
    });
    ::close(same);
}

TEST_CASE("A read gives what has come, and says how the stream ended", "[net][connection]") {
    test::Loop loop;
    Pair pair;
    REQUIRE(::send(pair.far, "hello", 5, 0) == 5);
    const auto text = with_connection<std::string>(
        loop, pair, [&](net::Connection& connection) -> net::awaitable<std::string> {
            CHECK(connection.peer_address() == "unix");
            char bytes[64];
            const auto first = co_await connection.read_some(bytes);
            CHECK(first.io == net::Io::ok);
            std::string seen(bytes, first.bytes);
            CHECK_FALSE(connection.read_now(bytes));
            CHECK_FALSE(connection.looks_stale());
            pair.close_far();
            CHECK(connection.looks_stale());
            const auto readable = co_await connection.wait_readable();
            CHECK(readable == net::Io::ok);  // the end is readable too
            const auto last = co_await connection.read_some(bytes);
            CHECK(last.io == net::Io::closed);
            co_return seen;
        });
    CHECK(text == "hello");
}

TEST_CASE("Bytes that nobody asked for make a connection stale", "[net][connection]") {
    test::Loop loop;
    Pair pair;
    const bool stale =
        with_connection<bool>(loop, pair, [&](net::Connection& connection) -> net::awaitable<bool> {
            CHECK_FALSE(connection.looks_stale());
            REQUIRE(::send(pair.far, "x", 1, 0) == 1);
            co_return connection.looks_stale();
        });
    CHECK(stale);
}

TEST_CASE("A write is complete although the other side reads late", "[net][connection]") {
    test::Loop loop;
    Pair pair;
    std::atomic<bool> done{false};
    std::thread writer([&] {
        const auto io =
            with_connection<net::Io>(loop, pair, [&](net::Connection& connection) -> net::awaitable<net::Io> {
                const std::string much(5'000'000, 'x');
                co_return co_await connection.write_all(much);
            });
        done = io == net::Io::ok;
    });
    std::this_thread::sleep_for(50ms);
    CHECK_FALSE(done);
    std::size_t bytes = 0;
    CHECK(test::soon([&] {
        bytes += pair.drain_far();
        return bytes == 5'000'000;
    }));
    writer.join();
    CHECK(done);
}

TEST_CASE("A deadline ends what waits, whatever it waits for", "[net][connection]") {
    test::Loop loop;
    Pair pair;
    const bool done =
        with_connection<bool>(loop, pair, [&](net::Connection& connection) -> net::awaitable<bool> {
            char bytes[64];
            const auto began = std::chrono::steady_clock::now();
            connection.expires_after(100ms);
            const auto read = co_await connection.read_some(bytes);
            CHECK(read.io == net::Io::timed_out);
            const auto took = std::chrono::steady_clock::now() - began;
            CHECK(took >= 90ms);
            CHECK(took < 5s);
            const auto again = co_await connection.wait_readable();
            CHECK(again == net::Io::timed_out);  // until a new deadline is set

            connection.expires_after(100ms);
            const auto readable = co_await connection.wait_readable();
            CHECK(readable == net::Io::timed_out);

            connection.expires_after(100ms);
            const std::string much(5'000'000, 'x');
            const auto written = co_await connection.write_all(much);
            CHECK(written == net::Io::timed_out);
            CHECK(connection.open());

            connection.expires_never();
            REQUIRE(::send(pair.far, "x", 1, 0) == 1);
            const auto alive = co_await connection.read_some(bytes);
            CHECK(alive.io == net::Io::ok);
            co_return true;
        });
    CHECK(done);
}

TEST_CASE("A deadline without progress starts anew with every byte written", "[net][connection]") {
    test::Loop loop;
    Pair pair;
    std::atomic<bool> done{false};
    std::thread reader([&] {
        for (int i = 0; i < 6'000 && !done; ++i) {  // a little at a time, for about three seconds
            char some[16 * 1024];
            const auto got = ::recv(pair.far, some, sizeof some, MSG_DONTWAIT);
            static_cast<void>(got);
            std::this_thread::sleep_for(5ms);
        }
    });
    const auto began = std::chrono::steady_clock::now();
    const auto io =
        with_connection<net::Io>(loop, pair, [&](net::Connection& connection) -> net::awaitable<net::Io> {
            connection.expires_without_progress(2s);
            const std::string much(10'000'000, 'x');
            co_return co_await connection.write_all(much);
        });
    done = true;
    reader.join();
    CHECK(io == net::Io::ok);
    CHECK(std::chrono::steady_clock::now() - began > 2s);  // longer than the limit as a whole
}

TEST_CASE("Closing from elsewhere ends a pending read", "[net][connection]") {
    test::Loop loop;
    Pair pair;
    const auto io =
        with_connection<net::Io>(loop, pair, [&](net::Connection& connection) -> net::awaitable<net::Io> {
            loop.worker.deliver([&connection] { connection.close(); });
            char bytes[64];
            const auto outcome = co_await connection.read_some(bytes);
            CHECK_FALSE(connection.open());
            const auto written = co_await connection.write_all("x");
            CHECK(written == net::Io::closed);
            co_return outcome.io;
        });
    CHECK(io == net::Io::closed);
}

TEST_CASE("Writing to someone who left is an error, not a signal", "[net][connection]") {
    test::Loop loop;
    Pair pair;
    pair.close_far();
    const auto io =
        with_connection<net::Io>(loop, pair, [](net::Connection& connection) -> net::awaitable<net::Io> {
            co_return co_await connection.write_all("hello");
        });
    CHECK(io == net::Io::closed);
}

TEST_CASE("A watch reports once that the peer has left, and may close or destroy its connection",
          "[net][connection]") {
    test::Loop loop;
    Pair first, second;
    std::atomic<int> noticed{0};
    auto* doomed = loop.call([&] { return new net::Connection(loop.worker, first.take_near(loop.worker)); });
    auto* other = loop.call([&] { return new net::Connection(loop.worker, second.take_near(loop.worker)); });
    loop.call([&] {
        doomed->watch_for_close([&] {
            ++noticed;
            delete doomed;
        });
        other->watch_for_close([&] { ++noticed; });
        other->watch_at_once();
        return 0;
    });
    CHECK(loop.call([&] { return loop.worker.connections(); }) == 2);
    first.close_far();
    REQUIRE(test::soon([&] { return noticed == 1; }));
    CHECK(loop.call([&] { return loop.worker.connections(); }) == 1);
    second.close_far();
    REQUIRE(test::soon([&] { return noticed == 2; }));
    std::this_thread::sleep_for(600ms);  // two more ticks
    CHECK(noticed == 2);
    loop.call([&] {
        delete other;
        return 0;
    });
}
