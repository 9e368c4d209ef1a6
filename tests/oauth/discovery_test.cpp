#include "oauth/discovery.h"
#include "oauth/provider_catalog.h"
#include "oauth/registration.h"
#include "tests/support/oauth_scripted_server.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

#include <nlohmann/json.hpp>

namespace claviger::oauth {
namespace {

using nlohmann::json;
using test::answer_with;
using test::json_answer;
using test::ScriptedServer;

/// A client in a network where everything, or nothing private, may be reached.
struct Client {
    Client() {
        pool = loop.call([&] {
            return std::make_unique<net::ClientPool>(
                loop.worker, net::ClientLimits{.connect = std::chrono::milliseconds(2'000)}, nullptr);
        });
    }
    ~Client() {
        loop.call([&] {
            pool.reset();
            return true;
        });
    }
    Outbound out(net::PrivateAddresses reach = net::PrivateAddresses::allow) {
        return {.worker = loop.worker,
                .pool = *pool,
                .clock = clock,
                .reach = [reach](std::string_view) { return reach; },
                .plain_loopback = PlainLoopback::allow};
    }
    base::Result<Discovered> discover(const std::string& url, std::string_view provider = "mcp",
                                      net::PrivateAddresses reach = net::PrivateAddresses::allow,
                                      std::string_view preferred = "") {
        auto way = out(reach);
        const auto& profile = *catalog.find(provider);
        const Sought sought{.profile = profile, .server_url = url, .preferred_issuer = preferred};
        return loop.await<base::Result<Discovered>>(
            [&](net::Worker&) { return claviger::oauth::discover(way, sought); });
    }

    test::Loop loop;
    test::ManualClock clock;
    std::unique_ptr<net::ClientPool> pool;
    const ProviderCatalog catalog = ProviderCatalog::built_in();
};

template <class T>
std::string code_of(const base::Result<T>& result) {
    return result ? "" : std::string(result.error().code);
}

const std::string kResourcePlace = "/.well-known/oauth-protected-resource/mcp";
const std::string kServerPlace = "/.well-known/oauth-authorization-server";

TEST_CASE("A challenge leads to the resource's metadata, and from there to the authorization server",
          "[oauth]") {
    Client client;
    ScriptedServer server;

    const auto found = client.discover(server.mcp_url());

    REQUIRE(found);
    CHECK(found->server.issuer == server.origin());
    CHECK(found->server.token_endpoint == server.origin() + "/token");
    CHECK(found->resource == server.mcp_url());
    CHECK(found->scopes == Scopes{"mcp:read"});  // of the challenge, not all that there are
    const auto probe = server.seen("/mcp");
    REQUIRE(probe.size() == 1);
    CHECK(probe[0].authorization.empty());
}

TEST_CASE("Without a challenge the well-known places are asked, and the scopes of the metadata count",
          "[oauth]") {
    Client client;
    ScriptedServer server;
    SECTION("401 without WWW-Authenticate") { server.script("/mcp", answer_with(401, "", "")); }
    SECTION("403") { server.script("/mcp", answer_with(403, "", "")); }
    SECTION("the server answers anybody") { server.script("/mcp", json_answer(200, json::object())); }
    SECTION("the document is at the root, and a page for people where it could be too") {
        server.script("/mcp", answer_with(401, "", ""));
        server.script(kResourcePlace, answer_with(200, "text/html", "<h1>Welcome</h1>"));
        server.script("/.well-known/oauth-protected-resource", json_answer(200, server.resource_metadata()));
    }

    const auto found = client.discover(server.mcp_url());

    REQUIRE(found);
    CHECK(found->scopes == Scopes{"mcp:read", "mcp:write"});
}

TEST_CASE("An issuer with a path has its metadata in one of three places", "[oauth]") {
    Client client;
    ScriptedServer server;
    auto resource = server.resource_metadata();
    resource["authorization_servers"] = {server.origin() + "/t1"};
    server.script(kResourcePlace, json_answer(200, resource));
    auto metadata = server.server_metadata();
    metadata["issuer"] = server.origin() + "/t1";
    const std::string place =
        GENERATE("/.well-known/oauth-authorization-server/t1", "/.well-known/openid-configuration/t1",
                 "/t1/.well-known/openid-configuration");
    INFO(place);
    server.script(place, json_answer(200, metadata));

    const auto found = client.discover(server.mcp_url());

    REQUIRE(found);
    CHECK(found->server.issuer == server.origin() + "/t1");
}

TEST_CASE("What metadata say wrongly is refused, each with its own name", "[oauth]") {
    Client client;
    ScriptedServer server;
    auto resource = server.resource_metadata();
    auto metadata = server.server_metadata();
    std::string code;
    SECTION("the resource is another server") {
        resource["resource"] = "https://evil.example/mcp";
        code = "resource_metadata.resource_mismatch";
    }
    SECTION("nobody gives out tokens") {
        resource["authorization_servers"] = json::array();
        code = "resource_metadata.no_authorization_server";
    }
    SECTION("the authorization server is not on https") {
        resource["authorization_servers"] = {"http://as.example"};
        code = "resource_metadata.no_authorization_server";
    }
    SECTION("the issuer is another") {
        metadata["issuer"] = "https://evil.example";
        code = "as_metadata.issuer_mismatch";
    }
    SECTION("the issuer has a slash more") {
        metadata["issuer"] = server.origin() + "/";
        code = "as_metadata.issuer_mismatch";
    }
    SECTION("there is no token endpoint") {
        metadata.erase("token_endpoint");
        code = "as_metadata.invalid";
    }
    SECTION("the token endpoint is not on https") {
        metadata["token_endpoint"] = "http://as.example/token";
        code = "as_metadata.insecure_endpoint";
    }
    server.script(kResourcePlace, json_answer(200, resource));
    server.script(kServerPlace, json_answer(200, metadata));

    CHECK(code_of(client.discover(server.mcp_url())) == code);
    CHECK(server.count("/register") == 0);
}

TEST_CASE("Documents that are no documents end the search, or lead to the next place", "[oauth]") {
    Client client;
    ScriptedServer server;
    std::string code;
    SECTION("the named document is no JSON") {
        server.script(kResourcePlace, answer_with(200, "application/json", "{"));
        code = "json.invalid";
    }
    SECTION("the named document is too long") {
        server.script(kResourcePlace, answer_with(200, "application/json", std::string(200'000, ' ')));
        code = "discovery.unreachable";
    }
    SECTION("the authorization server is unwell") {
        server.script(kServerPlace, answer_with(503, "", ""));
        code = "discovery.retry_later";
    }
    SECTION("the authorization server publishes nothing") {
        server.script(kServerPlace, answer_with(404, "", ""));
        code = "discovery.no_metadata";
    }
    SECTION("the document is said to be elsewhere") {
        auto redirect = answer_with(302, "", "");
        redirect.headers.add("location", "http://169.254.169.254/latest/meta-data");
        server.script(kResourcePlace, redirect);
        code = "discovery.redirect";
    }
    SECTION("the challenge names a place that is not on https") {
        auto challenge = answer_with(401, "", "");
        challenge.headers.add("www-authenticate", "Bearer resource_metadata=\"http://h.example/meta\"");
        server.script("/mcp", challenge);
        code = "discovery.insecure_url";
    }
    CHECK(code_of(client.discover(server.mcp_url())) == code);
}

TEST_CASE("A redirect inside the origin is followed, but not for ever", "[oauth]") {
    Client client;
    ScriptedServer server;
    auto there = answer_with(307, "", "");
    SECTION("to the document") {
        there.headers.add("location", "/moved");
        server.script("/moved", json_answer(200, server.server_metadata()));
        server.script(kServerPlace, there);
        CHECK(client.discover(server.mcp_url()));
    }
    SECTION("in a circle") {
        there.headers.add("location", kServerPlace);
        server.script(kServerPlace, there);
        CHECK(code_of(client.discover(server.mcp_url())) == "discovery.no_metadata");
        CHECK(server.count(kServerPlace) == 4);
    }
}

TEST_CASE("Addresses of the inside are never asked, whoever names them", "[oauth]") {
    Client client;
    ScriptedServer server;
    CHECK(code_of(client.discover(server.mcp_url(), "mcp", net::PrivateAddresses::refuse)) ==
          "network.private_address");
    CHECK(server.seen().empty());
}

TEST_CASE("A server from before there was resource metadata speaks for itself", "[oauth]") {
    Client client;
    ScriptedServer server;
    server.script("/mcp", answer_with(401, "", ""));
    server.script(kResourcePlace, answer_with(404, "", ""));
    SECTION("with metadata of its own") {
        const auto found = client.discover(server.mcp_url());
        REQUIRE(found);
        CHECK(found->server.registration_endpoint == server.origin() + "/register");
        CHECK_FALSE(found->server.assumed);
    }
    SECTION("with a slash behind its name") {
        auto metadata = server.server_metadata();
        metadata["issuer"] = server.origin() + "/";
        server.script(kServerPlace, json_answer(200, metadata));
        const auto found = client.discover(server.mcp_url());
        REQUIRE(found);
        CHECK(found->server.issuer == server.origin() + "/");
    }
    SECTION("without any") {
        server.script(kServerPlace, answer_with(404, "", ""));
        const auto found = client.discover(server.mcp_url());
        REQUIRE(found);
        CHECK(found->server.assumed);
        CHECK(found->server.authorization_endpoint == server.origin() + "/authorize");
    }
}

TEST_CASE("The authorization server of before is taken again while the resource still names it", "[oauth]") {
    Client client;
    ScriptedServer server;
    auto resource = server.resource_metadata();
    resource["authorization_servers"] = {"https://new.example", server.origin()};
    server.script(kResourcePlace, json_answer(200, resource));
    const auto found =
        client.discover(server.mcp_url(), "mcp", net::PrivateAddresses::allow, server.origin());
    REQUIRE(found);
    CHECK(found->server.issuer == server.origin());
}

TEST_CASE("A profile with endpoints of its own is believed without asking anybody", "[oauth]") {
    Client client;
    const auto found = client.discover("https://mcp.notion.example/mcp", "notion");
    REQUIRE(found);
    CHECK(found->server.token_endpoint == "https://api.notion.com/v1/oauth/token");
    CHECK(found->server.issuer == "https://api.notion.com");
}

TEST_CASE("A client is registered for what it is used for, and without a scope", "[oauth]") {
    Client client;
    ScriptedServer server;
    const auto metadata = parse_authorization_server(server.server_metadata().dump(), server.origin(),
                                                     IssuerMatch::exact, PlainLoopback::allow);
    REQUIRE(metadata);
    const auto register_at = [&](const std::string& public_url, GrantType grant) {
        auto way = client.out();
        const OwnAddress own{public_url};
        auto made = client.loop.await<base::Result<ClientRegistration>>(
            [&](net::Worker&) { return register_client(way, *metadata, own, grant); });
        REQUIRE(made);
        CHECK(made->client_id == "dynamic-1");
        return json::parse(server.seen("/register").back().body);
    };

    const auto web = register_at("https://vault.example.com", GrantType::authorization_code);
    CHECK(web["application_type"] == "web");
    CHECK(web["redirect_uris"] == json{"https://vault.example.com/oauth/callback"});
    CHECK(web["grant_types"] == json{"authorization_code", "refresh_token"});
    CHECK(web["token_endpoint_auth_method"] == "client_secret_basic");
    CHECK_FALSE(web.contains("scope"));
    CHECK(register_at("http://127.0.0.1:8701", GrantType::authorization_code)["application_type"] ==
          "native");
    CHECK(register_at("http://127.0.0.1:8701", GrantType::device_code)["grant_types"][0] ==
          "urn:ietf:params:oauth:grant-type:device_code");
}

TEST_CASE("A registration that is refused says what can be done instead", "[oauth]") {
    struct Row {
        const char* what;
        unsigned status;
        const char *body, *code;
    };
    const Row rows[] = {
        {"a redirect URI it does not like", 400, R"({"error":"invalid_redirect_uri"})",
         "registration.refused"},
        {"a member it does not like", 400, R"({"error":"invalid_client_metadata"})", "registration.refused"},
        {"a page", 404, "<html>", "registration.refused"},
        {"a closed door", 401, R"({"error":"invalid_token"})", "registration.needs_token"},
        {"a busy server", 429, "", "registration.unreachable"},
        {"an unwell server", 500, "", "registration.unreachable"},
        {"an answer without a client", 201, "{}", "registration.invalid"},
        {"an answer that is none", 201, "no", "json.invalid"},
    };
    Client client;
    ScriptedServer server;
    const auto metadata = parse_authorization_server(server.server_metadata().dump(), server.origin(),
                                                     IssuerMatch::exact, PlainLoopback::allow);
    for (const auto& row : rows) {
        INFO(row.what);
        server.script("/register", answer_with(row.status, "application/json", row.body));
        auto way = client.out();
        const OwnAddress own{"http://127.0.0.1:8701"};
        const auto made = client.loop.await<base::Result<ClientRegistration>>([&](net::Worker&) {
            return register_client(way, *metadata, own, GrantType::authorization_code);
        });
        CHECK(code_of(made) == row.code);
    }
}

TEST_CASE("The client is chosen in the profile's order, as far as its ways are open", "[oauth]") {
    const auto catalog = ProviderCatalog::built_in();
    const auto& mcp = *catalog.find("mcp");
    const OwnAddress hidden{"http://127.0.0.1:8701"}, seen{"https://vault.example.com"};
    AuthorizationServer server;
    server.issuer = "https://as.example";
    CHECK(choose_registration(mcp, server, true, seen) == RegistrationWay::registered);
    CHECK(code_of(choose_registration(mcp, server, false, seen)) == "registration.no_way");
    server.registration_endpoint = "https://as.example/register";
    CHECK(choose_registration(mcp, server, false, seen) == RegistrationWay::dynamic);
    server.client_id_metadata_document_supported = true;
    CHECK(choose_registration(mcp, server, false, seen) == RegistrationWay::metadata_document);
    CHECK(choose_registration(mcp, server, false, hidden) == RegistrationWay::dynamic);
}

TEST_CASE("Claviger's own document names its own address as the client's id", "[oauth]") {
    const OwnAddress own{"https://vault.example.com"};
    const auto document = json::parse(client_metadata_document(own));
    CHECK(document["client_id"] == "https://vault.example.com/oauth/client.json");
    CHECK(document["client_id"] == own.document_url());
    CHECK(document["redirect_uris"] == json{own.redirect_uri()});
    CHECK(document["token_endpoint_auth_method"] == "none");
    CHECK(OwnAddress{"http://vault.example.com"}.document_url().empty());
    CHECK(OwnAddress{"https://localhost:8701"}.document_url().empty());
}

}  // namespace
}  // namespace claviger::oauth
