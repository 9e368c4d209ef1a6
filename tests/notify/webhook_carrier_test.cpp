// Deliveries over a real socket: what is sent, what is taken for accepted, and when an endpoint is disabled.
#include "notify/webhook_carrier.h"

#include "tests/net/raw_upstream.h"
#include "tests/support/notify_outbox_world.h"

#include <atomic>

using namespace claviger;
using namespace claviger::notify;
using namespace std::chrono_literals;
using test::Echo;
using test::RawUpstream;
using test::soon;

namespace {

struct DeliveryWorld : test::OutboxWorld {
    explicit DeliveryWorld(net::PrivateAddresses private_addresses = net::PrivateAddresses::allow) {
        loop = std::make_unique<test::Loop>();
        pool = loop->call([&] {
            return std::make_unique<net::ClientPool>(loop->worker, net::ClientLimits{.connect = 2s}, nullptr);
        });
        carrier = std::make_unique<WebhookCarrier>(
            loop->worker, *pool, *records,
            DeliverySettings{.private_addresses = private_addresses, .answer_timeout = 10s});
        outbox = std::make_unique<Outbox>(loop->worker, *records,
                                          Outbox::Carriers{{vault::OutboxKind::webhook, carrier.get()}},
                                          OutboxLimits{.look_every = 250ms});
        outbox->start();
    }
    ~DeliveryWorld() { close(); }
    bool settled() {
        return soon([&] { return waiting().empty(); });
    }
    std::unique_ptr<WebhookCarrier> carrier;
};

std::string url_of(const RawUpstream& upstream) {
    return "http://127.0.0.1:" + std::to_string(upstream.port()) + "/hook?team=a";
}

std::string header(const std::string& request, const std::string& name) {
    const auto at = request.find("\r\n" + name + ": ");
    if (at == request.npos) return {};
    const auto from = at + name.size() + 4;
    return request.substr(from, request.find("\r\n", from) - from);
}

std::string status_line(int status, const std::string& more = {}) {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + more + "Content-Length: 0\r\n\r\n";
}

}  // namespace

TEST_CASE("A delivery is a signed POST of the event, and a 2xx ends it", "[notify]") {
    Echo echo;
    std::atomic<bool> looked{false};
    const RawUpstream receiver([&](test::Peer& peer) {
        auto request = peer.request();
        if (request.empty()) return;
        echo.note(peer.number, std::move(request));
        soon([&] { return looked.load(); });  // an answer would end what is looked at
        peer.write(status_line(204));
    });
    DeliveryWorld world;
    const auto endpoint = world.new_endpoint({"vault.created"}, url_of(receiver));
    REQUIRE(world.post("vault.created"));
    const auto items = world.waiting();
    looked = true;
    REQUIRE(items.size() == 1);
    const auto& item = items[0];

    REQUIRE(world.settled());
    REQUIRE(echo.count() == 1);
    const auto request = echo.text(0);
    CHECK_THAT(request, Catch::StartsWith("POST /hook?team=a HTTP/1.1\r\n"));
    CHECK(header(request, "Content-Type") == "application/json");
    CHECK(header(request, "webhook-id") == item->label);
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(world.clock.now().time_since_epoch()).count();
    CHECK(header(request, "webhook-timestamp") == std::to_string(seconds));
    CHECK(request.substr(request.find("\r\n\r\n") + 4) == item->body);
    CHECK(header(request, "webhook-signature") == *sign(*world.secret, {item->label, seconds, item->body}));
    CHECK(world.stored(endpoint).last_delivered == world.clock.now());
    CHECK(world.stored(endpoint).last_failure.empty());

    vault::LogQuery query;
    query.workspace = world.workspace.raw;
    query.kind = vault::EntryKind::sink;
    const auto entries = world.records->access_log().query(query);
    REQUIRE(entries);
    REQUIRE(entries->entries.size() == 1);
    CHECK(entries->entries[0].entry.action == vault::Action::deliver);
    CHECK(entries->entries[0].entry.object_id == endpoint.id.raw);
    CHECK(entries->entries[0].entry.status == 204);
}

TEST_CASE("While a secret is replaced both sign", "[notify]") {
    Echo echo;
    const RawUpstream receiver(echo.always(status_line(200)));
    DeliveryWorld world;
    auto endpoint = world.new_endpoint({"vault.created"}, url_of(receiver));
    const auto other = new_signing_secret();
    endpoint = world.stored(endpoint);
    endpoint.previous_secret = endpoint.secret;
    endpoint.previous_until = world.clock.now() + 1h;
    endpoint.secret = seal_signing_secret(world.records->keys(), endpoint.id, other);
    REQUIRE(world.change([&](vault::Change& change) -> base::Status {
        change.note(vault::EntryKind::rotate, vault::Action::update, vault::ObjectKind::webhook_endpoint, {});
        return change.store(endpoint);
    }));
    const auto signatures = [&](std::size_t request) {
        const auto& text = echo.text(request);
        const std::string id = header(text, "webhook-id"), body = text.substr(text.find("\r\n\r\n") + 4);
        const Signed what{id, std::stoll(header(text, "webhook-timestamp")), body};
        return std::pair(header(text, "webhook-signature"),
                         std::pair(*sign(other, what), *sign(*world.secret, what)));
    };

    REQUIRE(world.post("vault.created"));
    REQUIRE(world.settled());
    const auto [during, expected] = signatures(0);
    CHECK(during == expected.first + " " + expected.second);

    world.clock.advance(1h);
    REQUIRE(world.post("vault.created"));
    REQUIRE(world.settled());
    const auto [after, alone] = signatures(1);
    CHECK(after == alone.first);
}

TEST_CASE("A refused delivery comes again, with the same id and a new timestamp", "[notify]") {
    Echo echo;
    const RawUpstream receiver([&](test::Peer& peer) {
        for (;;) {
            auto request = peer.request();
            if (request.empty()) return;
            echo.note(peer.number, std::move(request));
            peer.write(echo.count() == 1 ? status_line(503, "Retry-After: 100\r\n") : status_line(200));
        }
    });
    DeliveryWorld world;
    const auto endpoint = world.new_endpoint({"vault.created"}, url_of(receiver));
    REQUIRE(world.post("vault.created"));

    REQUIRE(soon([&] { return !world.waiting().empty() && world.waiting()[0]->attempts == 1; }));
    CHECK(world.waiting()[0]->last_failure == "webhook.refused");
    CHECK(world.waiting()[0]->next_attempt == world.clock.now() + 100s);
    CHECK(world.stored(endpoint).last_failure == "HTTP status 503");
    CHECK(world.stored(endpoint).enabled);
    world.clock.advance(100s);
    REQUIRE(world.settled());
    REQUIRE(echo.count() == 2);
    CHECK(header(echo.text(0), "webhook-id") == header(echo.text(1), "webhook-id"));
    CHECK(std::stoll(header(echo.text(1), "webhook-timestamp")) ==
          std::stoll(header(echo.text(0), "webhook-timestamp")) + 100);
}

TEST_CASE("An endpoint that moved, is gone or lies inside is disabled at once", "[notify]") {
    struct Case {
        std::string answer;
        net::PrivateAddresses private_addresses;
        std::string_view reason;
        std::size_t requests;
    };
    const Case each = GENERATE(Case{status_line(307, "Location: http://127.0.0.1:1/\r\n"),
                                    net::PrivateAddresses::allow, kDisabledByRedirect, 1},
                               Case{status_line(410), net::PrivateAddresses::allow, kDisabledByGone, 1});
    Echo echo;
    const RawUpstream receiver(echo.always(each.answer));
    DeliveryWorld world(each.private_addresses);
    const auto endpoint = world.new_endpoint({"vault.created"}, url_of(receiver));
    REQUIRE(world.post("vault.created"));

    REQUIRE(world.settled());
    CHECK_FALSE(world.stored(endpoint).enabled);
    CHECK(world.stored(endpoint).disabled_reason == each.reason);
    CHECK(echo.count() == each.requests);
    REQUIRE(world.post("vault.created"));
    CHECK(world.waiting().empty());  // nothing more is queued for it
}

TEST_CASE("Where private addresses are refused, nothing is sent to one", "[notify]") {
    Echo echo;
    const RawUpstream receiver(echo.always(status_line(200)));
    DeliveryWorld world(net::PrivateAddresses::refuse);
    // Written before the setting was changed: https, so that the address alone is at fault.
    const auto endpoint =
        world.new_endpoint({"vault.created"}, "https://127.0.0.1:" + std::to_string(receiver.port()) + "/");
    REQUIRE(world.post("vault.created"));

    REQUIRE(soon([&] { return world.waiting().empty() || world.waiting()[0]->attempts == 1; }));
    CHECK(receiver.connections() == 0);
    CHECK(echo.count() == 0);
}

TEST_CASE("An endpoint that accepted nothing for a day is disabled, and says why", "[notify]") {
    DeliveryWorld world;
    const auto endpoint = world.new_endpoint({"vault.created"}, "http://127.0.0.1:1/");  // nobody listens
    REQUIRE(world.post("vault.created"));

    for (int i = 0; i < 10 && !world.waiting().empty(); ++i) {
        const auto attempts = world.waiting()[0]->attempts;
        world.clock.set(world.waiting()[0]->next_attempt);
        REQUIRE(soon([&] {
            const auto items = world.waiting();
            return items.empty() || items[0]->attempts > attempts;
        }));
    }
    CHECK(world.waiting().empty());
    CHECK_FALSE(world.stored(endpoint).enabled);
    CHECK(world.stored(endpoint).disabled_reason == kDisabledByFailure);
    CHECK(world.stored(endpoint).last_failure == "upstream.unreachable");
}

TEST_CASE("An endpoint's URL must be one that may be called", "[notify]") {
    const DeliverySettings outside, inside{.private_addresses = net::PrivateAddresses::allow};
    for (const auto* url : {"https://hooks.example.com/a", "https://203.0.113.9:8443/"}) {
        INFO(url);
        CHECK(check_endpoint_url(url, inside));
    }
    CHECK(check_endpoint_url("https://hooks.example.com/a", outside));
    CHECK(check_endpoint_url("http://10.0.0.1/hook", inside));
    for (const auto* url : {"http://hooks.example.com/", "https://10.0.0.1/", "https://localhost/",
                            "https://[::1]/", "ftp://example.com/", "https://user@example.com/", ""}) {
        INFO(url);
        const auto refused = check_endpoint_url(url, outside);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "webhook.url");
    }
}
