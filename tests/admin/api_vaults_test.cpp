#include "tests/net/client_world.h"
#include "tests/net/raw_upstream.h"
#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

#include <set>

using namespace claviger;
using test::ApiWorld;
using test::json;

namespace {

std::string path_of(const json& vault) { return "/v1/vaults/" + vault["id"].get<std::string>(); }

}  // namespace

TEST_CASE("A vault has all its fields from the start", "[admin]") {
    ApiWorld world;
    const auto vault = world.post(
        "/v1/vaults", {{"display_name", "Alice"}, {"metadata", {{"external_user_id", "usr_abc123"}}}});

    CHECK(vault["id"].get<std::string>().starts_with("vlt_01"));
    CHECK(vault["type"] == "vault");
    CHECK(vault["display_name"] == "Alice");
    CHECK(vault["metadata"] == json{{"external_user_id", "usr_abc123"}});
    CHECK(vault["created_at"] == base::to_rfc3339(world.clock.now()));
    CHECK(vault["updated_at"] == vault["created_at"]);
    CHECK(vault["archived_at"].is_null());
    CHECK(vault.size() == 7);
    CHECK(world.get(path_of(vault)) == vault);
}

TEST_CASE("Bad input for a vault names the field and changes nothing", "[admin]") {
    ApiWorld world;
    struct Row {
        const char* what;
        json body;
        const char* message;
    };
    json crowd = json::object();
    for (int i = 0; i < 17; ++i) crowd["key" + std::to_string(i)] = "v";
    const Row rows[] = {
        {"no name", json::object(), "display_name: is required"},
        {"null name", {{"display_name", nullptr}}, "display_name: is required"},
        {"empty name", {{"display_name", ""}}, "display_name: must have 1 to 255 characters"},
        {"long name",
         {{"display_name", std::string(256, 'x')}},
         "display_name: must have 1 to 255 characters"},
        {"number", {{"display_name", 7}}, "display_name: must be a string"},
        {"control character",
         {{"display_name", "a\nb"}},
         "display_name: must not contain control characters"},
        {"unknown field", {{"display_name", "a"}, {"owner", "me"}}, "owner: is not a known field here"},
        {"metadata list",
         {{"display_name", "a"}, {"metadata", json::array({1})}},
         "metadata: must be an object of strings"},
        {"metadata number",
         {{"display_name", "a"}, {"metadata", {{"k", 1}}}},
         "metadata.k: must be a string"},
        {"metadata null",
         {{"display_name", "a"}, {"metadata", {{"k", nullptr}}}},
         "metadata.k: must be a string"},
        {"long key", {{"display_name", "a"}, {"metadata", {{std::string(65, 'k'), "v"}}}}, "metadata.kkk"},
        {"long value",
         {{"display_name", "a"}, {"metadata", {{"k", std::string(513, 'v')}}}},
         "metadata.k: must have at most 512 characters"},
        {"17 pairs", {{"display_name", "a"}, {"metadata", crowd}}, "metadata: must have at most 16 entries"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto reply = world.call("POST", "/v1/vaults", row.body);
        CHECK(reply.status == 400);
        CHECK(reply.error_type() == "invalid_request_error");
        INFO(reply.text);
        CHECK(reply.message().starts_with(row.message));
    }
    CHECK(world.get("/v1/vaults")["data"].empty());
    CHECK(world.post("/v1/vaults", {{"display_name", std::string(255, 'x')}})["type"] == "vault");
    std::string wide;  // 255 characters of three bytes each
    for (int i = 0; i < 255; ++i) wide += "\xe2\x82\xac";
    CHECK(world.post("/v1/vaults", {{"display_name", wide}})["display_name"] == wide);
}

TEST_CASE("An update patches, and leaves the time alone when nothing changes", "[admin]") {
    ApiWorld world;
    const auto vault = world.post("/v1/vaults", {{"display_name", "Alice"},
                                                 {"metadata", {{"external_user_id", "usr"}, {"keep", "k"}}}});
    world.clock.advance(std::chrono::seconds(5));

    const auto renamed = world.post(
        path_of(vault),
        {{"display_name", "Alice B."}, {"metadata", {{"external_user_id", nullptr}, {"tier", ""}}}});
    CHECK(renamed["display_name"] == "Alice B.");
    CHECK(renamed["metadata"] == json{{"keep", "k"}, {"tier", ""}});
    CHECK(renamed["updated_at"] == base::to_rfc3339(world.clock.now()));
    CHECK(renamed["created_at"] == vault["created_at"]);

    world.clock.advance(std::chrono::seconds(5));
    for (const json& same :
         {json::object(), json{{"display_name", nullptr}, {"metadata", nullptr}},
          json{{"display_name", "Alice B."}, {"metadata", {{"keep", "k"}, {"gone", nullptr}}}}})
        CHECK(world.post(path_of(vault), same) == renamed);

    json full = json::object();
    for (int i = 0; i < 14; ++i) full["k" + std::to_string(i)] = "v";
    CHECK(world.post(path_of(vault), {{"metadata", full}})["metadata"].size() == 16);
    const auto over = world.call("POST", path_of(vault), {{"metadata", {{"one_more", "v"}}}});
    CHECK(over.code() == "invalid_metadata");
    CHECK(
        world.post(path_of(vault), {{"metadata", {{"one_more", "v"}, {"k0", nullptr}}}})["metadata"].size() ==
        16);
}

TEST_CASE("Archiving a vault purges what it holds, once, and keeps it readable", "[admin]") {
    ApiWorld world;
    const auto vault = world.new_vault();
    const auto credential = world.new_bearer(vault["id"]);
    const auto credential_path = path_of(vault) + "/credentials/" + credential["id"].get<std::string>();
    world.clock.advance(std::chrono::seconds(5));

    const auto archived = world.post(path_of(vault) + "/archive");
    CHECK(archived["archived_at"] == base::to_rfc3339(world.clock.now()));
    world.clock.advance(std::chrono::seconds(5));
    CHECK(world.post(path_of(vault) + "/archive") == archived);
    CHECK(world.get(path_of(vault)) == archived);
    CHECK(world.get(credential_path)["archived_at"] == archived["archived_at"]);
    CHECK(world.get(credential_path)["version"] == 0);

    const auto id = *base::CredentialId::parse(credential["id"].get<std::string>());
    const auto stored = world.records->catalog().find<vault::Credential>(id);
    CHECK(world.records->sealed_secret(*stored).error().code == "credential.no_secret");

    CHECK(world.get("/v1/vaults")["data"].empty());
    CHECK(world.get("/v1/vaults?include_archived=true")["data"].size() == 1);
    CHECK(world.call("POST", path_of(vault), {{"display_name", "new"}}).code() == "vault.archived");
    CHECK(world
              .call("POST", path_of(vault) + "/credentials",
                    {{"auth",
                      {{"type", "static_bearer"}, {"mcp_server_url", "https://a.example"}, {"token", "t"}}}})
              .code() == "vault.archived");
}

TEST_CASE("Deleting a vault leaves nothing of it", "[admin]") {
    ApiWorld world;
    const auto vault = world.new_vault();
    const auto credential = world.new_bearer(vault["id"]);
    const auto other = world.new_vault("Bob");
    const auto environment = world.new_environment({{"vault_bindings", {vault["id"], other["id"]}}});
    const auto id = *base::CredentialId::parse(credential["id"].get<std::string>());

    const auto deleted = world.remove(path_of(vault));
    CHECK(deleted == json{{"id", vault["id"]}, {"type", "vault_deleted"}});
    CHECK(world.call("DELETE", path_of(vault)).status == 404);
    CHECK(world.call("GET", path_of(vault)).code() == "vault.not_found");
    CHECK(world.call("GET", path_of(vault) + "/credentials").status == 404);
    CHECK(world.records->catalog().find<vault::Credential>(id) == nullptr);
    CHECK(world.get("/v1/environments/" + environment["id"].get<std::string>())["vault_bindings"] ==
          json::array({other["id"]}));
}

TEST_CASE("A list runs over its pages newest first and back to nothing", "[admin]") {
    ApiWorld world;
    std::vector<std::string> made;
    for (int i = 0; i < 7; ++i) made.push_back(world.new_vault("v" + std::to_string(i))["id"]);

    std::vector<std::string> seen;
    std::string page;
    int pages = 0;
    for (; pages < 10; ++pages) {
        const auto answer = world.get("/v1/vaults?limit=3" + page);
        for (const auto& vault : answer["data"]) seen.push_back(vault["id"]);
        CHECK(answer.size() == 2);
        if (answer["next_page"].is_null()) break;
        page = "&page=" + answer["next_page"].get<std::string>();
    }
    CHECK(pages == 2);
    CHECK(seen == std::vector<std::string>(made.rbegin(), made.rend()));
    CHECK(world.get("/v1/vaults")["data"].size() == 7);

    SECTION("a page that begins before a new object does not shift") {
        const auto first = world.get("/v1/vaults?limit=3");
        world.new_vault("newer");
        const auto second = world.get("/v1/vaults?limit=3&page=" + first["next_page"].get<std::string>());
        CHECK(second["data"][0]["id"] == made[3]);
    }
    SECTION("an object that is gone ends no page") {
        const auto first = world.get("/v1/vaults?limit=3");
        world.remove("/v1/vaults/" + made[4]);
        const auto second = world.get("/v1/vaults?limit=3&page=" + first["next_page"].get<std::string>());
        CHECK(second["data"][0]["id"] == made[3]);
    }
}

TEST_CASE("Bad list parameters are refused, unknown ones are not", "[admin]") {
    ApiWorld world;
    world.new_vault();
    world.new_vault();
    const std::string cursor = world.get("/v1/vaults?limit=1")["next_page"];
    struct Row {
        std::string query, message;
    };
    const Row rows[] = {
        {"limit=0", "limit: must be a number from 1 to 100"},
        {"limit=101", "limit: must be a number from 1 to 100"},
        {"limit=-1", "limit: "},
        {"limit=ten", "limit: "},
        {"include_archived=maybe", "include_archived: must be true or false"},
        {"page=nonsense", "page: is not a cursor of this list"},
        {"page=" + cursor + "A", "page: is not a cursor of this list"},
        {"a=%zz", "The query has a '%'"},
    };
    for (const auto& row : rows) {
        INFO(row.query);
        const auto reply = world.call("GET", "/v1/vaults?" + row.query);
        CHECK(reply.status == 400);
        CHECK(reply.message().starts_with(row.message));
    }
    CHECK(world.call("GET", "/v1/vaults?beta=true&colour=red&limit=100").status == 200);
    CHECK(world.call("GET", "/v1/environments?page=" + cursor).status == 400);
    const std::string stranger = world.post("/v1/workspaces", {{"name", "other"}})["admin_api_key"];
    CHECK(world.call_as(stranger, "GET", "/v1/vaults?page=" + cursor).code() == "page.invalid");
}

TEST_CASE("Every change of a vault is in the access log", "[admin]") {
    ApiWorld world;
    const auto vault = world.new_vault();
    world.post(path_of(vault), {{"display_name", "B"}});
    world.post(path_of(vault), {{"display_name", "B"}});  // changes nothing
    world.post(path_of(vault) + "/archive");
    world.remove(path_of(vault));

    const auto log = world.get("/v1/access_log?vault_id=" + vault["id"].get<std::string>());
    std::vector<std::string> actions;
    for (const auto& entry : log["data"]) actions.push_back(entry["action"]);
    CHECK(actions == std::vector<std::string>{"erase", "archive", "update", "create"});
    CHECK(log["data"][0]["actor"]["type"] == "api_key");
    CHECK(log["data"][0]["source"] == "192.0.2.7");
    CHECK(log["data"][0]["object"] == json{{"type", "vault"}, {"id", vault["id"]}});
}

TEST_CASE("A vault that goes takes the connections of its credentials with it, and no others", "[admin]") {
    ApiWorld world;
    test::RawUpstream upstream([](test::Peer& peer) {
        while (!peer.request().empty()) peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    const auto idle = [&] { return world.loop.call([&] { return world.pool->idle_connections(); }); };
    const auto connect = [&](const json& credential) {
        const test::Call call{.origin = {false, "127.0.0.1", upstream.port()},
                              .options = {.partition = credential["id"].get<std::string>() + ".1",
                                          .private_addresses = net::PrivateAddresses::allow,
                                          .on_cancellable = {}},
                              .fields = {}};
        const auto outcome = world.loop.await<test::Outcome>(
            [&](net::Worker& worker) { return test::perform(worker, *world.pool, call); });
        REQUIRE(outcome.status == 200);
    };
    const auto vault = world.new_vault(), other = world.new_vault("Bob");
    connect(world.new_bearer(vault["id"], "https://a.example/mcp"));
    connect(world.new_bearer(vault["id"], "https://b.example/mcp"));
    connect(world.new_bearer(other["id"]));
    REQUIRE(idle() == 3);

    SECTION("archived") { world.post(path_of(vault) + "/archive"); }
    SECTION("deleted") { world.remove(path_of(vault)); }
    SECTION("shredded") { world.post(path_of(vault) + "/shred"); }
    CHECK(idle() == 1);
}
