// Two agents, one credential: to the server they are one, and still neither can use what the other was given.
#include "tests/support/proxy_gateway.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <thread>

using namespace claviger;
using nlohmann::json;
using test::Gateway;
using test::json_answer;
using test::sse_answer;

namespace {

std::string body_of(const std::string& request) { return request.substr(request.find("\r\n\r\n") + 4); }

/// The result as an answer of one of the ways a server may choose.
enum class Way { json, events, long_json };
std::string answer_as(Way way, std::string result) {
    if (way == Way::long_json) result.insert(1, R"("pad":")" + std::string(200'000, 'x') + "\",");
    const auto message = R"({"jsonrpc":"2.0","id":1,"result":)" + result + "}";
    return way == Way::events ? sse_answer("id: 1\ndata: \n\ndata: " + message + "\n\n")
                              : json_answer(message);
}

/// The one JSON-RPC message of a reply, whichever way it came.
json message_of(const test::AgentReply& reply) {
    if (reply.field("Content-Type").find("event-stream") == std::string::npos) return json::parse(reply.body);
    const auto at = reply.body.find("data: {");
    REQUIRE(at != std::string::npos);
    return json::parse(reply.body.substr(at + 6, reply.body.find('\n', at) - at - 6));
}

std::string request_of(std::string_view method, const json& params) {
    return json{{"jsonrpc", "2.0"}, {"id", 1}, {"method", method}, {"params", params}}.dump();
}

json modern(json params) {
    params["_meta"] = {{"io.modelcontextprotocol/protocolVersion", "2026-07-28"},
                       {"io.modelcontextprotocol/clientCapabilities", json::object()}};
    return params;
}

}  // namespace

TEST_CASE("What one agent was given is unknown to another with the same credential", "[proxy][isolation]") {
    struct Row {
        std::string_view what, method, key, code;
        std::string result;
        json::json_pointer at;
        json params;  // of the request that brings it back, without it
    };
    const Row rows[] = {
        {"a task of 2025-11-25", "tasks/get", "taskId", "task.unknown",
         R"({"task":{"taskId":"H:1","status":"working"}})", json::json_pointer("/result/task/taskId"),
         json::object()},
        {"its result", "tasks/result", "taskId", "task.unknown",
         R"({"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"H:1"}}})",
         json::json_pointer("/result/_meta/io.modelcontextprotocol~1related-task/taskId"), json::object()},
        {"its end", "tasks/cancel", "taskId", "task.unknown", R"({"taskId":"H:1","status":"cancelled"})",
         json::json_pointer("/result/taskId"), json::object()},
        {"a page", "tools/list", "cursor", "cursor.unknown", R"({"tools":[],"nextCursor":"H:1"})",
         json::json_pointer("/result/nextCursor"), json::object()},
        {"another page", "resources/list", "cursor", "cursor.unknown",
         R"({"resources":[],"nextCursor":"H:1"})", json::json_pointer("/result/nextCursor"), json::object()},
        {"the state of a call",
         "tools/call",
         "requestState",
         "state.unknown",
         R"({"resultType":"input_required","requestState":"H:1"})",
         json::json_pointer("/result/requestState"),
         {{"name", "deploy"}, {"inputResponses", json::object()}}},
    };
    for (const auto way : {Way::json, Way::events, Way::long_json})
        for (const auto& row : rows) {
            INFO(row.what << ", way " << static_cast<int>(way));
            Gateway gateway([&](const std::string&) { return answer_as(way, row.result); });
            const auto given = gateway.post(test::call_of("deploy"));
            CHECK(given.complete);
            CHECK(given.body.find("H:1") == std::string::npos);
            const std::string handle = message_of(given)[row.at];

            auto params = row.params;
            params[row.key] = handle;
            const auto mine = gateway.post(request_of(row.method, params));
            CHECK(message_of(mine)[row.at] == handle);  // the same task has the same id each time
            CHECK(json::parse(body_of(gateway.seen.last()))["params"][row.key] == "H:1");
            CHECK(gateway.seen.last().find(handle) == std::string::npos);

            const auto before = gateway.seen.count();
            const auto other = gateway.open_session();
            for (const auto& [token, held] :
                 {std::pair(other, handle), std::pair(other, std::string("H:1")),
                  std::pair(gateway.token, std::string("H:1")), std::pair(gateway.token, handle.substr(1))}) {
                params[row.key] = held;
                const auto refused =
                    gateway.post(request_of(row.method, params), {{"Authorization", "Bearer " + token}});
                CHECK(refused.status == 200);
                const auto error = json::parse(refused.body)["error"];
                CHECK(error["code"] == -32602);
                CHECK(error["data"]["code"] == row.code);
                CHECK(json::parse(refused.body)["id"] == 1);
                const auto noted = gateway.calls().back();
                CHECK(noted.kind == vault::EntryKind::deny);
                CHECK(vault::reason_code(noted.reason) == row.code);
            }
            CHECK(gateway.seen.count() == before);
        }
}

TEST_CASE("The name in the header of a modern task is the one in the body, on both sides",
          "[proxy][isolation]") {
    Gateway gateway([](const std::string&) {
        return answer_as(Way::json, R"({"resultType":"task","taskId":"zürich","status":"working"})");
    });
    const auto given =
        gateway.post(test::modern_call_of("deploy"), test::modern_fields("tools/call", "deploy"));
    const std::string task = message_of(given)["result"]["taskId"];
    for (const std::string method : {"tasks/get", "tasks/update", "tasks/cancel"}) {
        const auto body = request_of(method, modern({{"taskId", task}, {"inputResponses", json::object()}}));
        CHECK(gateway.post(body, test::modern_fields(method, task)).status == 200);
        const auto asked = gateway.seen.last();
        CHECK(json::parse(body_of(asked))["params"]["taskId"] == "zürich");
        CHECK(asked.find("\r\nMcp-Name: =?base64?esO8cmljaA==?=\r\n") != asked.npos);
        CHECK(asked.find(task) == asked.npos);

        const auto before = gateway.seen.count();
        for (const auto& [name, code] : {std::pair(std::string("=?base64?esO8cmljaA==?="), -32020),
                                         std::pair(std::string("other"), -32020)})
            CHECK(message_of(gateway.post(body, test::modern_fields(method, name)))["error"]["code"] == code);
        auto fields = test::modern_fields(method, task);
        fields.emplace_back("Authorization", "Bearer " + gateway.open_session());
        const auto foreign = gateway.post(body, fields);
        CHECK(foreign.status == 200);
        CHECK(message_of(foreign)["error"]["code"] == -32602);
        CHECK(gateway.seen.count() == before);
    }
}

TEST_CASE("A subscription names only tasks of its own agent", "[proxy][isolation]") {
    Gateway gateway([](const std::string& request) {
        return request.find("subscriptions/listen") == request.npos
                   ? answer_as(Way::json, R"({"resultType":"task","taskId":"H:1"})")
                   : sse_answer(
                         R"(data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"taskIds":["H:1"]}}}

data: {"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"H:1","status":"working"}}

data: {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}

)");
    });
    const auto given =
        gateway.post(test::modern_call_of("deploy"), test::modern_fields("tools/call", "deploy"));
    const std::string task = message_of(given)["result"]["taskId"];
    const auto listen = [](const std::string& id) {
        return request_of("subscriptions/listen", modern({{"notifications", {{"taskIds", {id}}}}}));
    };
    auto fields = test::modern_fields("subscriptions/listen");
    const auto told = gateway.post(listen(task), fields);
    CHECK(told.body.find("H:1") == std::string::npos);
    CHECK(told.body.find(R"("taskIds":[")" + task + "\"]") != std::string::npos);
    CHECK(told.body.find(R"("taskId":")" + task + "\"") != std::string::npos);
    CHECK(gateway.seen.last().find(R"("taskIds":["H:1"])") != std::string::npos);

    const auto before = gateway.seen.count();
    fields.emplace_back("Authorization", "Bearer " + gateway.open_session());
    CHECK(message_of(gateway.post(listen(task), fields))["error"]["data"]["code"] == "task.unknown");
    CHECK(gateway.seen.count() == before);
}

TEST_CASE("What comes unasked on the stream of a session names the agent's own ids", "[proxy][isolation]") {
    std::string events;
    Gateway gateway([&](const std::string& request) {
        return request.starts_with("GET") ? sse_answer(events)
                                          : answer_as(Way::json, R"({"task":{"taskId":"H:1"}})");
    });
    const std::string task = message_of(gateway.post(test::call_of("deploy")))["result"]["task"]["taskId"];
    // The agent answers a server's question with a task of its own: the server holds its sealed form.
    CHECK(gateway.post(R"({"jsonrpc":"2.0","id":7,"result":{"task":{"taskId":"mine","status":"working"}}})")
              .status < 300);
    const std::string held = json::parse(body_of(gateway.seen.last()))["result"]["task"]["taskId"];
    CHECK(held != "mine");
    events =
        ": hi\n\nid: 4\ndata: " +
        json{{"jsonrpc", "2.0"}, {"method", "notifications/tasks/status"}, {"params", {{"taskId", "H:1"}}}}
            .dump() +
        "\n\ndata: " +
        json{{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tasks/get"}, {"params", {{"taskId", held}}}}.dump() +
        "\n\n";
    auto expected = events;
    expected.replace(expected.find("H:1"), 3, task);
    expected.replace(expected.find(held), held.size(), "mine");
    for (const bool hides : {true, false}) {
        INFO("tools are hidden: " << hides);
        if (!hides) {
            gateway.session.agent.toolsets[0].configs.clear();
            gateway.store(gateway.session);
        }
        auto body = gateway.send("GET", "").body;
        for (const std::string line : {"event: message\n"})  // what a filtered stream adds
            for (auto at = body.find(line); at != body.npos; at = body.find(line))
                body.erase(at, line.size());
        CHECK(body == expected);
    }
}

TEST_CASE("In a batch each message has its own handles, and a foreign one refuses only itself",
          "[proxy][isolation]") {
    Gateway gateway([](const std::string& request) {
        const auto id = json::parse(body_of(request))["id"].dump();
        return json_answer(R"({"jsonrpc":"2.0","id":)" + id +
                           R"(,"result":{"tools":[],"nextCursor":"H:1"}})");
    });
    const auto list = [](int id, const json& params) {
        return json{{"jsonrpc", "2.0"}, {"id", id}, {"method", "tools/list"}, {"params", params}};
    };
    const auto first = json::parse(gateway.post(json::array({list(1, json::object())}).dump()).body);
    const std::string cursor = first[0]["result"]["nextCursor"];
    CHECK(cursor != "H:1");
    const auto batch = json::array({list(1, {{"cursor", "H:1"}}), list(2, {{"cursor", cursor}})}).dump();
    const auto answers = json::parse(gateway.post(batch).body);
    REQUIRE(answers.size() == 2);
    CHECK(answers[0]["error"]["data"]["code"] == "cursor.unknown");
    CHECK(answers[1]["result"]["nextCursor"] == cursor);
    CHECK(gateway.seen.count() == 2);
}

TEST_CASE("A handle that is too long to be sealed is an error, not a leak", "[proxy][isolation]") {
    const std::string id(3'000, 'h');
    Way way = Way::json;
    SECTION("in JSON") { way = Way::json; }
    SECTION("in an event stream") { way = Way::events; }
    Gateway gateway(
        [&](const std::string&) { return answer_as(way, R"({"task":{"taskId":")" + id + "\"}}"); });
    const auto reply = gateway.post(test::call_of("deploy"));
    CHECK(reply.complete);
    CHECK(reply.body.find(id) == std::string::npos);
    CHECK(message_of(reply)["error"]["code"] == 50201);
    CHECK(vault::reason_code(gateway.calls(2)[1].reason) == "upstream.invalid");
}

TEST_CASE("A secret inside a handle stays hidden from the agent and comes back to the server",
          "[proxy][isolation]") {
    const std::string secret(Gateway::kSecret);
    Gateway gateway([&](const std::string&) {
        return answer_as(Way::json,
                         R"({"tools":[],"nextCursor":")" + secret + "-2\",\"x\":\"" + secret + "\"}");
    });
    const auto reply = gateway.post(request_of("tools/list", json::object()));
    CHECK(reply.body.find(secret) == std::string::npos);
    const std::string cursor = message_of(reply)["result"]["nextCursor"];
    gateway.post(request_of("tools/list", {{"cursor", cursor}}));
    CHECK(json::parse(body_of(gateway.seen.last()))["params"]["cursor"] == secret + "-2");
}

// --- streams that nobody waits for

TEST_CASE("A stopping server ends the streams that nobody waits for, and in good order", "[proxy][lane]") {
    std::atomic<int> streams = 0;
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        const auto request = peer.request();
        if (request.empty()) return;
        if (request.find("ping") != request.npos)
            return peer.write(json_answer(R"({"jsonrpc":"2.0","id":1,"result":{}})"));
        ++streams;
        peer.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: hi\n\n");
        peer.request();  // until the other side closes
    }));
    auto get = gateway.connect(), listen = gateway.connect();
    REQUIRE(get.send(gateway.request_text("GET", "", {})));
    REQUIRE(listen.send(gateway.request_text(
        "POST",
        json{{"jsonrpc", "2.0"}, {"id", "l-1"}, {"method", "subscriptions/listen"}, {"params", modern({})}}
            .dump(),
        test::modern_fields("subscriptions/listen"))));
    CHECK(get.until(": hi\n\n").find("200 OK") != std::string::npos);
    CHECK(listen.until(": hi\n\n").find("200 OK") != std::string::npos);
    REQUIRE(streams == 2);

    gateway.end_streams();
    const auto refused = gateway.send("GET", "");
    CHECK(refused.status == 503);
    CHECK(message_of(refused)["error"]["data"]["code"] == "server.stopping");
    CHECK(gateway.send("POST", R"({"jsonrpc":"2.0","id":1,"method":"ping"})").status == 200);

    const auto begun = std::chrono::steady_clock::now();
    gateway.drain(std::chrono::seconds(20));
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(5));
    const auto of_get = get.rest(), of_listen = listen.rest();
    CHECK(of_get.ends_with("0\r\n\r\n"));
    CHECK(of_get.find("error") == std::string::npos);
    CHECK(of_listen.ends_with("0\r\n\r\n"));
    CHECK(
        of_listen.find(
            R"(data: {"jsonrpc":"2.0","id":"l-1","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"l-1"}}})") !=
        std::string::npos);
    for (const auto& entry : gateway.calls()) CHECK(vault::reason_code(entry.reason) != "upstream.cancelled");
}

TEST_CASE("A stopping server answers the calls that outlast its grace", "[proxy][lane]") {
    std::atomic<int> waiting = 0;
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
        const auto request = peer.request();
        if (request.empty()) return;
        const auto is = [&](std::string_view tool) { return request.find(tool) != request.npos; };
        const auto head = [](std::string_view type, std::string_view more = {}) {
            return "HTTP/1.1 200 OK\r\nContent-Type: " + std::string(type) + "\r\n" + std::string(more) +
                   "Connection: close\r\n\r\n";
        };
        if (is("half_json")) peer.write(head("application/json") + R"({"jsonrpc":"2.0",)");
        if (is("streams")) peer.write(head("text/event-stream") + ": hi\n\n");
        if (is("resumable"))
            peer.write(head("text/event-stream", "Mcp-Session-Id: s\r\n") + "id: 7\ndata:\n\n");
        ++waiting;
        peer.client_closed();
    }));
    const auto ask = [&](const std::string& body, const test::FieldList& fields = {}) {
        auto client = gateway.connect();
        REQUIRE(client.send(gateway.request_text("POST", body, fields)));
        return client;
    };
    auto silent = ask(test::call_of("silent"));
    auto half_json = ask(test::call_of("half_json"));
    auto streams = ask(test::call_of("streams"));
    auto modern_stream = ask(test::modern_call_of("streams"), test::modern_fields("tools/call", "streams"));
    auto resumable = ask(test::call_of("resumable"));
    auto batch = ask("[" + test::call_of("silent") + R"(,{"jsonrpc":"2.0","id":2,"method":"ping"}])");
    REQUIRE(test::soon([&] { return waiting == 6; }));
    streams.until(": hi\n\n");
    modern_stream.until(": hi\n\n");
    resumable.until("data:\n\n");

    gateway.drain(std::chrono::milliseconds(100));
    for (auto* client : {&silent, &half_json}) {
        const auto reply = test::read_reply(client->rest());
        CHECK(reply.status == 503);
        CHECK(reply.complete);
        CHECK(message_of(reply)["id"] == 1);
        CHECK(message_of(reply)["error"]["code"] == 50301);
        CHECK(message_of(reply)["error"]["data"]["code"] == "server.stopping");
    }
    for (auto* client : {&streams, &modern_stream}) {
        const auto rest = client->rest();
        CHECK(rest.find("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":50301,") != rest.npos);
        CHECK(rest.ends_with("0\r\n\r\n"));
    }
    CHECK(resumable.rest() == "\r\n0\r\n\r\n");  // its client comes back with the event's id
    const auto answers = json::parse(test::read_reply(batch.rest()).body);
    REQUIRE(answers.size() == 2);
    for (const auto& one : answers) CHECK(one["error"]["data"]["code"] == "server.stopping");
    CHECK(waiting == 6);  // nothing more went out
    for (const auto& entry : gateway.calls())
        if (entry.kind == vault::EntryKind::use_outcome)
            CHECK(vault::reason_code(entry.reason) == "server.stopping");
}
