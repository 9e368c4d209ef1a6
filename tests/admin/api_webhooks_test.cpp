// Webhook endpoints over the admin API, and which changes they are told of.
#include "tests/net/raw_upstream.h"
#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

#include <algorithm>

using namespace claviger;
using namespace claviger::test;

namespace {

json endpoint_body(json events = {"vault.created"}, std::string url = "https://hooks.example.com/a") {
    return {{"url", std::move(url)}, {"enabled_events", std::move(events)}, {"name", "alarms"}};
}

/// What waits to be told, oldest first, as "type id".
std::vector<std::string> told(const ApiWorld& world) {
    auto items = world.records->catalog().all<vault::OutboxItem>(
        [](const auto& item) { return item.kind == vault::OutboxKind::webhook; });
    std::ranges::sort(items, {}, [](const auto& item) { return item->created_seq; });
    std::vector<std::string> lines;
    for (const auto& item : items) {
        const auto data = json::parse(item->body)["data"];
        lines.push_back(data["type"].get<std::string>() + " " + data["id"].get<std::string>());
    }
    return lines;
}

}  // namespace

TEST_CASE("A webhook endpoint is made, shown, changed and deleted", "[admin]") {
    ApiWorld world;
    const auto made =
        world.post("/v1/webhooks", endpoint_body({"vault.deleted", "vault.created", "vault.created"}));
    CHECK(made["id"].get<std::string>().starts_with("whep_01"));
    CHECK(made["signing_secret"].get<std::string>().starts_with("whsec_"));
    CHECK(made["enabled_events"] == json({"vault.created", "vault.deleted"}));
    CHECK(made["state"] == "enabled");
    CHECK(made["disabled_reason"] == "");
    CHECK(made["description"] == "");

    const auto path = "/v1/webhooks/" + made["id"].get<std::string>();
    auto shown = made;
    shown.erase("signing_secret");
    CHECK(world.get(path) == shown);
    CHECK(world.get("/v1/organizations/webhooks/" + made["id"].get<std::string>()) == shown);

    const auto off = world.post(path, {{"state", "disabled"}, {"enabled_events", json::array()}});
    CHECK(off["state"] == "disabled");
    CHECK(off["enabled_events"] == made["enabled_events"]);
    CHECK(world.post(path, {{"url", "https://hooks.example.com/b"}})["url"] == "https://hooks.example.com/b");

    const auto rotated = world.post(path + "/regenerate_signing_secret");
    CHECK(rotated["signing_secret"] != made["signing_secret"]);
    CHECK(rotated["previous_secret_expires_at"] ==
          base::to_rfc3339(world.clock.now() + std::chrono::hours(24)));
    CHECK_FALSE(world.get(path).contains("signing_secret"));

    CHECK(world.remove(path) == json{{"id", made["id"]}, {"type", "webhook_endpoint_deleted"}});
    CHECK(world.call("GET", path).code() == "webhook_endpoint.not_found");
    const auto log = world.get("/v1/access_log?limit=100");
    CHECK(std::ranges::count_if(log["data"], [&](const json& entry) {
              return entry["object"].is_object() && entry["object"]["id"] == made["id"];
          }) == 5);
}

TEST_CASE("No signing secret lies in the objects that memory holds", "[admin]") {
    ApiWorld world;
    const auto made = world.post("/v1/webhooks", endpoint_body());
    const auto secret = made["signing_secret"].get<std::string>();
    const auto stored =
        world.records->catalog().all<vault::WebhookEndpoint>([](const auto&) { return true; });
    REQUIRE(stored.size() == 1);
    CHECK(vault::encode_object(*stored[0]).find(secret.substr(6)) == std::string::npos);
}

TEST_CASE("Bad input for a webhook endpoint names its field and stores nothing", "[admin]") {
    ApiWorld world(net::PrivateAddresses::refuse);
    const std::vector<std::pair<json, const char*>> rows{
        {json::object(), "url: is required"},
        {{{"url", "https://hooks.example.com"}}, "enabled_events: must name at least one"},
        {endpoint_body(json::array()), "enabled_events: must name at least one"},
        {endpoint_body({"vault.exploded"}), "enabled_events: knows no event type 'vault.exploded'"},
        {endpoint_body({"webhook_endpoint.test"}), "enabled_events: knows no event type"},
        {endpoint_body({"vault.created"}, "http://hooks.example.com"), "url: must begin with https://"},
        {endpoint_body({"vault.created"}, "https://10.1.2.3/"), "url: must not lead to a private address"},
        {endpoint_body({"vault.created"}, "hooks.example.com"), "url: must be the https URL"},
        {{{"url", "https://hooks.example.com"}, {"enabled_events", {"vault.created"}}, {"colour", "red"}},
         "colour: is not a known field here"},
    };
    for (const auto& [body, message] : rows) {
        const auto reply = world.call("POST", "/v1/webhooks", body);
        INFO(message << " got " << reply.text);
        CHECK(reply.status == 400);
        CHECK(reply.message().starts_with(message));
    }
    CHECK(world.get("/v1/webhooks")["data"].empty());
    for (int i = 0; i < 32; ++i) world.post("/v1/webhooks", endpoint_body());
    CHECK(world.call("POST", "/v1/webhooks", endpoint_body()).code() == "webhook.too_many");
}

TEST_CASE("Endpoints are listed in the pages of organization webhooks", "[admin]") {
    ApiWorld world;
    std::vector<json> made;
    for (int i = 0; i < 3; ++i) made.push_back(world.post("/v1/webhooks", endpoint_body())["id"]);
    const auto first = world.get("/v1/webhooks?limit=2");
    CHECK(first["has_more"] == true);
    CHECK(first["first_id"] == made[2]);
    CHECK(first["last_id"] == made[1]);
    const auto second = world.get("/v1/webhooks?limit=2&after_id=" + made[1].get<std::string>());
    CHECK(second["has_more"] == false);
    CHECK(second["first_id"] == made[0]);
    const auto back = world.get("/v1/webhooks?limit=1&before_id=" + made[0].get<std::string>());
    CHECK(back["data"][0]["id"] == made[1]);
    CHECK(back["has_more"] == true);
    CHECK(world.get("/v1/webhooks?order=asc")["first_id"] == made[0]);
    CHECK(world.call("GET", "/v1/webhooks?after_id=whep_01x").status == 400);
}

TEST_CASE("Who may manage endpoints, and who may look", "[admin]") {
    ApiWorld world;
    const auto path = "/v1/webhooks/" + world.post("/v1/webhooks", endpoint_body())["id"].get<std::string>();
    CHECK(world.call_as(world.new_key("operator"), "POST", path, {{"name", "n"}}).status == 200);
    const auto auditor = world.new_key("auditor");
    CHECK(world.call_as(auditor, "GET", path).status == 200);
    CHECK(world.call_as(auditor, "POST", path, {{"name", "n"}}).status == 403);
    CHECK(world.call_as(world.new_key("agent-runner"), "GET", path).status == 403);
    const auto other = world.post("/v1/workspaces", {{"name", "other"}})["admin_api_key"].get<std::string>();
    CHECK(world.call_as(other, "GET", path).status == 404);
    CHECK(world.call_as(other, "GET", "/v1/webhooks").body["data"].empty());
}

TEST_CASE("Every change that has an event tells it once, and changes that change nothing tell none",
          "[admin]") {
    ApiWorld world;
    world.post("/v1/webhooks",
               endpoint_body({"vault.created", "vault.archived", "vault.deleted", "vault_credential.created",
                              "vault_credential.archived", "vault_credential.deleted", "environment.created",
                              "environment.updated", "environment.archived", "environment.deleted",
                              "agent.created", "agent.updated", "agent.archived", "session.updated",
                              "session.status_terminated", "session.deleted"}));
    std::vector<std::string> expected;
    const auto id_of = [](const json& object) { return object["id"].get<std::string>(); };
    const auto expect = [&](std::string_view type, const std::string& id) {
        expected.push_back(std::string(type) + " " + id);
        CHECK(told(world) == expected);
    };
    const auto vault = id_of(world.new_vault());
    expect("vault.created", vault);
    const auto bearer = id_of(world.new_bearer(vault));
    expect("vault_credential.created", bearer);
    const auto environment = id_of(world.new_environment());
    expect("environment.created", environment);
    world.post("/v1/environments/" + environment, {{"name", "prod"}});  // as it was
    CHECK(told(world) == expected);
    world.post("/v1/environments/" + environment, {{"name", "staging"}});
    expect("environment.updated", environment);
    const auto agent = id_of(world.new_agent());
    expect("agent.created", agent);
    world.post("/v1/agents/" + agent, {{"name", "Other"}});
    expect("agent.updated", agent);
    const auto session = id_of(world.new_session({{"agent", agent}, {"environment_id", environment}}));
    CHECK(told(world) == expected);
    world.post("/v1/sessions/" + session, {{"title", "night shift"}});
    expect("session.updated", session);
    world.post("/v1/sessions/" + session + "/archive");
    expect("session.status_terminated", session);
    world.post("/v1/sessions/" + session + "/archive");  // again: nothing new
    world.remove("/v1/sessions/" + session);
    expect("session.deleted", session);
    world.post("/v1/agents/" + agent + "/archive");
    expect("agent.archived", agent);
    world.post("/v1/environments/" + environment + "/archive");
    expect("environment.archived", environment);
    world.remove("/v1/environments/" + environment);
    expect("environment.deleted", environment);
    world.post("/v1/vaults/" + vault, {{"display_name", "Renamed"}});  // there is no vault.updated
    world.post("/v1/vaults/" + vault + "/archive");
    expected.push_back("vault_credential.archived " + bearer);
    expect("vault.archived", vault);
    world.remove("/v1/vaults/" + vault);
    expected.push_back("vault_credential.deleted " + bearer);
    expect("vault.deleted", vault);
}

TEST_CASE("A test says what the receiver answered, and deliveries show what waits", "[admin]") {
    ApiWorld world;
    Echo echo;
    const RawUpstream receiver(echo.always("HTTP/1.1 418 X\r\nContent-Length: 0\r\n\r\n"));
    const auto url = "http://127.0.0.1:" + std::to_string(receiver.port()) + "/";
    const auto made = world.post("/v1/webhooks", endpoint_body({"vault.created"}, url));
    const auto path = "/v1/webhooks/" + made["id"].get<std::string>();

    const auto refused = world.post(path + "/test");
    CHECK(refused["delivered"] == false);
    CHECK(refused["status_code"] == 418);
    CHECK(refused["error"].is_null());
    CHECK_THAT(echo.last(), Catch::Contains("webhook-id: " + refused["event_id"].get<std::string>()));
    CHECK_THAT(echo.last(), Catch::Contains(R"("type":"webhook_endpoint.test")"));

    world.post(path, {{"url", "http://127.0.0.1:1/"}});
    const auto unreachable = world.post(path + "/test");
    CHECK(unreachable["status_code"].is_null());
    CHECK(unreachable["error"]["code"] == "upstream.unreachable");

    const auto vault = world.new_vault();
    const auto waiting = world.get(path + "/deliveries");
    REQUIRE(waiting["data"].size() == 1);
    CHECK(waiting["data"][0]["event"]["data"]["id"] == vault["id"]);
    CHECK(waiting["data"][0]["attempts"] == 0);
    world.remove(path);
    CHECK(world.records->catalog().count<vault::OutboxItem>() == 0);
}
