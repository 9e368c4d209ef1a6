#include "admin/api/scrub.h"
#include "base/bytes.h"
#include "net/server.h"
#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

#include <functional>
#include <mutex>

using namespace claviger;
using test::ApiWorld;
using test::json;

namespace {

constexpr const char* kToken = "xoxp-CANARY/4+7~token";

using Script = std::function<net::Response(const net::Request&)>;

std::string field(const net::Request& request, const char* name) {
    return std::string(request.headers.find(name).value_or(""));
}

/// An MCP server that answers as its script says. It says what it was asked.
class Upstream {
public:
    struct Seen {
        std::string verb, method, authorization, session, version, named;
    };

    explicit Upstream(Script script)
        : script_(std::move(script)),
          server_({&loop_.worker}, net::ServerLimits{},
                  [this](const net::Request& request, net::ResponseWriter& writer) {
                      return serve(request, writer);
                  }) {
        REQUIRE(server_.listen("127.0.0.1", 0, nullptr));
    }
    ~Upstream() { server_.drain(std::chrono::milliseconds(200)); }

    std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()) + "/mcp"; }
    std::vector<Seen> seen() {
        const std::lock_guard lock(mutex_);
        return seen_;
    }
    /// The verbs of HTTP and the methods of JSON-RPC, in order.
    std::vector<std::string> asked() {
        std::vector<std::string> asked;
        for (const auto& one : seen()) asked.push_back(one.method.empty() ? one.verb : one.method);
        return asked;
    }

private:
    net::awaitable<void> serve(const net::Request& request, net::ResponseWriter& writer) {
        const auto message = json::parse(request.body, nullptr, false);
        {
            const std::lock_guard lock(mutex_);
            seen_.push_back({request.method, message.is_object() ? message.value("method", "") : "",
                             field(request, "Authorization"), field(request, "Mcp-Session-Id"),
                             field(request, "MCP-Protocol-Version"), field(request, "Mcp-Method")});
        }
        const auto response = script_(request);
        co_await writer.send(response);
    }

    test::Loop loop_;
    Script script_;
    std::mutex mutex_;
    std::vector<Seen> seen_;
    net::Server server_;
};

net::Response answer(unsigned status, std::string_view type, std::string body) {
    net::Response response;
    response.status = status;
    response.headers.add("Content-Type", type);
    response.body = std::move(body);
    return response;
}

/// Whatever it is asked.
Script always(unsigned status, std::string_view type, std::string body) {
    return [=](const net::Request&) { return answer(status, type, body); };
}

enum class Framing { json, stream };

net::Response rpc(const json& question, unsigned status, const char* outcome, json value,
                  Framing framing = Framing::json) {
    auto text = json{{"jsonrpc", "2.0"}, {"id", question["id"]}, {outcome, std::move(value)}}.dump();
    if (framing == Framing::json) return answer(status, "application/json", std::move(text));
    return answer(status, "text/event-stream", ": hi\n\nevent: message\ndata: " + text + "\n\n");
}

const json kTools{{"tools", json::array()}};
const char* const kSession = "session-7";

/// As a server of 2025-06-18 answers.
net::Response legacy(const net::Request& request, Framing framing = Framing::json) {
    if (request.method == "DELETE") return answer(204, "text/plain", "");
    const auto question = json::parse(request.body);
    if (question["method"] == "initialize") {
        auto opened = rpc(question, 200, "result",
                          {{"protocolVersion", "2025-06-18"}, {"capabilities", json::object()}}, framing);
        opened.headers.add("Mcp-Session-Id", kSession);
        return opened;
    }
    if (field(request, "Mcp-Session-Id") != kSession)
        return rpc(question, 400, "error", {{"code", -32000}, {"message", "No valid session ID provided"}});
    if (question["method"] == "notifications/initialized") return answer(202, "text/plain", "");
    return rpc(question, 200, "result", kTools, framing);
}

/// As a server of 2026-07-28 answers that knows no other era.
net::Response modern(const net::Request& request) {
    if (request.method != "POST") return answer(405, "text/plain", "");
    const auto question = json::parse(request.body);
    const auto refuse = [&](unsigned status, int code) {
        return rpc(question, status, "error", {{"code", code}, {"message", "refused"}});
    };
    const auto meta = question["params"].value("_meta", json::object());
    if (meta.value("io.modelcontextprotocol/protocolVersion", "") != "2026-07-28" ||
        !meta.contains("io.modelcontextprotocol/clientCapabilities"))
        return refuse(400, -32602);
    if (field(request, "MCP-Protocol-Version") != "2026-07-28" ||
        field(request, "Mcp-Method") != question["method"].get<std::string>())
        return refuse(400, -32020);
    if (question["method"] == "server/discover")
        return rpc(question, 200, "result",
                   {{"resultType", "complete"},
                    {"supportedVersions", {"2026-07-28"}},
                    {"capabilities", {{"tools", json::object()}}}});
    if (question["method"] == "tools/list") return rpc(question, 200, "result", kTools);
    return refuse(404, -32601);
}

net::Response dual(const net::Request& request) {
    return request.method == "POST" && field(request, "MCP-Protocol-Version") == "2026-07-28"
               ? modern(request)
               : legacy(request);
}

/// As `server` answers, but for one method.
Script but(Script server, std::string method, Script other) {
    return [=](const net::Request& request) {
        const auto question = json::parse(request.body, nullptr, false);
        return question.is_object() && question["method"] == method ? other(request) : server(request);
    };
}

Script rpc_error(unsigned status, int code) {
    return [=](const net::Request& request) {
        return rpc(json::parse(request.body), status, "error", {{"code", code}, {"message", "no"}});
    };
}

enum class Grant { bare, refreshable };

struct Validation {
    json credential, verdict, log;
    std::string text;
};

Validation validate(ApiWorld& world, const std::string& url, Grant grant = Grant::bare) {
    json auth{{"type", "mcp_oauth"}, {"mcp_server_url", url}, {"access_token", kToken}};
    if (grant == Grant::refreshable)
        auth["refresh"] = {{"token_endpoint", "https://auth.example/token"},
                           {"client_id", "c"},
                           {"refresh_token", "REFRESH-CANARY"},
                           {"token_endpoint_auth", {{"type", "none"}}}};
    const std::string list = "/v1/vaults/" + world.new_vault()["id"].get<std::string>() + "/credentials";
    Validation done;
    done.credential = world.post(list, {{"auth", auth}});
    const auto id = done.credential["id"].get<std::string>();
    const auto reply = world.call("POST", list + "/" + id + "/mcp_oauth_validate");
    INFO(reply.text);
    REQUIRE(reply.status == 200);
    done.text = reply.text;
    done.verdict = reply.body;
    // Nobody waits for the outcome's entry, so it may come a moment later.
    test::soon([&] {
        done.log = world.get("/v1/access_log?credential_id=" + id)["data"];
        return done.log.size() == 3;
    });
    return done;
}

vault::SecretParts parts_of(std::string_view token) {
    vault::SecretParts parts;
    parts.token = crypto::Secret::copy_of(token);
    return parts;
}

}  // namespace

TEST_CASE("A server of either era that lists its tools makes the credential valid", "[admin]") {
    ApiWorld world;
    struct Row {
        const char* what;
        Script server;
        std::vector<std::string> asked;
    };
    const std::vector<std::string> modern_way{"server/discover", "tools/list"};
    const std::vector<std::string> legacy_way{"server/discover", "initialize", "notifications/initialized",
                                              "tools/list", "DELETE"};
    const Row rows[] = {
        {"modern", modern, modern_way},
        {"legacy", [](const net::Request& request) { return legacy(request); }, legacy_way},
        {"legacy, in streams", [](const net::Request& request) { return legacy(request, Framing::stream); },
         legacy_way},
        {"dual", dual, modern_way},
        {"legacy, and fails at what it does not know",
         but(dual, "server/discover", always(500, "text/plain", "oops")), legacy_way},
        {"legacy, and demands tokens for that only",
         but(dual, "server/discover", always(401, "text/plain", "")), legacy_way},
        {"modern without tools", but(modern, "tools/list", rpc_error(404, -32601)), modern_way},
        {"legacy without tools", but(dual, "server/discover", rpc_error(200, -32601)), legacy_way},
        {"many tools",
         but(modern, "tools/list",
             [](const net::Request& request) {
                 return rpc(json::parse(request.body), 200, "result",
                            {{"tools", {{{"name", std::string(500'000, 'x')}}}}});
             }),
         modern_way},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        Upstream upstream(row.server);
        const auto done = validate(world, upstream.url());
        CHECK(done.verdict["type"] == "vault_credential_validation");
        CHECK(done.verdict["credential_id"] == done.credential["id"]);
        CHECK(done.verdict["vault_id"] == done.credential["vault_id"]);
        CHECK(done.verdict["validated_at"] == base::to_rfc3339(world.clock.now()));
        CHECK(done.verdict["status"] == "valid");
        CHECK(done.verdict["has_refresh_token"] == false);
        CHECK(done.verdict["mcp_probe"].is_null());
        CHECK(done.verdict["refresh"].is_null());
        CHECK(upstream.asked() == row.asked);
        for (const auto& one : upstream.seen()) CHECK(one.authorization == std::string("Bearer ") + kToken);
    }
}

TEST_CASE("A probe of a legacy server keeps to its session", "[admin]") {
    ApiWorld world;
    Upstream upstream([](const net::Request& request) { return legacy(request); });
    validate(world, upstream.url());
    const auto seen = upstream.seen();
    REQUIRE(seen.size() == 5);
    CHECK(seen[1].session.empty());
    CHECK(seen[1].version.empty());
    for (const std::size_t later : {2, 3, 4}) {
        CHECK(seen[later].session == kSession);
        CHECK(seen[later].version == "2025-06-18");
    }
}

TEST_CASE("A server that lets everybody in is asked for what it gives to those it knows", "[admin]") {
    ApiWorld world;
    struct Row {
        const char* what;
        Script server;
        unsigned status;
        const char* verdict;
        const char* method;
    };
    const auto refusal = [](unsigned status) { return always(status, "application/json", "{}"); };
    const Row rows[] = {
        {"open initialize",
         but([](const auto& request) { return legacy(request); }, "tools/list", refusal(401)), 401, "invalid",
         "tools/list"},
        {"open initialize, forbidden tools",
         but([](const auto& request) { return legacy(request); }, "tools/list", refusal(403)), 403, "invalid",
         "tools/list"},
        {"open discovery", but(modern, "tools/list", refusal(401)), 401, "invalid", "tools/list"},
        {"tools that fail", but(modern, "tools/list", rpc_error(200, -32603)), 200, "unknown", "tools/list"},
        {"modern, closed", but(modern, "server/discover", refusal(401)), 401, "invalid", "server/discover"},
        {"modern, forbidden", but(modern, "server/discover", refusal(403)), 403, "invalid",
         "server/discover"},
        {"legacy, closed",
         but([](const auto& request) { return legacy(request); }, "initialize", refusal(401)), 401, "invalid",
         "initialize"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        Upstream upstream(row.server);
        const auto done = validate(world, upstream.url());
        CHECK(done.verdict["status"] == row.verdict);
        CHECK(done.verdict["mcp_probe"]["method"] == row.method);
        CHECK(done.verdict["mcp_probe"]["http_response"]["status_code"] == row.status);
        // A session that was opened is ended all the same.
        const auto seen = upstream.seen();
        if (upstream.asked() == std::vector<std::string>{"server/discover", "initialize",
                                                         "notifications/initialized", "tools/list", "DELETE"})
            CHECK(seen.back().session == kSession);
        else
            CHECK(seen.back().verb == "POST");
    }
}

TEST_CASE("A server that sends without end is left in time", "[admin]") {
    ApiWorld world;
    Upstream upstream(always(200, "application/json", std::string(3'000'000, ' ')));
    const auto done = validate(world, upstream.url());
    CHECK(done.verdict["status"] == "unknown");
    CHECK(done.verdict["mcp_probe"]["http_response"]["body_truncated"] == true);
    CHECK(done.log[0]["response_bytes"].get<std::uint64_t>() < 2 * 1'100'000);
}

TEST_CASE("A probe is on record before the credential is opened, and its outcome after", "[admin]") {
    ApiWorld world;
    Upstream upstream(modern);
    const auto done = validate(world, upstream.url());
    REQUIRE(done.log.size() == 3);  // created, intent, outcome
    CHECK(done.log[1]["kind"] == "use_intent");
    CHECK(done.log[1]["action"] == "validate");
    CHECK(done.log[1]["method"] == "server/discover");
    CHECK(done.log[1]["credential_version"] == 1);
    CHECK(done.log[0]["kind"] == "use_outcome");
    CHECK(done.log[0]["intent_position"] == done.log[1]["position"]);
    CHECK(done.log[0]["status"] == 200);
    const auto shown =
        world.get("/v1/vaults/" + done.credential["vault_id"].get<std::string>() + "/credentials");
    CHECK(shown["data"][0]["use_count"] == 1);
    CHECK(shown["data"][0]["last_used_at"].is_string());
}

TEST_CASE("Every other answer becomes the verdict that is documented for it", "[admin]") {
    ApiWorld world;
    struct Row {
        unsigned status;
        const char* type;
        std::string body;
        Grant grant;
        const char* verdict;
        bool says_no_refresh_token;
    };
    const Row rows[] = {
        {401, "application/json", R"({"error":"invalid_token"})", Grant::bare, "invalid", true},
        {401, "application/json", R"({"error":"invalid_token"})", Grant::refreshable, "invalid", false},
        {403, "text/plain", "no", Grant::bare, "invalid", false},
        {429, "text/plain", "slow down", Grant::bare, "unknown", false},
        {500, "text/plain", "oops", Grant::bare, "unknown", false},
        {503, "text/plain", "", Grant::refreshable, "unknown", false},
        {302, "text/plain", "", Grant::bare, "unknown", false},
        {404, "text/html", "<html>", Grant::bare, "unknown", false},
        {200, "text/html", "<html>", Grant::bare, "unknown", false},
        {200, "application/json", R"({"jsonrpc":"2.0","id":2,"error":{"code":-1,"message":"x"}})",
         Grant::bare, "unknown", false},
        {200, "application/json", R"({"jsonrpc":"2.0","id":99,"result":{}})", Grant::bare, "unknown", false},
        {200, "text/event-stream", ": nothing\n\n", Grant::bare, "unknown", false},
    };
    for (const auto& row : rows) {
        INFO(row.status << " " << row.body);
        Upstream upstream(always(row.status, row.type, row.body));
        const auto done = validate(world, upstream.url(), row.grant);
        CHECK(done.verdict["status"] == row.verdict);
        CHECK(done.verdict["has_refresh_token"] == (row.grant == Grant::refreshable));
        CHECK(done.verdict["mcp_probe"]["method"] == "initialize");
        const auto& response = done.verdict["mcp_probe"]["http_response"];
        CHECK(response["status_code"] == row.status);
        CHECK(response["content_type"] == row.type);
        CHECK(response["body"] == row.body);
        CHECK(response["body_truncated"] == false);
        if (row.says_no_refresh_token)
            CHECK(done.verdict["refresh"] ==
                  json{{"status", "no_refresh_token"}, {"http_response", nullptr}});
        else
            CHECK(done.verdict["refresh"].is_null());
    }
}

TEST_CASE("A server that cannot be reached leaves the verdict open", "[admin]") {
    std::string url;
    {
        const Upstream gone(always(200, "text/plain", ""));
        url = gone.url();
    }
    ApiWorld world;
    const auto done = validate(world, url);
    CHECK(done.verdict["status"] == "unknown");
    CHECK(done.verdict["mcp_probe"] == json{{"method", "initialize"}, {"http_response", nullptr}});
    REQUIRE(done.log.size() == 3);
    CHECK(done.log[0]["reason"] == "upstream.unreachable");
}

TEST_CASE("A private address is probed only where calls may go to it", "[admin]") {
    ApiWorld world(net::PrivateAddresses::refuse);
    Upstream upstream(dual);
    CHECK(validate(world, upstream.url()).verdict["status"] == "unknown");
    CHECK(upstream.seen().empty());

    const std::string vault = world.new_vault()["id"];
    const std::string list = "/v1/vaults/" + vault + "/credentials";
    const auto made = world.post(
        list,
        {{"auth", {{"type", "mcp_oauth"}, {"mcp_server_url", upstream.url()}, {"access_token", kToken}}}});
    world.new_environment(
        {{"vault_bindings", {vault}},
         {"config",
          {{"type", "cloud"}, {"networking", {{"type", "limited"}, {"allowed_hosts", {"127.0.0.1"}}}}}}});
    CHECK(world.post(list + "/" + made["id"].get<std::string>() + "/mcp_oauth_validate")["status"] ==
          "valid");
}

TEST_CASE("What the server says comes back cut and without the secrets", "[admin]") {
    ApiWorld world;
    const std::string echo = std::string("your token is ") + kToken + " and REFRESH-CANARY. ";
    Upstream upstream(always(401, "text/plain", echo + std::string(10'000, 'x')));
    const auto done = validate(world, upstream.url(), Grant::refreshable);
    const auto& response = done.verdict["mcp_probe"]["http_response"];
    CHECK(response["body"].get<std::string>().starts_with("your token is [redacted] and [redacted]. xxx"));
    CHECK(response["body"].get<std::string>().size() == 4096);
    CHECK(response["body_truncated"] == true);
    CHECK(done.text.find("CANARY") == std::string::npos);
}

TEST_CASE("Only active OAuth credentials can be validated", "[admin]") {
    ApiWorld world;
    const std::string list = "/v1/vaults/" + world.new_vault()["id"].get<std::string>() + "/credentials";
    const auto bearer = world.post(
        list,
        {{"auth", {{"type", "static_bearer"}, {"mcp_server_url", "https://a.example"}, {"token", "t"}}}});
    CHECK(world.call("POST", list + "/" + bearer["id"].get<std::string>() + "/mcp_oauth_validate").code() ==
          "credential.not_oauth");
    const auto oauth = world.post(
        list,
        {{"auth", {{"type", "mcp_oauth"}, {"mcp_server_url", "https://b.example"}, {"access_token", "t"}}}});
    const auto path = list + "/" + oauth["id"].get<std::string>();
    world.post(path + "/archive");
    CHECK(world.call("POST", path + "/mcp_oauth_validate").code() == "credential.archived");
    CHECK(world.call("POST", list + "/vcrd_none/mcp_oauth_validate").status == 404);
}

TEST_CASE("No encoding of a secret passes the scrubber", "[admin]") {
    const std::string secret = "sk-AbC/9+~==x\"y\\z";
    const auto parts = parts_of(secret);
    const auto clean = [&](const std::string& text) { return admin::api::scrubbed(text, parts); };
    CHECK(clean("nothing here: sk-AbC") == "nothing here: sk-AbC");
    CHECK(clean("a " + secret + " b " + secret) == "a [redacted] b [redacted]");

    std::string percent, hex_escaped;
    for (const char c : secret) {
        constexpr const char* digits = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(c);
        percent += std::string("%") + digits[byte >> 4] + digits[byte & 15];
        hex_escaped += std::string("\\u00") + digits[byte >> 4] + digits[byte & 15];
    }
    auto broken = base::to_base64("user:" + secret);
    broken.insert(10, "\r\n");
    const std::vector<std::string> forms{json(secret).dump(),
                                         percent,
                                         hex_escaped,
                                         base::to_base64(secret),
                                         base::to_base64("a:" + secret),
                                         base::to_base64("ab:" + secret + "tail"),
                                         base::to_base64url("abc:" + secret),
                                         broken,
                                         base::to_hex(secret),
                                         "f" + base::to_hex(secret)};
    for (const auto& form : forms) {
        INFO(form);
        const auto text = clean(R"({"error":")" + form + "\"}");
        CHECK(text.starts_with("[withheld"));
    }
}
