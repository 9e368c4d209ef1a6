#include "proxy/relay.h"

#include "tests/support/proxy_gateway.h"
#include "tests/support/spec.h"
#include "vault/rotation.h"

#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <thread>

using namespace claviger;
using nlohmann::json;
using test::call_of;
using test::Gateway;
using test::http_answer;
using test::json_answer;
using test::sse_answer;
using vault::EntryKind;

namespace {

const std::string kResult = R"({"jsonrpc":"2.0","id":1,"result":{"content":[]}})";
const std::string kRpcError = R"({"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"Bad Request"}})";
const std::string kHtml = "<html>internal name of ours</html>";
const test::FieldList kJson{{"Content-Type", "application/json"}};

std::string list_with(std::string_view id, std::string_view more = {}) {
    return R"({"jsonrpc":"2.0","id":)" + std::string(id) +
           R"(,"result":{"tools":[{"name":"deploy","x": 1.50},{"name":"disabled"},{"name":"asks"}])" +
           std::string(more) + "}}";
}
std::string cut_list_with(std::string_view id, std::string_view more = {}) {
    return R"({"jsonrpc":"2.0","id":)" + std::string(id) +
           R"(,"result":{"tools":[{"name":"deploy","x": 1.50},{"name":"asks"}])" + std::string(more) + "}}";
}
const std::string kList = R"({"jsonrpc":"2.0","id":1,"method":"tools/list"})";

std::string_view reason_of(const vault::LogEntry& entry) { return vault::reason_code(entry.reason); }

/// head_timeout and stream_idle.
proxy::ProxySettings with_limits(std::chrono::milliseconds head, std::chrono::milliseconds idle) {
    auto settings = test::usual_settings();
    settings.head_timeout = head;
    settings.stream_idle = idle;
    return settings;
}

proxy::ProxySettings ending_after(std::chrono::milliseconds total) {
    auto settings = test::usual_settings();
    settings.total = total;
    return settings;
}

constexpr std::chrono::milliseconds kSoon{100}, kNever{3'600'000};
const std::string kEventsHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

}  // namespace

// --- what may pass

TEST_CASE("An answer that is no MCP answer is wrapped, and its text stays here", "[proxy][relay]") {
    struct Row {
        std::string_view what;
        std::string answer;
        unsigned status;
        int code;
        std::string_view reason;
    };
    const auto gzip = test::FieldList{{"Content-Type", "application/json"}, {"Content-Encoding", "gzip"}};
    const Row rows[] = {
        {"HTML", http_answer("200 OK", {{"Content-Type", "text/html"}}, kHtml), 200, 50201,
         "upstream.invalid"},
        {"text", http_answer("200 OK", {{"Content-Type", "text/plain; charset=utf-8"}}, kResult), 200, 50201,
         "upstream.invalid"},
        {"a type that only begins like JSON",
         http_answer("200 OK", {{"Content-Type", "application/jsonp"}}, kResult), 200, 50201,
         "upstream.invalid"},
        {"no type", http_answer("200 OK", {}, kResult), 200, 50201, "upstream.invalid"},
        {"two types",
         http_answer("200 OK", {{"Content-Type", "application/json"}, {"Content-Type", "text/html"}},
                     kResult),
         200, 50201, "upstream.invalid"},
        {"UTF-16", http_answer("200 OK", {{"Content-Type", "application/json; charset=utf-16"}}, kResult),
         200, 50201, "upstream.invalid"},
        {"UTF-7 in quotes",
         http_answer("200 OK", {{"Content-Type", "application/json;x=1; CharSet=\"utf-7\""}}, kResult), 200,
         50201, "upstream.invalid"},
        {"a stream in UTF-16",
         http_answer("200 OK", {{"Content-Type", "text/event-stream; charset=utf-16le"}}, "data: x\n\n"), 200,
         50201, "upstream.invalid"},
        {"an empty body", http_answer("200 OK", kJson, ""), 200, 50201, "upstream.invalid"},
        {"text that says it is JSON", http_answer("200 OK", kJson, kHtml), 200, 50201, "upstream.invalid"},
        {"202 to a request", http_answer("202 Accepted", {}, ""), 200, 50201, "upstream.invalid"},
        {"202 with JSON", http_answer("202 Accepted", kJson, kResult), 200, 50201, "upstream.invalid"},
        {"204 to a request", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 200, 50201,
         "upstream.invalid"},
        {"201", http_answer("201 Created", kJson, kResult), 200, 50201, "upstream.failed"},
        {"206", http_answer("206 Partial Content", kJson, kResult), 200, 50201, "upstream.failed"},
        {"a redirect", http_answer("302 Found", {{"Location", "https://evil.example/"}}, kHtml), 200, 50201,
         "upstream.redirect"},
        {"307", http_answer("307 Temporary Redirect", {{"Location", "/other"}}, ""), 200, 50201,
         "upstream.redirect"},
        {"401",
         http_answer("401 Unauthorized", {{"WWW-Authenticate", "Bearer resource_metadata=\"https://x\""}},
                     kHtml),
         200, 40302, "upstream.unauthorized"},
        {"403 with a JSON-RPC error", http_answer("403 Forbidden", kJson, kRpcError), 200, 40302,
         "upstream.forbidden"},
        {"500", http_answer("500 Internal Server Error", {{"Content-Type", "text/html"}}, kHtml), 200, 50201,
         "upstream.failed"},
        {"500 with JSON-RPC", http_answer("500 Internal Server Error", kJson, kRpcError), 200, 50201,
         "upstream.failed"},
        {"503", http_answer("503 Service Unavailable", {}, kHtml), 200, 50201, "upstream.failed"},
        {"compressed", http_answer("200 OK", gzip, kResult), 200, 50201, "upstream.invalid"},
        {"404 in HTML", http_answer("404 Not Found", {{"Content-Type", "text/html"}}, kHtml), 404, 50201,
         "upstream.failed"},
        {"404 in JSON that is no message",
         http_answer("404 Not Found", kJson, R"({"error":"internal name of ours"})"), 404, 50201,
         "upstream.failed"},
        {"400 in broken JSON",
         http_answer("400 Bad Request", kJson, R"({"jsonrpc":"2.0","internal name of ours)"), 400, 50201,
         "upstream.failed"},
        {"400 with JSON-RPC as text",
         http_answer("400 Bad Request", {{"Content-Type", "text/plain"}}, kRpcError), 400, 50201,
         "upstream.failed"},
        {"400 with JSON-RPC in UTF-16",
         http_answer("400 Bad Request", {{"Content-Type", "application/json;charset=utf-16"}}, kRpcError),
         400, 50201, "upstream.failed"},
        {"400 that is empty", http_answer("400 Bad Request", kJson, ""), 400, 50201, "upstream.failed"},
        {"400 that is far too long",
         http_answer("400 Bad Request", kJson,
                     R"({"jsonrpc":"2.0","x":")" + std::string(100'000, 'x') + "\"}"),
         400, 50201, "upstream.failed"},
        {"429 in JSON that is no message",
         http_answer("429 Too Many Requests", kJson, R"({"message":"internal name of ours"})"), 429, 50201,
         "upstream.failed"},
        {"429 in HTML", http_answer("429 Too Many Requests", {{"Content-Type", "text/html"}}, kHtml), 429,
         50201, "upstream.failed"},
        {"a session id with a space", json_answer(kResult, {{"Mcp-Session-Id", "a b"}}), 200, 50201,
         "upstream.invalid"},
        {"a session id beyond ASCII", json_answer(kResult, {{"Mcp-Session-Id", "s\xc3\xa9"}}), 200, 50201,
         "upstream.invalid"},
        {"a session id that is far too long",
         json_answer(kResult, {{"Mcp-Session-Id", std::string(9'000, 's')}}), 200, 50201, "upstream.invalid"},
    };
    std::string answer;
    Gateway gateway([&](const std::string&) { return answer; });
    std::size_t entries = 0;
    for (const auto& row : rows) {
        INFO(row.what);
        answer = row.answer;
        const auto reply = gateway.post(call_of("deploy"), {});
        CHECK(reply.status == row.status);
        CHECK(reply.complete);
        REQUIRE(json::accept(reply.body));
        CHECK(json::parse(reply.body)["id"] == 1);
        CHECK(json::parse(reply.body)["error"]["code"] == row.code);
        CHECK(reply.body.find("internal name") == std::string::npos);
        CHECK(reply.head.find("internal name") == std::string::npos);
        for (const auto* name :
             {"WWW-Authenticate", "Location", "Mcp-Session-Id", "Content-Encoding", "Set-Cookie", "Server"})
            CHECK(reply.field(name) == "(none)");
        entries += 2;
        const auto log = gateway.calls(entries);
        CHECK(reason_of(log.back()) == row.reason);
        CHECK(log.back().status == std::stoul(row.answer.substr(9, 3)));
    }
}

TEST_CASE("A server that breaks off is told to the agent as such", "[proxy][relay]") {
    std::string answer;
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        if (peer.request().empty()) return;
        peer.write(answer);
    }));
    std::string reason;
    SECTION("before it answers") { reason = "upstream.closed"; }
    SECTION("with something that is not HTTP") {
        answer = "SSH-2.0-OpenSSH\r\n\r\n";
        reason = "upstream.invalid";
    }
    SECTION("inside a body") {
        answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{";
        reason = "upstream.closed";
    }
    SECTION("inside a chunk") {
        answer =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{";
        reason = "upstream.closed";
    }
    const auto reply = gateway.post(call_of("deploy"));
    CHECK(reply.status == 200);
    CHECK(json::parse(reply.body)["error"]["code"] == 50201);
    CHECK(json::parse(reply.body)["error"]["data"]["code"] == reason);
    CHECK(reason_of(gateway.calls(2)[1]) == reason);
}

TEST_CASE("An unreachable server is told at once, and nothing hangs", "[proxy][relay]") {
    Gateway gateway;
    const auto port = [] { return test::RawUpstream([](test::Peer&) {}).port(); }();  // closed again
    auto agent = gateway.agent;
    agent.mcp_servers[0].url = agent.mcp_servers[0].normal_url =
        "http://127.0.0.1:" + std::to_string(port) + "/mcp";
    gateway.session.agent = agent;
    gateway.credential.normal_url = gateway.credential.mcp_server_url = agent.mcp_servers[0].url;
    gateway.store(gateway.session);
    gateway.change([&](vault::Change& now) {
        vault::SecretParts parts;
        parts.token = crypto::Secret::copy_of(Gateway::kSecret);
        now.note(vault::EntryKind::write, vault::Action::update, vault::ObjectKind::credential,
                 gateway.credential.id.raw);
        return now.store_with_secret(gateway.credential, parts);
    });
    const auto reply = gateway.post(call_of("deploy"));
    CHECK(json::parse(reply.body)["error"]["data"]["code"] == "upstream.unreachable");
    CHECK(reply.body.find("127.0.0.1") == std::string::npos);
    auto error = json::parse(reply.body)["error"];
    error.erase("code");  // a number of five digits, as the port is
    CHECK(error.dump().find(std::to_string(port)) == std::string::npos);
    CHECK(gateway.counters.upstream_failures == 1);
}

TEST_CASE("Errors in JSON-RPC pass with their status", "[proxy][relay]") {
    std::string answer;
    Gateway gateway([&](const std::string&) { return answer; });
    for (const std::string status :
         {"400 Bad Request", "404 Not Found", "405 Method Not Allowed", "406 Not Acceptable",
          "415 Unsupported Media Type", "429 Too Many Requests"}) {
        answer = http_answer(status,
                             {{"Content-Type", "application/json; charset=UTF-8"},
                              {"Retry-After", "7"},
                              {"Allow", "POST"},
                              {"RateLimit-Limit", "10"},
                              {"Set-Cookie", "a=b"},
                              {"Server", "x"},
                              {"Link", "<a>"},
                              {"Access-Control-Allow-Origin", "*"},
                              {"Alt-Svc", "h3"}},
                             kRpcError);
        const auto reply = gateway.post(call_of("deploy"));
        CHECK(std::to_string(reply.status) == status.substr(0, 3));
        CHECK(reply.body == kRpcError);
        CHECK(reply.field("Retry-After") == "7");
        CHECK(reply.field("Allow") == "POST");
        CHECK(reply.field("RateLimit-Limit") == "10");
        for (const auto* name : {"Set-Cookie", "Server", "Link", "Access-Control-Allow-Origin", "Alt-Svc"})
            CHECK(reply.field(name) == "(none)");
    }
    answer = http_answer("429 Too Many Requests",
                         {{"Content-Type", "application/json"}, {"Retry-After", "9"}}, "{}");
    CHECK(gateway.post(call_of("deploy")).field("Retry-After") == "9");
    answer = http_answer("503 Service Unavailable", {{"Retry-After", "11"}}, kHtml);
    CHECK(gateway.post(call_of("deploy")).field("Retry-After") == "11");
    answer = http_answer("405 Method Not Allowed", {{"Allow", "POST"}}, "no");
    CHECK(gateway.send("GET", "").field("Allow") == "POST");
}

TEST_CASE("What asks for nothing gets a status and no body", "[proxy][relay]") {
    struct Row {
        std::string_view method;
        std::string answer;
        unsigned status;
    };
    const Row rows[] = {
        {"POST", http_answer("202 Accepted", {}, ""), 202},
        {"POST", http_answer("202 Accepted", {{"Content-Type", "text/plain"}}, "Accepted"), 202},
        {"POST", http_answer("200 OK", {{"Content-Type", "text/html"}}, kHtml), 202},
        {"POST", http_answer("200 OK", kJson, kResult), 202},
        {"POST", sse_answer("data: " + kResult + "\n\n"), 202},
        {"POST", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204},
        {"POST", http_answer("400 Bad Request", {}, kHtml), 400},
        {"DELETE", http_answer("200 OK", {{"Content-Type", "text/html"}}, kHtml), 200},
        {"DELETE", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204},
        {"DELETE", http_answer("404 Not Found", {}, kHtml), 404},
    };
    std::string answer;
    Gateway gateway([&](const std::string&) { return answer; });
    for (const auto& row : rows) {
        answer = row.answer;
        INFO(row.method << " " << row.answer);
        const auto reply = gateway.send(
            row.method,
            row.method == "POST" ? R"({"jsonrpc":"2.0","method":"notifications/initialized"})" : "");
        CHECK(reply.status == row.status);
        CHECK(reply.complete);
        if (row.status < 300) {
            CHECK(reply.body.empty());
        } else {
            CHECK(json::parse(reply.body)["error"]["code"] == 50201);
        }
        CHECK(reply.body.find("internal name") == std::string::npos);
    }
    // A response to the server's own question is forwarded as it is.
    answer = http_answer("202 Accepted", {}, "");
    const std::string response = R"({"jsonrpc":"2.0","id":"srv-1","result":{"model":"m"}})";
    CHECK(gateway.post(response).status == 202);
    CHECK(gateway.seen.last().ends_with(response));
}

TEST_CASE("A GET opens an event stream or is refused", "[proxy][relay]") {
    std::string answer;
    Gateway gateway([&](const std::string&) { return answer; });
    const std::string events =
        ": hello\n\nid: 1\nretry: 5\ndata:\n\ndata: "
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n";
    answer = json_answer(kResult, {{"Mcp-Session-Id", "upstream's"}});
    const auto session = gateway.post(call_of("deploy")).field("Mcp-Session-Id");
    answer = sse_answer(events);
    const auto stream = gateway.send("GET", "", {{"Last-Event-ID", "e-7"}, {"Mcp-Session-Id", session}});
    CHECK(stream.status == 200);
    CHECK(stream.field("Content-Type") == "text/event-stream");
    CHECK(stream.body == events);
    CHECK(gateway.seen.last().find("Last-Event-ID: e-7\r\n") != std::string::npos);
    answer = json_answer(kResult);
    CHECK(gateway.send("GET", "").status == 502);
    answer = http_answer("200 OK", {{"Content-Type", "text/html"}}, kHtml);
    CHECK(gateway.send("GET", "").status == 502);
    answer = http_answer("405 Method Not Allowed", {}, kHtml);
    CHECK(gateway.send("GET", "").status == 405);
    gateway.send("GET", "a body nobody has decided on");
    CHECK(gateway.seen.last().ends_with("\r\n\r\n"));
}

// --- streams

TEST_CASE("Events pass byte for byte until the response", "[proxy][relay]") {
    const std::string events =
        "\xef\xbb\xbf: comment\r\n\r\nid: 4\r\ndata: "
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\r\n\r\n"
        "event: message\ndata: " +
        kResult + "\n\n";
    Gateway gateway([&](const std::string&) { return sse_answer(events); });
    for (const bool modern : {false, true}) {
        const auto reply =
            modern ? gateway.post(test::modern_call_of("deploy"), test::modern_fields("tools/call", "deploy"))
                   : gateway.post(call_of("deploy"));
        CHECK(reply.body == events);
        CHECK(reply.complete);
    }
    CHECK(reason_of(gateway.calls(4)[3]).empty());
}

TEST_CASE("A stream that ends without its response ends with an error event", "[proxy][relay]") {
    std::string events;
    Gateway gateway([&](const std::string&) { return sse_answer(events); });
    const auto last_error = [](const test::AgentReply& reply) {
        const auto at = reply.body.rfind("data: ");
        REQUIRE(at != reply.body.npos);
        return json::parse(reply.body.substr(at + 6))["error"];
    };
    for (const std::string begun :
         {"", ": ping\n\n", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n",
          "data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n",
          "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"res"}) {
        events = begun;
        INFO(events);
        const auto reply = gateway.post(call_of("deploy"));
        CHECK(reply.complete);
        CHECK(reply.body.starts_with(events));
        CHECK(last_error(reply)["data"]["code"] == "upstream.closed");
        CHECK(last_error(reply)["data"]["hint"].get<std::string>().find("carried out") != std::string::npos);
    }
    events = "id: 7\ndata:\n\n";  // nobody comes back with this id: the modern era has none
    CHECK(last_error(gateway.post(test::modern_call_of("deploy"),
                                  test::modern_fields("tools/call", "deploy")))["code"] == 50201);
}

TEST_CASE("Only to an agent with a session is a stream left that it can fetch the rest of",
          "[proxy][relay]") {
    const std::string events = "id: 7\ndata:\n\n";
    std::string answer = json_answer(kResult, {{"Mcp-Session-Id", "upstream's"}});
    Gateway gateway([&](const std::string&) { return answer; });
    const auto session = gateway.post(call_of("deploy")).field("Mcp-Session-Id");
    for (const auto& message :
         {call_of("deploy"), kList}) {  // a list is cut down, so it has a way of its own
        INFO(message);
        answer = sse_answer(events);
        CHECK(gateway.post(message, {{"Mcp-Session-Id", session}}).body == events);
        const auto alone = gateway.post(message).body;
        CHECK(alone.starts_with(events));
        CHECK(alone.find("upstream.closed") != alone.npos);
        answer.insert(answer.find("\r\n") + 2, "Mcp-Session-Id: another\r\n");
        CHECK(gateway.post(message).body == events);
    }
}

// --- servers that say nothing

TEST_CASE("A call whose answer does not come in time ends with an error", "[proxy][relay]") {
    std::string begun;
    auto limits = with_limits(kNever, kSoon);
    SECTION("nothing of it") { limits = with_limits(kSoon, kNever); }
    SECTION("a body that stops") {
        begun = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    }
    SECTION("a stream that stops") { begun = kEventsHead + ": begun\n\n"; }
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
                        peer.request();
                        peer.write(begun);
                        peer.client_closed();
                    }),
                    limits);
    const auto reply = gateway.post(call_of("deploy"));
    CHECK(reply.status == 200);
    CHECK(reply.complete);
    const auto error = json::parse(reply.body.substr(reply.body.find('{')))["error"];
    CHECK(error["code"] == 50401);
    CHECK(error["data"]["code"] == "upstream.timeout");
    CHECK(reason_of(gateway.calls(2)[1]) == "upstream.timeout");
}

TEST_CASE("A stream of notifications may be silent for longer than the answer to a call", "[proxy][relay]") {
    const std::string event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n";
    const bool is_get = GENERATE(true, false);
    const auto last = is_get ? event : "data: " + kResult + "\n\n";
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
                        peer.request();
                        peer.write(kEventsHead + event);
                        std::this_thread::sleep_for(6 * kSoon);  // a deadline tick late is still too early
                        peer.write(last);
                    }),
                    with_limits(std::chrono::seconds(8), kSoon));
    const auto listen = json{{"jsonrpc", "2.0"},
                             {"id", 1},
                             {"method", "subscriptions/listen"},
                             {"params",
                              {{"notifications", json::object()},
                               {"_meta",
                                {{"io.modelcontextprotocol/protocolVersion", "2026-07-28"},
                                 {"io.modelcontextprotocol/clientCapabilities", json::object()}}}}}};
    const auto reply = is_get ? gateway.send("GET", "")
                              : gateway.post(listen.dump(), test::modern_fields("subscriptions/listen"));
    CHECK(reply.body == event + last);
    CHECK(reason_of(gateway.calls(2)[1]).empty());
}

TEST_CASE("A modern client that leaves cancels the call, a legacy one does not", "[proxy][relay]") {
    std::atomic<bool> closed{false}, go_on{false};
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        const auto request = peer.request();
        peer.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: begun\n\n");
        if (request.find("Mcp-Method") != request.npos) {
            closed = peer.client_closed();
        } else {
            test::soon([&] { return go_on.load(); });
            peer.write("data: " + kResult + "\n\n");
        }
    }));
    {
        auto client = gateway.connect();
        client.send(gateway.request_text("POST", test::modern_call_of("deploy"),
                                         test::modern_fields("tools/call", "deploy")));
        CHECK(client.until(": begun").ends_with(": begun"));
    }
    CHECK(test::soon([&] { return closed.load(); }));
    CHECK(reason_of(gateway.calls(2)[1]) == "client.gone");
    {
        auto client = gateway.connect();
        client.send(gateway.request_text("POST", call_of("deploy"), {}));
        CHECK(client.until(": begun").ends_with(": begun"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    go_on = true;
    const auto outcome = gateway.calls(4)[3];
    CHECK(reason_of(outcome).empty());
    CHECK(outcome.response_bytes > kResult.size());  // read to its end, although nobody was there
}

TEST_CASE("A call has an end, however its answer comes", "[proxy][relay]") {
    struct Row {
        std::string_view what, begun, more;
        unsigned status;
    };
    const std::string json =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{";
    const std::string events =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: hi\n\n";
    const std::string long_json = json + std::string(100'000, ' ');
    const Row rows[] = {{"as a head that does not come", "", "", 200},
                        {"as JSON, byte by byte", json, " ", 200},
                        {"as long JSON, which has begun", long_json, " ", 200},
                        {"as events, one after another", events, ": more\n\n", 200}};
    const auto& row = rows[GENERATE(0, 1, 2, 3)];
    INFO(row.what);
    const auto total = std::chrono::seconds(row.begun == long_json ? 3 : 1);  // until then it must have begun
    std::atomic<bool> ended{false};
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
                        if (peer.request().empty()) return;
                        peer.write(row.begun);
                        std::thread dripping([&] {
                            while (!ended) {
                                peer.write(row.more);
                                std::this_thread::sleep_for(std::chrono::milliseconds(20));
                            }
                        });
                        ended = peer.client_closed();
                        dripping.join();
                    }),
                    ending_after(total));
    const auto reply = gateway.post(call_of("deploy"));
    CHECK(reply.status == row.status);
    if (row.begun == long_json) {
        CHECK_FALSE(reply.complete);  // what has begun cannot be taken back
    } else {
        CHECK(reply.complete);
        const auto at = reply.body.rfind("{\"jsonrpc\"");
        REQUIRE(at != reply.body.npos);
        const auto error = json::parse(reply.body.substr(at))["error"];
        CHECK(error["code"] == 50401);
        CHECK(error["data"]["hint"].get<std::string>().find("carried out") != std::string::npos);
    }
    CHECK(test::soon([&] { return ended.load(); }));
    CHECK(reason_of(gateway.calls(2)[1]) == "upstream.timeout");
}

TEST_CASE("Streams that nobody waits for have no such end", "[proxy][relay]") {
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
                        peer.request();
                        peer.write(sse_answer(": hi\n\n"));
                        std::this_thread::sleep_for(std::chrono::milliseconds(2'500));
                        peer.write(": still here\n\n");
                    }),
                    ending_after(std::chrono::seconds(1)));
    CHECK(gateway.send("GET", "").body == ": hi\n\n: still here\n\n");
}

TEST_CASE("An answer that nobody hears is read for a while only", "[proxy][relay]") {
    const bool fast = GENERATE(true, false);
    const std::string event = ": " + std::string(fast ? 10'000 : 10, 'x') + "\n\n";
    std::atomic<bool> ended{false};
    std::atomic<std::size_t> sent{0};
    auto settings = test::usual_settings();
    settings.abandoned = fast ? std::chrono::minutes(5) : std::chrono::seconds(1);
    settings.abandoned_bytes = 1'000'000;
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
                        if (peer.request().empty()) return;
                        peer.write(sse_answer(": begun\n\n"));
                        std::thread writing([&] {
                            while (!ended) {
                                peer.write(event);
                                sent += event.size();
                                if (!fast) std::this_thread::sleep_for(std::chrono::milliseconds(20));
                            }
                        });
                        ended = peer.client_closed();
                        writing.join();
                    }),
                    settings);
    {
        auto client = gateway.connect();
        client.send(gateway.request_text("POST", call_of("deploy"), {}));
        CHECK(client.until(": begun").ends_with(": begun"));
    }
    const auto outcome = gateway.calls(2)[1];
    CHECK(reason_of(outcome) == "client.gone");
    CHECK((outcome.response_bytes > 1'000'000) == fast);
    CHECK(test::soon([&] { return ended.load(); }));
}

TEST_CASE("A call that waits for its answer ends with what allowed it", "[proxy][relay]") {
    const std::string begun = GENERATE(
        "", "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{");
    std::atomic<bool> asked{false}, gone{false};
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        peer.request();
        peer.write(begun);
        asked = true;
        gone = peer.client_closed();
    }));
    auto client = gateway.connect();
    client.send(gateway.request_text("POST", call_of("deploy"), {}));
    REQUIRE(test::soon([&] { return asked.load(); }));

    std::string expected = "session.token_unknown";
    SECTION("its token is revoked") {
        gateway.session_token.revoked = gateway.clock.now();
        gateway.store(gateway.session_token);
    }
    SECTION("its session is archived") {
        gateway.session.archived = gateway.clock.now();
        gateway.store(gateway.session);
        expected = "session.terminated";
    }
    SECTION("the credential's vault is archived") {
        gateway.vault.archived = gateway.clock.now();
        gateway.store(gateway.vault);
        expected = "credential.archived";
    }
    const auto reply = client.rest();
    CHECK(reply.find(expected) != reply.npos);
    CHECK(reply.find("may have been carried out") != reply.npos);
    CHECK(reason_of(gateway.calls(2)[1]) == expected);
    CHECK(test::soon([&] { return gone.load(); }));
}

TEST_CASE("A call that waits for its answer goes on when nothing was taken away", "[proxy][relay]") {
    std::atomic<bool> asked{false}, go_on{false};
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        peer.request();
        asked = true;
        test::soon([&] { return go_on.load(); });
        peer.write(json_answer(kResult));
        peer.client_closed();
    }));
    auto client = gateway.connect();
    client.send(gateway.request_text("POST", call_of("deploy"), {}));
    REQUIRE(test::soon([&] { return asked.load(); }));
    gateway.environment.updated = gateway.clock.now();
    gateway.store(gateway.environment);
    std::this_thread::sleep_for(std::chrono::milliseconds(1'600));  // it is looked at every second
    go_on = true;
    client.until("\"result\"");
    CHECK(reason_of(gateway.calls(2)[1]).empty());
}

TEST_CASE("When its session token has ended a stream ends, and a call a minute later", "[proxy][relay]") {
    std::atomic<bool> asked{false}, go_on{false};
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        if (peer.request().starts_with("GET")) {
            peer.write(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: begun\n\n");
            peer.client_closed();
            return;
        }
        asked = true;
        test::soon([&] { return go_on.load(); });
        peer.write(json_answer(kResult));
        peer.client_closed();
    }));
    gateway.session_token.expires = gateway.clock.now() + std::chrono::hours(1);
    gateway.store(gateway.session_token);
    auto stream = gateway.connect(), call = gateway.connect();
    stream.send(gateway.request_text("GET", "", {}));
    stream.until(": begun");
    call.send(gateway.request_text("POST", call_of("deploy"), {}));
    REQUIRE(test::soon([&] { return asked.load(); }));

    gateway.clock.advance(std::chrono::hours(1));
    CHECK(stream.rest().ends_with("0\r\n\r\n"));
    const bool in_time = GENERATE(true, false);
    if (in_time)
        go_on = true;
    else
        gateway.clock.advance(std::chrono::minutes(1));
    call.until(in_time ? "\"result\"" : "session.token_expired");
    go_on = true;
    const auto entries = gateway.calls(4);
    CHECK(std::ranges::count_if(entries, [](const auto& entry) {
              return reason_of(entry) == "session.token_expired";
          }) == (in_time ? 1 : 2));
}

TEST_CASE("Long JSON ends with what allowed it", "[proxy][relay]") {
    std::atomic<bool> go_on{false};
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        peer.request();
        peer.write(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"first\":1" +
            std::string(100'000, ' '));
        test::soon([&] { return go_on.load(); });
        peer.write(R"(,"second":2})");
        peer.client_closed();
    }));
    auto client = gateway.connect();
    client.send(gateway.request_text("POST", call_of("deploy"), {}));
    client.until("first");

    gateway.session.archived = gateway.clock.now();
    gateway.store(gateway.session);
    const bool silent = GENERATE(true, false);
    if (!silent) go_on = true;
    CHECK(client.rest().find("second") == std::string::npos);
    CHECK(reason_of(gateway.calls(2)[1]) == "session.terminated");
    go_on = true;
}

TEST_CASE("What comes on a stream after a revocation reaches nobody", "[proxy][relay]") {
    std::atomic<bool> go_on{false};
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        peer.request();
        const auto event = [](const std::string& method) {
            return R"(data: {"jsonrpc":"2.0","method":")" + method + "\"}\n\n";
        };
        peer.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        peer.write(event("first"));
        test::soon([&] { return go_on.load(); });
        peer.write(event("second"));
        peer.client_closed();
    }));
    const bool is_get = GENERATE(true, false);
    auto client = gateway.connect();
    client.send(gateway.request_text(is_get ? "GET" : "POST", is_get ? "" : call_of("deploy"), {}));
    CHECK(client.until("first\"}\n\n").ends_with("first\"}\n\n"));

    std::string_view expected = "session.token_unknown";
    const int what = GENERATE(0, 1, 2, 3);
    if (what == 0) {
        gateway.session_token.revoked = gateway.clock.now();
        gateway.store(gateway.session_token);
    } else if (what == 1) {
        gateway.session.archived = gateway.clock.now();
        gateway.store(gateway.session);
        expected = "session.terminated";
    } else if (what == 2) {
        gateway.vault.archived = gateway.clock.now();
        gateway.store(gateway.vault);
        expected = "credential.archived";
    } else {
        gateway.environment.updated = gateway.clock.now();  // a change that takes nothing away
        gateway.store(gateway.environment);
    }
    go_on = true;
    if (what == 3) {
        CHECK(client.until("second").ends_with("second"));
        return;
    }
    const auto rest = client.rest();
    CHECK(rest.find("second") == rest.npos);
    CHECK(rest.ends_with("0\r\n\r\n"));  // in good order
    CHECK((rest.find("\"id\":1") != rest.npos) != is_get);
    CHECK(reason_of(gateway.calls(2)[1]) == expected);
}

TEST_CASE("A stream on which nothing comes ends with what allowed it", "[proxy][relay]") {
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        peer.request();
        peer.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        peer.client_closed();
    }));
    const bool is_get = GENERATE(true, false);
    auto client = gateway.connect();
    client.send(gateway.request_text(is_get ? "GET" : "POST", is_get ? "" : call_of("deploy"), {}));
    client.until("\r\n\r\n");

    gateway.session.archived = gateway.clock.now();
    gateway.store(gateway.session);
    CHECK(client.rest().ends_with("0\r\n\r\n"));
    CHECK(reason_of(gateway.calls(2)[1]) == "session.terminated");
}

TEST_CASE("A stream ends when its value is retired, and a call's a minute later", "[proxy][relay]") {
    std::atomic<int> events{1};
    std::atomic<bool> asked{false}, waiting_ended{false};
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        if (peer.request().find("\"id\":2") != std::string::npos) {
            asked = true;
            waiting_ended = peer.client_closed();
            return;
        }
        peer.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        for (int sent = 0; sent < 3; ++sent) {
            test::soon([&] { return events.load() > sent; });
            peer.write("data: {\"jsonrpc\":\"2.0\",\"method\":\"event" + std::to_string(sent) + "\"}\n\n");
        }
        peer.client_closed();
    }));
    auto stream = gateway.connect(), call = gateway.connect(), waiting = gateway.connect();
    auto second = json::parse(call_of("deploy"));
    second["id"] = 2;
    waiting.send(gateway.request_text("POST", second.dump(), {}));
    REQUIRE(test::soon([&] { return asked.load(); }));
    stream.send(gateway.request_text("GET", "", {}));
    call.send(gateway.request_text("POST", call_of("deploy"), {}));
    stream.until("event0\"}\n\n");
    call.until("event0\"}\n\n");

    const auto step = [&](vault::Action action, auto&& take) {
        gateway.change([&](vault::Change& now) -> base::Status {
            now.note(EntryKind::rotate, action, vault::ObjectKind::credential, gateway.credential.id.raw);
            gateway.credential = *now.catalog().find<vault::Credential>(gateway.credential.id);
            const base::Result<vault::Rotation> taken = take(now);
            return taken ? base::Status() : std::unexpected(taken.error());
        });
    };
    step(vault::Action::stage, [&](vault::Change& now) {
        vault::SecretParts next;
        next.token = crypto::Secret::copy_of(std::string_view("the-next-one"));
        return vault::stage_value(now, gateway.credential, next, {});
    });
    step(vault::Action::promote, [&](vault::Change& now) {
        return vault::promote_value(now, gateway.credential, gateway.credential.version + 1,
                                    {.verified = true, .kept_until = now.now() + std::chrono::hours(1)});
    });
    events = 2;
    stream.until("event1\"}\n\n");  // while the value is kept nothing ends
    call.until("event1\"}\n\n");

    step(vault::Action::retire, [&](vault::Change& now) {
        return vault::retire_value(now, gateway.credential, vault::ValueState::previous);
    });
    CHECK(stream.rest().ends_with("0\r\n\r\n"));  // although nothing comes on it
    events = 3;
    call.until("event2\"}\n\n");
    CHECK_FALSE(waiting_ended);
    gateway.clock.advance(std::chrono::minutes(1));
    CHECK(call.rest().find("credential.retired") != std::string::npos);
    CHECK(waiting.rest().find("credential.retired") != std::string::npos);
    for (const auto& entry : gateway.calls(6))
        if (entry.kind == EntryKind::use_outcome) CHECK(reason_of(entry) == "credential.retired");
}

TEST_CASE("Connections to a server are kept, and shared by nobody who uses another credential version",
          "[proxy][relay]") {
    Gateway gateway([](const std::string&) { return json_answer(kResult); });
    for (int i = 0; i < 3; ++i) CHECK(gateway.post(call_of("deploy")).status == 200);
    CHECK(gateway.seen.connection(2) == 0);
    gateway.change([&](vault::Change& now) {
        vault::SecretParts parts;
        parts.token = crypto::Secret::copy_of(std::string_view("the next token"));
        now.note(vault::EntryKind::rotate, vault::Action::update, vault::ObjectKind::credential,
                 gateway.credential.id.raw);
        return now.store_with_secret(gateway.credential, parts);
    });
    CHECK(gateway.post(call_of("deploy")).status == 200);
    CHECK(gateway.seen.connection(3) == 1);
    CHECK(gateway.seen.last().find("Bearer the next token\r\n") != std::string::npos);
}

// --- sessions

TEST_CASE("An agent holds a sealed session id, and only its own", "[proxy][relay]") {
    Gateway gateway([](const std::string& request) {
        return request.find("initialize") != request.npos
                   ? json_answer(kResult, {{"Mcp-Session-Id", "upstream-session-1"}})
                   : json_answer(kResult);
    });
    const std::string initialize =
        R"({"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}})";
    const auto first = gateway.post(initialize);
    const auto id = first.field("Mcp-Session-Id");
    CHECK(id.size() > 30);
    CHECK(first.head.find("upstream-session-1") == std::string::npos);

    CHECK(gateway.post(call_of("deploy"), {{"Mcp-Session-Id", id}}).status == 200);
    CHECK(gateway.seen.last().find("Mcp-Session-Id: upstream-session-1\r\n") != std::string::npos);
    CHECK(gateway.post(initialize, {{"Mcp-Session-Id", id}}).field("Mcp-Session-Id") ==
          id);  // the same goes back

    const auto before = gateway.seen.count();
    const auto other = gateway.open_session();
    for (const auto& [what, token, given] :
         {std::tuple{"another agent's", other, id},
          std::tuple{"the upstream's own", gateway.token, std::string("upstream-session-1")},
          std::tuple{"tampered", gateway.token, id.substr(1)}}) {
        INFO(what);
        const auto refused = gateway.post(call_of("deploy"),
                                          {{"Authorization", "Bearer " + token}, {"Mcp-Session-Id", given}});
        CHECK(refused.status == 404);
        CHECK(json::parse(refused.body)["error"]["code"] == -32001);
        CHECK(json::parse(refused.body)["id"] == 1);
    }
    CHECK(gateway.seen.count() == before);
}

TEST_CASE("A session that its server no longer knows is gone for the agent, however the server says it",
          "[proxy][relay]") {
    const auto rpc = [](std::string_view id, std::string_view message) {
        return R"({"jsonrpc":"2.0","id":)" + std::string(id) + R"(,"error":{"code":-32000,"message":")" +
               std::string(message) + "\"}}";
    };
    const auto bad_request = [](const test::FieldList& fields, std::string_view body) {
        return http_answer("400 Bad Request", fields, body);
    };
    const test::FieldList html{{"Content-Type", "text/html; charset=utf-8"}};
    struct Row {
        std::string_view what, method;
        std::string answer;
        unsigned status;
        int code;
        std::string_view reason;
    };
    const Row rows[] = {
        {"404 in HTML", "POST", http_answer("404 Not Found", html, kHtml), 404, -32001, "session.unknown"},
        {"404 without a body", "GET", http_answer("404 Not Found", {}, ""), 404, -32001, "session.unknown"},
        {"400 as the SDK's examples have it", "POST",
         bad_request(kJson, rpc("null", "Bad Request: No valid session ID provided")), 404, -32001,
         "session.unknown"},
        {"400 with an id of the server's own", "POST",
         bad_request(kJson, rpc("\"server-error\"", "Unknown Session")), 404, -32001, "session.unknown"},
        {"400 in a few words", "GET", bad_request(html, "Invalid or missing session ID"), 404, -32001,
         "session.unknown"},
        {"404 in JSON-RPC", "POST", http_answer("404 Not Found", kJson, rpc("null", "Not found")), 404,
         -32000, ""},
        {"400 that answers the message", "POST", bad_request(kJson, rpc("1", "Invalid session")), 400, -32000,
         ""},
        {"400 about something else", "POST", bad_request(kJson, rpc("null", "Parse error")), 400, -32000, ""},
        {"400 in HTML", "POST", bad_request(html, kHtml), 400, 50201, "upstream.failed"},
        {"400 in many words", "POST", bad_request(html, "session" + std::string(300, '.')), 400, 50201,
         "upstream.failed"},
        {"405", "GET", http_answer("405 Method Not Allowed", html, "no session"), 405, 50201,
         "upstream.failed"},
    };
    std::string answer = json_answer(kResult, {{"Mcp-Session-Id", "upstream-session-1"}});
    Gateway gateway([&](const std::string&) { return answer; });
    const auto session = gateway.post(call_of("deploy")).field("Mcp-Session-Id");
    std::size_t entries = 2;
    for (const auto& row : rows) {
        INFO(row.what);
        answer = row.answer;
        const auto body = row.method == "POST" ? call_of("deploy") : std::string();
        const auto reply = gateway.send(row.method, body, {{"Mcp-Session-Id", session}});
        CHECK(reply.status == row.status);
        REQUIRE(json::accept(reply.body));
        CHECK(json::parse(reply.body)["error"]["code"] == row.code);
        CHECK(reason_of(gateway.calls(entries += 2).back()) == row.reason);
        const auto outside = gateway.send(row.method, body);  // of a session: there is none to lose
        CHECK(outside.status == std::stoul(row.answer.substr(9, 3)));
        CHECK(json::parse(outside.body)["error"]["code"] != -32001);
        gateway.calls(entries += 2);
    }
}

TEST_CASE("Modern messages know no session ids", "[proxy][relay]") {
    Gateway gateway(
        [](const std::string&) { return json_answer(kResult, {{"Mcp-Session-Id", "upstream-session-1"}}); });
    auto fields = test::modern_fields("tools/call", "deploy");
    fields.emplace_back("Mcp-Session-Id", "anything");
    const auto reply = gateway.post(test::modern_call_of("deploy"), fields);
    CHECK(reply.status == 200);
    CHECK(reply.field("Mcp-Session-Id") == "(none)");
    CHECK(gateway.seen.last().find("Mcp-Session-Id") == std::string::npos);
}

// --- tool lists

TEST_CASE("A tool list shows what the agent may call, however it comes", "[proxy][relay]") {
    std::string answer, expected;
    SECTION("as JSON") {
        answer = json_answer(list_with("1"));
        expected = cut_list_with("1");
    }
    SECTION("as an event") {
        answer = sse_answer(": hi\n\nid: 3\nretry: 10\ndata: " + list_with("1") + "\n\n");
        expected = ": hi\n\nevent: message\nid: 3\nretry: 10\ndata: " + cut_list_with("1") + "\n\n";
    }
    SECTION("as an event for an id that was never asked for, too") {
        answer = sse_answer("data: " + list_with("99") + "\n\ndata: " + list_with("1") + "\n\n");
        expected = "event: message\ndata: " + cut_list_with("99") +
                   "\n\nevent: message\ndata: " + cut_list_with("1") + "\n\n";
    }
    SECTION("as a batch") {
        answer = json_answer("[" + list_with("1") + "]");
        expected = "[" + cut_list_with("1") + "]";
    }
    SECTION("far longer than one piece") {
        const auto more = R"(,"pad":")" + std::string(300'000, 'x') + "\"";
        answer = json_answer(list_with("1", more));
        expected = cut_list_with("1", more);
    }
    SECTION("with the secret in it") {
        answer = json_answer(list_with("1", R"(,"t":")" + std::string(Gateway::kSecret) + "\""));
        expected = cut_list_with("1", R"(,"t":")" + std::string(Gateway::kSecret.size(), '*') + "\"");
    }
    Gateway gateway([&](const std::string&) { return answer; });
    const auto reply = gateway.post(kList);
    CHECK(reply.body == expected);
    CHECK(reply.complete);
}

TEST_CASE("A tool list that cannot be read shows nothing", "[proxy][relay]") {
    std::string answer;
    const auto broken = list_with("1") + "}";
    SECTION("as JSON") { answer = json_answer(broken); }
    SECTION("as an event") { answer = sse_answer("data: " + broken + "\n\n"); }
    SECTION("in an event cut short") { answer = sse_answer("data: " + list_with("1")); }
    Gateway gateway([&](const std::string&) { return answer; });
    const auto reply = gateway.post(kList);
    CHECK(reply.body.find("disabled") == std::string::npos);
    CHECK(reply.body.find("50201") != std::string::npos);
}

TEST_CASE("A tool list that was asked for before is cut on a resumed stream", "[proxy][relay]") {
    Gateway gateway([](const std::string&) {
        return sse_answer("id: 1\ndata: " + list_with("1") + "\n\ndata: not json but " + list_with("2") +
                          "\n\n: end\n\n");
    });
    const auto reply = gateway.send("GET", "", {{"Last-Event-ID", "0"}});
    CHECK(reply.body == "event: message\nid: 1\ndata: " + cut_list_with("1") + "\n\n: end\n\n");
}

TEST_CASE("Where nothing is hidden the list passes as it comes", "[proxy][relay]") {
    const auto list = " " + list_with("1") + "\n";
    Gateway gateway([&](const std::string&) { return json_answer(list); });
    gateway.session.agent.toolsets[0].configs.clear();
    gateway.store(gateway.session);
    CHECK(gateway.post(kList).body == list);
}
