// Where a secret may go is part of its seal: which bytes that is for each type of credential, and that
// nothing of it can change without the secret being opened and sealed anew.
#include "crypto/constraints.h"
#include "tests/crypto/vectors.h"
#include "tests/support/spec.h"
#include "tests/support/vault_object_world.h"

using namespace claviger;
using namespace claviger::vault;

namespace {

Credential server_credential(AuthType type) {
    Credential credential;
    credential.type = type;
    credential.mcp_server_url = "https://MCP.example.com:443/mcp";
    credential.normal_url = "https://mcp.example.com/mcp";
    return credential;
}

Refresh refresh_at(std::string endpoint, std::optional<std::string> scope = {}) {
    Refresh refresh;
    refresh.token_endpoint = std::move(endpoint);
    refresh.client_id = "client";
    refresh.scope = std::move(scope);
    return refresh;
}

Credential variable_credential() {
    Credential credential;
    credential.type = AuthType::environment_variable;
    credential.secret_name = "GITHUB_TOKEN";
    return credential;
}

std::string digest_of(const Credential& credential) {
    return base::to_hex(crypto::view(crypto::constraint_digest(constraints_of(credential))));
}

std::string golden(const std::string& name) { return base::to_hex(crypto::golden("goes_to." + name)); }

/// A store with one secret, and what its credential says of it.
struct Sealed {
    explicit Sealed(Credential made) {
        records = test::new_records(*engine, clock);
        REQUIRE(records);
        const auto tenant = test::add_tenant(*records, "one", {"a", "b"}).value();
        made.id = crypto::random_id<base::CredentialId>();
        made.workspace = tenant.workspace;
        made.vault = tenant.vault.id;
        REQUIRE(test::change(*records, [&](Change& now) {
            now.note(EntryKind::write, Action::create, ObjectKind::credential, made.id.raw);
            return now.store_with_secret(made, test::token_parts("secret"));
        }));
        credential = *records->catalog().find<Credential>(made.id);
    }
    /// "secret", or why it does not open as the secret of what the credential says now.
    std::string opened() const {
        const auto sealed = records->sealed_secret(credential);
        REQUIRE(sealed);
        const auto token = records->open_token(*sealed);
        return token ? std::string(crypto::bytes_of(*token)) : std::string(token.error().code);
    }
    test::ManualClock clock;
    std::unique_ptr<StorageEngine> engine = open_in_memory();
    std::unique_ptr<Records> records;
    Credential credential;
};

}  // namespace

TEST_CASE("Where a secret may go has the digest that an independent implementation gives",
          "[vault][constraints]") {
    for (const auto type : {AuthType::static_bearer, AuthType::mcp_oauth}) {
        const std::string name(name_of(type));
        CHECK(digest_of(server_credential(type)) == golden(name));
    }
    auto header = server_credential(AuthType::static_bearer);
    header.injection = {.header = "X-Api-Key", .scheme = ""};
    CHECK(digest_of(header) == golden("static_bearer.header"));
    auto tools = server_credential(AuthType::static_bearer);
    tools.allowed_tools = {"create_issue", "search"};
    CHECK(digest_of(tools) == golden("static_bearer.tools"));

    auto oauth = server_credential(AuthType::mcp_oauth);
    oauth.refresh = refresh_at("https://auth.example.com/token");
    CHECK(digest_of(oauth) == golden("mcp_oauth.refresh"));
    oauth.refresh = refresh_at("https://auth.example.com/token", "repo read:org");
    CHECK(digest_of(oauth) == golden("mcp_oauth.scope"));

    auto variable = variable_credential();
    CHECK(digest_of(variable) == golden("environment_variable"));
    variable.inject_body = false;
    CHECK(digest_of(variable) == golden("environment_variable.header"));
    variable.inject_header = false;
    variable.inject_body = true;
    CHECK(digest_of(variable) == golden("environment_variable.body"));
    variable = variable_credential();
    variable.limited_hosts = true;
    variable.allowed_hosts = {"*.example.org", "api.example.com"};
    CHECK(digest_of(variable) == golden("environment_variable.hosts"));
}

TEST_CASE("A server's secret does not open for anywhere else", "[vault][constraints]") {
    auto made = server_credential(AuthType::static_bearer);
    made.allowed_tools = {"search"};
    Sealed sealed(made);
    auto& now = sealed.credential;
    auto expected = "envelope.refused";
    SECTION("as it is") { expected = "secret"; }
    SECTION("another server") { now.normal_url = "https://mcp.example.net/mcp"; }
    SECTION("another port") { now.normal_url = "https://mcp.example.com:8443/mcp"; }
    SECTION("another path") { now.normal_url = "https://mcp.example.com/"; }
    SECTION("without TLS") { now.normal_url = "http://mcp.example.com/mcp"; }
    SECTION("another header") { now.injection.header = "X-Echo"; }
    SECTION("another scheme") { now.injection.scheme = ""; }
    SECTION("one tool more") { now.allowed_tools.push_back("delete"); }
    SECTION("another tool") { now.allowed_tools = {"delete"}; }
    SECTION("every tool") { now.allowed_tools.clear(); }
    SECTION("a token endpoint") { now.refresh = refresh_at("https://auth.example.com/token"); }
    SECTION("wherever a variable goes") {
        now.type = AuthType::environment_variable;
        now.secret_name = "GITHUB_TOKEN";
    }
    CHECK(sealed.opened() == expected);
}

TEST_CASE("A grant's secrets do not open for another token endpoint, scope or server",
          "[vault][constraints]") {
    auto made = server_credential(AuthType::mcp_oauth);
    made.refresh = refresh_at("https://auth.example.com/token", "repo read:org");
    Sealed sealed(made);
    auto& now = sealed.credential;
    auto expected = "envelope.refused";
    SECTION("as it is") { expected = "secret"; }
    SECTION("another server") { now.normal_url = "https://mcp.example.net/mcp"; }
    SECTION("another header") { now.injection.header = "X-Echo"; }
    SECTION("some tools") { now.allowed_tools = {"search"}; }
    SECTION("another token endpoint") { now.refresh->token_endpoint = "https://auth.example.net/token"; }
    SECTION("no token endpoint") { now.refresh.reset(); }
    SECTION("more scopes") { now.refresh->scope = "repo read:org admin"; }
    SECTION("any scope") { now.refresh->scope = {}; }
    CHECK(sealed.opened() == expected);
}

TEST_CASE("A variable's secret does not open for other hosts, names or places", "[vault][constraints]") {
    auto made = variable_credential();
    made.limited_hosts = true;
    made.allowed_hosts = {"api.example.com"};
    made.inject_body = false;
    Sealed sealed(made);
    auto& now = sealed.credential;
    auto expected = "envelope.refused";
    SECTION("as it is") { expected = "secret"; }
    SECTION("one host more") { now.allowed_hosts.push_back("evil.example"); }
    SECTION("another host") { now.allowed_hosts = {"evil.example"}; }
    SECTION("every host") { now.limited_hosts = false; }
    SECTION("another variable") { now.secret_name = "LINEAR_TOKEN"; }
    SECTION("the body, too") { now.inject_body = true; }
    SECTION("the body alone") {
        now.inject_header = false;
        now.inject_body = true;
    }
    CHECK(sealed.opened() == expected);
}

TEST_CASE("What does not say where a secret may go changes without opening it", "[vault][constraints]") {
    auto made = server_credential(AuthType::mcp_oauth);
    made.refresh = refresh_at("https://auth.example.com/token", "repo");
    Sealed sealed(made);
    auto& now = sealed.credential;
    SECTION("its name") { now.display_name = "another"; }
    SECTION("its metadata") { now.metadata = {{"team", "another"}}; }
    SECTION("how the URL was written") { now.mcp_server_url = "https://mcp.example.com/mcp"; }
    SECTION("when it ends") { now.expires = sealed.clock.now(); }
    SECTION("that it is archived") { now.archived = sealed.clock.now(); }
    SECTION("how its client shows who it is") {
        now.refresh->client_id = "another";
        now.refresh->auth = TokenEndpointAuth::client_secret_basic;
        now.refresh->resource = "https://mcp.example.com/";
    }
    CHECK(sealed.opened() == "secret");
}
