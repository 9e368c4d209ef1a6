#include "proxy/inject.h"

#include "proxy/session_ids.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

#include <memory>
#include <string>
#include <vector>

using namespace claviger;

namespace {

std::shared_ptr<const vault::Credential> credential_with(vault::Injection injection, unsigned number = 1) {
    vault::Credential credential;
    credential.id.raw = test::id_of(number);
    credential.injection = std::move(injection);
    return std::make_shared<const vault::Credential>(std::move(credential));
}

struct Outbound {
    net::Worker worker{0};
    net::OutboundHead head{worker};
    net::Request request;
    proxy::ServerContext server{.name = "upstream",
                                .url = *policy::parse_server_url("https://api.example.com/mcp?x=1")};
    std::optional<std::string> session;
    std::string secret = "the-secret";

    Outbound() {
        request.method = "POST";
        server.origin = {true, "api.example.com", 443};
        server.credential = credential_with({});
    }
    base::Status write(proxy::Era era = proxy::Era::legacy) {
        return proxy::write_head(head, request, era, server, session, crypto::Secret::copy_of(secret));
    }
    bool sends(std::string_view text) const { return head.bytes().find(text) != std::string_view::npos; }
};

}  // namespace

TEST_CASE("The credential goes out, and nothing else that could be one", "[proxy][inject]") {
    Outbound call;
    for (const auto* name : {"Authorization",
                             "authorization",
                             "Cookie",
                             "Proxy-Authorization",
                             "X-API-Key",
                             "Api-Key",
                             "Private-Token",
                             "JOB-TOKEN",
                             "Notion-Token",
                             "X-Auth-Token",
                             "X-Amz-Security-Token",
                             "X-Forwarded-For",
                             "Forwarded",
                             "Via",
                             "X-Real-IP",
                             "Origin",
                             "Referer",
                             "Host",
                             "Accept-Encoding",
                             "Content-Encoding",
                             "Transfer-Encoding",
                             "TE",
                             "Upgrade",
                             "Connection",
                             "Keep-Alive",
                             "Expect",
                             "Range",
                             "If-None-Match",
                             "Content-Length",
                             "Content-Type",
                             "Accept",
                             "User-Agent",
                             "Mcp-Session-Id",
                             "X-HTTP-Method-Override",
                             "X-Original-URL"})
        call.request.headers.add(name, "from-the-agent");
    REQUIRE(call.write());
    CHECK_FALSE(call.sends("from-the-agent"));
    CHECK(call.sends("POST /mcp?x=1 HTTP/1.1\r\nHost: api.example.com\r\n"));
    CHECK(call.sends("Authorization: Bearer the-secret\r\n"));
    CHECK(call.sends("Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"));
    CHECK_FALSE(call.sends("Mcp-Session-Id"));
}

TEST_CASE("The protocol's own headers travel", "[proxy][inject]") {
    Outbound call;
    for (const auto* name : {"MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-Region",
                             "traceparent", "tracestate", "baggage", "Last-Event-ID"})
        call.request.headers.add(name, "kept");
    call.session = "upstream-session";
    bool mirrored = false;  // only the modern era mirrors, and compares
    SECTION("legacy, with its session") {
        REQUIRE(call.write());
        CHECK(call.sends("Last-Event-ID: kept\r\n"));
        CHECK(call.sends("Mcp-Session-Id: upstream-session\r\n"));
    }
    SECTION("legacy without a session, where another agent's stream could be resumed") {
        call.session.reset();
        REQUIRE(call.write());
        CHECK_FALSE(call.sends("Last-Event-ID"));
    }
    SECTION("modern, where nothing can be resumed") {
        call.session.reset();
        mirrored = true;
        REQUIRE(call.write(proxy::Era::modern));
        CHECK_FALSE(call.sends("Last-Event-ID"));
    }
    for (const auto* name : {"MCP-Protocol-Version", "traceparent", "tracestate", "baggage"})
        CHECK(call.sends(std::string(name) + ": kept\r\n"));
    for (const auto* name : {"Mcp-Method", "Mcp-Name", "Mcp-Param-Region"})
        CHECK(call.sends(std::string(name) + ": kept\r\n") == mirrored);
}

TEST_CASE("A mirrored name stays here where the message has none", "[proxy][inject]") {
    Outbound call;
    call.request.headers.add("Mcp-Method", "tools/list");
    call.request.headers.add("mcp-name", "another tool");
    REQUIRE(proxy::write_head(call.head, call.request, proxy::Era::modern, call.server, std::nullopt,
                              crypto::Secret::copy_of(call.secret), proxy::MirroredName::stays));
    CHECK(call.sends("Mcp-Method: tools/list\r\n"));
    CHECK_FALSE(call.sends("another tool"));
}

TEST_CASE("The secret stands where the credential says, and only there", "[proxy][inject]") {
    Outbound call;
    call.request.headers.add("Mcp-Param-Token", "the agent's");
    call.server.credential = credential_with({.header = "mcp-param-token", .scheme = ""});
    REQUIRE(call.write(proxy::Era::modern));
    CHECK(call.sends("\r\nmcp-param-token: the-secret\r\n"));
    CHECK_FALSE(call.sends("the agent's"));
    CHECK_FALSE(call.sends("Authorization"));
}

TEST_CASE("GET and DELETE go out without what belongs to a body", "[proxy][inject]") {
    for (const std::string method : {"GET", "DELETE"}) {
        Outbound call;
        call.request.method = method;
        REQUIRE(call.write());
        CHECK(call.sends(method + " /mcp?x=1 HTTP/1.1\r\n"));
        CHECK_FALSE(call.sends("Content-Type"));
        CHECK(call.sends("Accept: text/event-stream\r\n") == (method == "GET"));
    }
}

TEST_CASE("No line can be smuggled in", "[proxy][inject]") {
    for (const std::string& break_ :
         std::vector<std::string>{"\r\n", "\n", "\r", std::string(1, '\0'), "\x7f"}) {
        Outbound by_agent;
        by_agent.request.headers.add("Mcp-Name", "a" + break_ + "X-Admin: 1");
        const auto refused = by_agent.write(proxy::Era::modern);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "request.invalid");
        CHECK(refused.error().kind == base::ErrorKind::invalid_request);

        Outbound by_name;
        by_name.request.headers.add("Mcp-Param-X" + break_ + "X-Admin", "1");
        CHECK_FALSE(by_name.write(proxy::Era::modern));

        Outbound by_session;
        by_session.session = "s" + break_ + "X-Admin: 1";
        CHECK_FALSE(by_session.write());

        Outbound by_secret;
        by_secret.secret = "s" + break_ + "X-Admin: 1";
        const auto not_sendable = by_secret.write();
        REQUIRE_FALSE(not_sendable);
        CHECK(not_sendable.error().code == "credential.not_sendable");
        CHECK(not_sendable.error().message.find("X-Admin") == std::string::npos);
    }
}

TEST_CASE("A server may name its sessions in visible ASCII, within bounds", "[proxy][session_ids]") {
    CHECK(proxy::valid_session_id("!"));
    CHECK(proxy::valid_session_id("~"));
    CHECK(proxy::valid_session_id(std::string(2'048, 'x')));
    for (const auto& id :
         {std::string(), std::string(2'049, 'x'), std::string("a b"), std::string("a\tb"),
          std::string("a\x7f"), std::string("\xc3\xa9"), std::string("a\r\nb"), std::string(1, '\0')})
        CHECK_FALSE(proxy::valid_session_id(id));
}

TEST_CASE("A session id opens only for whom it was sealed", "[proxy][session_ids]") {
    const auto engine = vault::open_in_memory();
    const test::ManualClock clock;
    test::make_store(*engine, clock);
    const test::OpenStore store(*engine, clock);

    const auto context_of = [](unsigned number) {
        vault::Session session;
        session.id.raw = test::id_of(number);
        proxy::SessionContext context;
        context.session = std::make_shared<const vault::Session>(std::move(session));
        return context;
    };
    const auto server_of = [](std::string name, unsigned credential) {
        proxy::ServerContext server{.name = std::move(name),
                                    .url = *policy::parse_server_url("https://a.example/mcp")};
        server.credential = credential_with({}, credential);
        return server;
    };
    const auto alice = context_of(1), bob = context_of(2);
    const auto server = server_of("upstream", 7);
    const auto sealed = proxy::seal_session_id(*store.keys, alice, server, "upstream-id");

    const auto opened = proxy::open_session_id(*store.keys, alice, server, sealed);
    REQUIRE(opened);
    CHECK(opened->upstream_id == "upstream-id");
    CHECK(opened->revision.empty());
    CHECK(sealed.find("upstream-id") == std::string::npos);
    CHECK(proxy::valid_session_id(sealed));
    CHECK(proxy::seal_session_id(*store.keys, alice, server, "upstream-id") != sealed);

    CHECK_FALSE(proxy::open_session_id(*store.keys, bob, server, sealed));
    CHECK_FALSE(proxy::open_session_id(*store.keys, alice, server_of("other", 7), sealed));
    CHECK_FALSE(proxy::open_session_id(*store.keys, alice, server_of("upstream", 8), sealed));
    CHECK_FALSE(proxy::open_session_id(*store.keys, alice, server, "upstream-id"));
    CHECK_FALSE(proxy::open_session_id(*store.keys, alice, server, ""));
    CHECK_FALSE(proxy::open_session_id(*store.keys, alice, server, std::string(100'000, 'A')));
    for (std::size_t i = 0; i < sealed.size(); ++i) {
        auto tampered = sealed;
        tampered[i] = tampered[i] == 'A' ? 'B' : 'A';
        CHECK_FALSE(proxy::open_session_id(*store.keys, alice, server, tampered));
        CHECK_FALSE(proxy::open_session_id(*store.keys, alice, server, sealed.substr(0, i)));
    }
    const auto longest = std::string(2'048, 'x');
    const auto with_revision =
        proxy::open_session_id(*store.keys, alice, server,
                               proxy::seal_session_id(*store.keys, alice, server, longest, "2025-03-26"));
    REQUIRE(with_revision);
    CHECK(with_revision->upstream_id == longest);
    CHECK(with_revision->revision == "2025-03-26");
    const auto strange = proxy::open_session_id(
        *store.keys, alice, server, proxy::seal_session_id(*store.keys, alice, server, "id", "a b"));
    REQUIRE(strange);  // a revision that no server has is none
    CHECK(strange->upstream_id == "id");
    CHECK(strange->revision.empty());
}
