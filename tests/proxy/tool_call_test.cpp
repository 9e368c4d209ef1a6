#include "proxy/tool_call.h"

#include "crypto/random.h"
#include "tests/support/proxy_gateway.h"
#include "tests/support/spec.h"
#include "vault/sealed_rows.h"

#include <atomic>
#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

using namespace claviger;
using nlohmann::json;
using test::call_of;
using test::Gateway;
using test::json_answer;
using vault::EntryKind;

namespace {

const std::string kResult = R"({"jsonrpc":"2.0","id":1,"result":{"content":[]}})";

json error_of(const test::AgentReply& reply) { return json::parse(reply.body)["error"]; }
std::string code_of(const test::AgentReply& reply) { return error_of(reply)["data"]["code"]; }

/// Answers with what it was sent, but holds back the answers to the tool "slow" until it may.
class HoldingServer {
public:
    std::string operator()(const std::string& request) {
        if (request.find(R"("name":"slow")") != request.npos) may_answer_.wait();
        const auto field = request.find("Authorization: Bearer ");
        return json_answer(R"({"jsonrpc":"2.0","id":1,"result":{"echo":)" +
                           json(request.substr(field, request.find("\r\n", field) - field)).dump() + "}}");
    }
    void answer() { answer_.set_value(); }

private:
    std::promise<void> answer_;
    std::shared_future<void> may_answer_ = answer_.get_future().share();
};

bool mentions_secret(std::string_view text) {
    return text.find(Gateway::kSecret) != text.npos ||
           text.find(base::to_base64(Gateway::kSecret)) != text.npos;
}

}  // namespace

// --- a call that is allowed

TEST_CASE("A call carries the credential, and the log has its intent and its outcome", "[proxy][tool_call]") {
    Gateway gateway([](const std::string&) { return json_answer(kResult); });
    const auto body = call_of("deploy", R"(, "arguments": {"n": 12345678901234567890.10, "n": 1})");

    const auto reply = gateway.post(
        body, {{"Cookie", "session=agent"}, {"X-Api-Key", "agent"}, {"traceparent", "00-a-b-00"}});

    CHECK(reply.status == 200);
    CHECK(reply.body == kResult);
    REQUIRE(gateway.seen.count() == 1);
    const auto asked = gateway.seen.last();
    CHECK(asked.ends_with("\r\n\r\n" + body));  // byte for byte
    CHECK(asked.find("Authorization: Bearer " + std::string(Gateway::kSecret) + "\r\n") != asked.npos);
    CHECK(asked.find("traceparent: 00-a-b-00\r\n") != asked.npos);
    CHECK(asked.find(gateway.token) == asked.npos);
    CHECK(asked.find("agent") == asked.npos);

    const auto log = gateway.calls(2);
    const auto& intent = log[0];
    CHECK(intent.kind == EntryKind::use_intent);
    CHECK(intent.verdict == vault::Verdict::allowed);
    CHECK(intent.session == gateway.session.id.raw);
    CHECK(intent.agent == gateway.agent.id.raw);
    CHECK(intent.environment == gateway.environment.id.raw);
    CHECK(intent.vault == gateway.vault.id.raw);
    CHECK(intent.credential == gateway.credential.id.raw);
    CHECK(intent.credential_version == 1);
    CHECK(intent.request_bytes == body.size());
    CHECK(intent.tool == gateway.records->access_log().fingerprint("tool", "deploy"));
    CHECK(*gateway.records->ledger().name_of(intent.tool) == std::optional<std::string>("deploy"));
    const auto& outcome = log[1];
    CHECK(outcome.kind == EntryKind::use_outcome);
    CHECK(outcome.intent == intent.position + 1);
    CHECK(outcome.status == 200);
    CHECK(outcome.response_bytes == kResult.size());
    CHECK(outcome.redactions == 0);
    CHECK(outcome.reason == 0);
    CHECK(gateway.counters.allowed == 1);
    CHECK(gateway.counters.in_flight == 0);
}

TEST_CASE("A server that gives the secret back gives it to nobody", "[proxy][tool_call]") {
    const auto leak = R"({"jsonrpc":"2.0","id":1,"result":{"a":")" + std::string(Gateway::kSecret) +
                      R"(","b":")" + base::to_base64(Gateway::kSecret) + "\"}}";
    std::string answer;
    SECTION("in JSON") { answer = json_answer(leak); }
    SECTION("in an event stream") { answer = test::sse_answer("data: " + leak + "\n\n"); }
    SECTION("in an error") {
        answer = test::http_answer("400 Bad Request", {{"Content-Type", "application/json"}}, leak);
    }
    SECTION("in a header") {
        answer = json_answer(leak, {{"Cache-Control", std::string(Gateway::kSecret)},
                                    {"X-Token", std::string(Gateway::kSecret)}});
    }
    SECTION("in a long answer") {
        answer = json_answer(R"({"jsonrpc":"2.0","id":1,"result":{"pad":")" + std::string(200'000, 'x') +
                             R"(","c":")" + std::string(Gateway::kSecret) + R"(","d":")" +
                             base::to_base64(Gateway::kSecret) + "\"}}");
    }
    Gateway gateway([&](const std::string&) { return answer; });

    const auto reply = gateway.post(call_of("deploy"));

    CHECK(reply.complete);
    CHECK(reply.body.find("***") != reply.body.npos);
    CHECK_FALSE(mentions_secret(reply.head + reply.body));
    const auto outcome = gateway.calls(2)[1];
    CHECK(outcome.redactions >= 2);
    CHECK(outcome.response_bytes == reply.body.size());
    CHECK(gateway.counters.redactions == outcome.redactions);
}

TEST_CASE("Calls under way at the same time open the credential once, and a later one opens it anew",
          "[proxy][tool_call]") {
    HoldingServer server;
    Gateway gateway(std::ref(server));
    const auto post = [&](const char* tool) { return gateway.post(call_of(tool)); };
    const auto slow = [&] { return std::async(std::launch::async, post, "slow"); };

    auto first = slow(), second = slow();
    REQUIRE(test::soon([&] { return gateway.seen.count() == 2; }));
    CHECK(gateway.records->tokens_opened() == 1);
    server.answer();
    for (auto* held : {&first, &second}) {
        const auto reply = held->get();
        CHECK(reply.status == 200);
        CHECK(reply.body.find("***") != reply.body.npos);
        CHECK_FALSE(mentions_secret(reply.body));
    }
    CHECK(gateway.records->tokens_opened() == 1);

    CHECK(post("deploy").status == 200);
    CHECK(gateway.records->tokens_opened() == 2);  // nothing had stayed open
    CHECK(gateway.seen.last().find(Gateway::kSecret) != std::string::npos);
}

TEST_CASE("A call that still holds a replaced secret shares it with no later one", "[proxy][tool_call]") {
    constexpr std::string_view fresh = "another-s3cret-of-the-server";
    HoldingServer server;
    Gateway gateway(std::ref(server));
    auto held = std::async(std::launch::async, [&] { return gateway.post(call_of("slow")); });
    REQUIRE(test::soon([&] { return gateway.seen.count() == 1; }));
    gateway.change([&](vault::Change& now) {
        vault::SecretParts parts;
        parts.token = crypto::Secret::copy_of(fresh);
        now.note(EntryKind::rotate, vault::Action::update, vault::ObjectKind::credential,
                 gateway.credential.id.raw, gateway.vault.id.raw);
        return now.store_with_secret(gateway.credential, parts);
    });

    const auto later = gateway.post(call_of("deploy"));
    CHECK(gateway.records->tokens_opened() == 2);
    CHECK(gateway.seen.last().find(fresh) != std::string::npos);
    CHECK(gateway.seen.last().find(Gateway::kSecret) == std::string::npos);
    CHECK(later.body.find("***") != later.body.npos);
    CHECK(later.body.find(fresh) == later.body.npos);
    server.answer();
    const auto before = held.get();
    CHECK(before.body.find("***") != before.body.npos);
    CHECK_FALSE(mentions_secret(before.body));
}

// --- a call that is refused

TEST_CASE("A refused call never opens the credential, and is on record", "[proxy][tool_call]") {
    Gateway gateway;
    gateway.environment.tool_rules = {
        {.name = "no drops", .tool = "drop_*", .when = {{.pointer = "/table", .value = "users"}}}};
    gateway.store(gateway.environment);
    // From here on opening the credential fails, and shows.
    const auto key = vault::secret_key(gateway.credential);
    auto row = **gateway.engine.get(vault::Table::value, key);
    row.value.back() = static_cast<char>(row.value.back() ^ 1);
    gateway.disk.replace(vault::Table::value, key, row);

    const auto opened = gateway.post(call_of("deploy"));
    CHECK(opened.status == 500);
    CHECK(code_of(opened) == "envelope.refused");
    CHECK(opened.body.find("table") == opened.body.npos);  // the place is for our log only

    const auto refused = gateway.post(call_of("drop_table", R"(,"arguments":{"table":"users"})"));
    CHECK(refused.status == 200);
    CHECK(error_of(refused)["code"] == 40301);
    CHECK(code_of(refused) == "policy.denied");
    CHECK(gateway.seen.count() == 0);
    CHECK(gateway.records->tokens_opened() == 0);

    const auto log = gateway.calls(3);
    CHECK(log[1].kind == EntryKind::use_outcome);
    CHECK(vault::reason_code(log[1].reason) == "envelope.refused");
    CHECK(log[2].kind == EntryKind::deny);
    CHECK(log[2].verdict == vault::Verdict::denied);
    CHECK(vault::reason_code(log[2].reason) == "policy.denied");
    CHECK(log[2].tool == gateway.records->access_log().fingerprint("tool", "drop_table"));
}

TEST_CASE("A call whose intent cannot be made durable does not happen", "[proxy][tool_call]") {
    Gateway gateway;
    gateway.engine.fail_commits();

    const auto refused = gateway.post(call_of("deploy"));

    CHECK(refused.status == 503);
    CHECK(error_of(refused)["code"] == 50301);
    CHECK(code_of(refused) == "log.not_durable");
    CHECK(json::parse(refused.body)["id"] == 1);
    CHECK(gateway.seen.count() == 0);
    CHECK(gateway.records->tokens_opened() == 0);
    CHECK(gateway.counters.not_durable == 1);
    CHECK(gateway.post(call_of("disabled")).status ==
          503);  // a refusal is not given without its entry either

    gateway.engine.heal();
    CHECK(test::soon([&] { return gateway.post(call_of("deploy")).status == 200; }));
    CHECK(gateway.seen.count() == 1);
    CHECK(gateway.calls(2)[0].kind == EntryKind::use_intent);
}

TEST_CASE("A call whose intent cannot be made durable does not get what another has opened",
          "[proxy][tool_call]") {
    HoldingServer server;
    Gateway gateway(std::ref(server));
    auto held = std::async(std::launch::async, [&] { return gateway.post(call_of("slow")); });
    REQUIRE(test::soon([&] { return gateway.seen.count() == 1; }));
    gateway.engine.fail_commits();

    CHECK(code_of(gateway.post(call_of("deploy"))) == "log.not_durable");

    CHECK(gateway.seen.count() == 1);
    gateway.engine.heal();
    server.answer();
    CHECK(held.get().status == 200);
}

TEST_CASE("A private address is called only for an environment that lists it", "[proxy][tool_call]") {
    std::atomic<int> connections{0};
    auto settings = test::usual_settings();
    settings.private_upstreams = net::PrivateAddresses::refuse;
    Gateway gateway(test::RawUpstream::Script([&](test::Peer& peer) {
                        ++connections;
                        if (!peer.request().empty()) peer.write(json_answer(kResult));
                    }),
                    settings);
    const auto refused = gateway.post(call_of("deploy"));
    CHECK(error_of(refused)["code"] == 40301);
    CHECK(code_of(refused) == "network.private_address");
    CHECK(connections == 0);
    CHECK(vault::reason_code(gateway.calls(2)[1].reason) == "network.private_address");

    gateway.environment.network.allowed_hosts = {"127.0.0.1"};
    gateway.store(gateway.environment);
    CHECK(gateway.post(call_of("deploy")).body == kResult);
    CHECK(connections == 1);
}

TEST_CASE("A token that runs out while the intent waits for the disk is answered as any other",
          "[proxy][tool_call]") {
    Gateway gateway;
    gateway.session_token.expires = gateway.clock.now() + std::chrono::hours(1);
    gateway.store(gateway.session_token);
    std::promise<void> release;
    gateway.records->change(
        {},
        [&](vault::Change&) -> base::Status {
            release.get_future().wait();  // holds up the commit thread
            return base::failure(base::ErrorKind::conflict, "test", "nothing changes");
        },
        [](const base::Status&) {});
    auto call = std::async(std::launch::async, [&] { return gateway.post(call_of("deploy")); });
    REQUIRE(test::soon([&] { return gateway.counters.in_flight == 1; }));
    gateway.clock.advance(std::chrono::hours(1));
    release.set_value();

    const auto reply = call.get();
    CHECK(reply.status == 401);
    CHECK(reply.field("WWW-Authenticate") == R"(Bearer error="invalid_token")");
    CHECK(code_of(reply) == "session.token_expired");
    CHECK(json::parse(reply.body)["id"] == 1);
    CHECK(gateway.seen.count() == 0);
}

TEST_CASE("A hidden tool is answered like one that does not exist", "[proxy][tool_call]") {
    Gateway gateway;
    gateway.environment.tool_rules = {{.name = "never", .tool = "forbidden"}};
    gateway.store(gateway.environment);
    for (const std::string tool : {"disabled", "forbidden"}) {
        const auto reply = gateway.post(call_of(tool));
        CHECK(reply.status == 200);
        CHECK(reply.body ==
              R"({"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: )" + tool + "\"}}");
        CHECK(gateway.calls().back().kind == EntryKind::deny);
    }
    CHECK(gateway.seen.count() == 0);
}

TEST_CASE("A tool that needs a person is refused in words for the model", "[proxy][tool_call]") {
    Gateway gateway;
    const auto legacy = json::parse(gateway.post(call_of("asks")).body);
    CHECK(legacy["result"]["isError"] == true);
    CHECK_FALSE(legacy["result"].contains("resultType"));
    const auto modern = json::parse(
        gateway.post(test::modern_call_of("asks"), test::modern_fields("tools/call", "asks")).body);
    CHECK(modern["result"]["resultType"] == "complete");
    CHECK(vault::reason_code(gateway.calls(2)[0].reason) == "policy.needs_approval");
    CHECK(gateway.seen.count() == 0);
}

TEST_CASE("A credential limited to tools serves no other, and no other is listed", "[proxy][tool_call]") {
    Gateway gateway([](const std::string& request) {
        if (request.find("tools/list") == request.npos) return json_answer(kResult);
        return json_answer(
            R"({"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"deploy"},{"name":"destroy"}]}})");
    });
    gateway.session.agent.toolsets[0].configs.clear();  // of themselves agent and environment hide nothing
    gateway.store(gateway.session);
    gateway.change([&](vault::Change& now) {
        auto limited = gateway.credential;
        limited.allowed_tools = {"deploy"};
        vault::SecretParts parts;
        parts.token = crypto::Secret::copy_of(Gateway::kSecret);
        now.note(EntryKind::write, vault::Action::update, vault::ObjectKind::credential, limited.id.raw);
        return now.store_with_secret(limited, parts);
    });
    const auto refused = gateway.post(call_of("destroy"));
    CHECK(refused.status == 200);
    CHECK(refused.body ==
          R"({"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: destroy"}})");
    CHECK(gateway.seen.count() == 0);
    CHECK(gateway.post(call_of("deploy")).body == kResult);
    const auto log = gateway.calls(3);
    CHECK(vault::reason_code(log[0].reason) == "credential.tool_not_allowed");
    CHECK(log[1].credential_version == 2);
    CHECK(gateway.seen.count() == 1);
    CHECK(gateway.post(R"({"jsonrpc":"2.0","id":1,"method":"tools/list"})").body ==
          R"({"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"deploy"}]}})");
}

TEST_CASE("What an administrator changes between two calls holds for the second", "[proxy][tool_call]") {
    Gateway gateway;
    REQUIRE(gateway.post(call_of("deploy")).body.find("result") != std::string::npos);
    std::string code;
    unsigned status = 200;
    SECTION("the credential is archived") {
        gateway.change([&](vault::Change& now) {
            auto archived = gateway.credential;
            archived.archived = now.now();
            now.note(EntryKind::write, vault::Action::archive, vault::ObjectKind::credential,
                     archived.id.raw);
            return now.purge_secret(archived);
        });
        code = "credential.archived";
    }
    SECTION("the credential is erased") {
        gateway.change([&](vault::Change& now) {
            now.note(EntryKind::write, vault::Action::erase, vault::ObjectKind::credential,
                     gateway.credential.id.raw);
            return now.erase(gateway.credential);
        });
        code = "credential.not_found";
    }
    SECTION("the vault is unbound from the environment") {
        gateway.environment.vault_bindings.clear();
        gateway.store(gateway.environment);
        code = "credential.vault_not_bound";
    }
    SECTION("the vault is archived") {
        gateway.vault.archived = gateway.clock.now();
        gateway.store(gateway.vault);
        code = "credential.archived";
    }
    SECTION("the token is revoked") {
        gateway.session_token.revoked = gateway.clock.now();
        gateway.store(gateway.session_token);
        code = "session.token_unknown";
        status = 401;
    }
    SECTION("the token expires") {
        gateway.session_token.expires = gateway.clock.now() + std::chrono::hours(1);
        gateway.store(gateway.session_token);
        REQUIRE(gateway.post(R"({"jsonrpc":"2.0","id":1,"method":"ping"})").status == 200);
        gateway.clock.advance(std::chrono::hours(1));
        code = "session.token_expired";
        status = 401;
    }
    SECTION("the session ends") {
        gateway.session.archived = gateway.clock.now();
        gateway.store(gateway.session);
        code = "session.terminated";
        status = 401;
    }
    SECTION("the environment closes the host") {
        gateway.environment.network.limited = true;
        gateway.store(gateway.environment);
        code = "policy.host_blocked";
    }
    const auto before = gateway.seen.count();
    const auto refused = gateway.post(call_of("deploy"));
    CHECK(refused.status == status);
    CHECK(code_of(refused) == code);
    CHECK(gateway.seen.count() == before);
}

TEST_CASE("A store that cannot be read for a moment does not keep a session from its credential",
          "[proxy][tool_call][fault]") {
    Gateway gateway;
    gateway.engine.fail_reads();
    CHECK(gateway.post(call_of("deploy")).body.find("result") == std::string::npos);
    CHECK(gateway.seen.count() == 0);
    gateway.engine.heal();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(8);
    test::AgentReply reply;
    do reply = gateway.post(call_of("deploy"));  // the log takes half a second to try again
    while (reply.body.find("result") == std::string::npos && std::chrono::steady_clock::now() < deadline);
    CHECK(reply.body.find("result") != std::string::npos);
}

TEST_CASE("A credential is found behind any number of archived ones", "[proxy][tool_call]") {
    Gateway gateway;
    for (int batch = 0; batch < 6; ++batch)
        gateway.change([&](vault::Change& now) -> base::Status {
            now.note(EntryKind::write, vault::Action::create, vault::ObjectKind::none, gateway.vault.id.raw);
            for (int i = 0; i < 200; ++i) {
                auto archived = gateway.credential;
                archived.id = crypto::random_id<base::CredentialId>();
                archived.created_seq = archived.version = 0;
                archived.archived = now.now();
                if (auto stored = now.store(archived); !stored) return stored;
            }
            return {};
        });
    CHECK(gateway.post(call_of("deploy")).body.find("result") != std::string::npos);
}

TEST_CASE("A credential that is rotated all the time is never missing", "[proxy][tool_call]") {
    Gateway gateway;
    std::atomic<bool> stop = false;
    std::thread rotating([&] {
        while (!stop) {
            std::promise<void> done;
            gateway.records->change(
                {},
                [&](vault::Change& now) {
                    vault::SecretParts parts;
                    parts.token = crypto::Secret::copy_of(Gateway::kSecret);
                    now.note(EntryKind::rotate, vault::Action::update, vault::ObjectKind::credential,
                             gateway.credential.id.raw, gateway.vault.id.raw);
                    return now.store_with_secret(
                        *now.catalog().find<vault::Credential>(gateway.credential.id), parts);
                },
                [&](const base::Status&) { done.set_value(); });
            done.get_future().wait();
        }
    });
    std::string refused;
    for (int i = 0; i < 300; ++i)
        if (const auto reply = gateway.post(call_of("deploy"));
            reply.body.find("result") == std::string::npos)
            refused = reply.body;
    stop = true;
    rotating.join();
    CHECK(refused == "");
}

TEST_CASE("An unknown method is answered as such, and stays here", "[proxy][tool_call]") {
    Gateway gateway;
    const auto legacy = gateway.post(R"({"jsonrpc":"2.0","id":1,"method":"admin/shutdown"})");
    CHECK(legacy.status == 200);
    CHECK(error_of(legacy)["code"] == -32601);
    const auto modern = gateway.post(
        R"({"jsonrpc":"2.0","id":1,"method":"admin/shutdown","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}})",
        test::modern_fields("admin/shutdown"));
    CHECK(modern.status == 404);
    CHECK(error_of(modern)["code"] == -32601);
    CHECK(gateway.seen.count() == 0);
}

TEST_CASE("A request that is wrong in itself gets a clear answer and leaves no trace upstream",
          "[proxy][endpoint]") {
    Gateway gateway;
    struct Row {
        std::string_view what, method;
        std::string body;
        test::FieldList fields;
        unsigned status;
        int code;
    };
    const std::string ping = R"({"jsonrpc":"2.0","id":1,"method":"ping"})";
    const Row rows[] = {
        {"no token", "POST", ping, {{"Authorization", "(none)"}}, 401, 40101},
        {"a token of nobody", "POST", ping, {{"Authorization", "Bearer clv_session_x"}}, 401, 40101},
        {"another scheme", "POST", ping, {{"Authorization", "Basic " + gateway.token}}, 401, 40101},
        {"two tokens",
         "POST",
         ping,
         {{"Authorization", "Bearer " + gateway.token}, {"authorization", "Bearer x"}},
         401,
         40101},
        {"a token in the query",
         "POST",
         ping,
         {{"Authorization", "(none)"}, {":path", "/mcp/upstream?token=" + gateway.token}},
         401,
         40101},
        {"another server", "POST", ping, {{":path", "/mcp/other"}}, 404, 40401},
        {"no server", "POST", ping, {{":path", "/mcp/"}}, 404, 40401},
        {"another path", "POST", ping, {{":path", "/v1/vaults"}}, 404, 40401},
        {"a foreign Host", "POST", ping, {{"Host", "evil.example"}}, 403, -32600},
        {"a foreign Origin", "POST", ping, {{"Origin", "https://evil.example"}}, 403, -32600},
        {"an opaque Origin", "POST", ping, {{"Origin", "null"}}, 403, -32600},
        {"a lookalike Origin", "POST", ping, {{"Origin", "http://127.0.0.1.evil.example"}}, 403, -32600},
        {"PUT", "PUT", ping, {{"Content-Type", "application/json"}}, 405, -32600},
        {"no Content-Type", "POST", ping, {{"Content-Type", "(none)"}}, 415, -32600},
        {"text", "POST", ping, {{"Content-Type", "text/plain"}}, 415, -32600},
        {"compressed", "POST", ping, {{"Content-Encoding", "gzip"}}, 415, -32600},
        {"no JSON", "POST", "{", {}, 400, -32700},
        {"a batch", "POST", "[" + ping + "]", {{"MCP-Protocol-Version", "2025-06-18"}}, 400, -32600},
        {"a modern header over a legacy body",
         "POST",
         ping,
         {{"MCP-Protocol-Version", "2026-07-28"}},
         400,
         -32602},
        {"a session id that is not ours", "POST", ping, {{"Mcp-Session-Id", "guess"}}, 404, -32001},
        {"a GET with a session id that is not ours", "GET", "", {{"Mcp-Session-Id", "guess"}}, 404, -32001},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto reply = gateway.send(row.method, row.body, row.fields);
        CHECK(reply.status == row.status);
        CHECK(error_of(reply)["code"] == row.code);
        CHECK(reply.field("Content-Type") == "application/json");
        CHECK(reply.body.find(gateway.token) == std::string::npos);
    }
    CHECK(gateway.seen.count() == 0);
    CHECK(
        gateway
            .send(
                "POST", ping,
                {{":path", "/mcp/%75pstream"}, {"Origin", "http://localhost:3000"}, {"Host", "localhost:1"}})
            .status == 200);
}

TEST_CASE("Pages of allowed origins may call and read what comes back, and no others", "[proxy]") {
    Gateway gateway(test::RawUpstream::Script([](test::Peer& peer) {
                        const auto request = peer.request();
                        if (request.empty()) return;
                        peer.write(request.find("streams") == request.npos
                                       ? test::json_answer("{}", {{"Access-Control-Allow-Origin", "*"}})
                                       : test::sse_answer(": hi\n\n"));
                    }),
                    {.allowed_origins = {"https://inspector.example"}});
    const std::string ping = R"({"jsonrpc":"2.0","id":1,"method":"ping"})";
    const test::FieldList asks{{"Authorization", "(none)"},
                               {"Access-Control-Request-Method", "POST"},
                               {"Access-Control-Request-Headers", "authorization,mcp-session-id"}};
    const auto from = [](std::string_view origin, test::FieldList fields) {
        fields.emplace_back("Origin", std::string(origin));
        return fields;
    };
    for (const auto* origin : {"https://inspector.example", "http://localhost:6274"}) {
        INFO(origin);
        const auto preflight = gateway.send("OPTIONS", "", from(origin, asks));
        CHECK(preflight.status == 204);
        CHECK(preflight.field("Access-Control-Allow-Origin") == origin);
        CHECK(preflight.field("Access-Control-Allow-Methods") == "POST, GET, DELETE");
        CHECK(preflight.field("Access-Control-Allow-Headers") == "Authorization, *");
        CHECK(preflight.field("Access-Control-Max-Age") == "7200");
        CHECK(preflight.field("Vary") == "Origin");
        const test::AgentReply answers[] = {
            gateway.post(ping, from(origin, {})),
            gateway.post(call_of("streams"), from(origin, {})),
            gateway.post(ping, from(origin, {{"Authorization", "(none)"}})),
            gateway.post("{", from(origin, {})),
            gateway.send("OPTIONS", "", from(origin, {})),
        };
        std::string statuses;
        for (const auto& answer : answers) {
            statuses += std::to_string(answer.status) + " ";
            CHECK(answer.field("Access-Control-Allow-Origin") == origin);
            CHECK(answer.field("Access-Control-Expose-Headers") ==
                  "Mcp-Session-Id, WWW-Authenticate, Retry-After");
            CHECK(answer.field("Access-Control-Allow-Credentials") == "(none)");
            CHECK(answer.field("Vary") == "Origin");
        }
        CHECK(statuses == "200 200 401 400 405 ");
    }
    for (const auto* origin : {"https://inspector.example.evil", "http://inspector.example", "null"}) {
        INFO(origin);
        const auto preflight = gateway.send("OPTIONS", "", from(origin, asks));
        CHECK(preflight.status == 403);
        CHECK(preflight.head.find("Access-Control") == std::string::npos);
    }
    CHECK(gateway
              .send("OPTIONS", "",
                    from("http://localhost",
                         {{"Host", "evil.example"}, {"Access-Control-Request-Method", "POST"}}))
              .status == 403);
    CHECK(gateway.send("OPTIONS", "", asks).status == 401);  // no page asks
    CHECK(gateway.post(ping).head.find("Access-Control") == std::string::npos);
}
