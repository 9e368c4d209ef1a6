// What the client must never do: leak a secret, be talked into a private network, or trust the wrong server.
#include "tests/net/client_world.h"
#include "tests/net/raw_upstream.h"
#include "tests/net/test_certificates.h"
#include "tests/support/spec.h"

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <tuple>

using namespace claviger;
using namespace claviger::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using std::chrono::steady_clock;

TEST_CASE("The head holds only zeros once it was sent, and cannot be sent again", "[net][client]") {
    Echo echo;
    RawUpstream upstream(echo.always(kOk));
    ClientWorld world;
    auto call = call_to(upstream.port());
    call.fields = {{"Authorization", "Bearer very-secret-token"}};
    const auto check = [&](const Outcome& outcome) {
        CHECK(outcome.head_after.size() >= 40);
        CHECK(outcome.head_after.find_first_not_of('\0') == std::string::npos);
    };
    check(world.run(call));
    CHECK(echo.text(0).find("very-secret-token") != std::string::npos);
    call.origin.port = 1;  // nobody listens there
    auto refused = world.run(call);
    CHECK(refused.code == "upstream.unreachable");
    check(refused);
    call.options.private_addresses = net::PrivateAddresses::refuse;
    check(world.run(call));

    struct Twice {
        static net::awaitable<std::string> send(net::Worker& worker, net::ClientPool& pool, Call call) {
            net::OutboundHead head(worker);
            head.begin("GET", "/", call.origin);
            auto first = co_await pool.send(call.origin, head, {}, call.options);
            if (!first) co_return "failed";
            auto second = co_await pool.send(call.origin, head, {}, call.options);
            co_return second ? "sent twice" : std::string(second.error().code);
        }
    };
    const auto code = world.loop.await<std::string>(
        [&](net::Worker& worker) { return Twice::send(worker, *world.pool, call_to(upstream.port())); });
    CHECK(code == "upstream.request_invalid");
}

TEST_CASE("Nothing can be smuggled into a request head", "[net][client]") {
    ClientWorld world;
    world.loop.call([&] {
        net::OutboundHead head(world.loop.worker);
        CHECK_FALSE(head.add("X", "before begin"));
        const net::Origin origin{true, "example.com", 443};
        head.begin("GET", "/a?b=c", origin);
        CHECK(head.bytes() == "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\n");
        for (const auto& value : {"a\r\nX: y"s, "a\n"s, "a\r"s, "a\0b"s, "a\x7f"s, "\x01"s}) {
            CHECK_FALSE(head.add("X-Value", value));
            CHECK_FALSE(head.add("X-Value", "Bearer ", value));
            CHECK_FALSE(head.add("X-Value", value, "x"));
        }
        for (const auto* name : {"", "X Y", "X:", "X\r\nY", "X\x80", "(X)", "Host", "content-length",
                                 "Transfer-Encoding", "CONNECTION"})
            CHECK_FALSE(head.add(name, "x"));
        CHECK(head.add("Authorization", "Bearer ", "abc"));
        CHECK(head.add("X-Tab", "a\tb\xc3\xa9"));
        CHECK(head.bytes() ==
              "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer abc\r\nX-Tab: "
              "a\tb\xc3\xa9\r\n");
        const std::string long_value(100'000, 'v');
        CHECK(head.add("X-Long", long_value));
        CHECK(head.bytes().ends_with("X-Long: " + long_value + "\r\n"));

        head.begin("GET", "/", {false, "::1", 80});
        CHECK(head.bytes() == "GET / HTTP/1.1\r\nHost: [::1]\r\n");
        CHECK(net::Origin{true, "::1", 80}.authority() == "[::1]:80");
        CHECK(net::Origin{false, "a", 443}.authority() == "a:443");
        return 0;
    });
    Echo echo;
    RawUpstream upstream(echo.always(kOk));
    for (const auto& [method, target, host] : std::vector<std::array<std::string, 3>>{
             {"GET", "/ HTTP/1.1\r\nX: y", "127.0.0.1"},
             {"GET", "/a b", "127.0.0.1"},
             {"GET", "", "127.0.0.1"},
             {"GET", "/#part", "127.0.0.1"},
             {"GET /", "/", "127.0.0.1"},
             {"", "/", "127.0.0.1"},
             {"GET", "/", "127.0.0.1\r\nX: y"},
             {"GET", "/", ""},
             {"GET", "/", "user@127.0.0.1"},
         }) {
        auto call = call_to(upstream.port());
        call.method = method;
        call.target = target;
        call.origin.host = host;
        const auto outcome = world.run(call);
        CHECK(outcome.code == "upstream.request_invalid");
        CHECK(outcome.error.kind == base::ErrorKind::invalid_request);
    }
    CHECK(upstream.connections() == 0);
}

TEST_CASE("Private addresses are refused after resolution, whatever the host is called", "[net][client]") {
    Echo echo;
    RawUpstream upstream(echo.always(kOk));
    ClientWorld world;
    for (const auto* host : {"127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "localhost", "LOCALHOST",
                             "127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0",
                             "::", "10.0.0.1", "169.254.169.254", "fe80::1%lo"}) {
        INFO(host);
        auto call = call_to(upstream.port());
        call.origin.host = host;
        call.options.private_addresses = net::PrivateAddresses::refuse;
        const auto outcome = world.run(call);
        CHECK(outcome.code == "network.private_address");
        CHECK(outcome.error.kind == base::ErrorKind::denied);
    }
    CHECK(upstream.connections() == 0);

    auto call = call_to(upstream.port());
    call.origin.host = "localhost";
    CHECK(world.run(call).body == "ok");
    CHECK(upstream.connections() == 1);
    CHECK(world.idle() == 1);
    call.options.private_addresses = net::PrivateAddresses::refuse;  // nor may an idle connection be a way in
    CHECK(world.run(call).code == "network.private_address");
    CHECK(echo.count() == 1);
}

TEST_CASE("An upstream that cannot be reached is told apart from one that failed", "[net][client]") {
    std::uint16_t port = 0;
    {
        RawUpstream gone([](Peer&) {});
        port = gone.port();
    }
    ClientWorld world;
    auto call = call_to(port);
    const auto outcome = world.run(call);
    CHECK(outcome.code == "upstream.unreachable");
    CHECK(outcome.error.detail.find("refused") != std::string::npos);
    CHECK(outcome.error.message.find("127.0.0.1") == std::string::npos);

    net::ClientLimits limits;
    limits.connect = 500ms;
    ClientWorld hasty(limits);
    call.origin.host = "does-not-exist.invalid";
    const auto begun = steady_clock::now();
    CHECK(hasty.run(call).code == "upstream.unreachable");
    CHECK(steady_clock::now() - begun < 3s);
}

TEST_CASE("A connect that gets no answer ends at its limit, or when it is cancelled", "[net][client]") {
    // A listener whose queue is full: the kernel drops further connects without a word.
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), bytes) == 0);
    REQUIRE(::listen(listener, 0) == 0);
    REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &bytes) == 0);
    std::vector<int> fillers;
    for (int i = 0; i < 3; ++i) {
        fillers.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        std::ignore = ::connect(fillers.back(), reinterpret_cast<sockaddr*>(&address), bytes);
    }
    net::ClientLimits limits;
    limits.connect = 600ms;
    ClientWorld world(limits);
    auto call = call_to(ntohs(address.sin_port));
    auto begun = steady_clock::now();
    CHECK(world.run(call).code == "upstream.unreachable");
    CHECK(steady_clock::now() - begun >= 550ms);
    CHECK(steady_clock::now() - begun < 5s);

    limits.connect = 10s;
    ClientWorld patient(limits);
    std::function<void()> cancel;
    std::atomic<bool> cancellable{false};
    call.options.on_cancellable = [&](std::function<void()> action) {
        cancel = std::move(action);
        cancellable = true;
    };
    std::thread cancelling([&] {
        soon([&] { return cancellable.load(); });
        std::this_thread::sleep_for(100ms);
        patient.loop.worker.deliver([&] { cancel(); });
    });
    begun = steady_clock::now();
    CHECK(patient.run(call).code == "upstream.cancelled");
    CHECK(steady_clock::now() - begun < 5s);
    cancelling.join();
    for (const int socket : fillers) ::close(socket);
    ::close(listener);
}

TEST_CASE("TLS accepts the right server, and a wrong one gets not a byte", "[net][client][tls]") {
    TestDirectory directory;
    const auto authority = make_identity("", nullptr);
    const auto stranger = make_identity("", nullptr);
    const auto trusted = net::TlsClient::with_ca(write_certificate(directory, authority));
    REQUIRE(trusted);
    struct Row {
        const char* what;
        Identity identity;
        std::string host;
        bool accepted;
    };
    Row rows[] = {
        {"the right name", make_identity("DNS:localhost", &authority), "localhost", true},
        {"the right address", make_identity("IP:127.0.0.1", &authority), "127.0.0.1", true},
        {"another name", make_identity("DNS:example.com", &authority), "localhost", false},
        {"a name where the address counts", make_identity("DNS:localhost", &authority), "127.0.0.1", false},
        {"its own signature", make_identity("DNS:localhost", nullptr), "localhost", false},
        {"a strange authority", make_identity("DNS:localhost", &stranger), "localhost", false},
        {"an expired certificate", make_identity("DNS:localhost", &authority, -7200, -3600), "localhost",
         false},
        {"a certificate of tomorrow", make_identity("DNS:localhost", &authority, 3600, 7200), "localhost",
         false},
    };
    for (auto& row : rows) {
        INFO(row.what);
        Echo echo;
        const auto context = server_context(row.identity);
        RawUpstream upstream(echo.always(kOk), context.get());
        ClientWorld world({}, *trusted);
        auto call = call_to(upstream.port());
        call.origin = {true, row.host, upstream.port()};
        for (int i = 0; i < 3; ++i) {
            const auto outcome = world.run(call);
            CHECK(outcome.code == (row.accepted ? "" : "upstream.tls"));
            if (row.accepted) CHECK(outcome.body == "ok");
            if (!row.accepted) CHECK_FALSE(outcome.error.detail.empty());
        }
        CHECK(echo.count() == (row.accepted ? 3 : 0));
        if (row.accepted) CHECK(upstream.connections() == 1);
    }
    ClientWorld without_authorities;
    RawUpstream plain([](Peer& peer) { peer.client_closed(); });
    auto call = call_to(plain.port());
    call.origin.tls = true;
    CHECK(without_authorities.run(call).code == "upstream.tls");
    CHECK(plain.connections() == 0);

    RawUpstream not_tls([](Peer& peer) {
        peer.more();
        peer.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    ClientWorld world({}, *trusted);
    call.origin.port = not_tls.port();
    CHECK(world.run(call).code == "upstream.tls");
}

TEST_CASE("Over TLS bodies are whole or an error, and a silent handshake ends", "[net][client][tls]") {
    TestDirectory directory;
    const auto authority = make_identity("", nullptr);
    const auto trusted = net::TlsClient::with_ca(write_certificate(directory, authority));
    REQUIRE(trusted);
    const auto identity = make_identity("IP:127.0.0.1", &authority);
    const auto context = server_context(identity);
    const std::string large(2'000'000, 'z');
    RawUpstream upstream(
        [&](Peer& peer) {
            for (;;) {
                const auto request = peer.request();
                if (request.empty()) return;
                if (request.find("/large") != request.npos) {
                    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + large);
                    continue;
                }
                peer.write("HTTP/1.1 200 OK\r\n\r\nuntil the end");
                if (request.find("/farewell") != request.npos) peer.farewell();
                return;  // without farewell it may have been cut by anyone on the way
            }
        },
        context.get());
    ClientWorld world({}, *trusted);
    auto call = call_to(upstream.port());
    call.origin.tls = true;
    call.target = "/large";
    call.body.assign(300'000, 'y');
    CHECK(world.run(call).body == large);
    CHECK(world.run(call).body == large);
    CHECK(upstream.connections() == 1);
    call.target = "/farewell";
    const auto complete = world.run(call);
    CHECK(complete.code.empty());
    CHECK(complete.body == "until the end");
    call.target = "/cut";
    const auto cut = world.run(call);
    CHECK(cut.code == "upstream.closed");
    CHECK(cut.body == "until the end");

    RawUpstream silent([](Peer& peer) { peer.client_closed(); });
    net::ClientLimits limits;
    limits.connect = 500ms;
    ClientWorld hasty(limits, *trusted);
    call.origin.port = silent.port();
    CHECK(hasty.run(call).code == "upstream.unreachable");
}
