// What authorization servers say of tokens: read strictly, asked as the grant's own client.
#include "oauth/introspection.h"

#include "oauth/dpop.h"
#include "tests/net/raw_upstream.h"
#include "tests/support/net_loop.h"
#include "tests/support/spec.h"
#include "tests/support/vault_test_store.h"

#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace claviger::oauth {
namespace {

using namespace std::chrono_literals;
constexpr auto kJson = "application/json";

TEST_CASE("An answer about a token is read whole", "[oauth][introspection]") {
    const auto said = parse_introspection(
        "Application/JSON; charset=utf-8",
        R"({"active":true,"exp":1900000000,"scope":"a  b","client_id":"c","sub":"s","token_type":"Bearer","x":[1]})");
    REQUIRE(said);
    CHECK(said->active);
    CHECK(said->expires_at == base::Time(1'900'000'000s));
    CHECK(said->scopes == Scopes{"a", "b"});
    const auto little = parse_introspection(kJson, R"({"active":true,"exp":null,"scope":null})");
    REQUIRE(little);
    CHECK(little->active);
    CHECK_FALSE(little->expires_at);
    CHECK_FALSE(little->scopes);
    CHECK(parse_introspection(kJson, R"({"active":true,"exp":1900000000.9})")->expires_at ==
          base::Time(1'900'000'000s));
}

TEST_CASE("Of an inactive token nothing else counts", "[oauth][introspection]") {
    const auto said = parse_introspection(kJson, R"({"active":false,"exp":"never","scope":1})");
    REQUIRE(said);
    CHECK_FALSE(said->active);
    CHECK_FALSE(said->expires_at);
}

TEST_CASE("An answer about a token that cannot be meant is refused, and says why", "[oauth][introspection]") {
    const struct {
        const char* type;
        std::string body;
        const char* code;
    } rows[] = {
        {kJson, "", "json.invalid"},
        {kJson, "[]", "json.not_an_object"},
        {kJson, R"({"active":true,"active":false})", "json.invalid"},
        {kJson, "{}", "introspection.malformed"},
        {kJson, R"({"active":"true"})", "introspection.malformed"},
        {kJson, R"({"active":1})", "introspection.malformed"},
        {kJson, R"({"active":null})", "introspection.malformed"},
        {kJson, R"({"active":true,"exp":"soon"})", "introspection.malformed"},
        {kJson, R"({"active":true,"exp":-1})", "introspection.malformed"},
        {kJson, R"({"active":true,"exp":1e300})", "introspection.malformed"},
        {kJson, R"({"active":true,"scope":["a"]})", "introspection.malformed"},
        {kJson, R"({"active":true,"client_id":7})", "introspection.malformed"},
        {kJson, R"({"active":true,"sub":{}})", "introspection.malformed"},
        {kJson, R"({"active":true,"sub":")" + std::string(5'000, 'x') + "\"}", "introspection.malformed"},
        {kJson, R"({"active":true,"x":")" + std::string(20'000, 'x') + "\"}", "json.too_large"},
        {"application/token-introspection+jwt", "a.b.c", "introspection.signed"},
        {"application/jwt", "a.b.c", "introspection.signed"},
        {"text/html", "<html>", "introspection.not_json"},
        {"", R"({"active":true})", "introspection.not_json"},
    };
    for (const auto& row : rows) {
        INFO(row.type << " " << row.body.substr(0, 80));
        const auto said = parse_introspection(row.type, row.body);
        REQUIRE_FALSE(said);
        CHECK(said.error().kind == base::ErrorKind::invalid_request);
        CHECK(said.error().code == row.code);
        CHECK_FALSE(said.error().message.empty());
    }
}

std::string reply(int status, const std::string& body, const std::string& more = {}) {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n" + more +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// A credential whose server answers in order as it is told; the last answer repeats.
struct World {
    World() {
        credential.id.raw = test::id_of(8);
        vault::Refresh refresh;
        refresh.token_endpoint = "http://127.0.0.1:" + std::to_string(server.port()) + "/token";
        refresh.client_id = "client";
        credential.refresh = refresh;
        loop.emplace();
        pool.emplace(loop->worker, net::ClientLimits{}, nullptr);
    }
    ~World() {
        loop->stop();
        pool.reset();
    }
    base::Result<TokenState> ask() {
        const auto endpoint = "http://127.0.0.1:" + std::to_string(server.port()) + "/introspect";
        const Outbound out{.worker = loop->worker,
                           .pool = *pool,
                           .clock = clock,
                           .reach = [](std::string_view) { return net::PrivateAddresses::allow; },
                           .plain_loopback = PlainLoopback::allow};
        const IntrospectionCall call{.endpoint = endpoint,
                                     .credential = credential,
                                     .parts = parts,
                                     .grant = grant,
                                     .profile = profile,
                                     .timeout = 2s};
        const auto token = crypto::Secret::copy_of("token-1");
        return loop->await<base::Result<TokenState>>(
            [&](net::Worker&) { return introspect(out, call, token, "access_token"); });
    }

    /// From now on it answers with these, and its requests are counted anew.
    void says(std::vector<std::string> in_order) {
        const std::lock_guard hold(guard);
        answers = std::move(in_order);
        requests.clear();
    }

    std::mutex guard;  // over the two below
    std::vector<std::string> answers, requests;
    test::RawUpstream server{[this](test::Peer& peer) {
        for (auto request = peer.request(); !request.empty(); request = peer.request()) {
            std::string answer;
            {
                const std::lock_guard hold(guard);
                requests.push_back(request);
                answer = answers.at(std::min(requests.size(), answers.size()) - 1);
            }
            peer.write(answer);
        }
    }};
    test::ManualClock clock;
    std::optional<test::Loop> loop;
    std::optional<net::ClientPool> pool;
    vault::Credential credential;
    vault::SecretParts parts;
    StoredGrant grant;
    ProviderProfile profile;
};

TEST_CASE("The grant's client asks, and proves itself as at the token endpoint", "[oauth][introspection]") {
    World world;
    world.says({reply(200, R"({"active":true})")});
    SECTION("with nothing but its name") {
        REQUIRE(world.ask());
        CHECK(world.requests.at(0).ends_with(
            "\r\n\r\ntoken=token-1&token_type_hint=access_token&client_id=client"));
    }
    SECTION("with its secret") {
        world.credential.refresh->auth = vault::TokenEndpointAuth::client_secret_basic;
        world.parts.client_secret = crypto::Secret::copy_of("s:1");
        REQUIRE(world.ask());
        CHECK(world.requests.at(0).find("Authorization: Basic " + base::to_base64("client:s%3A1")) !=
              std::string::npos);
        CHECK(world.requests.at(0).ends_with("\r\n\r\ntoken=token-1&token_type_hint=access_token"));
    }
    SECTION("with an assertion") {
        world.credential.refresh->auth = vault::TokenEndpointAuth::private_key_jwt;
        const auto without = world.ask();
        REQUIRE_FALSE(without);
        CHECK(without.error().code == "client_auth.no_key");
        CHECK(world.requests.empty());
    }
    CHECK(std::ranges::all_of(world.requests, [](const auto& request) {
        return request.starts_with("POST /introspect ") &&
               request.find("Accept: application/json") != std::string::npos;
    }));
}

TEST_CASE("Where tokens are bound to a key the question has a proof, once more with the server's nonce",
          "[oauth][introspection]") {
    World world;
    world.says({reply(400, R"({"error":"use_dpop_nonce"})", "DPoP-Nonce: n-1\r\n"),
                reply(200, R"({"active":true})")});
    world.parts.dpop_key = DpopKey::generate().exported();
    REQUIRE(world.ask());
    REQUIRE(world.requests.size() == 2);
    for (const auto& request : world.requests) CHECK(request.find("DPoP: ") != std::string::npos);
}

TEST_CASE("Silence and refusals are no statement about a token", "[oauth][introspection]") {
    World world;
    const auto code_of = [&](std::string answer) {
        world.says({std::move(answer)});
        const auto said = world.ask();
        REQUIRE_FALSE(said);
        CHECK(said.error().message.find("token-1") == std::string::npos);
        return std::string(said.error().code);
    };
    CHECK(code_of(reply(401, R"({"error":"invalid_client"})")) == "introspection.refused");
    CHECK(code_of(reply(500, R"({"active":false})")) == "introspection.refused");
    CHECK(code_of("HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") ==
          "introspection.refused");
    CHECK(code_of("nonsense\r\n\r\n") == "introspection.no_answer");
}

}  // namespace
}  // namespace claviger::oauth
