#include "proxy/handles.h"

#include "crypto/sealed_text.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

#include <nlohmann/json.hpp>

#include <string>

using namespace claviger;
using nlohmann::json;
using proxy::HandleSpot;

namespace {

/// Sessions and servers as far as handles depend on them.
struct World {
    std::unique_ptr<vault::StorageEngine> engine = vault::open_in_memory();
    test::ManualClock clock;
    std::unique_ptr<test::OpenStore> store;
    proxy::SessionContext alice = context_of(1), bob = context_of(2);
    proxy::ServerContext server = server_of("upstream", 7), other = server_of("other", 7),
                         rebound = server_of("upstream", 8);
    proxy::Message call;  // that is answered

    World() {
        test::make_store(*engine, clock);
        store = std::make_unique<test::OpenStore>(*engine, clock);
        call.method = "tools/call", call.name = "x", call.uri = "u:";
    }
    static proxy::SessionContext context_of(unsigned number) {
        vault::Session session;
        session.id.raw = test::id_of(number);
        proxy::SessionContext context;
        context.session = std::make_shared<const vault::Session>(std::move(session));
        return context;
    }
    static proxy::ServerContext server_of(std::string name, unsigned number) {
        vault::Credential credential;
        credential.id.raw = test::id_of(number);
        proxy::ServerContext server{.name = std::move(name),
                                    .url = *policy::parse_server_url("https://a.example/mcp")};
        server.credential = std::make_shared<const vault::Credential>(std::move(credential));
        return server;
    }
    proxy::Handles of(const proxy::SessionContext& context, const proxy::ServerContext& at) const {
        return {*store->keys, context, at, proxy::Asked(call)};
    }
    proxy::Handles handles() const { return of(alice, server); }
    std::string sealed(HandleSpot spot, std::string_view handle) const {
        return *handles().for_agent(spot, handle);
    }

    std::string to_agent(std::string_view body, std::size_t piece = ~std::size_t{0},
                         proxy::HandleStream::Body kind = proxy::HandleStream::Body::json) const {
        proxy::HandleStream stream(handles(), kind);
        std::string out;
        for (; !body.empty(); body.remove_prefix(std::min(piece, body.size()))) {
            const auto passed = stream.pass(body.substr(0, piece));
            REQUIRE(passed);
            out += *passed;
        }
        return out;
    }
    base::Result<proxy::ForServer> to_server(std::string_view body) const {
        std::string id;
        const auto message = proxy::parse_message(body, {}, id);
        REQUIRE(message);
        return proxy::open_handles({*store->keys, alice, server, proxy::Asked(*message)}, *message, body);
    }
};

std::string replaced(std::string text, const std::vector<std::pair<std::string, std::string>>& by) {
    for (const auto& [from, to] : by)
        for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
            text.replace(at, from.size(), to);
    return text;
}

}  // namespace

TEST_CASE("A handle opens only for the session, server, credential and kind it was sealed for",
          "[proxy][handles]") {
    const World world;
    const auto mine = world.handles();
    for (const auto spot : {HandleSpot::asked_task, HandleSpot::state, HandleSpot::cursor}) {
        const auto sealed = world.sealed(spot, "task-1");
        CHECK(sealed.find("task-1") == sealed.npos);
        CHECK(mine.opened(spot, sealed) == std::optional<std::string>("task-1"));
        CHECK(mine.for_agent(spot, "task-1") == std::optional(sealed));  // clients compare ids
        CHECK_FALSE(world.of(world.bob, world.server).opened(spot, sealed));
        CHECK_FALSE(world.of(world.alice, world.other).opened(spot, sealed));
        CHECK_FALSE(world.of(world.alice, world.rebound).opened(spot, sealed));
        CHECK(world.of(world.bob, world.server).for_agent(spot, "task-1") != std::optional(sealed));
        for (const auto foreign : {HandleSpot::asked_task, HandleSpot::state, HandleSpot::cursor})
            CHECK(mine.opened(foreign, sealed).has_value() == (foreign == spot));
        CHECK_FALSE(mine.opened(spot, "task-1"));
        CHECK_FALSE(mine.opened(spot, sealed + "A"));
        CHECK_FALSE(mine.opened(spot, std::string(200'000, 'A')));
    }
    CHECK(world.sealed(HandleSpot::named_task, "t") == world.sealed(HandleSpot::asked_task, "t"));
    CHECK(mine.opened(HandleSpot::cursor, "") == std::optional<std::string>(""));
    CHECK_FALSE(mine.opened(HandleSpot::asked_task, ""));
    CHECK_FALSE(mine.for_agent(HandleSpot::named_task, std::string(2'049, 't')));
    CHECK_FALSE(mine.for_agent(HandleSpot::state, std::string(crypto::kMaxSealedPlain + 1, 's')));
    const std::string longest(crypto::kMaxSealedPlain, 's');
    CHECK(mine.opened(HandleSpot::state, *mine.for_agent(HandleSpot::state, longest)) ==
          std::optional(longest));
}

TEST_CASE("A request state is good for what was asked when it was given, a cursor for the session",
          "[proxy][handles]") {
    World world;
    const auto state = world.sealed(HandleSpot::state, "S"), cursor = world.sealed(HandleSpot::cursor, "C");
    const std::string others[][3] = {{"prompts/get", "x", "u:"},
                                     {"tools/call", "y", "u:"},
                                     {"tools/call", "x", "v:"},
                                     {"tools/call", "x2 u:", ""},
                                     {"tools/call", "", "xu:"}};
    for (const auto& [method, name, uri] : others) {
        INFO(method << ' ' << name << ' ' << uri);
        world.call.method = method, world.call.name = name, world.call.uri = uri;
        CHECK_FALSE(world.handles().opened(HandleSpot::state, state));
        CHECK(world.handles().opened(HandleSpot::cursor, cursor) == std::optional<std::string>("C"));
    }
}

TEST_CASE("A task that the agent runs is sealed towards the server, and comes back as it was",
          "[proxy][handles]") {
    const World world;
    const auto mine = world.handles();
    const auto held = mine.for_server(HandleSpot::named_task, "agents-own");
    REQUIRE(held);
    CHECK(*held != "agents-own");
    CHECK(mine.for_agent(HandleSpot::asked_task, *held) == std::optional<std::string>("agents-own"));
    // To another agent the server could not even name it.
    CHECK(world.of(world.bob, world.server).for_agent(HandleSpot::asked_task, *held) !=
          std::optional<std::string>("agents-own"));
    // And no agent can pass off a server's task that it does not hold as its own.
    const auto foreign = *world.of(world.bob, world.server).for_agent(HandleSpot::named_task, "task-1");
    CHECK(mine.for_server(HandleSpot::named_task, foreign) != std::optional<std::string>("task-1"));
    CHECK(mine.for_server(HandleSpot::named_task, "task-1") != std::optional<std::string>("task-1"));
}

TEST_CASE("Handles towards the agent are sealed wherever they stand, and nothing else changes",
          "[proxy][handles]") {
    const World world;
    const auto task = "\"" + world.sealed(HandleSpot::named_task, "T") + "\"";
    const auto state = "\"" + world.sealed(HandleSpot::state, "S") + "\"";
    const auto cursor = "\"" + world.sealed(HandleSpot::cursor, "C") + "\"";
    struct Row {
        std::string_view what;
        std::string body;
    };
    const Row rows[] = {
        {"a page", R"({"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"x"}],"nextCursor": $C }})"},
        {"a page, its id last", R"({"result":{"nextCursor":$C,"resources":[]},"jsonrpc":"2.0","id":"a"})"},
        {"a page for everybody", R"({"id":1,"result":{"cacheScope":$P,"nextCursor":$C,"prompts":[]}})"},
        {"a page for everybody, its scope last", R"({"id":1,"result":{"nextCursor":$C,"cacheScope" : $P}})"},
        {"an answer that needs input",
         R"({"id":1,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"x","params":{"taskId":"kept"}}},"requestState":$S}})"},
        {"a modern task", R"({"id":1,"result":{"resultType":"task","taskId":$T,"status":"working"}})"},
        {"a legacy task", R"({"id":1,"result":{"task":{"status":"working","taskId":$T,"ttl":null}}})"},
        {"tasks", R"({"id":1,"result":{"tasks":[{"taskId":$T},{"x":[{"taskId":"kept"}]},{"taskId":$T}]}})"},
        {"a completed task",
         R"({"id":1,"result":{"taskId":$T,"result":{"content":[{"text":"taskId"}],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":$T}}}}})"},
        {"the result of a task",
         R"({"id":1,"result":{"content":[],"_meta":{"x":1,"io.modelcontextprotocol/related-task":{"taskId":$T}}}})"},
        {"a request of the server",
         R"({"id":1,"method":"elicitation/create","params":{"message":"m","_meta":{"io.modelcontextprotocol/related-task":{"taskId":$T}}}})"},
        {"a notification",
         R"({"method":"notifications/tasks/status","params":{"taskId":$T,"status":"failed"}})"},
        {"progress of a task",
         R"({"method":"notifications/progress","params":{"progressToken":1,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":$T}}}})"},
        {"a subscription",
         R"({"method":"notifications/subscriptions/acknowledged","params":{"notifications":{"taskIds":[$T, $T],"toolsListChanged":true}}})"},
        {"a batch", R"([{"id":1,"result":{"nextCursor":$C}} , {"id":2,"result":{"taskId":$T}}])"},
        {"the same words elsewhere",
         R"({"id":1,"result":{"content":[{"type":"text","text":"\"taskId\":\"T\""}],"structuredContent":{"taskId":"T","nextCursor":"C","requestState":"S","_meta":{"io.modelcontextprotocol/related-task":{"taskId":"T"}}},"a":{"taskId":"T"}}})"},
        {"other types",
         R"({"id":1,"result":{"taskId":7,"nextCursor":null,"requestState":{"taskId":"T"},"task":[{"taskId":"T"}],"tasks":{"taskId":"T"}}})"},
        {"a cursor of the server's own asking", R"({"id":1,"method":"tasks/list","params":{"cursor":"C"}})"},
        {"an error", R"({"id":1,"error":{"code":1,"message":"taskId","data":{"taskId":"T"}}})"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto body =
            replaced(row.body, {{"$T", "\"T\""}, {"$S", "\"S\""}, {"$C", "\"C\""}, {"$P", "\"public\""}});
        const auto expected =
            replaced(row.body, {{"$T", task}, {"$S", state}, {"$C", cursor}, {"$P", "\"private\""}});
        CHECK(world.to_agent(body) == expected);
        for (const std::size_t piece : {1, 2, 3, 7}) CHECK(world.to_agent(body, piece) == expected);
        proxy::HandleStream whole(world.handles(), proxy::HandleStream::Body::json);
        CHECK(*whole.pass_whole(body) == expected);

        const auto in_events = [](const std::string& data) {
            return "\xef\xbb\xbf: hi\r\nid: 1\r\ndata: \r\n\r\nevent: message\ndata:" + data +
                   "\n\nevent: x\rdata: " + data + "\r\rdata\n\n: " + data + "\n\n";
        };
        auto streamed = in_events(body), sealed = in_events(expected);
        sealed.replace(sealed.rfind(": " + expected), expected.size() + 2, ": " + body);  // the comment
        for (const std::size_t piece : {1, 2, 5, 100'000})
            CHECK(world.to_agent(streamed, piece, proxy::HandleStream::Body::events) == sealed);
    }
}

TEST_CASE("A list without a handle stays for everybody", "[proxy][handles]") {
    const World world;
    const std::string list = R"({"id":1,"result":{"cacheScope":"public","prompts":[]}})";
    proxy::HandleStream whole(world.handles(), proxy::HandleStream::Body::json);
    CHECK(*whole.pass_whole(list) == list);
}

TEST_CASE("An event may spread its message over several lines", "[proxy][handles]") {
    const World world;
    const auto text = [](const std::string& id) {
        return "data: {\"result\":\ndata:  {\"taskId\":\r\ndata: \"" + id + "\"}}\n\n";
    };
    for (const std::size_t piece : {1, 4, 1'000})
        CHECK(world.to_agent(text("T"), piece, proxy::HandleStream::Body::events) ==
              text(world.sealed(HandleSpot::named_task, "T")));
    // A string that a line end tears apart is no JSON: it passes as it is, and the next event is followed.
    const std::string torn = "data: {\"result\":{\"taskId\":\"a\ndata: b\"}}\n\n";
    CHECK(world.to_agent(torn + text("T"), 3, proxy::HandleStream::Body::events) ==
          torn + text(world.sealed(HandleSpot::named_task, "T")));
}

TEST_CASE("A handle that is too long to be sealed is not passed on", "[proxy][handles]") {
    const World world;
    for (const auto* key : {"taskId", "requestState", "nextCursor"}) {
        proxy::HandleStream stream(world.handles(), proxy::HandleStream::Body::json);
        const auto passed = stream.pass(R"({"id":1,"result":{")" + std::string(key) + "\":\"" +
                                        std::string(70'000, 'x') + "\"}}");
        REQUIRE_FALSE(passed);
        CHECK(passed.error().code == "upstream.invalid");
        CHECK_FALSE(stream.pass("{}"));
    }
}

TEST_CASE("Handles towards the server are opened wherever they stand, and the rest is as it was",
          "[proxy][handles]") {
    const World world;
    const auto task = "\"" + world.sealed(HandleSpot::named_task, "T\"\n") + "\"";
    const auto state = "\"" + world.sealed(HandleSpot::state, "S") + "\"";
    const auto cursor = "\"" + world.sealed(HandleSpot::cursor, "C") + "\"";
    const auto own = "\"" + *world.handles().for_server(HandleSpot::named_task, "O") + "\"";
    const std::string rows[] = {
        R"({"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{ "taskId" : $T }})",
        R"({"params":{"task\u0049d":$T},"jsonrpc":"2.0","id":1,"method":"tasks/cancel"})",
        R"({"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":$C}})",
        R"({"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":""}})",
        R"({"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":null}})",
        R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","uri":"u:","arguments":{"taskId":"A","cursor":1.50},"inputResponses":{},"requestState":$S}})",
        R"({"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"taskIds":[$T,$T]}}})",
        R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":$T}}}})",
        R"({"jsonrpc":"2.0","id":1,"result":{"action":"accept","_meta":{"io.modelcontextprotocol/related-task":{"TaskId":$T}}}})",
        R"({"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":$O,"status":"working"}}})",
        R"({"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":$O}],"nextCursor":"kept"}})",
        R"({"jsonrpc":"2.0","id":1,"result":{"taskId":$O,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":$O}}}})",
        R"({"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":$O}})",
    };
    for (const auto& row : rows) {
        INFO(row);
        const auto body = replaced(row, {{"$T", task}, {"$S", state}, {"$C", cursor}, {"$O", "\"O\""}});
        const auto expected =
            replaced(row, {{"$T", "\"T\\\"\\u000a\""}, {"$S", "\"S\""}, {"$C", "\"C\""}, {"$O", own}});
        const auto opened = world.to_server(body);
        REQUIRE(opened);
        CHECK(opened->body == std::optional(expected));
        CHECK(opened->task_id.has_value() == (row.find("tasks/") != row.npos));
        if (opened->task_id && row.find("$T") != row.npos) CHECK(*opened->task_id == "T\"\n");
    }
    for (
        const std::string untouched :
        {R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"taskId":"A"}}})",
         R"({"jsonrpc":"2.0","id":1,"method":"ping"})"}) {
        const auto opened = world.to_server(untouched);
        REQUIRE(opened);
        CHECK_FALSE(opened->body);
    }
}

TEST_CASE("What another agent was given is unknown, in every spelling", "[proxy][handles]") {
    const World world;
    const auto bobs = world.of(world.bob, world.server);
    struct Row {
        std::string body;
        HandleSpot spot;
        std::string_view code;
    };
    const Row rows[] = {
        {R"("method":"tasks/get","params":{"taskId":$})", HandleSpot::asked_task, "task.unknown"},
        {R"("method":"tasks/cancel","params":{"taskId":$})", HandleSpot::asked_task, "task.unknown"},
        {R"("method":"tasks/update","params":{"task\u0049d":$})", HandleSpot::asked_task, "task.unknown"},
        {R"("method":"subscriptions/listen","params":{"notifications":{"taskIds":[$]}})",
         HandleSpot::asked_task, "task.unknown"},
        {R"("method":"subscriptions/listen","params":{"notifications":{"taskIds":$}})",
         HandleSpot::asked_task, "task.unknown"},
        {R"("method":"subscriptions/listen","params":{"notifications":{"TASKIDS":[$]}})",
         HandleSpot::asked_task, "task.unknown"},
        {R"("method":"tools/list","params":{"cursor":$})", HandleSpot::cursor, "cursor.unknown"},
        {R"("method":"prompts/list","params":{"cur\u0073or":$})", HandleSpot::cursor, "cursor.unknown"},
        {R"("method":"tools/call","params":{"name":"x","requestState":$})", HandleSpot::state,
         "state.unknown"},
    };
    for (const auto& row : rows)
        for (const auto& given :
             {"\"" + *bobs.for_agent(row.spot, "X") + "\"", std::string("\"X\""), std::string("7"),
              std::string("[\"X\"]"), std::string("{\"X\":1}"), std::string("true")}) {
            const auto body = R"({"jsonrpc":"2.0","id":1,)" + replaced(row.body, {{"$", given}}) + "}";
            std::string id;
            if (!proxy::parse_message(body, {}, id)) continue;  // a taskId that is no text gets no further
            INFO(body);
            const auto opened = world.to_server(body);
            REQUIRE_FALSE(opened);
            CHECK(opened.error().code == row.code);
        }
    // A message that says it belongs to a foreign task belongs to none that the server knows.
    for (const auto* related : {R"("io.modelcontextprotocol/related-task":{"taskId":"X"})",
                                R"("io.modelcontextprotocol/related-task":{"taskId":"X","TASKID":"X"})"}) {
        const auto opened = world.to_server(
            R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{)" +
            std::string(related) + "}}}");
        REQUIRE(opened);
        CHECK(opened->body->find("\"X\"") == std::string::npos);
    }
    for (const auto* key :
         {"io.modelcontextprotocol/Related-Task", "IO.modelcontextprotocol/related-tas\\u212a"}) {
        std::string id;
        const auto body = R"({"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{")" +
                          std::string(key) + R"(":{"taskId":"X"}}}})";
        const auto message = proxy::parse_message(body, {}, id);
        REQUIRE_FALSE(message);
        CHECK(message.error().code == "rpc.duplicate_key");
    }
}

TEST_CASE("A whole body is looked through for every spelling of a handle's name", "[proxy][handles]") {
    const World world;
    const struct {
        const char* what;
        const char* body;
        HandleSpot spot;
    } rows[] = {
        {"as it is", R"({"result":{"nextCursor":"abc"}})", HandleSpot::cursor},
        {"its first letter escaped", R"({"result":{"\u006eextCursor":"abc"}})", HandleSpot::cursor},
        {"its last letter escaped", R"({"result":{"nextCurso\u0072":"abc"}})", HandleSpot::cursor},
        {"all of it escaped", R"({"result":{"\u0074\u0061\u0073\u006B\u0049\u0064":"abc"}})",
         HandleSpot::named_task},
        {"in capitals", R"({"result":{"REQUESTSTATE":"abc"}})", HandleSpot::state},
        {"in another case", R"({"result":{"task":{"TaskID":"abc"}}})", HandleSpot::named_task},
        {"with a Kelvin sign", "{\"result\":{\"tas\u212aId\":\"abc\"}}", HandleSpot::named_task},
        {"with a long s", "{\"result\":{\"reque\u017ftState\":\"abc\"}}", HandleSpot::state},
        {"as a task named by itself",
         R"({"result":{"_meta":{"io.modelcontextprotocol/related-task":"abc"}}})", HandleSpot::named_task},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        proxy::HandleStream stream(world.handles(), proxy::HandleStream::Body::json);
        const auto passed = stream.pass_whole(row.body);
        REQUIRE(passed);
        CHECK(passed->find("\"abc\"") == passed->npos);
        CHECK(passed->find(world.sealed(row.spot, "abc")) != passed->npos);
        proxy::HandleStream events(world.handles(), proxy::HandleStream::Body::events);
        const std::string event = "data: {}\n\ndata: " + std::string(row.body) + "\n\n";
        for (int time = 0; time < 2; ++time) {
            const auto streamed = events.pass(event);
            REQUIRE(streamed);
            CHECK(*streamed == "data: {}\n\ndata: " + std::string(*passed) + "\n\n");
        }
    }
    proxy::HandleStream events(world.handles(), proxy::HandleStream::Body::events);
    const std::string_view event =
        "\xef\xbb\xbf"
        "event: message\ndata: {\"result\":{}}\r\n\r\n: none\n\n";
    CHECK(events.pass(event)->data() == event.data());  // not even copied
    CHECK(*events.pass("data: {\"a\":1}\n\ndata: {\"result\":{\"next") ==
          "data: {\"a\":1}\n\ndata: {\"result\":{\"next");
    CHECK(*events.pass("Cursor\":\"abc\"}}\n\n") ==
          "Cursor\":\"" + world.sealed(HandleSpot::cursor, "abc") + "\"}}\n\n");
    proxy::HandleStream stream(world.handles(), proxy::HandleStream::Body::json);
    const std::string_view none =
        R"({"result":{"content":[{"text":"ask next question, task id, request state"}]}})";
    CHECK(stream.pass_whole(none)->data() == none.data());  // not even copied
}
