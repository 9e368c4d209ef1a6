#include "oauth/metadata.h"
#include "base/bytes.h"
#include "tests/support/spec.h"

namespace claviger::oauth {
namespace {

using Urls = std::vector<std::string>;
constexpr auto kRefuse = PlainLoopback::refuse;

template <class T>
std::string_view code(const base::Result<T>& result) {
    return result ? std::string_view() : result.error().code;
}

std::string_view secret_text(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return base::as_view(bytes); });
}

TEST_CASE("Which answers lead to the next candidate, and which stop the search", "[oauth]") {
    using enum CandidateAnswer;
    struct Row {
        unsigned status;
        CandidateAnswer answer;
    };
    for (const auto& row :
         {Row{200, use}, Row{204, next}, Row{302, next}, Row{401, next}, Row{404, next}, Row{429, next},
          Row{502, next}, Row{500, retry_later}, Row{503, retry_later}, Row{504, retry_later}}) {
        INFO(row.status);
        CHECK(candidate_answer(row.status) == row.answer);
    }
}

TEST_CASE("The well-known segment goes between host and path", "[oauth]") {
    const std::string root = "https://h:8443/.well-known/oauth-protected-resource";
    CHECK(protected_resource_urls("https://h:8443") == Urls{root});
    CHECK(protected_resource_urls("https://h:8443/") == Urls{root});
    CHECK(protected_resource_urls("https://h:8443/a/mcp") == Urls{root + "/a/mcp", root});
    CHECK(protected_resource_urls("https://h:8443/mcp/") == Urls{root + "/mcp", root + "/mcp/", root});
    CHECK(protected_resource_urls("https://h:8443/mcp?t=1") == Urls{root + "/mcp?t=1", root});
    CHECK(protected_resource_urls("nonsense").empty());
    CHECK(authorization_server_urls("https://h") == Urls{"https://h/.well-known/oauth-authorization-server",
                                                         "https://h/.well-known/openid-configuration"});
    CHECK(authorization_server_urls("https://h/") == authorization_server_urls("https://h"));
    CHECK(authorization_server_urls("https://h/t1") ==
          Urls{"https://h/.well-known/oauth-authorization-server/t1",
               "https://h/.well-known/openid-configuration/t1",
               "https://h/t1/.well-known/openid-configuration"});
    CHECK(authorization_server_urls("https://h/t1/") == authorization_server_urls("https://h/t1"));
    CHECK(authorization_server_urls("https://h/t1?x=y").empty());
    CHECK(authorization_server_urls("https://h/t1?").empty());
}

TEST_CASE("A resource identifies the URL in use, or an ancestor of it, and nothing else", "[oauth]") {
    struct Row {
        const char *resource, *url;
        bool identifies;
    };
    const Row rows[] = {
        {"https://h/mcp", "https://h/mcp", true},
        {"https://h/mcp/", "https://h/mcp", true},
        {"https://h/mcp", "https://h/mcp/", true},
        {"https://h", "https://h/mcp", true},
        {"https://h/", "https://h/a/b", true},
        {"https://h/a", "https://h/a/b", true},
        {"https://H:443/a", "https://h/a/b", true},
        {"https://h/a", "https://h/a?x=1", true},
        {"https://h/a?x=1", "https://h/a?x=1", true},
        {"https://h/mcp", "https://h/mcp2", false},
        {"https://h/mcp/x", "https://h/mcp", false},
        {"https://h/mcp//", "https://h/mcp", false},
        {"https://h/MCP", "https://h/mcp", false},
        {"https://h2/mcp", "https://h/mcp", false},
        {"https://h:8443/mcp", "https://h/mcp", false},
        {"http://h/mcp", "https://h/mcp", false},
        {"https://h/a?x=1", "https://h/a?x=2", false},
        {"https://h/a?x=1", "https://h/a", false},
        {"https://h/a", "https://h/a/../b", false},
        {"https://h/a", "https://h/a/%2E%2e/b", false},
        {"https://h/a/..", "https://h/a/..", false},
        {"", "https://h/a", false},
        {"h", "h", false},
    };
    for (const auto& row : rows) {
        INFO(row.resource << " for " << row.url);
        CHECK(resource_identifies(row.resource, row.url) == row.identifies);
    }
}

TEST_CASE("Protected resource metadata is taken only from the server in use", "[oauth]") {
    const auto parsed = parse_protected_resource(
        R"({"resource":"https://h/mcp","authorization_servers":["http://plain","https://as/t1"],
            "scopes_supported":["a","b"],"bearer_methods_supported":["header"],"resource_name":"Demo",
            "jwks_uri":"https://h/jwks","dpop_bound_access_tokens_required":true,"unknown":{"x":1}})",
        "https://h/mcp", kRefuse);
    REQUIRE(parsed);
    CHECK(parsed->resource == "https://h/mcp");
    CHECK(parsed->authorization_servers == Urls{"https://as/t1"});
    CHECK(parsed->scopes_supported == Scopes{"a", "b"});
    CHECK(parsed->bearer_methods_supported == Urls{"header"});
    CHECK(parsed->resource_name == "Demo");
    CHECK(parsed->dpop_bound_access_tokens_required);
    CHECK_FALSE(parsed->tls_client_certificate_bound_access_tokens);

    struct Row {
        const char *body, *code;
    };
    const Row rows[] = {
        {"<html>", "json.invalid"},
        {"[]", "json.not_an_object"},
        {R"({"authorization_servers":["https://as"]})", "resource_metadata.resource_mismatch"},
        {R"({"resource":"https://evil/mcp","authorization_servers":["https://as"]})",
         "resource_metadata.resource_mismatch"},
        {R"({"resource":7,"authorization_servers":["https://as"]})", "resource_metadata.invalid"},
        {R"({"resource":"https://h/mcp","authorization_servers":"https://as"})", "resource_metadata.invalid"},
        {R"({"resource":"https://h/mcp"})", "resource_metadata.no_authorization_server"},
        {R"({"resource":"https://h/mcp","authorization_servers":[]})",
         "resource_metadata.no_authorization_server"},
        {R"({"resource":"https://h/mcp","authorization_servers":["http://as"]})",
         "resource_metadata.no_authorization_server"},
        {R"({"resource":"https://h/mcp","authorization_servers":["https://as"],"resource_name":"a\u001bb"})",
         "resource_metadata.invalid"},
    };
    for (const auto& row : rows) {
        INFO(row.body);
        CHECK(code(parse_protected_resource(row.body, "https://h/mcp", kRefuse)) == row.code);
    }
    const std::string huge = R"({"resource":")" + std::string(100'000, 'x') + "\"}";
    CHECK(code(parse_protected_resource(huge, "https://h/mcp", kRefuse)) == "json.too_large");
    CHECK(parse_protected_resource(
        R"({"resource":"http://127.0.0.1:1","authorization_servers":["http://127.0.0.1:2"]})",
        "http://127.0.0.1:1/mcp", PlainLoopback::allow));
}

TEST_CASE("Server metadata is read whole, and only of the issuer that was asked for", "[oauth]") {
    const auto parsed = parse_authorization_server(
        R"({"issuer":"https://as/t1","authorization_endpoint":"https://as/t1/authorize?x=1",
            "token_endpoint":"https://as/t1/token","registration_endpoint":"https://as/t1/reg",
            "revocation_endpoint":"https://as/t1/revoke","jwks_uri":null,
            "mtls_endpoint_aliases":{"token_endpoint":"https://mtls.as/t1/token"},
            "scopes_supported":["a"],"code_challenge_methods_supported":["plain","S256"],
            "token_endpoint_auth_methods_supported":["none"],
            "authorization_response_iss_parameter_supported":true,
            "client_id_metadata_document_supported":true})",
        "https://as/t1", IssuerMatch::exact, kRefuse);
    REQUIRE(parsed);
    CHECK(parsed->issuer == "https://as/t1");
    CHECK(parsed->authorization_endpoint == "https://as/t1/authorize?x=1");
    CHECK(parsed->token_endpoint == "https://as/t1/token");
    CHECK(parsed->registration_endpoint == "https://as/t1/reg");
    CHECK(parsed->introspection_endpoint.empty());
    CHECK(parsed->jwks_uri.empty());
    CHECK(parsed->mtls.token_endpoint == "https://mtls.as/t1/token");
    CHECK(parsed->token_endpoint_auth_methods_supported == Urls{"none"});
    CHECK(parsed->authorization_response_iss_parameter_supported);
    CHECK(parsed->client_id_metadata_document_supported);
    CHECK_FALSE(parsed->require_pushed_authorization_requests);
    CHECK_FALSE(parsed->assumed);
    CHECK(require_s256(*parsed));

    struct Row {
        const char *body, *code;
    };
    const Row rows[] = {
        {R"({"token_endpoint":"https://as/token"})", "as_metadata.issuer_mismatch"},
        {R"({"issuer":"https://as/","token_endpoint":"https://as/token"})", "as_metadata.issuer_mismatch"},
        {R"({"issuer":"https://AS","token_endpoint":"https://as/token"})", "as_metadata.issuer_mismatch"},
        {R"({"issuer":"https://as:443","token_endpoint":"https://as/token"})", "as_metadata.issuer_mismatch"},
        {R"({"issuer":"https://as"})", "as_metadata.invalid"},
        {R"({"issuer":"https://as","token_endpoint":7})", "as_metadata.invalid"},
        {R"({"issuer":"https://as","token_endpoint":"http://as/token"})", "as_metadata.insecure_endpoint"},
        {R"({"issuer":"https://as","token_endpoint":"https://as/t","revocation_endpoint":"javascript:x"})",
         "as_metadata.insecure_endpoint"},
        {R"({"issuer":"https://as","token_endpoint":"https://as/t",
             "mtls_endpoint_aliases":{"token_endpoint":"http://as/t"}})",
         "as_metadata.insecure_endpoint"},
        {R"({"issuer":"https://as","token_endpoint":"https://as/t","scopes_supported":[1]})",
         "as_metadata.invalid"},
        {R"({"issuer":"https://as","token_endpoint":"https://as/t",
             "authorization_response_iss_parameter_supported":"yes"})",
         "as_metadata.invalid"},
    };
    for (const auto& row : rows) {
        INFO(row.body);
        CHECK(code(parse_authorization_server(row.body, "https://as", IssuerMatch::exact, kRefuse)) ==
              row.code);
    }
    CHECK(parse_authorization_server(
        R"({"issuer":"http://127.0.0.1:1","token_endpoint":"http://127.0.0.1:1/t"})", "http://127.0.0.1:1",
        IssuerMatch::exact, PlainLoopback::allow));
}

TEST_CASE("A templated issuer is accepted only where that is asked for, and only in the path", "[oauth]") {
    const std::string entra = "https://login.microsoftonline.com/common/v2.0";
    const auto read = [&](const std::string& issuer, IssuerMatch match) {
        return parse_authorization_server(R"({"issuer":")" + issuer + R"(","token_endpoint":"https://h/t"})",
                                          entra, match, kRefuse);
    };
    const std::string templated = "https://login.microsoftonline.com/{tenantid}/v2.0";
    CHECK(code(read(templated, IssuerMatch::exact)) == "as_metadata.issuer_mismatch");
    const auto server = read(templated, IssuerMatch::templated);
    REQUIRE(server);
    CHECK(server->issuer == entra);
    for (const char* other :
         {"https://{host}/common/v2.0", "https://evil/{tenantid}/v2.0",
          "https://login.microsoftonline.com/{tenantid}", "https://login.microsoftonline.com/{t}/v2.0/",
          "https://login.microsoftonline.com/other/v2.0", "https://login.microsoftonline.com/{a}{b}/v1.0",
          "https://login.microsoftonline.com/x{t}/v2.0", "{scheme}//login.microsoftonline.com/common/v2.0"}) {
        INFO(other);
        CHECK(code(read(other, IssuerMatch::templated)) == "as_metadata.issuer_mismatch");
    }
}

TEST_CASE("Without S256 no authorization code is asked for", "[oauth]") {
    AuthorizationServer server;
    CHECK(code(base::Result<void>(require_s256(server))) == "as_metadata.no_s256");
    server.code_challenge_methods_supported = {"plain", "s256"};
    CHECK(require_s256(server).error().code == "as_metadata.no_s256");
    server.code_challenge_methods_supported = {"S256"};
    CHECK(require_s256(server));
}

TEST_CASE("A server from 2025-03-26 is its own authorization server", "[oauth]") {
    const auto server = assumed_authorization_server("https://h:8443/deep/mcp?x=1", kRefuse);
    REQUIRE(server);
    CHECK(server->issuer == "https://h:8443");
    CHECK(server->authorization_endpoint == "https://h:8443/authorize");
    CHECK(server->token_endpoint == "https://h:8443/token");
    CHECK(server->registration_endpoint == "https://h:8443/register");
    CHECK(server->assumed);
    CHECK(require_s256(*server));
    CHECK_FALSE(assumed_authorization_server("http://h/mcp", kRefuse));
    CHECK_FALSE(assumed_authorization_server("http://h/mcp", PlainLoopback::allow));
}

TEST_CASE("The answer to a registration yields a client whose secrets are secrets", "[oauth]") {
    const auto client = parse_client_registration(
        R"({"client_id":"c1","client_secret":"s e c","client_secret_expires_at":1800000000,
            "registration_access_token":"rat","registration_client_uri":"https://as/reg/c1",
            "token_endpoint_auth_method":"client_secret_basic"})",
        kRefuse);
    REQUIRE(client);
    CHECK(client->client_id == "c1");
    REQUIRE(client->client_secret);
    CHECK(secret_text(*client->client_secret) == "s e c");
    CHECK(client->client_secret_expires_at == base::Time(std::chrono::seconds(1'800'000'000)));
    REQUIRE(client->registration_access_token);
    CHECK(secret_text(*client->registration_access_token) == "rat");
    CHECK(client->registration_client_uri == "https://as/reg/c1");

    const auto open = parse_client_registration(
        R"({"client_id":"c2","client_secret_expires_at":0,"registration_access_token":"rat",
            "registration_client_uri":"http://as/reg"})",
        kRefuse);
    REQUIRE(open);
    CHECK_FALSE(open->client_secret);
    CHECK_FALSE(open->client_secret_expires_at);
    CHECK_FALSE(open->registration_access_token);  // there is no safe place to send it to
    CHECK(open->registration_client_uri.empty());

    for (const char* body :
         {"{}", R"({"client_id":""})", R"({"client_id":7})", R"({"client_id":"a\nb"})",
          R"({"client_id":"a","client_secret":7})", R"({"client_id":"a","client_secret":"a\r\nb"})",
          R"({"client_id":"a","client_secret_expires_at":-1})",
          R"({"client_id":"a","client_secret_expires_at":9223372036854775807})"}) {
        INFO(body);
        CHECK(code(parse_client_registration(body, kRefuse)) == "registration.invalid");
    }
    CHECK(code(parse_client_registration("x", kRefuse)) == "json.invalid");
}

}  // namespace
}  // namespace claviger::oauth
