#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

using namespace claviger;
using test::ApiWorld;
using test::HeaderList;
using test::json;

namespace {

constexpr const char* kBeta = "managed-agents-2026-04-01";

bool is_request_id(const std::string& text) { return text.starts_with("req_01") && text.size() == 28; }

}  // namespace

TEST_CASE("A key is taken from x-api-key or from Authorization, and must be one", "[admin]") {
    ApiWorld world;
    const auto with = [&](HeaderList headers) {
        headers.emplace_back("anthropic-beta", kBeta);
        return world.raw("GET", "/v1/vaults", "", headers);
    };
    CHECK(with({{"x-api-key", world.admin_key}}).status == 200);
    CHECK(with({{"Authorization", "bearer " + world.admin_key}}).status == 200);
    CHECK(with({{"x-api-key", world.admin_key}, {"Authorization", "Bearer " + world.admin_key}}).status ==
          200);

    const auto different = with({{"x-api-key", world.admin_key}, {"Authorization", "Bearer other"}});
    CHECK(different.status == 401);
    CHECK(different.code() == "api_key.ambiguous");
    const auto none = with({});
    CHECK(none.status == 401);
    CHECK(none.error_type() == "authentication_error");
    CHECK(none.code() == "api_key.missing");
    CHECK(with({{"x-api-key", "clv_admin_unknown"}}).code() == "api_key.unknown");
    CHECK(with({{"Authorization", "Basic " + world.admin_key}}).code() == "api_key.missing");
}

TEST_CASE("Every answer has its own request id, in the header and in the error", "[admin]") {
    ApiWorld world;
    const auto fine = world.call("GET", "/v1/vaults");
    const auto missing = world.call("GET", "/v1/vaults/vlt_nothing");
    const auto unknown = world.call("GET", "/v1/messages");
    const auto health = world.raw("GET", "/healthz", "", {});

    for (const auto& reply : {fine, missing, unknown, health})
        CHECK(is_request_id(reply.headers.at("request-id")));
    CHECK(missing.body["request_id"] == missing.headers.at("request-id"));
    CHECK(missing.body["type"] == "error");
    CHECK(missing.error_type() == "not_found_error");
    CHECK(fine.headers.at("request-id") != missing.headers.at("request-id"));
    CHECK(fine.headers.at("content-type") == "application/json");
}

TEST_CASE("A hosted route does not exist without its beta header; ours need none", "[admin]") {
    ApiWorld world;
    const auto with = [&](std::string_view target, HeaderList headers) {
        headers.emplace_back("x-api-key", world.admin_key);
        return world.raw("GET", target, "", headers);
    };
    CHECK(with("/v1/vaults", {}).status == 404);
    CHECK(with("/v1/vaults", {}).code() == "request.beta_missing");
    CHECK(with("/v1/vaults", {{"anthropic-beta", "something-else"}}).status == 404);
    CHECK(with("/v1/vaults", {{"anthropic-beta", std::string("other, ") + kBeta + "," + kBeta}}).status ==
          200);
    CHECK(with("/v1/vaults", {{"anthropic-beta", "other"}, {"anthropic-beta", kBeta}}).status == 200);
    for (const auto* ours : {"/v1/access_log", "/v1/api_keys", "/v1/workspaces"})
        CHECK(with(ours, {}).status == 200);
}

TEST_CASE("Both generations of the version header are accepted, others are not", "[admin]") {
    ApiWorld world;
    const auto with = [&](const std::string& version) {
        return world.raw(
            "GET", "/v1/vaults", "",
            {{"x-api-key", world.admin_key}, {"anthropic-beta", kBeta}, {"anthropic-version", version}});
    };
    CHECK(with("2023-06-01").status == 200);
    CHECK(with("2026-10-21").status == 200);
    CHECK(with("2024-01-01").status == 400);
    CHECK(with("2024-01-01").message().starts_with("anthropic-version: "));
}

TEST_CASE("The workspace of the key is echoed, and another one refused", "[admin]") {
    ApiWorld world;
    const auto own = world.call_as(world.admin_key, "GET", "/v1/vaults", nullptr,
                                   {{"anthropic-workspace-id", world.workspace}});
    CHECK(own.status == 200);
    CHECK(own.headers.at("anthropic-workspace-id") == world.workspace);
    const auto other = world.call_as(world.admin_key, "GET", "/v1/vaults", nullptr,
                                     {{"anthropic-workspace-id", "wrkspc_011CZkZaBF1tNoB5wlCeusgy"}});
    CHECK(other.status == 403);
    CHECK(other.error_type() == "permission_error");
    CHECK(other.code() == "workspace.other");
}

TEST_CASE("What another workspace owns does not exist", "[admin]") {
    ApiWorld world;
    const auto vault = world.new_vault();
    const auto credential = world.new_bearer(vault["id"]);
    const auto environment = world.new_environment();
    const auto agent = world.new_agent();
    const auto session = world.new_session({{"agent", agent["id"]}, {"environment_id", environment["id"]}});
    const std::string stranger = world.post("/v1/workspaces", {{"name", "other"}})["admin_api_key"];
    const std::string vault_path = "/v1/vaults/" + vault["id"].get<std::string>();

    for (const auto& path : {vault_path, vault_path + "/credentials",
                             vault_path + "/credentials/" + credential["id"].get<std::string>(),
                             "/v1/environments/" + environment["id"].get<std::string>(),
                             "/v1/agents/" + agent["id"].get<std::string>(),
                             "/v1/sessions/" + session["id"].get<std::string>()}) {
        INFO(path);
        CHECK(world.call_as(stranger, "GET", path).status == 404);
        CHECK(world.call_as(stranger, "DELETE", path).status != 200);
    }
    for (const auto* list : {"/v1/vaults", "/v1/environments", "/v1/agents", "/v1/sessions"})
        CHECK(world.call_as(stranger, "GET", list).body["data"].empty());
    CHECK(world
              .call_as(stranger, "POST", "/v1/sessions",
                       {{"agent", agent["id"]}, {"environment_id", environment["id"]}})
              .status == 404);
    CHECK(world.get(vault_path)["archived_at"].is_null());
}

TEST_CASE("A role may do what it is for, and is told what it would need", "[admin]") {
    ApiWorld world;
    const auto vault = world.new_vault();
    const auto session = world.new_session();
    const std::string vault_path = "/v1/vaults/" + vault["id"].get<std::string>();
    const std::string session_path = "/v1/sessions/" + session["id"].get<std::string>();
    const std::map<std::string, std::string> keys{{"admin", world.admin_key},
                                                  {"operator", world.new_key("operator")},
                                                  {"auditor", world.new_key("auditor")},
                                                  {"agent-runner", world.new_key("agent-runner")}};
    struct Row {
        const char* method;
        std::string path;
        std::string allowed;  // initials of the roles
    };
    const Row rows[] = {
        {"GET", "/v1/vaults", "admin operator auditor"},
        {"GET", vault_path + "/credentials", "admin operator auditor"},
        {"POST", vault_path, "admin operator"},
        {"POST", "/v1/vaults", "admin operator"},
        {"DELETE", "/v1/environments/env_none", "admin operator"},
        {"GET", "/v1/environments", "admin operator auditor agent-runner"},
        {"GET", "/v1/agents", "admin operator auditor agent-runner"},
        {"POST", "/v1/agents", "admin operator"},
        {"GET", session_path, "admin operator auditor agent-runner"},
        {"POST", "/v1/sessions", "admin operator agent-runner"},
        {"POST", session_path + "/archive", "admin operator agent-runner"},
        {"POST", session_path, "admin operator"},
        {"DELETE", "/v1/sessions/sesn_none", "admin operator"},
        {"POST", session_path + "/tokens", "admin operator"},
        {"GET", session_path + "/tokens", "admin operator auditor"},
        {"GET", "/v1/access_log", "admin auditor"},
        {"GET", "/v1/api_keys", "admin auditor"},
        {"POST", "/v1/api_keys", "admin"},
        {"DELETE", "/v1/api_keys/apikey_none", "admin"},
        {"GET", "/v1/workspaces", "admin auditor"},
        {"POST", "/v1/workspaces", "admin"},
    };
    for (const auto& row : rows) {
        for (const auto& [role, key] : keys) {
            INFO(role << " " << row.method << " " << row.path);
            const auto reply = world.call_as(key, row.method, row.path, json{{"unknown_field", 1}});
            const bool allowed = (" " + row.allowed + " ").find(" " + role + " ") != std::string::npos;
            CHECK((reply.status != 403) == allowed);
            if (!allowed) {
                CHECK(reply.code() == "api_key.role");
                CHECK(reply.message().find("'" + role + "'") != std::string::npos);
                CHECK(reply.message().find("'admin'") != std::string::npos);
            }
        }
    }
}

TEST_CASE("A body that is not one JSON object is refused with its reason", "[admin]") {
    ApiWorld world;
    struct Row {
        std::string body, code;
    };
    std::string deep = R"({"display_name":"x","metadata":)";
    for (int i = 0; i < 40; ++i) deep += R"({"a":)";
    deep += "1" + std::string(41, '}');
    const Row rows[] = {
        {"not json", "json.invalid"},
        {R"({"display_name":"a"} trailing)", "json.invalid"},
        {"{\"display_name\":\"\xff\xfe\"}", "json.invalid"},
        {R"(["display_name"])", "body.not_an_object"},
        {"17", "body.not_an_object"},
        {deep, "json.too_deep"},
        {R"({"display_name":"a","display_name":"b"})", "json.duplicate_key"},
        {R"({"display_name":"a","metadata":{"k":"1","k":"2"}})", "json.duplicate_key"},
        {R"({"display_name":"a","colour":"red"})", "request.unknown_field"},
    };
    for (const auto& row : rows) {
        INFO(row.body.substr(0, 60));
        const auto reply = world.post_text("/v1/vaults", row.body);
        CHECK(reply.status == 400);
        CHECK(reply.error_type() == "invalid_request_error");
        CHECK(reply.code() == row.code);
    }
    CHECK(world.post_text("/v1/vaults", R"({"display_name":"a","colour":"red"})").message() ==
          "colour: is not a known field here");
    const auto large =
        world.post_text("/v1/vaults", R"({"display_name":")" + std::string(1 << 20, 'x') + "\"}");
    CHECK(large.status == 413);
    CHECK(large.error_type() == "request_too_large");
    CHECK(world.get("/v1/vaults")["data"].empty());
}

TEST_CASE("A field that no route knows is refused by name, also where nothing is to be sent", "[admin]") {
    ApiWorld world;
    const std::string vault = world.new_vault()["id"];
    const auto oauth = world.post(
        "/v1/vaults/" + vault + "/credentials",
        {{"auth",
          {{"type", "mcp_oauth"}, {"mcp_server_url", "https://a.example/mcp"}, {"access_token", "token"}}}});
    const auto session = world.new_session();
    const auto at = [](std::string_view list, const json& object) {
        return "/v1/" + std::string(list) + "/" + object["id"].get<std::string>();
    };
    const auto credential = at("vaults/" + vault + "/credentials", oauth);
    const std::string agent = "/v1/agents/" + session["agent"]["id"].get<std::string>();
    const std::string environment = "/v1/environments/" + session["environment_id"].get<std::string>();
    const std::vector<std::string> bare{"/v1/vaults/" + vault + "/archive",
                                        credential + "/archive",
                                        environment + "/archive",
                                        agent + "/archive",
                                        at("sessions", session) + "/archive",
                                        credential + "/mcp_oauth_validate",
                                        credential + "/suspend",
                                        credential + "/resume",
                                        credential + "/shred",
                                        "/v1/vaults/" + vault + "/shred",
                                        "/v1/purge",
                                        "/v1/fence/lift"};
    for (const auto& target : bare) {
        INFO(target);
        const auto reply = world.call("POST", target, {{"unheard_of", 1}});
        CHECK(reply.status == 400);
        CHECK(reply.message() == "unheard_of: is not a known field here");
    }
    for (const auto& kept : {"/v1/vaults/" + vault, credential, environment, agent, at("sessions", session)})
        CHECK(world.get(kept)["archived_at"].is_null());
}

TEST_CASE("An encoded body is refused before it is read", "[admin]") {
    ApiWorld world;
    const auto reply = world.call_as(world.admin_key, "POST", "/v1/vaults", {{"display_name", "a"}},
                                     {{"content-encoding", "gzip"}});
    CHECK(reply.status == 400);
    CHECK(reply.code() == "request_body_encoding_unsupported");
    CHECK(world
              .call_as(world.admin_key, "POST", "/v1/vaults", {{"display_name", "a"}},
                       {{"content-encoding", "identity"}})
              .status == 200);
}

TEST_CASE("Routes are found below any prefix, and nothing else is", "[admin]") {
    ApiWorld world;
    const std::string id = world.new_vault()["id"];
    CHECK(world.call("GET", "/some/prefix/v1/vaults/" + id + "?beta=true").status == 200);
    for (const auto* path : {"/", "/v1", "/v1/", "/v1/vaults/", "/v1/vaults//credentials", "/v1/vaults/..",
                             "/v1/vaults/%2e%2e", "/v1/vaults/%2", "/v1/messages", "/v2/vaults",
                             "/v1/sessions/sesn_01x/events", "/v1/vaults/a/b/c/d"}) {
        INFO(path);
        const auto reply = world.call("GET", path);
        CHECK(reply.status == 404);
        CHECK(reply.error_type() == "not_found_error");
    }
    const auto wrong = world.call("PUT", "/v1/vaults/" + id);
    CHECK(wrong.status == 405);
    CHECK(wrong.headers.at("allow") == "GET, POST, DELETE");
}

TEST_CASE("Only a name of this server is answered", "[admin]") {
    ApiWorld world;
    const auto with_host = [&](const std::string& host) {
        return world
            .raw("GET", "/v1/vaults", "",
                 {{"Host", host}, {"x-api-key", world.admin_key}, {"anthropic-beta", kBeta}})
            .status;
    };
    CHECK(with_host("localhost:8701") == 200);
    CHECK(with_host("[::1]:8701") == 200);
    CHECK(with_host("10.1.2.3") == 200);
    CHECK(with_host("VAULT.example.com:443") == 200);
    CHECK(with_host("evil.example.net") == 403);
    CHECK(with_host("") == 403);
}

TEST_CASE("A sealed store answers health and nothing else", "[admin]") {
    ApiWorld world;
    auto sealed = std::make_unique<admin::api::Api>(
        std::vector<net::Worker*>{&world.loop.worker},
        [&](net::Worker&) -> net::ClientPool& { return *world.pool; }, admin::api::ApiSettings{});
    std::swap(world.api, sealed);

    CHECK(world.raw("GET", "/healthz", "", {}).status == 200);
    const auto ready = world.raw("GET", "/readyz", "", {});
    CHECK(ready.status == 503);
    CHECK(ready.body["status"] == "sealed");
    CHECK(world.raw("GET", "/metrics", "", {}).status == 200);
    const auto refused = world.call("GET", "/v1/vaults");
    CHECK(refused.status == 503);
    CHECK(refused.error_type() == "api_error");
    CHECK(refused.code() == "store.sealed");
    CHECK(refused.headers.at("x-should-retry") == "false");

    std::swap(world.api, sealed);
    CHECK(world.raw("GET", "/readyz", "", {}).status == 200);
    const auto metrics = world.raw("GET", "/prefix/metrics", "", {});
    CHECK(metrics.text.find("claviger_admin_responses_total{status=\"2xx\"}") != std::string::npos);
    CHECK(metrics.text.ends_with("more_metrics 1\n"));
}

TEST_CASE("A repeated request gets the first answer again, and nothing happens twice", "[admin]") {
    ApiWorld world;
    const auto post = [&](const std::string& retry, const json& body) {
        return world.call_as(world.admin_key, "POST", "/v1/vaults", body,
                             {{"x-stainless-retry-count", retry}});
    };
    const auto first = post("0", {{"display_name", "a"}});
    const auto again = post("1", {{"display_name", "a"}});
    CHECK(again.body == first.body);
    CHECK(again.headers.at("request-id") != first.headers.at("request-id"));
    CHECK(world.get("/v1/vaults")["data"].size() == 1);

    SECTION("but a new request is a new one") {
        CHECK(post("0", {{"display_name", "a"}}).body["id"] != first.body["id"]);
    }
    SECTION("and another body is another request") {
        CHECK(post("1", {{"display_name", "b"}}).body["id"] != first.body["id"]);
    }
    SECTION("and another key gets nothing of it") {
        const auto other = world.call_as(world.new_key("operator"), "POST", "/v1/vaults",
                                         {{"display_name", "a"}}, {{"x-stainless-retry-count", "1"}});
        CHECK(other.body["id"] != first.body["id"]);
    }
    SECTION("and a token that is shown once is shown to the client that missed it") {
        const json session{{"agent", world.new_agent()["id"]},
                           {"environment_id", world.new_environment()["id"]}};
        const auto made = world.call_as(world.admin_key, "POST", "/v1/sessions", session);
        const auto repeated = world.call_as(world.admin_key, "POST", "/v1/sessions", session,
                                            {{"x-stainless-retry-count", "2"}});
        CHECK(repeated.body == made.body);
        CHECK(repeated.body["session_token"].get<std::string>().starts_with("clv_session_"));
    }
}
