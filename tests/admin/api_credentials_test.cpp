#include "tests/support/admin_api_world.h"
#include "tests/support/spec.h"

using namespace claviger;
using test::ApiWorld;
using test::json;

namespace {

struct InVault : ApiWorld {
    explicit InVault(net::PrivateAddresses addresses = net::PrivateAddresses::allow)
        : ApiWorld(addresses), vault(new_vault()["id"]), list("/v1/vaults/" + vault + "/credentials") {}

    json create(const json& auth) { return post(list, {{"auth", auth}}); }
    std::string item(const json& credential) { return list + "/" + credential["id"].get<std::string>(); }
    json update(const json& credential, const json& auth) { return post(item(credential), {{"auth", auth}}); }

    /// The stored parts, opened.
    vault::SecretParts secrets(const json& credential) {
        const auto id = *base::CredentialId::parse(credential["id"].get<std::string>());
        const auto sealed = records->sealed_secret(*records->catalog().find<vault::Credential>(id));
        REQUIRE(sealed);
        auto parts = records->open_parts(*sealed);
        REQUIRE(parts);
        return std::move(*parts);
    }
    std::string token(const json& credential) { return text(secrets(credential).token); }
    static std::string text(const std::optional<crypto::Secret>& secret) {
        return secret ? secret->expose([](auto bytes) { return std::string(base::as_view(bytes)); })
                      : "(none)";
    }

    const std::string vault, list;
};

const json kBearer{
    {"type", "static_bearer"}, {"mcp_server_url", "https://mcp.linear.app/mcp"}, {"token", "lin_1"}};
const json kOauth{{"type", "mcp_oauth"},
                  {"mcp_server_url", "https://mcp.slack.com/mcp"},
                  {"access_token", "xoxp-1"},
                  {"expires_at", "2036-12-01T00:00:00Z"},
                  {"refresh",
                   {{"token_endpoint", "https://slack.com/api/oauth.v2.user.access"},
                    {"client_id", "123.456"},
                    {"scope", "channels:read chat:write"},
                    {"resource", "https://mcp.slack.com/mcp"},
                    {"refresh_token", "xoxe-1"},
                    {"token_endpoint_auth", {{"type", "client_secret_post"}, {"client_secret", "cs-1"}}}}}};
const json kVariable{
    {"type", "environment_variable"},
    {"secret_name", "NOTION_API_KEY"},
    {"secret_value", "ntn_1"},
    {"networking", {{"type", "limited"}, {"allowed_hosts", {"API.notion.com", "*.notion.site"}}}}};

json with(json base, const char* pointer, json value) {
    base[json::json_pointer(pointer)] = std::move(value);
    return base;
}
json without(json base, const char* pointer) {
    const json::json_pointer at(pointer);
    base[at.parent_pointer()].erase(at.back());
    return base;
}

}  // namespace

TEST_CASE("A static bearer credential is stored and its token never shown", "[admin]") {
    InVault world;
    const auto reply = world.call("POST", world.list, {{"display_name", "Linear PAT"}, {"auth", kBearer}});
    REQUIRE(reply.status == 200);
    const auto& credential = reply.body;
    CHECK(credential["id"].get<std::string>().starts_with("vcrd_01"));
    CHECK(credential["type"] == "vault_credential");
    CHECK(credential["vault_id"] == world.vault);
    CHECK(credential["display_name"] == "Linear PAT");
    CHECK(credential["metadata"] == json::object());
    CHECK(credential["auth"] == without(kBearer, "/token"));
    CHECK(credential["version"] == 1);
    CHECK(credential["use_count"] == 0);
    CHECK(credential["last_used_at"].is_null());
    CHECK(reply.text.find("lin_1") == std::string::npos);
    CHECK(world.get(world.item(credential)) == credential);
    CHECK(world.get(world.list)["data"] == json::array({credential}));
    CHECK(world.token(credential) == "lin_1");
}

TEST_CASE("An OAuth credential shows everything but its three secrets", "[admin]") {
    InVault world;
    const auto reply = world.call("POST", world.list, {{"auth", kOauth}});
    REQUIRE(reply.status == 200);
    auto expected = without(without(kOauth, "/access_token"), "/refresh/refresh_token");
    expected = without(expected, "/refresh/token_endpoint_auth/client_secret");
    CHECK(reply.body["auth"] == expected);
    for (const auto* secret : {"xoxp-1", "xoxe-1", "cs-1"})
        CHECK(reply.text.find(secret) == std::string::npos);
    const auto parts = world.secrets(reply.body);
    CHECK(InVault::text(parts.token) == "xoxp-1");
    CHECK(InVault::text(parts.refresh_token) == "xoxe-1");
    CHECK(InVault::text(parts.client_secret) == "cs-1");

    const auto plain = world.create({{"type", "mcp_oauth"},
                                     {"mcp_server_url", "https://other.example/mcp"},
                                     {"access_token", "a"},
                                     {"refresh", nullptr},
                                     {"expires_at", nullptr}});
    CHECK(plain["auth"] == json{{"type", "mcp_oauth"},
                                {"mcp_server_url", "https://other.example/mcp"},
                                {"expires_at", nullptr},
                                {"refresh", nullptr}});
}

TEST_CASE("A secret arrives whole whatever characters it is made of", "[admin]") {
    InVault world;
    std::string pem;
    for (int i = 0; i < 500; ++i) pem += "line\n\"\\/\t";
    const auto credential = world.create(with(kVariable, "/secret_value", pem.substr(0, 4096)));
    CHECK(world.token(credential) == pem.substr(0, 4096));
    const auto escaped = world.post_text(
        world.list,
        R"({"auth":{"type":"static_bearer","mcp_server_url":"https:\/\/a.example","token":"a\u0062\/c\u003d"}})");
    REQUIRE(escaped.status == 200);
    CHECK(world.token(escaped.body) == "ab/c=");
}

TEST_CASE("Where a variable may be put follows the documented matrix", "[admin]") {
    InVault world;
    const auto location = [&](const json& given) {
        static int number = 0;
        auto auth = with(kVariable, "/secret_name", "NAME_" + std::to_string(++number));
        if (!given.is_discarded()) auth["injection_location"] = given;
        return world.call("POST", world.list, {{"auth", auth}});
    };
    const auto both = [](bool header, bool body) { return json{{"header", header}, {"body", body}}; };
    const json absent = json::parse("", nullptr, false);

    CHECK(location(absent).body["auth"]["injection_location"] == both(true, true));
    CHECK(location({{"header", true}}).body["auth"]["injection_location"] == both(true, false));
    CHECK(location({{"body", true}}).body["auth"]["injection_location"] == both(false, true));
    CHECK(location(both(true, true)).body["auth"]["injection_location"] == both(true, true));
    for (const json& bad :
         {json::object(), both(false, false), json(nullptr), json{{"header", nullptr}},
          json{{"header", true}, {"body", nullptr}}, json("header"), json{{"header", "yes"}}}) {
        INFO(bad.dump());
        CHECK(location(bad).status == 400);
        CHECK(location(bad).message().starts_with("auth.injection_location"));
    }

    const auto credential = world.create(with(kVariable, "/injection_location", {{"header", true}}));
    const auto change = [&](const json& given) {
        return world.call("POST", world.item(credential),
                          {{"auth", {{"type", "environment_variable"}, {"injection_location", given}}}});
    };
    CHECK(change({{"body", true}}).body["auth"]["injection_location"] == both(true, true));
    CHECK(change({{"header", false}}).body["auth"]["injection_location"] == both(false, true));
    CHECK(change({{"body", false}}).status == 400);
    CHECK(change(nullptr).status == 400);
    CHECK(change(json::object()).body["auth"]["injection_location"] == both(false, true));
    CHECK(world.token(credential) == "ntn_1");  // sealed anew each time
}

TEST_CASE("Bad input for a credential names its field, shows no secret and stores nothing", "[admin]") {
    InVault world(net::PrivateAddresses::refuse);
    const std::string token = "CANARY-9f2k";
    const auto bearer = with(kBearer, "/token", token);
    const auto oauth = with(kOauth, "/access_token", token);
    const auto variable = with(kVariable, "/secret_value", token);
    struct Row {
        json auth;
        const char* message;
    };
    const std::vector<Row> rows{
        {nullptr, "auth: is required"},
        {"text", "auth: must be an object"},
        {without(bearer, "/type"),
         "auth.type: is required, one of static_bearer, mcp_oauth, environment_variable"},
        {with(bearer, "/type", "basic"), "auth.type: must be one of"},
        {with(bearer, "/type", 1), "auth.type: must be one of"},
        {without(bearer, "/mcp_server_url"), "auth.mcp_server_url: is required"},
        {with(bearer, "/mcp_server_url", ""), "auth.mcp_server_url: must have 1 to 2047 characters"},
        {with(bearer, "/mcp_server_url", "ftp://a.example"), "auth.mcp_server_url: server URL refused"},
        {with(bearer, "/mcp_server_url", "https://u:p@a.example"), "auth.mcp_server_url: server URL refused"},
        {with(bearer, "/mcp_server_url", "https://a.example/#x"), "auth.mcp_server_url: server URL refused"},
        {with(bearer, "/mcp_server_url", "https://a.example/" + std::string(2048, 'x')),
         "auth.mcp_server_url: must have 1 to 2047 characters"},
        {with(bearer, "/mcp_server_url", "http://mcp.example.com/"),
         "auth.mcp_server_url: must begin with https://"},
        {without(bearer, "/token"), "auth.token: is required"},
        {with(bearer, "/token", nullptr), "auth.token: is required"},
        {with(bearer, "/token", 5), "auth.token: must be a string"},
        {with(bearer, "/token", json::object({{"a", token}})), "auth.token: must be a string"},
        {with(bearer, "/token", ""), "auth.token: must not be empty"},
        {with(bearer, "/token", token + "\n"), "auth.token: must be printable ASCII"},
        {with(bearer, "/token", " " + token), "auth.token: must not begin or end with a space"},
        {with(bearer, "/token", std::string(8193, 'x')), "auth.token: is too long; at most 8192 characters"},
        {with(bearer, "/token", std::string(50'000, 'x')),
         "auth.token: is too long; at most 8192 characters"},
        {with(bearer, "/access_token", token), "auth.access_token: is not a known field here"},
        {with(bearer, "/injection", {{"scheme", "x"}}), "auth.injection.header: is required"},
        {with(bearer, "/injection", {{"header", "a b"}}), "auth.injection.header: must be the name"},
        {with(bearer, "/injection", {{"header", "Host"}}), "auth.injection.header: is a header that carries"},
        {with(bearer, "/injection", {{"header", "Mcp-Session-Id"}}), "auth.injection.header: is a header"},
        {with(bearer, "/injection", {{"header", "x"}, {"scheme", "a b"}}),
         "auth.injection.scheme: must be one word"},
        {with(bearer, "/injection", {{"header", "x"}, {"colour", "a"}}),
         "auth.injection.colour: is not a known"},
        {with(bearer, "/allowed_tools", "search"), "auth.allowed_tools: must be a list"},
        {with(bearer, "/allowed_tools", {"a", "a"}), "auth.allowed_tools: names the same tool twice"},
        {with(bearer, "/allowed_tools", {""}), "auth.allowed_tools[0]: must have 1 to 128 characters"},
        {without(oauth, "/access_token"), "auth.access_token: is required"},
        {with(oauth, "/expires_at", "tomorrow"), "auth.expires_at: must be an RFC 3339 time"},
        {with(oauth, "/expires_at", "2020-01-01T00:00:00Z"), "auth.expires_at: must lie in the future"},
        {with(oauth, "/refresh", "x"), "auth.refresh: must be an object"},
        {without(oauth, "/refresh/token_endpoint"), "auth.refresh.token_endpoint: is required"},
        {with(oauth, "/refresh/token_endpoint", "nowhere"),
         "auth.refresh.token_endpoint: server URL refused"},
        {without(oauth, "/refresh/client_id"), "auth.refresh.client_id: is required"},
        {with(oauth, "/refresh/client_id", std::string(1025, 'x')),
         "auth.refresh.client_id: must have 1 to 1024"},
        {without(oauth, "/refresh/refresh_token"), "auth.refresh.refresh_token: is required"},
        {with(oauth, "/refresh/scope", ""), "auth.refresh.scope: must have 1 to 8192 characters"},
        {with(oauth, "/refresh/resource", "no uri"), "auth.refresh.resource: must be an absolute URI"},
        {without(oauth, "/refresh/token_endpoint_auth"), "auth.refresh.token_endpoint_auth: is required"},
        {with(oauth, "/refresh/token_endpoint_auth/type", "jwt"),
         "auth.refresh.token_endpoint_auth.type: must be"},
        {with(oauth, "/refresh/token_endpoint_auth/type", "none"),
         "auth.refresh.token_endpoint_auth.client_secret: is not a known field"},
        {without(oauth, "/refresh/token_endpoint_auth/client_secret"),
         "auth.refresh.token_endpoint_auth.client_secret: is required"},
        {with(oauth, "/refresh/token_endpoint_auth/client_secret", std::string(513, 'x')),
         "auth.refresh.token_endpoint_auth.client_secret: is too long; at most 512"},
        {without(variable, "/secret_name"), "auth.secret_name: is required"},
        {with(variable, "/secret_name", "1ST"), "auth.secret_name: must be letters, digits and '_'"},
        {with(variable, "/secret_name", "A-B"), "auth.secret_name: must be letters, digits and '_'"},
        {with(variable, "/secret_name", "Path"),
         "auth.secret_name: is a variable that changes how programs run"},
        {with(variable, "/secret_name", "LD_PRELOAD"), "auth.secret_name: is a variable that changes"},
        {with(variable, "/secret_name", "https_proxy"), "auth.secret_name: is a variable that changes"},
        {without(variable, "/secret_value"), "auth.secret_value: is required"},
        {with(variable, "/secret_value", std::string(4097, 'x')),
         "auth.secret_value: is too long; at most 4096"},
        {without(variable, "/networking"), "auth.networking: is required"},
        {with(variable, "/networking", {{"type", "open"}}), "auth.networking.type: must be one of"},
        {with(variable, "/networking", {{"type", "limited"}}), "auth.networking.allowed_hosts: is required"},
        {with(variable, "/networking/allowed_hosts", json::array()),
         "auth.networking.allowed_hosts: must name at least one host"},
        {with(variable, "/networking/allowed_hosts", {"https://a.example"}),
         "auth.networking.allowed_hosts[0]: allowed host refused: it has a scheme"},
        {with(variable, "/networking/allowed_hosts", {"a.example", "b.example:443"}),
         "auth.networking.allowed_hosts[1]: allowed host refused: it has a port"},
        {with(variable, "/networking/allowed_hosts", json(std::vector<std::string>(17, "a.example"))),
         "auth.networking.allowed_hosts: must have at most 16 entries"},
        {with(variable, "/mcp_server_url", "https://a.example"),
         "auth.mcp_server_url: is not a known field here"},
    };
    for (const auto& row : rows) {
        const auto reply = world.call("POST", world.list, {{"auth", row.auth}});
        INFO(row.message << " got " << reply.text);
        CHECK(reply.status == 400);
        CHECK(reply.error_type() == "invalid_request_error");
        CHECK(reply.message().starts_with(row.message));
        CHECK(reply.text.find("CANARY") == std::string::npos);
    }
    CHECK(world.call("POST", world.list, {{"auth", bearer}, {"display_name", std::string(256, 'x')}})
              .message()
              .starts_with("display_name: must have 0 to 255"));
    CHECK(world.get(world.list)["data"].empty());

    for (const auto* in_house : {"http://localhost:3000/mcp", "http://10.0.0.5/mcp", "http://[::1]/mcp"})
        CHECK(world.create(with(bearer, "/mcp_server_url", in_house))["auth"]["mcp_server_url"] == in_house);
}

TEST_CASE("Two active credentials of a vault never share a server or a name", "[admin]") {
    InVault world;
    const auto first = world.create(kBearer);
    const auto again = [&](const json& auth) { return world.call("POST", world.list, {{"auth", auth}}); };
    for (const auto& twin : {kBearer, with(kBearer, "/mcp_server_url", "HTTPS://MCP.linear.app:443/mcp/"),
                             with(kOauth, "/mcp_server_url", "https://mcp.linear.app/mcp")}) {
        const auto reply = again(twin);
        CHECK(reply.status == 409);
        CHECK(reply.error_type() == "conflict_error");
        CHECK(reply.code() == "credential.duplicate");
        CHECK(reply.headers.at("x-should-retry") == "false");
        CHECK(reply.message().find(first["id"].get<std::string>()) != std::string::npos);
    }
    CHECK(again(with(kBearer, "/mcp_server_url", "https://mcp.linear.app/other")).status == 200);
    CHECK(again(kVariable).status == 200);
    CHECK(again(kVariable).status == 409);

    const std::string elsewhere = world.new_vault("Bob")["id"];
    CHECK(world.new_bearer(elsewhere)["vault_id"] == elsewhere);
    CHECK(world.call("GET", "/v1/vaults/" + elsewhere + "/credentials/" + first["id"].get<std::string>())
              .status == 404);
    world.post(world.item(first) + "/archive");
    CHECK(again(kBearer).status == 200);  // the key is free, and the archived one still shows it
    CHECK(world.get(world.item(first))["auth"]["mcp_server_url"] == "https://mcp.linear.app/mcp");
}

TEST_CASE("A vault holds twenty active credentials", "[admin]") {
    InVault world;
    json last;
    for (int i = 0; i < 20; ++i)
        last = world.create(with(kBearer, "/mcp_server_url", "https://s" + std::to_string(i) + ".example/"));
    const auto full = world.call("POST", world.list, {{"auth", kBearer}});
    CHECK(full.status == 400);
    CHECK(full.code() == "vault.full");
    world.post(world.item(last) + "/archive");
    CHECK(world.call("POST", world.list, {{"auth", kBearer}}).status == 200);
    CHECK(world.get(world.list + "?limit=100")["data"].size() == 20);
    CHECK(world.get(world.list + "?limit=100&include_archived=true")["data"].size() == 21);
}

TEST_CASE("A token is replaced by an update and nothing else is", "[admin]") {
    InVault world;
    const auto credential = world.create(kBearer);
    world.clock.advance(std::chrono::seconds(3));
    const auto rotated = world.update(credential, {{"type", "static_bearer"}, {"token", "lin_2"}});
    CHECK(rotated["version"] == 2);
    CHECK(rotated["updated_at"] == base::to_rfc3339(world.clock.now()));
    CHECK(rotated["auth"] == credential["auth"]);
    CHECK(world.token(credential) == "lin_2");

    world.clock.advance(std::chrono::seconds(3));
    CHECK(world.update(credential, {{"type", "static_bearer"}, {"token", nullptr}}) == rotated);
    CHECK(world.post(world.item(credential), json::object()) == rotated);
    CHECK(world.post(world.item(credential), {{"auth", nullptr}}) == rotated);
    const auto named =
        world.post(world.item(credential), {{"display_name", "PAT"}, {"metadata", {{"a", "b"}}}});
    CHECK(named["version"] == 2);
    CHECK(named["display_name"] == "PAT");
    CHECK(world.post(world.item(credential), {{"display_name", nullptr}})["display_name"].is_null());
    CHECK(world.token(credential) == "lin_2");

    const auto log = world.get("/v1/access_log?kind=rotate");
    CHECK(log["data"].size() == 1);
    CHECK(log["data"][0]["credential_id"] == credential["id"]);
}

TEST_CASE("An OAuth grant is updated field by field", "[admin]") {
    InVault world;
    const auto made = world.create(kOauth);
    const auto update = [&](json auth) {
        auth["type"] = "mcp_oauth";
        return world.update(made, auth);
    };
    const auto token = update({{"access_token", "xoxp-2"}});
    CHECK(token["auth"]["expires_at"] == "2036-12-01T00:00:00Z");  // the old expiry stays
    CHECK(world.token(made) == "xoxp-2");
    CHECK(InVault::text(world.secrets(made).refresh_token) == "xoxe-1");

    CHECK(update({{"expires_at", nullptr}})["auth"]["expires_at"].is_null());
    CHECK(update({{"expires_at", "2037-01-01T00:00:00Z"}})["auth"]["expires_at"] == "2037-01-01T00:00:00Z");

    update({{"refresh", {{"refresh_token", "xoxe-2"}}}});
    CHECK(InVault::text(world.secrets(made).refresh_token) == "xoxe-2");
    update({{"refresh", {{"refresh_token", nullptr}, {"scope", "other"}}}});
    CHECK(InVault::text(world.secrets(made).refresh_token) == "xoxe-2");
    CHECK(world.get(world.item(made))["auth"]["refresh"]["scope"] == "other");
    CHECK(update({{"refresh", {{"scope", ""}}}})["auth"]["refresh"]["scope"].is_null());

    const auto kept_type =
        update({{"refresh",
                 {{"token_endpoint_auth", {{"type", "client_secret_basic"}, {"client_secret", "cs-2"}}}}}});
    CHECK(kept_type["auth"]["refresh"]["token_endpoint_auth"]["type"] == "client_secret_post");
    CHECK(InVault::text(world.secrets(made).client_secret) == "cs-2");

    const auto dropped = update({{"refresh", nullptr}});
    CHECK(dropped["auth"]["refresh"].is_null());
    CHECK(InVault::text(world.secrets(made).refresh_token) == "(none)");
    CHECK(InVault::text(world.secrets(made).client_secret) == "(none)");
    CHECK(world.token(made) == "xoxp-2");
}

TEST_CASE("What cannot be updated is refused by name", "[admin]") {
    InVault world;
    const auto bearer = world.create(kBearer);
    const auto oauth = world.create(kOauth);
    const auto bare =
        world.create(with(without(kOauth, "/refresh"), "/mcp_server_url", "https://bare.example"));
    auto none = with(kOauth, "/refresh/token_endpoint_auth", {{"type", "none"}});
    const auto public_client = world.create(with(none, "/mcp_server_url", "https://public.example"));
    const auto variable = world.create(kVariable);
    struct Row {
        const json& credential;
        json auth;
        const char* message;
    };
    const std::vector<Row> rows{
        {bearer, {{"token", "x"}}, "auth.type: is required"},
        {bearer,
         {{"type", "mcp_oauth"}},
         "auth.type: is 'static_bearer' for this credential and cannot change"},
        {bearer,
         {{"type", "static_bearer"}, {"mcp_server_url", "https://b.example"}},
         "auth.mcp_server_url: cannot change"},
        {bearer, {{"type", "static_bearer"}, {"token", ""}}, "auth.token: must not be empty"},
        {variable,
         {{"type", "environment_variable"}, {"secret_name", "OTHER"}},
         "auth.secret_name: cannot change"},
        {oauth,
         {{"type", "mcp_oauth"}, {"refresh", {{"client_id", "x"}}}},
         "auth.refresh.client_id: is not a known field here"},
        {oauth,
         {{"type", "mcp_oauth"}, {"refresh", {{"token_endpoint_auth", {{"type", "none"}}}}}},
         "auth.refresh.token_endpoint_auth.type: must be one of client_secret_basic, client_secret_post"},
        {oauth,
         {{"type", "mcp_oauth"}, {"expires_at", "2001-01-01T00:00:00Z"}},
         "auth.expires_at: must lie in"},
        {bare,
         {{"type", "mcp_oauth"}, {"refresh", {{"refresh_token", "r"}}}},
         "auth.refresh: cannot be added"},
        {public_client,
         {{"type", "mcp_oauth"},
          {"refresh", {{"token_endpoint_auth", {{"type", "client_secret_post"}, {"client_secret", "c"}}}}}},
         "auth.refresh.token_endpoint_auth.type: the credential was stored with none"},
    };
    for (const auto& row : rows) {
        const auto reply = world.call("POST", world.item(row.credential), {{"auth", row.auth}});
        INFO(row.message << " got " << reply.text);
        CHECK(reply.status == 400);
        CHECK(reply.message().starts_with(row.message));
    }
    CHECK(world.call("POST", world.item(bearer), {{"display_name", ""}}).status == 400);
    CHECK(world.token(bearer) == "lin_1");
}

TEST_CASE("Hosts of a variable are replaced as a whole, and the secret stays usable", "[admin]") {
    InVault world;
    const auto made = world.create(kVariable);
    CHECK(made["auth"]["networking"]["allowed_hosts"] == json({"api.notion.com", "*.notion.site"}));
    const auto open =
        world.update(made, {{"type", "environment_variable"}, {"networking", {{"type", "unrestricted"}}}});
    CHECK(open["auth"]["networking"] == json{{"type", "unrestricted"}});
    CHECK(world.update(made, {{"type", "environment_variable"}, {"networking", nullptr}}) == open);
    CHECK(world.token(made) == "ntn_1");
}

TEST_CASE("Other headers and fewer tools are extensions that stay out of sight until used", "[admin]") {
    InVault world;
    const auto plain = world.create(with(kBearer, "/injection", {{"header", "authorization"}}));
    CHECK_FALSE(plain["auth"].contains("injection"));
    CHECK_FALSE(plain["auth"].contains("allowed_tools"));

    const auto changed = world.update(plain, {{"type", "static_bearer"},
                                              {"injection", {{"header", "x-api-key"}}},
                                              {"allowed_tools", {"search", "read"}}});
    CHECK(changed["auth"]["injection"] == json{{"header", "x-api-key"}, {"scheme", ""}});
    CHECK(changed["auth"]["allowed_tools"] == json({"read", "search"}));
    CHECK(world.token(plain) == "lin_1");
    const auto back = world.update(plain, {{"type", "static_bearer"}, {"allowed_tools", json::array()}});
    CHECK_FALSE(back["auth"].contains("allowed_tools"));
    CHECK(back["auth"].contains("injection"));
}

TEST_CASE("An archived credential has no secret and changes no more; a deleted one is gone", "[admin]") {
    InVault world;
    const auto made = world.create(kBearer);
    const auto archived = world.post(world.item(made) + "/archive");
    CHECK(archived["archived_at"].is_string());
    CHECK(archived["version"] == 0);
    CHECK(world.get(world.item(made)) == archived);
    world.clock.advance(std::chrono::seconds(3));
    CHECK(world.post(world.item(made) + "/archive") == archived);
    CHECK(world.call("POST", world.item(made), {{"display_name", "x"}}).code() == "credential.archived");

    CHECK(world.remove(world.item(made)) == json{{"id", made["id"]}, {"type", "vault_credential_deleted"}});
    CHECK(world.call("DELETE", world.item(made)).code() == "credential.not_found");
    CHECK(world.call("GET", world.item(made)).status == 404);
}
