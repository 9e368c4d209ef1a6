// Calls through the client pool to upstreams that behave well, badly and maliciously, over real sockets.
#include "tests/net/client_world.h"
#include "tests/net/raw_upstream.h"
#include "tests/support/spec.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>

using namespace claviger;
using namespace claviger::test;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

net::awaitable<Outcome> open_and_drop(net::Worker& worker, net::ClientPool& pool, Call call) {
    Outcome outcome;
    net::OutboundHead head(worker);
    head.begin(call.method, call.target, call.origin);
    auto sent = co_await pool.send(call.origin, head, call.body, call.options);
    if (!sent) co_return outcome;
    outcome.status = (*sent)->head().status;
    auto first = co_await (*sent)->next();
    if (first) outcome.body = *first;
    co_return outcome;
}

}  // namespace

TEST_CASE("A request goes out in one piece and its answer comes back whole", "[net][client]") {
    Echo echo;
    RawUpstream upstream(
        echo.always("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: 1\r\nX-A: "
                    "2\r\nContent-Length: 11\r\n\r\n{\"result\":1"));
    ClientWorld world;
    auto call = call_to(upstream.port());
    call.fields = {{"Authorization", "Bearer secret"}, {"Content-Type", "application/json"}};
    const auto outcome = world.run(call);
    REQUIRE(outcome.code.empty());
    CHECK(outcome.status == 200);
    CHECK(outcome.body == "{\"result\":1");
    CHECK(outcome.pieces.size() == 1);
    CHECK(outcome.ended_with_first_piece);
    CHECK(outcome.declared_length == 11);
    CHECK(outcome.field("x-a") == "1");
    CHECK(outcome.fields.size() == 4);
    CHECK(echo.text(0) ==
          "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(upstream.port()) +
              "\r\nAuthorization: Bearer secret\r\nContent-Type: application/json\r\nContent-Length: " +
              std::to_string(call.body.size()) + "\r\n\r\n" + call.body);
}

TEST_CASE("Content-Length is sent exactly where it belongs", "[net][client]") {
    Echo echo;
    RawUpstream upstream(echo.always(kOk));
    ClientWorld world;
    const auto length_sent = [&](const char* method, const std::string& body) {
        auto call = call_to(upstream.port());
        call.method = method;
        call.body = body;
        CHECK(world.run(call).code.empty());
        const auto request = echo.last();
        const auto at = request.find("Content-Length: ");
        return at == request.npos ? std::string("none")
                                  : request.substr(at + 16, request.find('\r', at) - at - 16);
    };
    CHECK(length_sent("GET", "") == "none");
    CHECK(length_sent("DELETE", "") == "none");
    CHECK(length_sent("POST", "") == "0");
    CHECK(length_sent("PUT", "") == "0");
    CHECK(length_sent("PATCH", "x") == "1");
    CHECK(length_sent("DELETE", "xyz") == "3");
    CHECK(upstream.connections() == 1);
}

TEST_CASE("Large bodies pass both ways", "[net][client]") {
    const std::string sent(3'000'000, 'q'), answered(5'000'000, 'a');
    Echo echo;
    RawUpstream upstream(echo.always("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + answered));
    ClientWorld world;
    for (const std::size_t bytes : {std::size_t{64 * 1024}, std::size_t{64 * 1024 + 1}, sent.size()}) {
        auto call = call_to(upstream.port());
        call.body = sent.substr(0, bytes);
        const auto outcome = world.run(call);
        CHECK(outcome.code.empty());
        CHECK(outcome.body == answered);
        CHECK_FALSE(outcome.ended_with_first_piece);
        CHECK(echo.last().ends_with("\r\n\r\n" + call.body));
    }
    CHECK(upstream.connections() == 1);
    CHECK(world.idle() == 1);
}

TEST_CASE("A connection is used again for the same origin and partition, and for no other", "[net][client]") {
    Echo echo;
    RawUpstream upstream(echo.always(kOk));
    ClientWorld world;
    for (int i = 0; i < 5; ++i) CHECK(world.run(call_to(upstream.port(), "a")).body == "ok");
    CHECK(upstream.connections() == 1);
    for (int i = 0; i < 5; ++i) CHECK(world.run(call_to(upstream.port(), "b")).body == "ok");
    CHECK(upstream.connections() == 2);
    for (int i = 0; i < 6; ++i)
        CHECK(world.run(call_to(upstream.port(), i % 2 == 0 ? "a" : "b")).body == "ok");
    CHECK(world.run(call_to(upstream.port(), "")).body == "ok");
    CHECK(upstream.connections() == 3);
    for (std::size_t i = 0; i < echo.count(); ++i) {
        const auto expected = i < 5 ? 0 : i < 10 ? 1 : i < 16 ? i % 2 : 2;
        CHECK(echo.connection(i) == expected);
    }
    CHECK(world.idle() == 3);
    auto by_name = call_to(upstream.port(), "a");
    by_name.origin.host = "localhost";
    CHECK(world.run(by_name).body == "ok");
    CHECK(upstream.connections() == 4);  // another origin, although the same address
}

TEST_CASE("The answer's own words about the connection are kept", "[net][client]") {
    const std::string fresh_each_time[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nKeep-Alive: max=3, timeout=0\r\nContent-Length: 2\r\n\r\nok",
        kOk + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",  // bytes nobody asked for
        kOk + "x",
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    };
    for (const auto& answer : fresh_each_time) {
        INFO(answer);
        Echo echo;
        RawUpstream upstream(echo.always(answer));
        ClientWorld world;
        for (int i = 0; i < 3; ++i) CHECK(world.run(call_to(upstream.port())).code.empty());
        CHECK(upstream.connections() == 3);
        CHECK(world.idle() == 0);
    }
    Echo echo;
    RawUpstream upstream(
        echo.always("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 2\r\n\r\nok"));
    ClientWorld world;
    for (int i = 0; i < 3; ++i) CHECK(world.run(call_to(upstream.port())).code.empty());
    CHECK(upstream.connections() == 1);
}

TEST_CASE("Idle connections are given up after a while, or when the upstream closes them", "[net][client]") {
    Echo echo;
    RawUpstream upstream(echo.always(kOk));
    net::ClientLimits limits;
    limits.idle_keep = 3s;
    ClientWorld world(limits);
    CHECK(world.run(call_to(upstream.port())).code.empty());
    CHECK(world.idle() == 1);
    CHECK(soon([&] { return world.idle() == 0; }));
    CHECK(world.run(call_to(upstream.port())).code.empty());
    CHECK(upstream.connections() == 2);

    RawUpstream closing([](Peer& peer) {
        peer.request();
        peer.write(kOk);
    });
    ClientWorld patient;
    CHECK(patient.run(call_to(closing.port())).code.empty());
    CHECK(soon([&] { return patient.idle() == 0; }));
}

TEST_CASE("A pooled connection that turns out dead is replaced without anyone noticing", "[net][client]") {
    for (const auto* way : {"closed", "reset", "spoke out of turn"}) {
        INFO(way);
        const bool speaks = way == std::string_view("spoke out of turn");
        std::atomic<std::size_t> spoken{0};
        RawUpstream upstream([&](Peer& peer) {
            if (peer.request().empty()) return;
            peer.write(kOk);
            if (way == std::string_view("reset")) peer.reset();
            if (!speaks) return;
            std::this_thread::sleep_for(50ms);
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            ++spoken;
            peer.client_closed();
        });
        ClientWorld world;
        for (std::size_t i = 1; i <= 4; ++i) {
            const auto outcome = world.run(call_to(upstream.port()));
            CHECK(outcome.code.empty());
            CHECK(outcome.body == "ok");
            REQUIRE(soon([&] { return (speaks ? spoken.load() : upstream.closed()) == i; }));
            std::this_thread::sleep_for(20ms);
        }
        CHECK(upstream.connections() == 4);
    }
}

TEST_CASE("A server that closes after each answer is found out however soon the next call comes",
          "[net][client]") {
    const bool resets = GENERATE(false, true);
    RawUpstream upstream([&](Peer& peer) {
        if (peer.request().empty()) return;
        peer.write(kOk);
        if (resets) peer.reset();
    });
    ClientWorld world;
    for (std::size_t i = 1; i <= 8; ++i) {
        CHECK(world.run(call_to(upstream.port())).code.empty());
        REQUIRE(soon([&] { return upstream.closed() == i; }));
    }
    CHECK(upstream.connections() == 8);
}

TEST_CASE("A connection that served before is asked again once it has rested", "[net][client]") {
    const bool resets = GENERATE(false, true);
    RawUpstream upstream([&](Peer& peer) {
        for (int i = 0; i < 2; ++i) {
            if (peer.request().empty()) return;
            peer.write(kOk);
        }
        if (resets) peer.reset();
    });
    ClientWorld world;
    for (std::size_t i = 1; i <= 4; ++i) {
        CHECK(world.run(call_to(upstream.port())).code.empty());
        CHECK(world.run(call_to(upstream.port())).code.empty());
        REQUIRE(soon([&] { return upstream.closed() == i; }));
        std::this_thread::sleep_for(20ms);
    }
    CHECK(upstream.connections() == 4);
}

TEST_CASE("A request is never sent twice once it was accepted", "[net][client]") {
    Echo echo;
    RawUpstream upstream([&](Peer& peer) {
        for (int i = 0;; ++i) {
            auto request = peer.request();
            if (request.empty()) return;
            echo.note(peer.number, std::move(request));
            if (i == 1) return;  // the second one on a connection is read, and the connection closed
            peer.write(kOk);
        }
    });
    ClientWorld world;
    CHECK(world.run(call_to(upstream.port())).code.empty());
    const auto outcome = world.run(call_to(upstream.port()));
    CHECK(outcome.code == "upstream.closed");
    CHECK(outcome.error.kind == base::ErrorKind::unavailable);
    CHECK(echo.count() == 2);
    CHECK(upstream.connections() == 1);
    CHECK(world.run(call_to(upstream.port())).code.empty());
    CHECK(upstream.connections() == 2);
}

TEST_CASE("A long request cut off half-way is not begun anew elsewhere", "[net][client]") {
    Echo echo;
    RawUpstream upstream([&](Peer& peer) {
        auto request = peer.request();
        if (request.find("/long") == request.npos) {
            echo.note(peer.number, std::move(request));
            peer.write(kOk);
            peer.more();  // the beginning of the long one
        }
        peer.reset();
    });
    ClientWorld world;
    CHECK(world.run(call_to(upstream.port())).code.empty());
    auto call = call_to(upstream.port());
    call.target = "/long";
    call.body.assign(30'000'000, 'x');
    CHECK(world.run(call).code == "upstream.closed");
    CHECK(upstream.connections() == 1);
    CHECK(world.idle() == 0);
}

TEST_CASE("Redirects and errors are answers like any other", "[net][client]") {
    Echo echo;
    RawUpstream elsewhere(echo.always(kOk));
    for (const auto* status : {"301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent",
                               "401 Unauthorized", "404 Not Found", "500 Oops", "503 Later"}) {
        RawUpstream upstream([&](Peer& peer) {
            peer.request();
            peer.write("HTTP/1.1 " + std::string(status) + "\r\nLocation: http://127.0.0.1:" +
                       std::to_string(elsewhere.port()) + "/\r\nContent-Length: 4\r\n\r\nmore");
            peer.client_closed();
        });
        ClientWorld world;
        const auto outcome = world.run(call_to(upstream.port()));
        CHECK(outcome.code.empty());
        CHECK(std::to_string(outcome.status) == std::string(status).substr(0, 3));
        CHECK(outcome.body == "more");
    }
    CHECK(elsewhere.connections() == 0);
}

TEST_CASE("Every framing is understood, at any pace", "[net][client]") {
    struct Row {
        std::string method, answer, body;
        bool reused;
    };
    const Row rows[] = {
        {"POST",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: "
         "1\r\n\r\n",
         "hello world", true},
        {"POST", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", true},
        {"POST", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world", "hello world", true},
        {"POST", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "", true},
        {"POST", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", true},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n", "", true},
        {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n", "", true},
        {"DELETE", "HTTP/1.1 204 No Content\r\n\r\n", "", true},
    };
    for (const auto& row : rows)
        for (const bool slowly : {false, true}) {
            INFO(row.answer << (slowly ? "slowly" : "at once"));
            RawUpstream upstream([&](Peer& peer) {
                while (!peer.request().empty())
                    slowly ? peer.write_slowly(row.answer) : peer.write(row.answer);
            });
            ClientWorld world;
            for (int i = 0; i < 2; ++i) {
                auto call = call_to(upstream.port());
                call.method = row.method;
                if (row.method != "POST") call.body.clear();
                const auto outcome = world.run(call);
                CHECK(outcome.code.empty());
                CHECK(outcome.body == row.body);
            }
            CHECK(upstream.connections() == (row.reused ? 1 : 2));
        }
    RawUpstream until_close([](Peer& peer) {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\n\r\nuntil ");
        std::this_thread::sleep_for(20ms);
        peer.write("the end");
    });
    ClientWorld world;
    for (int i = 0; i < 2; ++i) {
        const auto outcome = world.run(call_to(until_close.port()));
        CHECK(outcome.code.empty());
        CHECK(outcome.body == "until the end");
        CHECK_FALSE(outcome.declared_length);
    }
    CHECK(until_close.connections() == 2);
}

TEST_CASE("What is not HTTP, or not clearly, is refused and its connection closed", "[net][client]") {
    for (const std::string answer :
         {"SSH-2.0-OpenSSH_9.2\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
          "HTTP/1.1 101 Switching Protocols\r\n\r\n",
          "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok"}) {
        INFO(answer);
        std::atomic<bool> closed{false};
        RawUpstream upstream([&](Peer& peer) {
            peer.request();
            peer.write(answer);
            closed = peer.client_closed();
        });
        ClientWorld world;
        const auto outcome = world.run(call_to(upstream.port()));
        CHECK(outcome.code == "upstream.invalid");
        CHECK(outcome.error.kind == base::ErrorKind::unavailable);
        CHECK(outcome.error.message.find("SSH") ==
              std::string::npos);  // no text of the upstream reaches the caller
        CHECK(soon([&] { return closed.load(); }));
        CHECK(world.idle() == 0);
    }
    net::ClientLimits limits;
    limits.header_bytes = 2000;
    limits.header_fields = 5;
    for (const std::string& fields : {"A: " + std::string(3000, 'x') + "\r\n",
                                      std::string("A: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\n")}) {
        Echo echo;
        RawUpstream upstream(echo.always("HTTP/1.1 200 OK\r\n" + fields + "Content-Length: 0\r\n\r\n"));
        ClientWorld world(limits);
        CHECK(world.run(call_to(upstream.port())).code == "upstream.invalid");
    }
}

TEST_CASE("A body that ends early is an error, and what came before is not lost", "[net][client]") {
    for (const std::string begin :
         {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"})
        for (const bool reset : {false, true}) {
            RawUpstream upstream([&](Peer& peer) {
                peer.request();
                peer.write(begin);
                std::this_thread::sleep_for(100ms);
                if (reset) peer.reset();
            });
            ClientWorld world;
            const auto outcome = world.run(call_to(upstream.port()));
            CHECK(outcome.status == 200);
            CHECK(outcome.body == "hello");
            CHECK(outcome.code == "upstream.closed");
        }
    RawUpstream in_head([](Peer& peer) {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\nContent-Le");
    });
    ClientWorld world;
    CHECK(world.run(call_to(in_head.port())).code == "upstream.closed");
}

TEST_CASE("A slow head and a silent body run into their limits", "[net][client]") {
    std::atomic<int> closed{0};
    std::atomic<bool> over{false};
    RawUpstream upstream([&](Peer& peer) {
        const auto request = peer.request();
        if (request.starts_with("GET /body"))
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        if (request.starts_with("GET /drip")) peer.write("HTTP/1.1 200 OK\r\nX: ");
        for (int i = 0; i < 100 && !over && request.starts_with("GET /drip"); ++i) {
            peer.write("x");
            std::this_thread::sleep_for(100ms);
        }
        if (peer.client_closed()) ++closed;
    });
    ClientWorld world;
    for (const auto* target : {"/silent", "/body", "/drip"}) {
        INFO(target);
        auto call = call_to(upstream.port());
        call.method = "GET";
        call.target = target;
        call.body.clear();
        call.options.head_timeout = 400ms;
        const auto begun = steady_clock::now();
        const auto outcome = world.run(call);
        const auto took = steady_clock::now() - begun;
        CHECK(outcome.code == "upstream.timeout");
        CHECK(took >= 380ms);
        CHECK(took < 5s);
    }
    over = true;
    CHECK(soon([&] { return closed == 3; }));
}

TEST_CASE("A limit set for a stream holds from each piece to the next, and zero lifts it", "[net][client]") {
    struct Stream {
        static net::awaitable<Outcome> follow(net::Worker& worker, net::ClientPool& pool, Call call,
                                              std::chrono::milliseconds limit) {
            Outcome outcome;
            net::OutboundHead head(worker);
            head.begin("GET", "/", call.origin);
            auto sent = co_await pool.send(call.origin, head, {}, call.options);
            if (!sent) co_return outcome;
            (*sent)->idle_limit(limit);
            for (;;) {
                auto piece = co_await (*sent)->next();
                if (!piece) {
                    outcome.code = piece.error().code;
                    co_return outcome;
                }
                if (piece->empty()) co_return outcome;
                outcome.pieces.emplace_back(*piece);
            }
        }
    };
    RawUpstream upstream([](Peer& peer) {
        peer.request();
        peer.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 2; ++i) {
            std::this_thread::sleep_for(1600ms);
            peer.write("9\r\ndata: x\n\n\r\n");
        }
        peer.write("0\r\n\r\n");
        peer.client_closed();
    });
    const auto follow = [&](std::chrono::milliseconds limit) {
        ClientWorld world;
        auto call = call_to(upstream.port());
        call.options.head_timeout = 1s;
        return world.loop.await<Outcome>(
            [&](net::Worker& worker) { return Stream::follow(worker, *world.pool, call, limit); });
    };
    auto patient = std::async(std::launch::async, follow, 2500ms);
    auto hasty = std::async(std::launch::async, follow, 300ms);
    const auto unlimited = follow(0ms);
    CHECK(unlimited.pieces.size() == 2);
    CHECK(unlimited.code.empty());
    CHECK(patient.get().code.empty());
    CHECK(hasty.get().code == "upstream.timeout");
}

TEST_CASE("Each piece of a stream is handed on when it comes, not later", "[net][client]") {
    std::mutex guard;
    std::string seen;
    RawUpstream upstream([&](Peer& peer) {
        peer.request();
        peer.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (const std::string event : {"a", "b", "c"}) {
            peer.write("1\r\n" + event + "\r\n");
            const auto arrived = soon([&] {
                const std::lock_guard hold(guard);
                return seen.ends_with(event);
            });
            if (!arrived) return;  // the stream breaks, and the test with it
        }
        peer.write("0\r\n\r\n");
        peer.client_closed();
    });
    struct Stream {
        static net::awaitable<std::string> follow(net::Worker& worker, net::ClientPool& pool, Call call,
                                                  std::mutex& lock, std::string& into) {
            net::OutboundHead head(worker);
            head.begin("GET", "/", call.origin);
            auto sent = co_await pool.send(call.origin, head, {}, call.options);
            if (!sent) co_return std::string(sent.error().code);
            for (;;) {
                auto piece = co_await (*sent)->next();
                if (!piece) co_return std::string(piece.error().code);
                if (piece->empty()) co_return "complete";
                const std::lock_guard hold(lock);
                into += *piece;
            }
        }
    };
    ClientWorld world;
    const auto end = world.loop.await<std::string>([&](net::Worker& worker) {
        return Stream::follow(worker, *world.pool, call_to(upstream.port()), guard, seen);
    });
    CHECK(end == "complete");
    CHECK(seen == "abc");
    CHECK(world.idle() == 1);
}

TEST_CASE("A server that is faster than its reader lets others on the worker have their turn",
          "[net][client]") {
    static constexpr std::size_t some = 1 << 18, most = 16 << 20;
    std::atomic<bool> read_enough{false};
    RawUpstream upstream([&](Peer& peer) {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        const std::string block(256 * 1024, 'x');
        for (std::size_t sent = 0; !read_enough && sent < most; sent += block.size()) peer.write(block);
    });
    struct Stream {
        /// How many bytes came before something else that was ready had its turn; at most `most`.
        static net::awaitable<std::size_t> follow(net::Worker& worker, net::ClientPool& pool, Call call) {
            net::OutboundHead head(worker);
            head.begin("GET", "/", call.origin);
            auto sent = co_await pool.send(call.origin, head, {}, call.options);
            std::size_t bytes = 0;
            const auto turn_came = std::make_shared<bool>(false);
            while (sent && !*turn_came && bytes < most) {
                const auto piece = co_await (*sent)->next();
                if (!piece || piece->empty()) co_return most;
                if (bytes < some && bytes + piece->size() >= some)
                    worker.deliver([turn_came] { *turn_came = true; });
                bytes += piece->size();
                std::this_thread::sleep_for(5ms);  // work; meanwhile the next bytes have come
            }
            co_return bytes;
        }
    };
    ClientWorld world;
    const auto bytes = world.loop.await<std::size_t>(
        [&](net::Worker& worker) { return Stream::follow(worker, *world.pool, call_to(upstream.port())); });
    read_enough = true;
    CHECK(bytes < 2 * some);
}

TEST_CASE("Cancelling ends the wait for the head, the body and the connection", "[net][client]") {
    std::atomic<int> closed{0};
    std::atomic<bool> has_come_so_far{false};
    RawUpstream upstream([&](Peer& peer) {
        if (peer.request().starts_with("GET /body"))
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        else
            has_come_so_far = true;
        if (peer.client_closed()) ++closed;
    });
    for (const auto* target : {"/head", "/body"}) {
        INFO(target);
        ClientWorld world;
        has_come_so_far = false;
        auto call = call_to(upstream.port());
        call.method = "GET";
        call.target = target;
        call.body.clear();
        std::function<void()> cancel;
        call.options.on_cancellable = [&](std::function<void()> action) { cancel = std::move(action); };
        call.on_head = [&] { has_come_so_far = true; };
        auto cancelling = std::thread([&] {
            soon([&] { return has_come_so_far.load(); });
            std::this_thread::sleep_for(150ms);
            world.loop.worker.deliver([&] { cancel(); });
        });
        const auto begun = steady_clock::now();
        const auto outcome = world.run(call);
        cancelling.join();
        CHECK(outcome.code == "upstream.cancelled");
        CHECK(outcome.status == (target == std::string_view("/body") ? 200u : 0u));
        CHECK(steady_clock::now() - begun < 4s);  // less than the limit for the head
        world.loop.call([&] {
            cancel();  // the answer is gone: nothing happens
            return 0;
        });
    }
    CHECK(soon([&] { return closed == 2; }));

    ClientWorld world;  // cancelled before anything was done: nothing is even connected
    auto call = call_to(upstream.port());
    call.options.on_cancellable = [](const std::function<void()>& action) { action(); };
    CHECK(world.run(call).code == "upstream.cancelled");
    CHECK(upstream.connections() == 2);
}

TEST_CASE("Letting go of an answer before its end closes the connection", "[net][client]") {
    std::atomic<bool> closed{false};
    RawUpstream upstream([&](Peer& peer) {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
        closed = peer.client_closed();
    });
    ClientWorld world;
    const auto outcome = world.loop.await<Outcome>(
        [&](net::Worker& worker) { return open_and_drop(worker, *world.pool, call_to(upstream.port())); });
    CHECK(outcome.body == "hello");
    CHECK(soon([&] { return closed.load(); }));
    CHECK(world.idle() == 0);
    CHECK(world.loop.worker.connections() == 0);
}

TEST_CASE("Calls that still wait when the worker goes are cleaned up", "[net][client]") {
    RawUpstream upstream([](Peer& peer) { peer.client_closed(); });
    ClientWorld world;
    struct Waiting {
        static net::awaitable<void> wait(net::Worker& worker, net::ClientPool& pool, Call call) {
            co_await perform(worker, pool, std::move(call));
        }
    };
    for (int i = 0; i < 3; ++i)
        world.loop.begin(Waiting::wait(world.loop.worker, *world.pool, call_to(upstream.port())));
    CHECK(soon([&] { return upstream.connections() == 3; }));
}

TEST_CASE("More calls than the limit are turned away, and idle connections make room", "[net][client]") {
    std::atomic<bool> go{false};
    RawUpstream upstream([&](Peer& peer) {
        for (;;) {
            const auto request = peer.request();
            if (request.empty()) return;
            if (request.find("/wait") != request.npos) soon([&] { return go.load(); });
            peer.write(kOk);
        }
    });
    net::ClientLimits limits;
    limits.connections_per_origin = 2;
    ClientWorld world(limits);
    CHECK(world.run(call_to(upstream.port(), "a")).code.empty());
    CHECK(world.run(call_to(upstream.port(), "b")).code.empty());
    CHECK(world.run(call_to(upstream.port(), "c")).code.empty());  // in the place of a's idle connection
    CHECK(upstream.connections() == 3);
    CHECK(world.idle() == 2);

    std::vector<std::thread> waiting;
    std::atomic<int> done{0};
    for (int i = 0; i < 2; ++i)
        waiting.emplace_back([&] {
            auto call = call_to(upstream.port());
            call.target = "/wait";
            if (world.run(call).body == "ok") ++done;
        });
    CHECK(soon([&] { return upstream.connections() == 5; }));
    const auto outcome = world.run(call_to(upstream.port()));
    CHECK(outcome.code == "upstream.busy");
    CHECK(outcome.error.kind == base::ErrorKind::unavailable);
    go = true;
    for (auto& thread : waiting) thread.join();
    CHECK(done == 2);
    CHECK(world.run(call_to(upstream.port())).code.empty());

    limits.idle_per_origin = 1;
    limits.connections_per_origin = 10;
    ClientWorld frugal(limits);
    CHECK(frugal.run(call_to(upstream.port(), "a")).code.empty());
    CHECK(frugal.run(call_to(upstream.port(), "b")).code.empty());
    CHECK(frugal.idle() == 1);
}

TEST_CASE("A retired partition's connections are closed, idle at once and busy when they end",
          "[net][client]") {
    std::atomic<bool> go{false};
    RawUpstream upstream([&](Peer& peer) {
        for (;;) {
            const auto request = peer.request();
            if (request.empty()) return;
            if (request.find("/wait") != request.npos) soon([&] { return go.load(); });
            peer.write(kOk);
        }
    });
    ClientWorld world;
    CHECK(world.run(call_to(upstream.port(), "old")).code.empty());
    CHECK(world.run(call_to(upstream.port(), "other")).code.empty());
    const auto retire = [&] {
        return world.loop.call([&] {
            world.pool->retire("old");
            return 0;
        });
    };
    retire();
    CHECK(world.idle() == 1);
    std::thread busy([&] {
        auto call = call_to(upstream.port(), "old");
        call.target = "/wait";
        CHECK(world.run(call).code.empty());
    });
    CHECK(soon([&] { return upstream.connections() == 3; }));
    std::this_thread::sleep_for(50ms);
    retire();
    go = true;
    busy.join();
    CHECK(world.idle() == 1);
}

TEST_CASE("A refusal of a long request that comes before its end is seen", "[net][client]") {
    RawUpstream upstream([](Peer& peer) {
        peer.more();
        peer.write("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig");
        peer.client_closed();
    });
    ClientWorld world;
    auto call = call_to(upstream.port());
    call.body.assign(1'000'000, 'x');
    const auto outcome = world.run(call);
    CHECK(outcome.status == 413);
    CHECK(outcome.body == "big");
    CHECK(world.idle() == 0);
}
