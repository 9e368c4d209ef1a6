// The outbox: in the same commit or not at all, tried until it is done, and there again after a restart.
#include "notify/outbox.h"

#include "tests/support/notify_outbox_world.h"

#include <nlohmann/json.hpp>

#include <set>

using namespace claviger;
using namespace claviger::notify;
using namespace std::chrono_literals;
using test::OutboxWorld;
using test::ScriptedCarrier;
using test::soon;
using End = Attempt::End;

TEST_CASE("An event waits for every endpoint that wants it, and for no other", "[notify]") {
    OutboxWorld world;
    const auto one = world.new_endpoint({"vault.created", "vault.archived"});
    const auto two = world.new_endpoint({"vault.created"});
    world.new_endpoint({"vault.deleted"});
    world.new_endpoint({"vault.created"}, {}, false);

    REQUIRE(world.post("vault.created", "vlt_01x"));

    const auto items = world.waiting();
    REQUIRE(items.size() == 2);
    const auto about = [](const auto& item) { return base::WebhookEndpointId{item->about}; };
    CHECK(std::set{about(items[0]), about(items[1])} == std::set{one.id, two.id});
    CHECK(items[0]->label == items[1]->label);  // one event, one id
    CHECK(items[0]->body == items[1]->body);
    const auto body = nlohmann::json::parse(items[0]->body);
    CHECK(body["type"] == "event");
    CHECK(body["id"] == items[0]->label);
    CHECK(body["created_at"] == base::to_rfc3339(world.clock.now()));
    CHECK(body["data"]["type"] == "vault.created");
    CHECK(body["data"]["id"] == "vlt_01x");
    CHECK(body["data"]["workspace_id"] == world.workspace.text());
    CHECK_FALSE(body["data"].contains("vault_id"));
}

TEST_CASE("A change that fails leaves no event behind", "[notify]") {
    OutboxWorld world;
    world.new_endpoint({"vault.created"});

    const auto failed = world.change([&](vault::Change& change) -> base::Status {
        change.note(vault::EntryKind::write, vault::Action::create, vault::ObjectKind::vault, {});
        if (auto posted = post(change, {.type = "vault.created",
                                        .workspace = world.workspace,
                                        .id = "vlt_01",
                                        .vault = {},
                                        .more = {}});
            !posted)
            return posted;
        return base::failure(base::ErrorKind::conflict, "test.refused", "No.");
    });

    CHECK_FALSE(failed);
    CHECK(world.waiting().empty());
}

TEST_CASE("One change may tell more than 255 things", "[notify]") {
    OutboxWorld world;
    world.new_endpoint({"vault_credential.deleted"});
    REQUIRE(world.change([&](vault::Change& change) -> base::Status {
        change.note(vault::EntryKind::write, vault::Action::erase, vault::ObjectKind::vault, {});
        for (int i = 0; i < 300; ++i)
            if (auto posted = post(change, {.type = "vault_credential.deleted",
                                            .workspace = world.workspace,
                                            .id = "vcrd_01" + std::to_string(i),
                                            .vault = {},
                                            .more = {}});
                !posted)
                return posted;
        return {};
    }));
    CHECK(world.waiting().size() == 300);
}

TEST_CASE("What is done is gone, also from the disk", "[notify]") {
    OutboxWorld world;
    ScriptedCarrier carrier;
    world.new_endpoint({"vault.created"});
    REQUIRE(world.post("vault.created"));
    world.start({{vault::OutboxKind::webhook, &carrier}});

    REQUIRE(soon([&] { return world.waiting().empty(); }));
    CHECK(carrier.fates() == std::vector{Fate::done});
    CHECK(soon([&] { return world.outbox->counters().done.load() == 1; }));
    world.close();
    world.open();
    CHECK(world.waiting().empty());
}

TEST_CASE("What fails is tried ten times in a day, and then given up", "[notify]") {
    OutboxWorld world;
    ScriptedCarrier carrier;
    carrier.says = [](const auto&) { return Attempt{.end = End::again, .reason = "upstream.timeout"}; };
    world.new_endpoint({"vault.created"});
    REQUIRE(world.post("vault.created"));
    const auto start = world.clock.now();
    world.start({{vault::OutboxKind::webhook, &carrier}});

    for (std::size_t tries = 1; tries < 10; ++tries) {
        REQUIRE(soon([&] { return carrier.fates().size() == tries; }));
        REQUIRE(soon([&] { return world.waiting().size() == 1 && world.waiting()[0]->attempts == tries; }));
        const auto item = world.waiting()[0];
        CHECK(item->last_failure == "upstream.timeout");
        const std::chrono::milliseconds wait = item->next_attempt - world.clock.now();
        CHECK(wait >= kOutboxWaits[tries - 1] * 9 / 10);
        CHECK(wait <= kOutboxWaits[tries - 1] * 11 / 10);
        world.clock.set(item->next_attempt);
    }
    REQUIRE(soon([&] { return world.waiting().empty(); }));
    CHECK(carrier.fates().back() == Fate::given_up);
    CHECK(carrier.fates().size() == 10);
    CHECK(world.clock.now() - start >= 21h);
    CHECK(world.clock.now() - start <= 26h);
}

TEST_CASE("Waits grow, and respect what the other side asks for up to an hour", "[notify]") {
    CHECK(outbox_wait(1, {}, 100) == 10s);
    CHECK(outbox_wait(1, {}, 0) == 9s);
    CHECK(outbox_wait(1, {}, 200) == 11s);
    CHECK(outbox_wait(99, {}, 100) == kOutboxWaits.back());
    CHECK(outbox_wait(1, 120s, 100) == 120s);
    CHECK(outbox_wait(1, 999'999s, 100) == 3'600s);
    CHECK(outbox_wait(9, 1s, 100) == kOutboxWaits.back());
}

TEST_CASE("A hopeless attempt is the last one", "[notify]") {
    OutboxWorld world;
    ScriptedCarrier carrier;
    carrier.says = [](const auto&) { return Attempt{.end = End::dropped, .reason = "webhook.refused"}; };
    world.new_endpoint({"vault.created"});
    REQUIRE(world.post("vault.created"));
    world.start({{vault::OutboxKind::webhook, &carrier}});

    REQUIRE(soon([&] { return world.waiting().empty(); }));
    CHECK(carrier.fates() == std::vector{Fate::given_up});
}

TEST_CASE("What was committed before a stop is carried after the next start", "[notify]") {
    OutboxWorld world;
    world.new_endpoint({"vault.created"});
    REQUIRE(world.post("vault.created"));
    const auto event = world.waiting().at(0)->label;
    world.close();

    world.open();
    ScriptedCarrier carrier;
    world.start({{vault::OutboxKind::webhook, &carrier}});

    REQUIRE(soon([&] { return world.waiting().empty(); }));
    CHECK(carrier.carried() == std::vector{event});
}

TEST_CASE("A drained outbox begins nothing more", "[notify]") {
    OutboxWorld world;
    ScriptedCarrier carrier;
    world.new_endpoint({"vault.created"});
    world.start({{vault::OutboxKind::webhook, &carrier}});
    world.outbox->drain(1s);

    REQUIRE(world.post("vault.created"));
    std::this_thread::sleep_for(600ms);  // two looks
    CHECK(carrier.carried().empty());
    CHECK(world.waiting().size() == 1);
}
