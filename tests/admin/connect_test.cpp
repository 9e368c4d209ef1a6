#include "base/bytes.h"
#include "crypto/hash.h"
#include "oauth/connect_device.h"
#include "tests/net/test_certificates.h"
#include "tests/support/connect_world.h"

#include <future>
#include <thread>

using namespace claviger;
using test::answer_with;
using test::ApiReply;
using test::ApiWorld;
using test::Browser;
using test::Connecting;
using test::form_fields;
using test::grant_of;
using test::json;
using test::json_answer;
using test::parts_of;
using test::path_of;
using test::ScriptedServer;
using test::text_of;

TEST_CASE("A person opens a link, says yes at the provider, and the vault has a credential", "[admin]") {
    Connecting it({{"display_name", "Alice's notes"}});
    Browser browser(it.world);
    CHECK(it.link["status"] == "waiting");
    CHECK(it.link["url"].get<std::string>().starts_with("http://127.0.0.1:8701/connect/clnk_01"));

    const auto asked = browser.leave(it.link["url"]);
    CHECK(browser.location.starts_with(it.server.origin() + "/authorize?"));
    CHECK(asked.at("response_type") == "code");
    CHECK(asked.at("client_id") == "dynamic-1");
    CHECK(asked.at("redirect_uri") == "http://127.0.0.1:8701/oauth/callback");
    CHECK(asked.at("scope") == "mcp:read");
    CHECK(asked.at("resource") == it.server.mcp_url());
    CHECK(asked.at("code_challenge_method") == "S256");
    CHECK(it.status()["status"] == "started");

    const auto done =
        browser.come_back("code=CANARY-code&state=" + asked.at("state") + "&iss=" + it.issuer());
    CHECK(done.status == 200);
    CHECK(done.text.find("Connected") != std::string::npos);

    const auto sent = it.server.seen("/token");
    REQUIRE(sent.size() == 1);
    const auto fields = form_fields(sent[0].body);
    CHECK(fields.at("grant_type") == "authorization_code");
    CHECK(fields.at("code") == "CANARY-code");
    CHECK(fields.at("redirect_uri") == asked.at("redirect_uri"));
    CHECK(fields.at("resource") == it.server.mcp_url());
    const auto challenge = base::to_base64url(crypto::view(crypto::sha256(fields.at("code_verifier"))));
    CHECK(challenge == asked.at("code_challenge"));
    CHECK(sent[0].authorization == "Basic " + base::to_base64("dynamic-1:CANARY-client-secret"));

    const auto link = it.status();
    CHECK(link["status"] == "connected");
    const auto credential = it.credential(link["credential_id"]);
    CHECK(credential["display_name"] == "Alice's notes");
    CHECK(credential["auth"]["type"] == "mcp_oauth");
    CHECK(credential["auth"]["mcp_server_url"] == it.server.mcp_url());
    CHECK(credential["auth"]["refresh"]["token_endpoint"] == it.server.origin() + "/token");
    CHECK(credential["auth"]["refresh"]["client_id"] == "dynamic-1");
    CHECK(credential["auth"]["refresh"]["token_endpoint_auth"]["type"] == "client_secret_basic");
    const auto parts = parts_of(it.world, link["credential_id"]);
    CHECK(text_of(parts.token) == "CANARY-access");
    CHECK(text_of(parts.refresh_token) == "CANARY-refresh");
    CHECK(text_of(parts.client_secret) == "CANARY-client-secret");
    const auto grant = grant_of(it.world, link["credential_id"]);
    CHECK(grant.facts.state == oauth::GrantState::ready);
    CHECK(grant.facts.epoch == 1);
    CHECK(grant.facts.renewable);
    CHECK(grant.issuer == it.server.origin());
    CHECK(grant.revocation_endpoint == it.server.origin() + "/revoke");

    const auto log = it.world.get("/v1/access_log?kind=grant");
    CHECK(log["data"][0]["action"] == "connect");
    CHECK(log["data"][0]["credential_id"] == link["credential_id"]);
    for (const auto& shown : {done.text, link.dump(), credential.dump(), log.dump(),
                              it.world.get(it.links()).dump(), it.world.get("/v1/oauth_clients").dump()})
        CHECK(shown.find("CANARY") == std::string::npos);
}

TEST_CASE("Pages for people are plain, escaped, and keep nothing", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const auto page = browser.open(path_of(it.link["url"]));
    CHECK(page.status == 200);
    CHECK(page.text.find("Alice &amp; &lt;b&gt;Bob") != std::string::npos);
    CHECK(page.text.find("<b>") == std::string::npos);
    CHECK(page.text.find("<script") == std::string::npos);
    CHECK(page.headers.at("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    CHECK(page.headers.at("cache-control") == "no-store");
    CHECK(page.headers.at("referrer-policy") == "no-referrer");
    CHECK(page.headers.at("x-frame-options") == "DENY");
    CHECK(it.server.seen().empty());  // looking changes nothing
    CHECK(it.status()["status"] == "waiting");

    const auto start = browser.open(path_of(it.link["url"]) + "/start");
    CHECK(start.headers.at("set-cookie").find("; HttpOnly; SameSite=Lax") != std::string::npos);
    CHECK(start.headers.at("cache-control") == "no-store");
    const auto elsewhere =
        it.world.raw("GET", path_of(it.link["url"]) + "/start", "", {{"Sec-Fetch-Site", "cross-site"}});
    CHECK(elsewhere.status == 403);
    CHECK(it.world.raw("POST", path_of(it.link["url"]), "", {}).status == 405);
    CHECK(it.world.raw("GET", "/connect/clnk_01nobody", "", {}).status == 404);
    CHECK(it.world.raw("GET", path_of(it.link["url"]) + "x", "", {}).status == 404);
    CHECK(it.world.raw("GET", "/oauth/else", "", {}).status == 404);
}

TEST_CASE("What comes back is checked before the code goes anywhere", "[admin]") {
    struct Row {
        const char* what;
        std::function<ApiReply(Connecting&, Browser&, const std::string& state)> act;
        unsigned status;
        const char *code, *after;
    };
    const auto back = [](Browser& browser, const std::string& query) { return browser.come_back(query); };
    const Row rows[] = {
        {"no state", [&](auto&, auto& b, auto&) { return back(b, "code=c"); }, 404, "connect.unknown_state",
         "started"},
        {"an unknown state",
         [&](auto& it, auto& b, auto& state) {
             const char* other = state[0] == 'A' ? "B" : "A";
             return back(b, "code=c&state=" + (other + state.substr(1)) + "&iss=" + it.issuer());
         },
         404, "connect.unknown_state", "started"},
        {"two states",
         [&](auto&, auto& b, auto& state) { return back(b, "code=c&state=" + state + "&state=" + state); },
         404, "connect.unknown_state", "started"},
        {"another browser",
         [&](auto& it, auto& b, auto& state) {
             Browser other(b.world);
             return back(other, "code=c&state=" + state + "&iss=" + it.issuer());
         },
         403, "connect.other_browser", "started"},
        {"another issuer",
         [&](auto&, auto& b, auto& state) {
             return back(b, "code=c&state=" + state + "&iss=https%3A%2F%2Fevil.example");
         },
         403, "connect.wrong_issuer", "failed"},
        {"the issuer with a slash more",
         [&](auto& it, auto& b, auto& state) {
             return back(b, "code=c&state=" + state + "&iss=" + it.issuer() + "%2F");
         },
         403, "connect.wrong_issuer", "failed"},
        {"no issuer though it is promised",
         [&](auto&, auto& b, auto& state) { return back(b, "code=c&state=" + state); }, 403,
         "connect.no_issuer", "failed"},
        {"somebody else's error",
         [&](auto&, auto& b, auto& state) {
             return back(b, "error=access_denied&state=" + state + "&iss=https%3A%2F%2Fevil.example");
         },
         403, "connect.wrong_issuer", "failed"},
        {"the person said no",
         [&](auto& it, auto& b, auto& state) {
             return back(b, "error=access_denied&state=" + state + "&iss=" + it.issuer());
         },
         403, "connect.denied", "failed"},
        {"the provider refused",
         [&](auto& it, auto& b, auto& state) {
             return back(b, "error=invalid_scope%3Cb%3E&state=" + state + "&iss=" + it.issuer());
         },
         400, "connect.refused", "failed"},
        {"no code",
         [&](auto& it, auto& b, auto& state) { return back(b, "state=" + state + "&iss=" + it.issuer()); },
         400, "connect.no_code", "failed"},
        {"too late",
         [&](auto& it, auto& b, auto& state) {
             it.world.clock.advance(std::chrono::minutes(61));
             return back(b, "code=c&state=" + state + "&iss=" + it.issuer());
         },
         409, "connect.ended", "expired"},
        {"the link was taken away",
         [&](auto& it, auto& b, auto& state) {
             it.world.remove(it.links() + "/" + it.link["id"].template get<std::string>());
             return back(b, "code=c&state=" + state + "&iss=" + it.issuer());
         },
         404, "connect.unknown_state", ""},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        Connecting it;
        Browser browser(it.world);
        const auto asked = browser.leave(it.link["url"]);
        const auto reply = row.act(it, browser, asked.at("state"));
        INFO(reply.text);
        CHECK(reply.status == row.status);
        CHECK(reply.text.find(row.code) != std::string::npos);
        CHECK(reply.text.find("<b>") == std::string::npos);
        CHECK(it.exchanges() == 0);
        if (*row.after != '\0') CHECK(it.status()["status"] == row.after);
        CHECK(it.world.get("/v1/vaults/" + it.vault + "/credentials")["data"].empty());
    }
}

TEST_CASE("A code goes out once, however often it comes", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const auto asked = browser.leave(it.link["url"]);
    const auto cookie = browser.cookie;
    const auto query = "code=CANARY-code&state=" + asked.at("state") + "&iss=" + it.issuer();
    CHECK(browser.come_back(query).status == 200);
    browser.cookie = cookie;
    const auto again = browser.come_back(query);
    CHECK(again.status == 409);
    CHECK(again.text.find("connect.ended") != std::string::npos);
    CHECK(it.exchanges() == 1);
    CHECK(it.world.raw("GET", path_of(it.link["url"]), "", {}).text.find("Already connected") !=
          std::string::npos);
}

TEST_CASE("Whoever goes back and starts again is followed, the first way is not", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const auto first = browser.leave(it.link["url"]);
    const auto second = browser.leave(it.link["url"]);
    CHECK(first.at("state") != second.at("state"));
    CHECK(first.at("code_challenge") != second.at("code_challenge"));
    CHECK(browser.come_back("code=c&state=" + first.at("state") + "&iss=" + it.issuer()).status == 404);
    CHECK(browser.come_back("code=c&state=" + second.at("state") + "&iss=" + it.issuer()).status == 200);
    CHECK(it.server.count("/register") == 1);
}

TEST_CASE("What the token endpoint answers decides how the link ends", "[admin]") {
    struct Row {
        const char* what;
        net::Response answer;
        unsigned status;
        const char* code;
    };
    const Row rows[] = {
        {"the code is refused", json_answer(400, {{"error", "invalid_grant"}}), 400, "connect.refused"},
        {"the client is refused", json_answer(401, {{"error", "invalid_client"}}), 400,
         "connect.client_refused"},
        {"half an answer", answer_with(200, "application/json", R"({"access_to)"), 503,
         "connect.outcome_unknown"},
        {"a page", answer_with(200, "text/html", "<html>"), 503, "connect.outcome_unknown"},
        {"trouble", answer_with(503, "text/plain", ""), 503, "connect.outcome_unknown"},
        {"a token that splits headers",
         json_answer(200, {{"access_token", "CANARY\r\nX-Evil: 1"}, {"token_type", "Bearer"}}), 503,
         "connect.outcome_unknown"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        Connecting it;
        it.server.script("/token", row.answer);
        Browser browser(it.world);
        const auto reply = it.connect(browser);
        INFO(reply.text);
        CHECK(reply.status == row.status);
        CHECK(reply.text.find(row.code) != std::string::npos);
        CHECK(reply.text.find("CANARY") == std::string::npos);
        CHECK(it.exchanges() == 1);
        const auto link = it.status();
        CHECK(link["status"] == "failed");
        CHECK(link["problem"]["code"] == row.code);
        CHECK(link.dump().find("CANARY") == std::string::npos);
        CHECK(it.world.get("/v1/access_log?kind=grant")["data"][0]["reason"] == row.code);
    }
}

TEST_CASE("One registration serves all links, until its server forgets it", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    CHECK(it.connect(browser).status == 200);
    const auto credential = it.status()["credential_id"].get<std::string>();
    it.link = it.make({{"credential_id", credential}});
    browser.leave(it.link["url"]);
    CHECK(it.server.count("/register") == 1);
    CHECK(it.world.get("/v1/oauth_clients")["data"].size() == 1);

    it.server.script("/token", json_answer(401, {{"error", "invalid_client"}}));
    CHECK(it.connect(browser).status == 400);
    CHECK(it.world.get("/v1/oauth_clients")["data"].empty());
    it.server.script("/token", json_answer(200, it.server.tokens()));
    it.link = it.make({{"credential_id", credential}});
    CHECK(it.connect(browser).status == 200);
    CHECK(it.server.count("/register") == 2);
}

TEST_CASE("What has no place any more is not stored, and given back", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const auto asked = browser.leave(it.link["url"]);
    it.world.post("/v1/vaults/" + it.vault + "/archive");
    const auto reply =
        browser.come_back("code=CANARY-code&state=" + asked.at("state") + "&iss=" + it.issuer());
    CHECK(reply.status == 409);
    CHECK(reply.text.find("connect.target_gone") != std::string::npos);
    CHECK(it.status()["status"] == "failed");
    const auto revoked = it.server.seen("/revoke");
    REQUIRE(revoked.size() == 1);
    CHECK(form_fields(revoked[0].body).at("token") == "CANARY-refresh");
}

TEST_CASE("A link that is taken away while its code is exchanged leaves nothing behind", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    it.server.script("/token", [&](const net::Request&) {
        it.world.call("DELETE", it.links() + "/" + it.link["id"].get<std::string>());
        return json_answer(200, it.server.tokens());
    });
    const auto reply = it.connect(browser);
    CHECK(reply.status == 409);
    CHECK(reply.text.find("connect.ended") != std::string::npos);
    CHECK(it.world.get("/v1/vaults/" + it.vault + "/credentials")["data"].empty());
    CHECK(it.server.count("/revoke") == 1);
}

TEST_CASE("A vault whose place was taken meanwhile keeps what it has", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const auto asked = browser.leave(it.link["url"]);
    it.world.new_bearer(it.vault, it.server.mcp_url());
    const auto reply =
        browser.come_back("code=CANARY-code&state=" + asked.at("state") + "&iss=" + it.issuer());
    CHECK(reply.status == 409);
    CHECK(it.world.get("/v1/vaults/" + it.vault + "/credentials")["data"].size() == 1);
    CHECK(it.server.count("/revoke") == 1);
}

TEST_CASE("Trouble that passes leaves the link open, trouble that stays closes it", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    SECTION("the authorization server is unwell for a moment") {
        it.server.script("/.well-known/oauth-authorization-server", answer_with(503, "", ""));
        const auto reply = browser.open(path_of(it.link["url"]) + "/start");
        CHECK(reply.status == 503);
        CHECK(it.status()["status"] == "waiting");
        CHECK(it.status()["problem"]["code"] == "discovery.retry_later");
        it.server.script("/.well-known/oauth-authorization-server",
                         json_answer(200, it.server.server_metadata()));
        CHECK(it.connect(browser).status == 200);
        CHECK(it.status()["problem"].is_null());
    }
    SECTION("it does not do PKCE") {
        auto metadata = it.server.server_metadata();
        metadata.erase("code_challenge_methods_supported");
        it.server.script("/.well-known/oauth-authorization-server", json_answer(200, metadata));
        const auto reply = browser.open(path_of(it.link["url"]) + "/start");
        CHECK(reply.status == 403);
        CHECK(it.status()["status"] == "failed");
        CHECK(it.status()["problem"]["code"] == "as_metadata.no_s256");
        CHECK(browser.open(path_of(it.link["url"])).status == 410);
    }
    SECTION("there is no way to become its client") {
        auto metadata = it.server.server_metadata();
        metadata.erase("registration_endpoint");
        it.server.script("/.well-known/oauth-authorization-server", json_answer(200, metadata));
        CHECK(browser.open(path_of(it.link["url"]) + "/start").status == 400);
        CHECK(it.status()["problem"]["code"] == "registration.no_way");
    }
}

TEST_CASE("A reconnect keeps the credential's id and works until it has succeeded", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    CHECK(it.connect(browser).status == 200);
    const auto id = it.status()["credential_id"].get<std::string>();

    it.link = it.make({{"credential_id", id}});
    auto tokens = it.server.tokens();
    tokens["access_token"] = "CANARY-second";
    it.server.script("/token", json_answer(200, tokens));
    const auto asked = browser.leave(it.link["url"]);
    CHECK(text_of(parts_of(it.world, id).token) == "CANARY-access");
    CHECK(browser.come_back("code=c&state=" + asked.at("state") + "&iss=" + it.issuer()).status == 200);

    CHECK(it.status()["credential_id"] == id);
    CHECK(text_of(parts_of(it.world, id).token) == "CANARY-second");
    const auto grant = grant_of(it.world, id);
    CHECK(grant.facts.epoch == 2);
    CHECK(grant.facts.gen == 1);
    CHECK(it.world.get("/v1/vaults/" + it.vault + "/credentials")["data"].size() == 1);
}

TEST_CASE("A reconnect asks for what was asked before and for what calls were refused for", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    CHECK(it.connect(browser).status == 200);
    const auto id = it.status()["credential_id"].get<std::string>();
    auto grant = grant_of(it.world, id);
    grant.facts.step_ups = {{.operation = "write_note", .scopes = {"mcp:read", "mcp:write"}}};
    const auto credential =
        it.world.records->catalog().find<vault::Credential>(*base::CredentialId::parse(id));
    const vault::Actor nobody;
    const auto stored = it.world.loop.await<base::Status>([&](net::Worker& worker) {
        return oauth::commit(worker, *it.world.records, nobody, [&](vault::Change& change) {
            change.note_grant(vault::Action::connect, *credential);
            return oauth::store_grant(change, *credential, grant);
        });
    });
    REQUIRE(stored);

    it.link = it.make({{"credential_id", id}});
    CHECK(browser.leave(it.link["url"]).at("scope") == "mcp:read mcp:write");
    it.link = it.make({{"credential_id", id}, {"scopes", {"files:read"}}});
    CHECK(browser.leave(it.link["url"]).at("scope") == "files:read");
}

TEST_CASE("Another account on a reconnect is not swapped in silently", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const auto as_user = [&](const std::string& subject) {
        const auto now =
            std::chrono::duration_cast<std::chrono::seconds>(it.world.clock.now().time_since_epoch()).count();
        const json claims{{"iss", it.server.origin()},
                          {"aud", "dynamic-1"},
                          {"sub", subject},
                          {"iat", now},
                          {"exp", now + 300}};
        auto tokens = it.server.tokens();
        tokens["id_token"] =
            base::to_base64url(R"({"alg":"ES256"})") + "." + base::to_base64url(claims.dump()) + ".x";
        it.server.script("/token", json_answer(200, tokens));
    };
    as_user("alice");
    CHECK(it.connect(browser).status == 200);
    const auto id = it.status()["credential_id"].get<std::string>();
    as_user("mallory");
    it.link = it.make({{"credential_id", id}});
    const auto refused = it.connect(browser);
    CHECK(refused.status == 409);
    CHECK(refused.text.find("connect.other_account") != std::string::npos);
    CHECK(grant_of(it.world, id).facts.epoch == 1);
    CHECK(it.server.count("/revoke") == 0);  // it could end what works
    it.link = it.make({{"credential_id", id}, {"allow_other_account", true}});
    CHECK(it.connect(browser).status == 200);
    CHECK(grant_of(it.world, id).facts.epoch == 2);
}

TEST_CASE("An ID token of a server without published keys has to be ours, or nothing is stored", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    auto tokens = it.server.tokens();
    tokens["id_token"] = base::to_base64url(R"({"alg":"ES256"})") + "." +
                         base::to_base64url(json{{"sub", "mallory"}}.dump()) + ".x";
    it.server.script("/token", json_answer(200, tokens));
    const auto refused = it.connect(browser);
    CHECK(refused.status != 200);
    CHECK(refused.text.find("id_token.wrong_issuer") != std::string::npos);
    CHECK(it.status()["status"] == "failed");
    CHECK(it.status()["credential_id"].is_null());
    CHECK(test::soon([&] { return it.server.count("/revoke") > 0; }));  // nobody keeps them
}

TEST_CASE("A client that an operator registered is used before any other", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    SECTION("given with the link") {
        it.link = it.make({{"issuer", it.server.origin()},
                           {"client",
                            {{"client_id", "given"},
                             {"client_secret", "CANARY-given"},
                             {"token_endpoint_auth_method", "client_secret_post"}}}});
        CHECK(it.connect(browser).status == 200);
        const auto fields = form_fields(it.server.seen("/token")[0].body);
        CHECK(fields.at("client_id") == "given");
        CHECK(fields.at("client_secret") == "CANARY-given");
    }
    SECTION("stored for its issuer") {
        const auto stored = it.world.post(
            "/v1/oauth_clients",
            {{"issuer", it.server.origin()}, {"client_id", "kept"}, {"client_secret", "CANARY-kept"}});
        CHECK(stored["source"] == "registered");
        CHECK(stored.dump().find("CANARY") == std::string::npos);
        CHECK(it.connect(browser).status == 200);
        CHECK(it.server.seen("/token")[0].authorization == "Basic " + base::to_base64("kept:CANARY-kept"));
        it.world.remove("/v1/oauth_clients/" + stored["id"].get<std::string>());
    }
    CHECK(it.server.count("/register") == 0);
}

TEST_CASE("A client's proof goes to the authorization server that it was given for, and to no other",
          "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const std::string home = "https://as.example";
    const json client{{"client_id", "given"}, {"client_secret", "CANARY-given"}};
    SECTION("a person is not sent anywhere else") {
        it.link = it.make({{"issuer", home}, {"client", client}});
        const auto reply = browser.open(path_of(it.link["url"]) + "/start");
        CHECK(reply.status == 403);
        CHECK(it.status()["status"] == "failed");
        CHECK(it.status()["problem"]["code"] == "connect.other_issuer");
        CHECK(it.status()["problem"]["message"].get<std::string>().find(home) != std::string::npos);
    }
    SECTION("nor is a token asked for elsewhere in the client's own name") {
        const auto refused = it.world.call("POST", it.links(),
                                           {{"server_url", it.server.mcp_url()},
                                            {"grant", "client_credentials"},
                                            {"issuer", home},
                                            {"client", client}});
        CHECK(refused.code() == "connect.other_issuer");
    }
    SECTION("nor with a client that is stored, which the server could choose by its issuer") {
        it.world.post("/v1/oauth_clients",
                      {{"issuer", it.server.origin()}, {"client_id", "kept"}, {"client_secret", "CANARY"}});
        const json wish{{"server_url", it.server.mcp_url()}, {"grant", "client_credentials"}};
        CHECK(it.world.call("POST", it.links(), wish).code() == "connect.issuer_needed");
    }
    SECTION("nor with that of a credential whose issuer nobody ever named") {
        const json auth{{"type", "mcp_oauth"},
                        {"mcp_server_url", it.server.mcp_url()},
                        {"access_token", "a"},
                        {"refresh",
                         {{"token_endpoint", it.server.origin() + "/token"},
                          {"client_id", "by-hand"},
                          {"refresh_token", "r"},
                          {"token_endpoint_auth",
                           {{"type", "client_secret_basic"}, {"client_secret", "CANARY-by-hand"}}}}}};
        const auto stored = it.world.post("/v1/vaults/" + it.vault + "/credentials", {{"auth", auth}});
        it.link = it.make({{"credential_id", stored["id"]}});
        CHECK(browser.open(path_of(it.link["url"]) + "/start").status == 400);
        CHECK(it.status()["problem"]["code"] == "connect.issuer_needed");
        it.link = it.make({{"credential_id", stored["id"]}, {"issuer", it.server.origin()}});
        CHECK(browser.leave(it.link["url"]).at("client_id") == "by-hand");
    }
    CHECK(it.server.count("/token") == 0);
    CHECK(it.server.count("/register") == 0);
    for (const auto& each : it.server.seen())
        CHECK((each.body + each.authorization).find("CANARY") == std::string::npos);
}

TEST_CASE("A connection in nobody's name stays with its authorization server when it is made anew",
          "[admin]") {
    Connecting it;
    auto tokens = it.server.tokens();
    tokens.erase("refresh_token");
    it.server.script("/token", json_answer(200, tokens));
    const auto link = it.make({{"grant", "client_credentials"},
                               {"issuer", it.server.origin()},
                               {"client", {{"client_id", "robot"}, {"client_secret", "CANARY-robot"}}}});
    const json again{{"server_url", it.server.mcp_url()},
                     {"credential_id", link["credential_id"]},
                     {"grant", "client_credentials"}};
    CHECK(it.world.post(it.links(), again)["status"] == "connected");
    auto elsewhere = it.server.resource_metadata();
    elsewhere["authorization_servers"] = {"http://127.0.0.1:1"};
    it.server.script("/.well-known/oauth-protected-resource/mcp", json_answer(200, elsewhere));
    const auto asked = it.server.count("/token");
    CHECK(it.world.call("POST", it.links(), again).status >= 400);
    CHECK(it.server.count("/token") == asked);
}

TEST_CASE("A link can be started so often and no more, whatever comes of it", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const auto start = path_of(it.link["url"]) + "/start";
    SECTION("when every start fails the last one ends the link") {
        it.server.script("/.well-known/oauth-authorization-server", answer_with(503, "", ""));
        for (std::uint64_t i = 1; i < oauth::kMostStarts; ++i) CHECK(browser.open(start).status == 503);
        CHECK(it.status()["status"] == "waiting");
        CHECK(browser.open(start).status == 503);
        CHECK(it.status()["status"] == "failed");
        CHECK(it.status()["problem"]["code"] == "connect.too_many_starts");
        const auto asked = it.server.seen().size();
        CHECK(browser.open(start).status == 410);
        CHECK(it.server.seen().size() == asked);
    }
    SECTION("when nobody comes back the last one that left may still do so") {
        std::map<std::string, std::string> asked;
        for (std::uint64_t i = 1; i <= oauth::kMostStarts; ++i) asked = browser.leave(it.link["url"]);
        const auto more = browser.open(start);
        CHECK(more.status == 409);
        CHECK(more.text.find("connect.too_many_starts") != std::string::npos);
        CHECK(browser.come_back("code=c&state=" + asked.at("state") + "&iss=" + it.issuer()).status == 200);
    }
}

TEST_CASE("One start of a link runs at a time", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    const auto id = *base::ConnectLinkId::parse(it.link["id"].get<std::string>());
    const auto hold = [&](base::Time until) {
        test::change_flow(it.world, id, [&](auto& flow) { flow.starting_until = until; });
    };
    hold(it.world.clock.now() + std::chrono::minutes(1));
    const auto reply = browser.open(path_of(it.link["url"]) + "/start");
    CHECK(reply.status == 409);
    CHECK(reply.text.find("connect.starting") != std::string::npos);
    CHECK(it.server.seen().empty());
    SECTION("whoever held it is gone") { it.world.clock.advance(std::chrono::minutes(1)); }
    SECTION("it began before the clock was put back") { it.world.clock.advance(-std::chrono::hours(5)); }
    CHECK(browser.open(path_of(it.link["url"]) + "/start").status == 303);
    CHECK_FALSE(it.world.records->catalog().find<vault::ConnectFlow>(id)->starting_until);
}

TEST_CASE("A start that fails does not end what an earlier one has brought back", "[admin]") {
    Connecting it;
    ScriptedServer elsewhere;  // the authorization server, but for its token endpoint
    auto resource = it.server.resource_metadata();
    resource["authorization_servers"] = {elsewhere.origin()};
    it.server.script("/.well-known/oauth-protected-resource/mcp", json_answer(200, resource));
    auto metadata = elsewhere.server_metadata();
    metadata["token_endpoint"] = it.server.origin() + "/token";
    const std::string place = "/.well-known/oauth-authorization-server";
    elsewhere.script(place, json_answer(200, metadata));
    Browser browser(it.world);
    const auto asked = browser.leave(it.link["url"]);

    // The second start is looking around when the person comes back from the first, and fails for good while
    // the token endpoint thinks about the code.
    std::promise<void> looking, exchanging, failed;
    const std::shared_future<void> is_exchanging = exchanging.get_future(), has_failed = failed.get_future();
    constexpr std::chrono::seconds patience{20};
    elsewhere.script(place, [&](const net::Request&) {
        looking.set_value();
        is_exchanging.wait_for(patience);
        auto broken = metadata;
        broken.erase("code_challenge_methods_supported");
        return json_answer(200, broken);
    });
    it.server.script("/token", [&](const net::Request&) {
        exchanging.set_value();
        has_failed.wait_for(patience);
        return json_answer(200, it.server.tokens());
    });
    unsigned second = 0;
    std::thread other([&] {
        second = Browser(it.world).open(path_of(it.link["url"]) + "/start").status;
        failed.set_value();
    });
    looking.get_future().wait_for(patience);
    const auto issuer = "http%3A%2F%2F" + elsewhere.origin().substr(7);
    const auto back = browser.come_back("code=c&state=" + asked.at("state") + "&iss=" + issuer);
    other.join();
    CHECK(second == 403);
    CHECK(back.status == 200);
    CHECK(it.status()["status"] == "connected");
}

TEST_CASE("A server that wants the request in advance gets it, and the browser carries only its name",
          "[admin]") {
    Connecting it;
    Browser browser(it.world);
    auto metadata = it.server.server_metadata();
    metadata["require_pushed_authorization_requests"] = true;
    metadata["pushed_authorization_request_endpoint"] = it.server.origin() + "/par";
    it.server.script("/.well-known/oauth-authorization-server", json_answer(200, metadata));
    it.server.script("/par", json_answer(201, {{"request_uri", "urn:x:1"}, {"expires_in", 60}}));
    const auto asked = browser.leave(it.link["url"]);
    CHECK(asked ==
          std::map<std::string, std::string>{{"client_id", "dynamic-1"}, {"request_uri", "urn:x:1"}});
    const auto pushed = form_fields(it.server.seen("/par")[0].body);
    CHECK(pushed.at("code_challenge_method") == "S256");
    CHECK(browser.come_back("code=c&state=" + pushed.at("state") + "&iss=" + it.issuer()).status == 200);
}

TEST_CASE("Who waits for events hears that nothing was connected", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    it.world.post("/v1/webhooks", {{"url", "https://hooks.example/claviger"},
                                   {"name", "ops"},
                                   {"enabled_events", {"connection.connect_failed"}}});
    const auto asked = browser.leave(it.link["url"]);
    CHECK(
        browser.come_back("error=access_denied&state=" + asked.at("state") + "&iss=" + it.issuer()).status ==
        403);
    CHECK(it.world.records->catalog().count<vault::OutboxItem>() == 1);
}

TEST_CASE("Where tokens have to be bound, they are bound to a key that is stored with them", "[admin]") {
    Connecting it;
    Browser browser(it.world);
    auto resource = it.server.resource_metadata();
    resource["dpop_bound_access_tokens_required"] = true;
    it.server.script("/.well-known/oauth-protected-resource/mcp", json_answer(200, resource));
    auto tokens = it.server.tokens();
    tokens["token_type"] = "DPoP";
    int asked = 0;
    it.server.script("/token", [&](const net::Request&) {
        if (++asked > 1) return json_answer(200, tokens);
        auto refusal = json_answer(400, {{"error", "use_dpop_nonce"}});
        refusal.headers.add("DPoP-Nonce", "n1");
        return refusal;
    });

    CHECK(it.connect(browser).status == 200);

    const auto sent = it.server.seen("/token");
    REQUIRE(sent.size() == 2);  // the refusal left the code unspent
    const auto claims_of = [](const std::string& proof) {
        const auto from = proof.find('.') + 1;
        return json::parse(*base::from_base64url(proof.substr(from, proof.find('.', from) - from)));
    };
    CHECK_FALSE(claims_of(sent[0].dpop).contains("nonce"));
    CHECK(claims_of(sent[1].dpop)["nonce"] == "n1");
    CHECK(claims_of(sent[1].dpop)["htu"] == it.server.origin() + "/token");
    const auto id = it.status()["credential_id"].get<std::string>();
    CHECK(it.credential(id)["auth"]["injection"]["scheme"] == "DPoP");
    CHECK(parts_of(it.world, id).dpop_key);
}

TEST_CASE("A grant of the client's own needs nobody", "[admin]") {
    Connecting it;
    auto tokens = it.server.tokens();
    tokens.erase("refresh_token");
    it.server.script("/token", json_answer(200, tokens));
    const auto link = it.make({{"grant", "client_credentials"},
                               {"issuer", it.server.origin()},
                               {"client", {{"client_id", "robot"}, {"client_secret", "CANARY-robot"}}}});
    CHECK(link["status"] == "connected");
    CHECK_FALSE(link.contains("url"));
    const auto fields = form_fields(it.server.seen("/token")[0].body);
    CHECK(fields.at("grant_type") == "client_credentials");
    CHECK(fields.at("resource") == it.server.mcp_url());
    const auto id = link["credential_id"].get<std::string>();
    const auto grant = grant_of(it.world, id);
    CHECK(grant.facts.renewable);
    const auto credential =
        it.world.records->catalog().find<vault::Credential>(*base::CredentialId::parse(id));
    CHECK(credential->refresh->grant == "client_credentials");

    it.server.script("/token", json_answer(401, {{"error", "invalid_client"}}));
    const auto refused = it.world.call("POST", it.links(),
                                       {{"server_url", it.server.mcp_url()},
                                        {"credential_id", id},
                                        {"grant", "client_credentials"},
                                        {"issuer", it.server.origin()},
                                        {"client", {{"client_id", "robot"}, {"client_secret", "wrong"}}}});
    CHECK(refused.status == 400);
    CHECK(refused.code() == "connect.client_refused");
    CHECK(it.world.get(it.links())["data"][0]["status"] == "failed");
}

TEST_CASE("A device code is shown, and polled until the person is done", "[admin]") {
    Connecting it;
    const auto link = it.make({{"grant", "device_code"}});
    it.link = link;
    CHECK(link["status"] == "started");
    CHECK(link["user_code"] == "WDJB-MJHT");
    const auto seen = it.world.call_as(it.world.new_key("auditor"), "GET",
                                       it.links() + "/" + link["id"].get<std::string>());
    CHECK(seen.body["status"] == "started");
    CHECK(seen.body["user_code"].is_null());  // whoever types it connects an account of their own
    CHECK(seen.body["verification_uri"].is_null());
    CHECK(seen.text.find("WDJB") == std::string::npos);
    CHECK(link["verification_uri"] == it.server.origin() + "/enter");
    CHECK(link.dump().find("CANARY") == std::string::npos);
    const auto id = *base::ConnectLinkId::parse(link["id"].get<std::string>());
    const auto flow = [&] { return it.world.records->catalog().find<vault::ConnectFlow>(id); };
    const auto poll = [&](const net::Response& answer) {
        it.server.script("/token", answer);
        it.world.loop.await<bool>([&](net::Worker& worker) -> net::awaitable<bool> {
            return [](ApiWorld& world, net::Worker& on, base::ConnectLinkId polled) -> net::awaitable<bool> {
                const auto row = world.records->catalog().find<vault::ConnectFlow>(polled);
                const auto out = oauth::outbound_of(*world.connect, on, *world.pool, *row);
                co_await oauth::poll_device(*world.connect, out, polled);
                co_return true;
            }(it.world, worker, id);
        });
    };
    poll(json_answer(400, {{"error", "authorization_pending"}}));
    CHECK(flow()->device->interval_s == 1);
    CHECK(form_fields(it.server.seen("/token")[0].body).at("device_code") == "CANARY-device-code");
    poll(json_answer(400, {{"error", "slow_down"}}));
    CHECK(flow()->device->interval_s == 6);
    poll(answer_with(503, "", ""));
    CHECK(flow()->device->next_poll == it.world.clock.now() + std::chrono::seconds(12));

    SECTION("they said yes") {
        poll(json_answer(200, it.server.tokens()));
        CHECK(it.status()["status"] == "connected");
        CHECK(text_of(parts_of(it.world, it.status()["credential_id"]).token) == "CANARY-access");
    }
    SECTION("they said no") {
        poll(json_answer(400, {{"error", "access_denied"}}));
        CHECK(it.status()["problem"]["code"] == "connect.denied");
    }
    SECTION("what it is asked with does not open any more, and it is not asked for ever") {
        test::change_flow(it.world, id, [](auto& row) { row.secrets[row.secrets.size() / 2] ^= 1; });
        const auto before = it.server.count("/token");
        poll(json_answer(200, it.server.tokens()));
        CHECK(it.server.count("/token") == before);
        CHECK(it.status()["status"] == "failed");
        CHECK(it.status()["problem"]["code"] == "connect.secrets_refused");
    }
    SECTION("they took too long, says the provider") {
        poll(json_answer(400, {{"error", "expired_token"}}));
        CHECK(it.status()["problem"]["code"] == "connect.expired");
    }
    SECTION("they took too long, says the clock") {
        it.world.clock.advance(std::chrono::minutes(11));
        poll(json_answer(200, it.server.tokens()));
        CHECK(it.status()["problem"]["code"] == "connect.expired");
    }
}

TEST_CASE("What cannot be a link is refused by name", "[admin]") {
    ApiWorld world;
    const std::string vault = world.new_vault()["id"];
    const auto links = "/v1/vaults/" + vault + "/connect_links";
    const auto bearer = world.new_bearer(vault)["id"];
    struct Row {
        json body;
        unsigned status;
        const char* says;
    };
    const Row rows[] = {
        {json::object(), 400, "server_url: is required"},
        {{{"server_url", "ftp://x"}}, 400, "server_url"},
        {{{"provider", "nobody"}}, 400, "server_url: is required"},
        {{{"server_url", "https://h.example/mcp"}, {"provider", "nobody"}}, 400, "No provider profile"},
        {{{"server_url", "https://h.example/mcp"}, {"grant", "password"}}, 400, "grant"},
        {{{"server_url", "https://h.example/mcp"},
          {"provider", "sentry-integration"},
          {"variables", {{"app", "a"}, {"installation", "i"}}}},
         400,
         "sends its codes to a webhook"},
        {{{"server_url", "https://h.example/mcp"}, {"expires_in", 59}}, 400, "expires_in"},
        {{{"server_url", "https://h.example/mcp"}, {"expires_in", 86'401}}, 400, "expires_in"},
        {{{"server_url", "https://h.example/mcp"}, {"scopes", {"a b"}}}, 400, "scopes"},
        {{{"server_url", "https://h.example/mcp"}, {"client", {{"client_secret", "s"}}}}, 400, "client_id"},
        {{{"server_url", "https://h.example/mcp"},
          {"client", {{"client_id", "c"}, {"client_secret", "s"}, {"private_key", "k"}}}},
         400,
         "private_key"},
        {{{"server_url", "https://h.example/mcp"},
          {"client", {{"client_id", "c"}, {"token_endpoint_auth_method", "client_secret_post"}}}},
         400,
         "client_secret"},
        {{{"server_url", "https://h.example/mcp"}, {"client", {{"client_id", "c"}, {"client_secret", "s"}}}},
         400,
         "issuer: is required"},
        {{{"server_url", "https://h.example/mcp"}, {"client", {{"client_id", "c"}, {"private_key", "k"}}}},
         400,
         "issuer: is required"},
        {{{"server_url", "https://h.example/mcp"}, {"grant", "client_credentials"}},
         400,
         "issuer: is required"},
        {{{"server_url", "https://h.example/mcp"}, {"issuer", "http://as.example"}}, 400, "issuer"},
        {{{"server_url", "https://h.example/mcp"}, {"issuer", ""}}, 400, "issuer"},
        {{{"server_url", "https://h.example/mcp"},
          {"provider", "github"},
          {"issuer", "https://as.example"},
          {"client", {{"client_id", "c"}, {"client_secret", "s"}}}},
         400,
         "issuer: is another than that of the provider 'github'"},
        {{{"credential_id", bearer}}, 400, "not of type mcp_oauth"},
        {{{"credential_id", "vcrd_01nobody"}}, 404, "not found"},
        {{{"server_url", "https://mcp.linear.app/mcp"}}, 409, "already exists"},
        {{{"server_url", "https://h.example/mcp"}, {"colour", "red"}}, 400, "colour"},
    };
    for (const auto& row : rows) {
        INFO(row.body.dump());
        const auto reply = world.call("POST", links, row.body);
        INFO(reply.text);
        CHECK(reply.status == row.status);
        CHECK(reply.text.find(row.says) != std::string::npos);
    }
    CHECK(world.get(links)["data"].empty());
    CHECK(world.call_as(world.new_key("auditor"), "POST", links, {{"server_url", "https://h.example/mcp"}})
              .status == 403);
}

TEST_CASE("A vault holds a hundred links, and forgets those that ended yesterday", "[admin]") {
    ApiWorld world;
    const std::string vault = world.new_vault()["id"];
    const auto links = "/v1/vaults/" + vault + "/connect_links";
    const json body{{"server_url", "https://h.example/mcp"}, {"expires_in", 60}};
    for (int i = 0; i < 100; ++i) world.post(links, body);
    CHECK(world.call("POST", links, body).code() == "connect_link.too_many");
    world.clock.advance(std::chrono::hours(25));
    world.post(links, body);
    CHECK(world.get(links + "?limit=100")["data"].size() == 1);
}

TEST_CASE("Claviger describes itself only where others can fetch the description", "[admin]") {
    ApiWorld hidden;
    CHECK(hidden.raw("GET", "/oauth/client.json", "", {}).status == 404);
    ApiWorld seen(net::PrivateAddresses::allow, "https://vault.example.com");
    const auto reply = seen.raw("GET", "/oauth/client.json", "", {{"Host", "vault.example.com"}});
    CHECK(reply.status == 200);
    CHECK(reply.body["client_id"] == "https://vault.example.com/oauth/client.json");
    CHECK(reply.headers.at("cache-control") == "public, max-age=3600");
}

TEST_CASE("An issuer has one registered client, with a proof that fits", "[admin]") {
    ApiWorld world;
    const json good{{"issuer", "https://as.example"}, {"client_id", "c"}, {"client_secret", "CANARY"}};
    const auto made = world.post("/v1/oauth_clients", good);
    CHECK(made["token_endpoint_auth_method"] == "client_secret_basic");
    CHECK(made["has_secret"] == true);
    CHECK(world.call("POST", "/v1/oauth_clients", good).code() == "oauth_client.duplicate");
    struct Row {
        json more;
        const char* says;
    };
    const Row rows[] = {{{{"issuer", "http://as.example"}}, "issuer"},
                        {{{"token_endpoint_auth_method", "none"}}, "client_secret"},
                        {{{"token_endpoint_auth_method", "private_key_jwt"}}, "private_key"},
                        {{{"token_endpoint_auth_method", "magic"}}, "token_endpoint_auth_method"}};
    for (const auto& row : rows) {
        auto body = good;
        body.update(row.more);
        INFO(body.dump());
        const auto reply = world.call("POST", "/v1/oauth_clients", body);
        CHECK(reply.status == 400);
        CHECK(reply.text.find(row.says) != std::string::npos);
    }
    world.remove("/v1/oauth_clients/" + made["id"].get<std::string>());
    CHECK(world.get("/v1/oauth_clients")["data"].empty());

    // A certificate with its key proves the client by TLS, or names the key of its assertions; nothing else.
    const auto identity = test::make_identity("DNS:robot", nullptr);
    json certified{{"issuer", "https://as.example"},
                   {"client_id", "c"},
                   {"certificate", test::certificate_of(identity)},
                   {"private_key", test::key_of(identity)}};
    for (const auto* method : {"tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt"}) {
        certified["token_endpoint_auth_method"] = method;
        const auto stored = world.post("/v1/oauth_clients", certified);
        CHECK(stored["token_endpoint_auth_method"] == method);
        world.remove("/v1/oauth_clients/" + stored["id"].get<std::string>());
    }
    certified["token_endpoint_auth_method"] = "client_secret_post";
    const auto refused = world.call("POST", "/v1/oauth_clients", certified);
    CHECK(refused.status == 400);
    CHECK(refused.text.find("certificate") != std::string::npos);
}
