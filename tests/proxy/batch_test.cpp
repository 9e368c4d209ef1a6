// A batch is nothing but its messages: whatever is refused alone is refused in an array, too.
#include "proxy/batch.h"

#include "net/sse.h"
#include "tests/support/proxy_gateway.h"
#include "tests/support/spec.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

using namespace claviger;
using nlohmann::json;
using test::Gateway;
using test::json_answer;
using test::sse_answer;
using vault::EntryKind;

namespace {

std::string request_of(std::string_view id, std::string_view method, std::string_view params = {}) {
    return R"({"jsonrpc":"2.0","id":)" + std::string(id) + R"(,"method":")" + std::string(method) + "\"" +
           (params.empty() ? "" : R"(,"params":)" + std::string(params)) + "}";
}
const std::string kPing = request_of("1", "ping");
const std::string kNotification = R"({"jsonrpc":"2.0","method":"notifications/roots/list_changed"})";
const std::string kResponse = R"({"jsonrpc":"2.0","id":1,"result":{}})";

std::string tool_call(std::string_view id, std::string_view tool) {
    return request_of(id, "tools/call", R"({"name":")" + std::string(tool) + "\"}");
}

json sent_to_upstream(const std::string& request) {
    return json::parse(request.substr(request.find("\r\n\r\n") + 4));
}

/// Answers every request with its own id and its method.
std::string faithful(const std::string& request) {
    const auto message = sent_to_upstream(request);
    if (!message.contains("id") || !message.contains("method"))
        return test::http_answer("202 Accepted", {}, "");
    return json_answer(
        json{{"jsonrpc", "2.0"}, {"id", message["id"]}, {"result", {{"was", message["method"]}}}}.dump());
}

std::string initialize_result(std::string_view revision) {
    return R"({"jsonrpc":"2.0","id":1,"result":{"protocolVersion":")" + std::string(revision) +
           R"(","capabilities":{}}})";
}

/// The error of parsing, as code and message.
std::string parse_error(std::string_view body) {
    const auto parsed = proxy::parse_batch(body, {});
    return parsed ? "" : std::string(parsed.error().code) + ": " + parsed.error().message;
}

}  // namespace

TEST_CASE("A batch is taken apart strictly, and one bad message refuses all", "[proxy][batch]") {
    const auto body = " [" + kPing + " , " + kNotification + "]\n";
    const auto parsed = proxy::parse_batch(body, {});
    REQUIRE(parsed);
    REQUIRE(parsed->size() == 2);
    CHECK((*parsed)[0].text == kPing);
    CHECK((*parsed)[1].text == kNotification);
    CHECK(proxy::parse_batch("[" + kResponse + "]", {}));

    struct Row {
        std::string body;
        std::string_view error;
    };
    std::string many;
    for (int i = 0; i < 33; ++i) many += (i ? "," : "") + request_of(std::to_string(i), "ping");
    const Row rows[] = {
        {"[]", "rpc.batch: The batch is empty."},
        {"[[" + kPing + "]]", "rpc.batch: A batch cannot hold another batch."},
        {"[" + kPing + ",[]]", "rpc.batch: A batch cannot hold another batch."},
        {"[" + many + "]", "rpc.batch: The batch has more than 32 messages."},
        {"[" + kPing + "," + kPing + "]", "rpc.batch: Two requests of the batch have the same id."},
        {"[" + kPing + "," + kResponse + "]",
         "rpc.batch: A batch holds requests and notifications, or responses, but not both."},
        {"[" + request_of("1", "initialize") + "]", "rpc.batch: An initialize cannot be part of a batch."},
        {"[" + kPing + "," + test::modern_call_of("deploy") + "]",
         "rpc.batch: A message of a protocol revision without batches is part of a batch."},
        {"[1]", "rpc.invalid: A JSON-RPC message is an object."},
        {"[" + kPing + R"(,{"jsonrpc":"2.0","id":2,"method":"ping","Method":"tools/call"}])",
         "rpc.duplicate_key: A key that decides what the message means appears twice, or in another "
         "spelling."},
    };
    for (const auto& row : rows) {
        CAPTURE(row.body);
        CHECK(parse_error(row.body) == row.error);
    }
    for (const auto* broken : {"[", "[{}", "[{},]", "[] []"})
        CHECK(parse_error(broken).starts_with("json.invalid"));
}

TEST_CASE("Every message of a batch is sent, answered and noted on its own", "[proxy][batch]") {
    Gateway gateway(faithful);
    const auto reply = gateway.post(
        "[" + tool_call("7", "deploy") + "," + kNotification + "," + request_of("\"a\"", "ping") + "]",
        {{"Mcp-Method", "tools/list"}, {"Mcp-Name", "x"}});
    CHECK(reply.status == 200);
    CHECK(reply.field("Content-Type") == "application/json");
    const auto answers = json::parse(reply.body);
    REQUIRE(answers.size() == 2);
    CHECK(answers[0]["id"] == 7);
    CHECK(answers[0]["result"]["was"] == "tools/call");
    CHECK(answers[1]["id"] == "a");
    CHECK(gateway.seen.count() == 3);
    CHECK(gateway.seen.last().find("Mcp-Method") == std::string::npos);

    const auto log = gateway.calls(6);
    auto& records = *gateway.records;
    CHECK(std::ranges::count(log, EntryKind::use_intent, &vault::LogEntry::kind) == 3);
    CHECK(std::ranges::count(log, EntryKind::use_outcome, &vault::LogEntry::kind) == 3);
    CHECK(log[0].tool == records.access_log().fingerprint("tool", "deploy"));
    CHECK(log[0].request_bytes == tool_call("7", "deploy").size());
    CHECK(gateway.counters.calls == 3);
    CHECK(gateway.counters.in_flight == 0);
}

TEST_CASE("A tool that is refused cannot hide in a batch", "[proxy][batch]") {
    Gateway gateway(faithful);
    const auto reply = gateway.post("[" + tool_call("1", "deploy") + "," + tool_call("2", "disabled") + "," +
                                    tool_call("3", "asks") + "," + request_of("4", "tasks/list") + "]");
    const auto answers = json::parse(reply.body);
    REQUIRE(answers.size() == 4);
    CHECK(answers[0].contains("result"));
    CHECK(answers[1]["error"]["code"] == -32602);
    CHECK(answers[2]["result"]["isError"] == true);
    CHECK(answers[3]["error"]["code"] == -32601);
    CHECK(gateway.seen.count() == 1);
    const auto log = gateway.calls(5);
    CHECK(std::ranges::count(log, EntryKind::deny, &vault::LogEntry::kind) == 3);
    CHECK(gateway.counters.denied == 3);
}

TEST_CASE("A tool list in a batch is cut down, and a secret in it masked", "[proxy][batch]") {
    Gateway gateway([](const std::string& request) {
        const auto id = sent_to_upstream(request)["id"].dump();
        return json_answer(R"({"jsonrpc":"2.0","id":)" + id +
                           R"(,"result":{"tools":[{"name":"deploy"},{"name":"disabled"}],"x":")" +
                           std::string(Gateway::kSecret) + "\"}}");
    });
    const auto reply =
        gateway.post("[" + request_of("1", "tools/list") + "," + request_of("2", "tools/list") + "]");
    const auto answers = json::parse(reply.body);
    REQUIRE(answers.size() == 2);
    for (const auto& answer : answers) CHECK(answer["result"]["tools"] == json{{{"name", "deploy"}}});
    CHECK(reply.body.find(Gateway::kSecret) == std::string::npos);
}

TEST_CASE("Messages that ask for nothing are accepted, and a refusal of one is heard", "[proxy][batch]") {
    Gateway gateway(faithful);
    const auto accepted = gateway.post("[" + kNotification + "," + kNotification + "]");
    CHECK(accepted.status == 202);
    CHECK(accepted.body.empty());
    CHECK(gateway.post("[" + kResponse + "]").status == 202);
    const auto refused = gateway.post(R"([{"jsonrpc":"2.0","method":"no/such"}])");
    CHECK(refused.status == 403);
    CHECK(json::parse(refused.body)["error"]["data"]["code"] == "policy.method_not_allowed");
}

TEST_CASE("An upstream that streams turns the answer of the batch into a stream", "[proxy][batch]") {
    Gateway gateway([](const std::string& request) {
        const auto message = sent_to_upstream(request);
        if (message["id"] != 2) return faithful(request);
        return sse_answer(
            "id: 5\nretry: 10\ndata: \n\n"
            "event: message\nid: 6\ndata: "
            R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}})"
            "\n\n"
            "data: "
            R"({"jsonrpc":"2.0","id":2,"result":{}})"
            "\n\n");
    });
    const auto reply = gateway.post("[" + request_of("1", "ping") + "," + tool_call("2", "deploy") + "," +
                                    request_of("3", "ping") + "]");
    CHECK(reply.status == 200);
    CHECK(reply.complete);
    CHECK(reply.field("Content-Type") == "text/event-stream");
    CHECK(reply.body.find("id: ") == std::string::npos);  // nothing of a batch can be fetched again
    net::SseSplitter splitter;
    REQUIRE(splitter.feed(reply.body));
    std::vector<json> messages;
    while (const auto event = splitter.next())
        if (event->has_data && !event->data.empty()) messages.push_back(json::parse(event->data));
    REQUIRE(messages.size() == 4);
    CHECK(messages[0]["id"] == 1);
    CHECK(messages[1]["method"] == "notifications/progress");
    CHECK(messages[2]["id"] == 2);
    CHECK(messages[3]["id"] == 3);
    CHECK(splitter.rest().empty());
}

TEST_CASE("A stream of a batch that ends without its response gets an error", "[proxy][batch]") {
    Gateway gateway([](const std::string&) { return sse_answer("id: 5\ndata: \n\ndata: {\"cut"); });
    const auto reply = gateway.post("[" + request_of("1", "ping") + "," + request_of("2", "ping") + "]");
    for (const auto* id : {R"("id":1,"error")", R"("id":2,"error")"})
        CHECK(reply.body.find(id) != std::string::npos);
    CHECK(reply.complete);
}

TEST_CASE("An answer that does not belong to its request becomes an error of it", "[proxy][batch]") {
    Gateway gateway([](const std::string&) {
        return test::http_answer("400 Bad Request", {{"Content-Type", "application/json"}},
                                 R"({"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x"}})");
    });
    const auto answers = json::parse(gateway.post("[" + kPing + "," + request_of("2", "ping") + "]").body);
    REQUIRE(answers.size() == 2);
    CHECK(answers[0]["id"] == 1);
    CHECK(answers[0]["error"]["code"] == 50201);
    CHECK(answers[1]["id"] == 2);
}

TEST_CASE("An answer that is too long for a batch is one error of it", "[proxy][batch]") {
    const std::string long_text(9 * 1024 * 1024, 'x');
    Gateway gateway([&](const std::string& request) {
        if (sent_to_upstream(request)["id"] == 2) return faithful(request);
        return json_answer(R"({"jsonrpc":"2.0","id":1,"result":{"x":")" + long_text + "\"}}");
    });
    const auto answers = json::parse(gateway.post("[" + kPing + "," + request_of("2", "ping") + "]").body);
    REQUIRE(answers.size() == 2);
    CHECK(answers[0]["error"]["data"]["code"] == "upstream.invalid");
    CHECK(answers[1].contains("result"));
}

TEST_CASE("Only sessions of 2025-03-26 may send batches", "[proxy][batch]") {
    std::string revision = "2025-03-26";
    std::string (*answer)(std::string_view) = nullptr;
    Gateway gateway([&](const std::string& request) {
        const auto message = sent_to_upstream(request);
        if (message["method"] != "initialize") return faithful(request);
        const auto result = initialize_result(revision);
        if (answer) return answer(result);
        return json_answer(result, {{"Mcp-Session-Id", "upstream-1"}});
    });
    const auto open = [&] {
        return gateway.post(request_of("1", "initialize", R"({"protocolVersion":"2025-03-26"})"))
            .field("Mcp-Session-Id");
    };
    const auto batch = "[" + kPing + "]";
    const auto status_with = [&](const std::string& session, test::FieldList more = {}) {
        more.emplace_back("Mcp-Session-Id", session);
        return gateway.post(batch, more).status;
    };

    const auto old = open();
    CHECK(status_with(old) == 200);
    CHECK(gateway.seen.last().find("Mcp-Session-Id: upstream-1\r\n") != std::string::npos);
    CHECK(status_with(old, {{"MCP-Protocol-Version", "2025-03-26"}}) == 200);
    CHECK(status_with(old, {{"MCP-Protocol-Version", "2025-06-18"}}) == 400);

    revision = "2025-11-25";
    const auto newer = open();
    CHECK(status_with(newer) == 400);
    CHECK(status_with(newer, {{"MCP-Protocol-Version", "2025-03-26"}}) == 400);

    SECTION("whose server answered the initialize with a stream") {
        answer = [](std::string_view result) {
            return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: s\r\n"
                   "Connection: close\r\n\r\nid: 1\ndata: \n\ndata: " +
                   std::string(result) + "\n\n";
        };
        CHECK(status_with(open()) == 400);
        revision = "2025-03-26";
        CHECK(status_with(open()) == 200);
    }
    SECTION("which another agent cannot use") {
        CHECK(
            gateway
                .post(batch, {{"Mcp-Session-Id", old}, {"Authorization", "Bearer " + gateway.open_session()}})
                .status == 404);
        CHECK(status_with("made-up") == 404);
    }
    SECTION("and without a session the header decides") {
        CHECK(gateway.post(batch).status == 200);
        CHECK(gateway.post(batch, {{"MCP-Protocol-Version", "2025-06-18"}}).status == 400);
        CHECK(gateway.post(batch, {{"MCP-Protocol-Version", "2026-07-28"}}).status == 400);
    }
}

TEST_CASE("A session that the upstream has lost is told by the status", "[proxy][batch]") {
    Gateway gateway([](const std::string&) {
        return test::http_answer("404 Not Found", {{"Content-Type", "application/json"}},
                                 R"({"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"x"}})");
    });
    const auto reply = gateway.post("[" + kPing + "," + request_of("2", "ping") + "]");
    CHECK(reply.status == 404);
    CHECK(gateway.seen.count() == 1);
}
