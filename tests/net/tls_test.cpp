#include "net/tls.h"

#include "net/connection.h"
#include "net/server.h"
#include "tests/support/net_certificates.h"
#include "tests/support/net_loop.h"
#include "tests/support/raw_client.h"
#include "tests/support/spec.h"

#include <fstream>
#include <string>

#include <openssl/ssl.h>

using namespace claviger;
using namespace std::chrono_literals;
using test::Certificate;

namespace {

net::Connection::Socket socket_on(net::Worker& worker, test::RawClient& client) {
    return {worker.context(), net::asio::generic::stream_protocol(AF_INET, IPPROTO_TCP),
            ::dup(client.descriptor())};
}

/// What our own client sees: the answer to one request, or why there is none.
std::string ask(test::Loop& loop, std::uint16_t port, net::SslPointer ssl) {
    test::RawClient raw(port);
    auto shared = std::make_shared<net::SslPointer>(std::move(ssl));
    return loop.await<std::string>([&, shared](net::Worker& worker) -> net::awaitable<std::string> {
        net::Connection connection(worker, socket_on(worker, raw));
        connection.expires_after(5s);
        const auto secured = co_await connection.handshake(std::move(*shared));
        if (!secured) co_return std::string(secured.error().code) + ": " + secured.error().message;
        const auto sent =
            co_await connection.write_all("GET /secret HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if (sent != net::Io::ok) co_return std::string("not sent");
        std::string answer;
        for (char bytes[4096];;) {
            const auto outcome = co_await connection.read_some(bytes);
            if (outcome.io == net::Io::ok) {
                answer.append(bytes, outcome.bytes);
                continue;
            }
            co_return outcome.io == net::Io::closed ? answer : std::string("cut short");
        }
    });
}

struct Site {
    test::Directory directory;
    Certificate authority{"Test Authority", Certificate::Role::authority};
    test::Loop loop, client_loop;
    std::shared_ptr<net::TlsServer> tls;
    std::shared_ptr<net::TlsClient> trusting;
    net::Server server;

    Site()
        : server({&loop.worker}, {},
                 [](const net::Request& request, net::ResponseWriter& writer) -> net::awaitable<void> {
                     net::Response response;
                     response.body = "over TLS: " + request.target + std::string(100'000, '.');
                     const auto done = co_await writer.send(response);
                     static_cast<void>(done);
                 }) {
        install("vault.test", &authority);
        authority.write(directory / "ca.pem", directory / "ca.key");
        tls = net::TlsServer::load(directory / "chain.pem", directory / "key.pem").value();
        trusting = net::TlsClient::with_ca(directory / "ca.pem").value();
        REQUIRE(server.listen("127.0.0.1", 0, tls));
    }
    void install(const std::string& name, const Certificate* issuer) {
        Certificate(name, Certificate::Role::server, issuer)
            .write(directory / "chain.pem", directory / "key.pem");
    }
    std::string ask_as(const std::string& host) {
        return ask(client_loop, server.port(), trusting->connect(host));
    }
};

}  // namespace

TEST_CASE("A client that trusts the authority and finds the right name is served over TLS", "[net][tls]") {
    Site site;
    const std::string answer = site.ask_as("vault.test");
    CHECK(test::status_of(answer) == 200);
    CHECK((test::body_of(answer) == "over TLS: /secret" + std::string(100'000, '.')));
    CHECK(site.server.counters().tls_failures == 0);
}

TEST_CASE("Our client refuses certificates that prove nothing", "[net][tls]") {
    Site site;
    SECTION("for another name") {
        CHECK(site.ask_as("other.test") ==
              "tls.refused: The certificate of the other side was not accepted: hostname mismatch.");
    }
    SECTION("for a name when an address was asked for") {
        CHECK(site.ask_as("127.0.0.1") ==
              "tls.refused: The certificate of the other side was not accepted: IP address mismatch.");
    }
    SECTION("signed by themselves") {
        site.install("vault.test", nullptr);
        REQUIRE(site.tls->reload());
        CHECK(site.ask_as("vault.test")
                  .starts_with("tls.refused: The certificate of the other side was not accepted: self"));
    }
    SECTION("signed by an authority the system does not know") {
        const auto system = net::TlsClient::system_store();
        REQUIRE(system);
        const auto answer = ask(site.client_loop, site.server.port(), (*system)->connect("vault.test"));
        CHECK(answer.starts_with("tls.refused: The certificate of the other side was not accepted: "));
    }
}

TEST_CASE("A name that cannot be checked is not connected to", "[net][tls]") {
    Site site;
    CHECK(site.trusting->connect("") == nullptr);
    CHECK(site.trusting->connect(std::string(300, 'a')) == nullptr);
}

TEST_CASE("An address in the certificate is accepted as such", "[net][tls]") {
    Site site;
    site.install("127.0.0.1", &site.authority);
    REQUIRE(site.tls->reload());
    CHECK(test::status_of(site.ask_as("127.0.0.1")) == 200);
}

TEST_CASE("Reloading swaps certificate and key together, or changes nothing", "[net][tls]") {
    Site site;
    REQUIRE(test::status_of(site.ask_as("vault.test")) == 200);

    site.install("renewed.test", &site.authority);
    CHECK(site.ask_as("renewed.test").starts_with("tls.refused"));  // not before it is told
    REQUIRE(site.tls->reload());
    CHECK(test::status_of(site.ask_as("renewed.test")) == 200);

    SECTION("a key of another certificate") {
        Certificate("elsewhere.test", Certificate::Role::server, &site.authority)
            .write(site.directory / "unused.pem", site.directory / "key.pem");
        const auto reloaded = site.tls->reload();
        REQUIRE_FALSE(reloaded);
        CHECK(reloaded.error().code == "tls.private_key");
    }
    SECTION("half a file") {
        std::ofstream(site.directory / "chain.pem") << "-----BEGIN CERTIFICATE-----\nMIIB";
        const auto reloaded = site.tls->reload();
        REQUIRE_FALSE(reloaded);
        CHECK(reloaded.error().code == "tls.certificate");
    }
    CHECK(test::status_of(site.ask_as("renewed.test")) == 200);
}

TEST_CASE("Files that cannot be used are named by kind, not by path", "[net][tls]") {
    test::Directory directory;
    const auto server = net::TlsServer::load(directory / "nothing.pem", directory / "nothing.key");
    REQUIRE_FALSE(server);
    CHECK(server.error().code == "tls.certificate");
    CHECK(server.error().message.find("nothing") == std::string::npos);
    const auto client = net::TlsClient::with_ca(directory / "nothing.pem");
    REQUIRE_FALSE(client);
    CHECK(client.error().code == "tls.ca_bundle");
}

TEST_CASE("The listener refuses what is not TLS 1.2 or 1.3 with HTTP/1.1", "[net][tls]") {
    Site site;
    const auto ask_with = [&](void (*change)(SSL*)) {
        auto ssl = site.trusting->connect("vault.test");
        change(ssl.get());
        return ask(site.client_loop, site.server.port(), std::move(ssl));
    };
    SECTION("TLS 1.1") {
        const auto answer = ask_with([](SSL* ssl) {
            ::SSL_set_security_level(ssl, 0);
            ::SSL_set_min_proto_version(ssl, TLS1_1_VERSION);
            ::SSL_set_max_proto_version(ssl, TLS1_1_VERSION);
            ::SSL_set_cipher_list(ssl, "ALL");
        });
        CHECK(answer.starts_with("tls.refused"));
    }
    SECTION("TLS 1.2 without forward secrecy") {
        const auto answer = ask_with([](SSL* ssl) {
            ::SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
            ::SSL_set_cipher_list(ssl, "AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA");
        });
        CHECK(answer.starts_with("tls.refused"));
    }
    SECTION("only HTTP/2") {
        const auto answer = ask_with([](SSL* ssl) {
            ::SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>("\x02h2"), 3);
        });
        CHECK(answer == "tls.refused: The TLS handshake failed: tlsv1 alert no application protocol.");
    }
    SECTION("plain HTTP") {
        test::RawClient plain(site.server.port());
        plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(test::status_of(plain.rest()) == 0);
        CHECK(plain.ended());
    }
    REQUIRE(test::soon([&] { return site.server.counters().tls_failures == 1; }));
    CHECK(test::status_of(site.ask_as("vault.test")) == 200);

    const auto tls12 = ask_with([](SSL* ssl) { ::SSL_set_max_proto_version(ssl, TLS1_2_VERSION); });
    CHECK(test::status_of(tls12) == 200);
}

TEST_CASE("A TLS handshake that does not go on is ended by the head limit", "[net][tls]") {
    test::Directory directory;
    Certificate("vault.test", Certificate::Role::server)
        .write(directory / "chain.pem", directory / "key.pem");
    test::Loop loop;
    net::ServerLimits limits;
    limits.head = 300ms;
    net::Server server({&loop.worker}, limits,
                       [](const net::Request&, net::ResponseWriter&) -> net::awaitable<void> { co_return; });
    REQUIRE(server.listen("127.0.0.1", 0,
                          net::TlsServer::load(directory / "chain.pem", directory / "key.pem").value()));
    test::RawClient client(server.port());
    client.send("\x16\x03\x01");
    CHECK(client.rest().empty());
    CHECK(client.ended());
}

TEST_CASE("An idle TLS connection is not stale because of session tickets, and is after the farewell",
          "[net][tls]") {
    Site site;
    test::RawClient raw(site.server.port());
    auto ssl = std::make_shared<net::SslPointer>(site.trusting->connect("vault.test"));
    const bool held = site.client_loop.await<bool>([&](net::Worker& worker) -> net::awaitable<bool> {
        net::Connection connection(worker, socket_on(worker, raw));
        connection.expires_after(5s);
        const auto secured = co_await connection.handshake(std::move(*ssl));
        REQUIRE(secured);
        const auto tickets = co_await connection.wait_readable();  // they follow the handshake in TLS 1.3
        REQUIRE(tickets == net::Io::ok);
        CHECK_FALSE(connection.looks_stale());
        CHECK(connection.secure());
        site.server.drain(1s);
        const auto farewell = co_await connection.wait_readable();
        REQUIRE(farewell == net::Io::ok);
        CHECK(connection.looks_stale());
        char bytes[16];
        const auto outcome = co_await connection.read_some(bytes);
        co_return outcome.io == net::Io::closed;
    });
    CHECK(held);
}
