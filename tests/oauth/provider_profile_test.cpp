#include "oauth/provider_profile.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <iterator>
#include <set>

namespace claviger::oauth {
namespace {

using nlohmann::json;

/// Every member of the format, each with a value that is not its default.
json complete_document() {
    return json::parse(R"({
        "format": 1, "name": "sample", "title": "Sample", "documentation": "https://example.com/docs#oauth",
        "notes": ["One.", "Two."],
        "grants": ["authorization_code", "device_code"],
        "variables": {
            "tenant": {"description": "The tenant.", "default": "acme"},
            "host": {"description": "The host.", "kind": "host", "default": "as.example.com:8443"},
            "region": {"description": "The region."}},
        "endpoints_from": "profile", "issuer": "https://{host}/{tenant}", "templated_issuer": true,
        "endpoints": {
            "authorization": "https://{host}/{tenant}/authorize?v=2", "token": "https://{host}/{tenant}/token",
            "refresh": "https://{region}.example.com/refresh", "device_authorization": "https://{host}/device",
            "revocation": "https://{host}/revoke", "introspection": "https://{host}/introspect"},
        "client": {"registration": ["dynamic", "registered"], "authentication": "private_key_jwt",
            "basic_encoding": "raw", "assertion_audience": "token_endpoint", "key_hint": "x5t#S256"},
        "authorization": {"pkce": "off", "scope_parameter": "user_scope", "scope_separator": ",",
            "default_scopes": ["read", "write"],
            "offline_access": {"ask": "always", "scope": "", "parameters": {"access_type": "offline"}},
            "parameters": {"actor": "app"}, "code_parameter": "auth_code", "code_delivery": "webhook"},
        "token_request": {"body": "json", "accept": "application/vnd.sample+json",
            "headers": {"Sample-Version": "3"}, "parameters": {"expiring": "1"}},
        "refresh_request": {"send_scope": true, "parameters": {"a": "b"}},
        "resource": {"use": "fixed", "value": "https://{host}/mcp"},
        "response": {"token_objects": [".", "authed_user"], "access_token": "token",
            "refresh_token": "refreshToken", "token_type": "tokenType", "scope": "scopes",
            "expires_in": "expiresIn", "expires_at": "expiresAt", "refresh_token_expires_in": "refreshExpiresIn",
            "unit": "milliseconds", "scope_separator": ",", "bearer_types": ["bot", "user"],
            "captured": {"team": "team.id", "first": "list.0.name"}, "account": ["team"]},
        "errors": {"markers": [
            {"member": "status", "value": "BAD", "test": "contains", "status": 400, "means": "grant_dead",
             "code": "bad"}], "aadsts_codes": true},
        "lifetime": {"fixed_seconds": 3600, "skew_seconds": 30},
        "refresh_token": {"reuse": "grace", "grace_seconds": 600, "old_access_token_dies": true,
            "idle_lifetime_seconds": 7776000, "absolute_lifetime_seconds": 31536000, "max_live_grants": 5,
            "on_reconnect": "revoke"},
        "upstream": {"header": "X-Sample-Token", "scheme": "", "client_certificate": true,
            "rejections": [{"status": 200, "path": "error", "values": ["token_expired"]}]},
        "revocation": "slack", "server_urls": ["https://mcp.example.com/mcp"],
        "evidence": {"endpoints": {"status": "documented", "source": "example.com", "note": "All."},
            "endpoints.token": {"status": "unverified"}}
    })");
}

/// The least that a file may hold.
json minimal_document() { return {{"format", 1}, {"name", "sample"}, {"title", "Sample"}}; }

std::string first_problem(const json& document) {
    const auto problems = problems_in(document.dump(), "sample");
    return problems.empty() ? "" : problems.front().member + " " + problems.front().message;
}

json schema() {
    std::ifstream in(CLAVIGER_VECTORS "/../../oauth/providers/schema.json");
    return json::parse(in);
}

/// Calls `visit(schema node, document node, its place)` for every object of the schema that the document has.
template <class Visit>
void each_object(const json& node, const json& document, const json::json_pointer& place,
                 const Visit& visit) {
    const auto type = node.value("type", "");
    if (type == "array") {
        REQUIRE_FALSE(document.at(place).empty());
        each_object(node.at("items"), document, place / std::size_t{0}, visit);
    } else if (type == "object" && node.contains("properties")) {
        visit(node, place);
        for (const auto& [name, inner] : node.at("properties").items())
            each_object(inner, document, place / name, visit);
    } else if (type == "object") {
        REQUIRE_FALSE(document.at(place).empty());
        const auto& inner = node.at("additionalProperties");
        each_object(inner, document, place / document.at(place).begin().key(), visit);
    }
}

std::set<std::string> known_members(const json& document) {
    const auto problem = first_problem(document);
    const auto at = problem.find("known here are ");
    REQUIRE(at != std::string::npos);
    std::set<std::string> names;
    std::istringstream words(problem.substr(at + 15));
    for (std::string word; std::getline(words, word, ',');)
        names.insert(word.substr(word.find_first_not_of(' ')));
    return names;
}

TEST_CASE("A profile says everything that its file says", "[oauth][provider]") {
    const auto profile = parse_profile(complete_document().dump(), "sample");

    REQUIRE(profile);
    CHECK(profile->grants == std::vector{GrantType::authorization_code, GrantType::device_code});
    CHECK(profile->variables.at("host").kind == VariableKind::host);
    CHECK(profile->endpoints_from == EndpointsFrom::profile);
    CHECK(profile->templated_issuer);
    CHECK(profile->endpoints.refresh == "https://{region}.example.com/refresh");
    CHECK(profile->client.registration == std::vector{RegistrationWay::dynamic, RegistrationWay::registered});
    CHECK(profile->client.authentication == ClientAuthMethod::private_key_jwt);
    CHECK(profile->client.basic_encoding == BasicEncoding::raw);
    CHECK(profile->client.assertion_audience == AssertionAudience::token_endpoint);
    CHECK(profile->client.key_hint == KeyHint::x5t_s256);
    CHECK(profile->authorization.pkce == PkceUse::off);
    CHECK(profile->authorization.default_scopes == Words{"read", "write"});
    CHECK(profile->authorization.offline_access.ask == OfflineAsk::always);
    CHECK(profile->authorization.offline_access.scope.empty());
    CHECK(profile->authorization.offline_access.parameters == WordMap{{"access_type", "offline"}});
    CHECK(profile->authorization.code_delivery == CodeDelivery::webhook);
    CHECK(profile->token_request.body == BodyFormat::json);
    CHECK(profile->token_request.headers == WordMap{{"Sample-Version", "3"}});
    CHECK(profile->refresh_request.send_scope);
    CHECK(profile->resource.use == ResourceUse::fixed);
    CHECK(profile->response.shape.unit == TokenShape::Unit::milliseconds);
    CHECK(profile->response.captured.at("first") == "list.0.name");
    REQUIRE(profile->errors.markers.size() == 1);
    CHECK(profile->errors.markers[0].kind == AnswerClass::grant_dead);
    CHECK(profile->errors.markers[0].test == RefusalMarker::Test::contains);
    CHECK(profile->errors.markers[0].status == 400u);
    CHECK(profile->lifetime.fixed == std::chrono::hours(1));
    CHECK(profile->lifetime.skew == std::chrono::seconds(30));
    CHECK(profile->refresh_token.reuse == RefreshTokenReuse::grace);
    CHECK(profile->refresh_token.grace == std::chrono::minutes(10));
    CHECK(profile->refresh_token.max_live_grants == 5u);
    CHECK(profile->refresh_token.on_reconnect == OnReconnect::revoke);
    CHECK(profile->upstream.scheme.empty());
    CHECK(profile->upstream.client_certificate);
    CHECK(profile->revocation == RevocationStyle::slack);
    CHECK(evidence_for(*profile, "endpoints.refresh").status == EvidenceStatus::documented);
    CHECK(evidence_for(*profile, "endpoints.token").status == EvidenceStatus::unverified);
    CHECK(evidence_for(*profile, "lifetime").status == EvidenceStatus::unverified);
}

TEST_CASE("What a profile does not say follows the rules of MCP", "[oauth][provider]") {
    const auto profile = parse_profile(minimal_document().dump(), "sample");

    REQUIRE(profile);
    CHECK(profile->grants == std::vector{GrantType::authorization_code});
    CHECK(profile->endpoints_from == EndpointsFrom::server);
    CHECK(profile->authorization.pkce == PkceUse::s256);
    CHECK(profile->authorization.offline_access.ask == OfflineAsk::when_advertised);
    CHECK(profile->resource.use == ResourceUse::send);
    CHECK_FALSE(profile->client.authentication);
    CHECK(profile->client.registration == std::vector{RegistrationWay::registered,
                                                      RegistrationWay::metadata_document,
                                                      RegistrationWay::dynamic});
    CHECK(profile->refresh_token.reuse == RefreshTokenReuse::unknown);
    CHECK_FALSE(profile->lifetime.fixed);
}

TEST_CASE("A profile that is written out reads back the same", "[oauth][provider]") {
    for (const auto& document : {complete_document(), minimal_document()}) {
        const auto profile = parse_profile(document.dump(), "sample");
        REQUIRE(profile);
        const auto written = to_json(*profile);
        const auto again = parse_profile(written.dump(), "sample");
        REQUIRE(again);
        CHECK(to_json(*again) == written);
    }
    CHECK(to_json(*parse_profile(complete_document().dump(), "sample")).at("endpoints") ==
          complete_document().at("endpoints"));
}

TEST_CASE("A bad profile is refused with the member and what is allowed", "[oauth][provider]") {
    struct Row {
        const char* what;
        const char* patch;  // RFC 7396, onto the complete document
        const char* problem;
    };
    const Row rows[] = {
        {"version", R"({"format":2})", "format must be 1, the only version there is"},
        {"version as text", R"({"format":"1"})", "format must be 1"},
        {"no title", R"({"title":null})", "title is missing"},
        {"another file's name", R"({"name":"other"})", "name must be the file's name, \"sample\""},
        {"capital letters", R"({"name":"Sample"})", "name must be 1 to 64 of a-z, 0-9 and '-'"},
        {"unknown member", R"({"endpoint":{}})",
         "endpoint is not a member of this format; known here are format, name"},
        {"unknown inner member", R"({"client":{"secret":"x"}})",
         "client.secret is not a member of this format; known here are registration, authentication"},
        {"unknown word", R"({"revocation":"rfc7010"})",
         "revocation must be one of \"none\", \"rfc7009\", \"github\", \"slack\", \"hubspot\", \"google\""},
        {"wrong type", R"({"templated_issuer":"yes"})", "templated_issuer must be true or false"},
        {"no object", R"({"endpoints":[]})", "endpoints must be an object"},
        {"no list", R"({"grants":"authorization_code"})", "grants must be a list of at most 200 strings"},
        {"empty list", R"({"grants":[]})", "grants must not be empty"},
        {"twice", R"({"grants":["device_code","device_code"]})", "grants.1 is there twice"},
        {"number in a list", R"({"notes":["a",7]})", "notes.1 must be a string"},
        {"plain http", R"({"endpoints":{"token":"http://as.example.com/token"}})",
         "endpoints.token must be an https URL (or http to 127.0.0.1"},
        {"http to a host of the user", R"({"endpoints":{"token":"http://{host}/token"}})",
         "endpoints.token must be an https URL"},
        {"user in a URL", R"({"endpoints":{"token":"https://a@as.example.com/"}})",
         "endpoints.token must be"},
        {"fragment", R"({"endpoints":{"token":"https://as.example.com/#x"}})", "endpoints.token must be"},
        {"line break", "{\"endpoints\":{\"token\":\"https://as.example.com/\\r\\nX: y\"}}",
         "endpoints.token must be"},
        {"host in capitals", R"({"endpoints":{"token":"https://AS.example.com/"}})",
         "endpoints.token must be"},
        {"loose brace", R"({"endpoints":{"token":"https://as.example.com/{host"}})",
         "endpoints.token must be"},
        {"no host", R"({"endpoints":{"token":"https:///token"}})", "endpoints.token must be"},
        {"query in the issuer", R"({"issuer":"https://{host}/{tenant}?a=b"})", "issuer must be"},
        {"unknown variable", R"({"endpoints":{"token":"https://{host}/{tenant}/{zone}"}})",
         "variables.zone is missing; a URL of this file has {zone}"},
        {"idle variable", R"({"variables":{"zone":{"description":"?"}}})",
         "variables.zone is used by no URL of this file as {zone}"},
        {"default with a slash", R"({"variables":{"tenant":{"default":"a/b"}}})",
         "variables.tenant.default must be 1 to 128 letters"},
        {"default that is no host", R"({"variables":{"host":{"default":"a_b"}}})",
         "variables.host.default must be a host name"},
        {"default that is good, but not in a host", R"({"variables":{"region":{"default":"a_b"}}})",
         "variables have defaults that make no valid URL"},
        {"no token endpoint", R"({"endpoints":{"token":null}})",
         "endpoints.token is missing; it is needed because endpoints_from is \"profile\""},
        {"no issuer", R"({"issuer":null})", "issuer is missing; it is needed because"},
        {"no authorization endpoint", R"({"endpoints":{"authorization":null}})",
         "endpoints.authorization is missing; it is needed because grants has \"authorization_code\""},
        {"no device endpoint", R"({"endpoints":{"device_authorization":null}})",
         "endpoints.device_authorization is missing; it is needed because grants has \"device_code\""},
        {"no revocation endpoint", R"({"endpoints":{"revocation":null}})",
         "endpoints.revocation is missing; it is needed because revocation is not \"none\""},
        {"no fixed resource", R"({"resource":{"value":null}})",
         "resource.value is missing; it is needed because resource.use is \"fixed\""},
        {"resource that is not sent", R"({"resource":{"use":"omit"}})",
         "resource.value has no effect unless resource.use is \"fixed\""},
        {"resource without use", R"({"resource":{"use":null}})", "resource.use is missing"},
        {"grace without time", R"({"refresh_token":{"grace_seconds":null}})",
         "refresh_token.grace_seconds is missing; it is needed because refresh_token.reuse is \"grace\""},
        {"time without grace", R"({"refresh_token":{"reuse":"strict"}})",
         "refresh_token.grace_seconds has no effect unless"},
        {"too long a grace", R"({"refresh_token":{"grace_seconds":86401}})",
         "refresh_token.grace_seconds must be a whole number from 1 to 86400"},
        {"half a second", R"({"lifetime":{"skew_seconds":0.5}})",
         "lifetime.skew_seconds must be a whole number from 0 to 120"},
        {"huge number", R"({"lifetime":{"fixed_seconds":18446744073709551615}})",
         "lifetime.fixed_seconds must be a whole number"},
        {"negative number", R"({"lifetime":{"fixed_seconds":-1}})", "lifetime.fixed_seconds must be"},
        {"parameter of Claviger",
         R"({"authorization":{"parameters":{"redirect_uri":"https://evil.example"}}})",
         "authorization.parameters.redirect_uri its name must not be a parameter that Claviger sets itself"},
        {"client id", R"({"token_request":{"parameters":{"client_id":"x"}}})",
         "token_request.parameters.client_id its name must not be"},
        {"parameter with a space", R"({"refresh_request":{"parameters":{"a b":"c"}}})",
         "refresh_request.parameters.a b its name must be the name of a parameter"},
        {"header that frames", R"({"token_request":{"headers":{"Content-Length":"1"}}})",
         "token_request.headers.Content-Length its name must not be a header that frames"},
        {"authorization header", R"({"token_request":{"headers":{"authorization":"x"}}})",
         "token_request.headers.authorization its name must not be Authorization"},
        {"header with a line break", "{\"token_request\":{\"headers\":{\"A\":\"b\\r\\nC: d\"}}}",
         "token_request.headers.A must be 1 to 1000 printable ASCII characters"},
        {"token in Host", R"({"upstream":{"header":"Host"}})", "upstream.header must not be a header"},
        {"scheme with a space", R"({"upstream":{"scheme":"Bearer x"}})",
         "upstream.scheme must be at most 32"},
        {"rejection without values", R"({"upstream":{"rejections":[{"path":"error","values":[]}]}})",
         "upstream.rejections.0.values must not be empty"},
        {"separator", R"({"authorization":{"scope_separator":", "}})",
         "authorization.scope_separator must be one of \" \", \",\""},
        {"two scopes in one", R"({"authorization":{"default_scopes":["a b"]}})",
         "authorization.default_scopes.0 must be one scope"},
        {"path", R"({"response":{"captured":{"team":"team..id"}}})",
         "response.captured.team must be member names"},
        {"name of a capture", R"({"response":{"captured":{"Team":"team"}}})",
         "response.captured.Team its name must be 1 to 64 of a-z"},
        {"account that is not captured", R"({"response":{"account":["user"]}})",
         "response.account.0 must be a name in response.captured"},
        {"no token object", R"({"response":{"token_objects":[]}})",
         "response.token_objects must not be empty"},
        {"marker without class", R"({"errors":{"markers":[{"member":"error","value":"x"}]}})",
         "errors.markers.0.means is missing"},
        {"marker that cannot be told",
         R"({"errors":{"markers":[{"member":"error","value":"x","means":"not_sent"}]}})",
         "errors.markers.0.means must be one of \"transient\""},
        {"server URL with a slash", R"({"server_urls":["https://mcp.example.com/"]})",
         "server_urls.0 must not end with '/' or name the default port"},
        {"server URL with the default port", R"({"server_urls":["https://mcp.example.com:443/mcp"]})",
         "server_urls.0 must not end with '/'"},
        {"server URL with a query", R"({"server_urls":["https://mcp.example.com/mcp?a=b"]})",
         "server_urls.0 must be an https URL"},
        {"server URL with a variable", R"({"server_urls":["https://{host}/mcp"]})", "server_urls.0 must be"},
        {"evidence for nothing", R"({"evidence":{"endpoints.pushed":{"status":"unverified"}}})",
         "evidence.endpoints.pushed must name a member that this file has"},
        {"evidence for a name that no terminal should print",
         R"({"evidence":{"a\u001b[2J":{"status":"verified"}}})",
         "evidence.a?[2J its name must be member names joined by dots"},
        {"variable with such a name", R"({"variables":{"a\u001b":{"default":"b"}}})",
         "variables.a? its name must be 1 to 64 of a-z"},
        {"claim without source", R"({"evidence":{"issuer":{"status":"verified"}}})",
         "evidence.issuer.source is missing; it is needed unless"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        auto document = complete_document();
        document.merge_patch(json::parse(row.patch));
        CHECK_THAT(first_problem(document), Catch::StartsWith(row.problem));
        const auto refused = parse_profile(document.dump(), "sample");
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == "provider.invalid");
        CHECK_THAT(refused.error().message, Catch::StartsWith("sample.json: " + std::string(row.problem)));
        CHECK_THAT(refused.error().hint, Catch::Contains("claviger provider test"));
    }
}

TEST_CASE("A file that is no JSON object is refused with the line", "[oauth][provider]") {
    struct Row {
        std::string text;
        const char* problem;
    };
    const Row rows[] = {
        {"", "is not valid JSON: line 1"},
        {"{\n\"format\": 1,\n}", "is not valid JSON: line 3"},
        {"{\n// a comment\n}", "is not valid JSON: line 2"},
        {"[]", "must be a JSON object"},
        {R"({"name":"a","name":"b"})", "names a member twice"},
        {std::string(20, '[') + std::string(20, ']'),
         "names a member twice in one object, or is nested too deeply"},
        {"{\"title\":\"" + std::string(70'000, 'x') + "\"}", "is larger than 65536 bytes"},
        {"{\"title\":\"\xff\"}", "is not valid JSON: line 1"},
    };
    for (const auto& row : rows) {
        const auto problems = problems_in(row.text, "sample");
        REQUIRE(problems.size() == 1);
        CHECK(problems[0].member.empty());
        CHECK_THAT(problems[0].message, Catch::StartsWith(row.problem));
        CHECK_THAT(parse_profile(row.text, "sample").error().message,
                   Catch::StartsWith("sample.json: the file " + std::string(row.problem)));
    }
}

TEST_CASE("All problems of a file are told at once, and the message counts them", "[oauth][provider]") {
    auto document = complete_document();
    document["revocation"] = 7;
    document["client"]["key_hint"] = "x";
    document["zzz"] = true;

    const auto problems = problems_in(document.dump(), "sample");

    REQUIRE(problems.size() == 3);
    CHECK(problems[0].member == "client.key_hint");
    CHECK(problems[1].member == "revocation");
    CHECK(problems[2].member == "zzz");
    CHECK_THAT(parse_profile(document.dump(), "sample").error().hint, Catch::Contains("2 further problems"));
}

TEST_CASE("The schema knows the members that the reader knows, no more and no fewer", "[oauth][provider]") {
    const auto document = complete_document();
    int objects = 0;
    each_object(schema(), document, json::json_pointer(""),
                [&](const json& node, const json::json_pointer& place) {
                    INFO(place.to_string());
                    ++objects;
                    CHECK(node.at("additionalProperties") == false);
                    auto with_stranger = document;
                    with_stranger.at(place)["zzz"] = 1;
                    const auto known = known_members(with_stranger);
                    std::set<std::string> described;
                    for (const auto& [name, member] : node.at("properties").items()) described.insert(name);
                    CHECK(known == described);
                    const auto required = node.value("required", json::array());
                    for (const auto& name : described) {
                        INFO(name);
                        REQUIRE(document.at(place).contains(name));  // the sample really is complete
                        auto without = document;
                        without.at(place).erase(name);
                        const bool is_required = std::ranges::find(required, json(name)) != required.end();
                        CHECK((first_problem(without).ends_with("." + name + " is missing") ||
                               first_problem(without) == name + " is missing") == is_required);
                    }
                });
    CHECK(objects == 17);
}

TEST_CASE("The schema lists the words that the reader takes, and the defaults that it fills in",
          "[oauth][provider]") {
    const auto document = complete_document();
    const auto defaults = to_json(*parse_profile(minimal_document().dump(), "sample"));
    int lists = 0;
    each_object(schema(), document, json::json_pointer(""),
                [&](const json& node, const json::json_pointer& place) {
                    for (const auto& [name, member] : node.at("properties").items()) {
                        INFO(place.to_string() << "/" << name);
                        if (member.contains("default") && defaults.contains(place))
                            CHECK(defaults.at(place).at(name) == member.at("default"));
                        const bool list = member.value("type", "") == "array";
                        const auto& words = list ? member.at("items") : member;
                        if (!words.contains("enum")) continue;
                        ++lists;
                        auto changed = document;
                        auto& value = changed.at(place)[name];
                        std::string allowed;
                        for (const auto& word : words.at("enum")) {
                            value = list ? json::array({word}) : word;
                            CHECK_THAT(first_problem(changed), !Catch::Contains("must be one of"));
                            allowed += (allowed.empty() ? "" : ", ") + word.dump();
                        }
                        value = list ? json::array({"zzz"}) : json("zzz");
                        CHECK_THAT(first_problem(changed), Catch::EndsWith("must be one of " + allowed));
                    }
                });
    CHECK(lists == 22);
}

TEST_CASE("The documentation names every member and every word of the format", "[oauth][provider]") {
    std::ifstream in(CLAVIGER_VECTORS "/../../docs/provider_profiles.md");
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    each_object(schema(), complete_document(), json::json_pointer(""),
                [&](const json& node, const json::json_pointer& place) {
                    for (const auto& [name, member] : node.at("properties").items()) {
                        INFO(place.to_string() << "/" << name);
                        CHECK((text.contains("`" + name + "`") || text.contains("." + name + "`") ||
                               text.contains("\"" + name + "\":")));
                        const auto& words = member.value("type", "") == "array" ? member.at("items") : member;
                        for (const auto& word : words.value("enum", json::array())) {
                            INFO(word);
                            const auto plain = word.get<std::string>();
                            CHECK((text.contains("`" + plain + "`") || text.contains("`\"" + plain + "\"`") ||
                                   plain == "|"));
                        }
                    }
                });
}

TEST_CASE("Variables are put into the URLs, and nothing else gets in with them", "[oauth][provider]") {
    const auto profile = *parse_profile(complete_document().dump(), "sample");

    const auto concrete = with_variables(profile, {{"region", "eu"}, {"tenant", "t1"}});
    REQUIRE(concrete);
    CHECK(concrete->issuer == "https://as.example.com:8443/t1");
    CHECK(concrete->endpoints.authorization == "https://as.example.com:8443/t1/authorize?v=2");
    CHECK(concrete->endpoints.refresh == "https://eu.example.com/refresh");
    CHECK(concrete->resource.value == "https://as.example.com:8443/mcp");
    CHECK(concrete->variables.empty());

    struct Row {
        WordMap values;
        const char* code;
    };
    const Row rows[] = {
        {{}, "provider.variable_missing"},
        {{{"region", "eu"}, {"zone", "1"}}, "provider.variable_unknown"},
        {{{"region", "evil.example/"}}, "provider.variable_invalid"},
        {{{"region", "evil.example#"}}, "provider.variable_invalid"},
        {{{"region", "a@evil.example"}}, "provider.variable_invalid"},
        {{{"region", "evil.example?"}}, "provider.variable_invalid"},
        {{{"region", "evil.example:80"}}, "provider.variable_invalid"},
        {{{"region", "{host}"}}, "provider.variable_invalid"},
        {{{"region", ".."}}, "provider.variable_invalid"},
        {{{"region", ""}}, "provider.variable_invalid"},
        {{{"region", "a_b"}}, "provider.variable_invalid"},  // good in a path, not in a host
        {{{"region", "eu"}, {"host", "as.example.com/x"}}, "provider.variable_invalid"},
        {{{"region", "eu"}, {"host", "as.example.com:"}}, "provider.variable_invalid"},
        {{{"region", "eu"}, {"host", "-as.example.com"}}, "provider.variable_invalid"},
    };
    for (const auto& row : rows) {
        const auto refused = with_variables(profile, row.values);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == row.code);
    }
}

TEST_CASE("Paths lead through objects and lists", "[oauth][provider]") {
    const auto document = json::parse(R"({"team":{"id":"T1"},"list":[{"errorCode":"X"}],"a":"b"})");

    CHECK(*at_path(document, "team.id") == "T1");
    CHECK(*at_path(document, "list.0.errorCode") == "X");
    CHECK(*at_path(json::parse(R"([{"errorCode":"Y"}])"), "0.errorCode") == "Y");
    for (const auto* path :
         {"team.name", "list.1", "list.x", "list.-1", "list.00x", "a.b", "list.", "", "team..id"}) {
        INFO(path);
        CHECK(at_path(document, path) == nullptr);
    }
}

TEST_CASE("An API's own way to refuse a token is recognised", "[oauth][provider]") {
    UpstreamRule slack;
    slack.rejections = {{200, "error", {"token_expired", "invalid_auth"}}};
    UpstreamRule salesforce;
    salesforce.rejections = {{0, "0.errorCode", {"INVALID_SESSION_ID"}}};

    CHECK(rejects_token(slack, 200, json::parse(R"({"ok":false,"error":"token_expired"})")));
    CHECK_FALSE(rejects_token(slack, 200, json::parse(R"({"ok":false,"error":"channel_not_found"})")));
    CHECK_FALSE(rejects_token(slack, 500, json::parse(R"({"error":"token_expired"})")));
    CHECK_FALSE(rejects_token(slack, 200, json::parse(R"({"error":["token_expired"]})")));
    CHECK(rejects_token(salesforce, 401, json::parse(R"([{"errorCode":"INVALID_SESSION_ID"}])")));
    CHECK_FALSE(rejects_token(salesforce, 401, json::parse(R"([])")));
    CHECK_FALSE(rejects_token(UpstreamRule{}, 401, json::object()));
}

TEST_CASE("Answers are read in the shapes that the profile names, in their order", "[oauth][provider]") {
    const auto profile = *parse_profile(complete_document().dump(), "sample");

    const auto shapes = token_shapes(profile.response);

    REQUIRE(shapes.size() == 2);
    CHECK(shapes[0].nested.empty());
    CHECK(shapes[1].nested == "authed_user");
    CHECK(shapes[1].access_token == "token");
    CHECK(shapes[1].bearer_aliases == std::vector<std::string>{"bot", "user"});
    const auto tokens = parse_token_response(
        "application/json",
        R"({"ok":true,"authed_user":{"token":"xoxp-1","tokenType":"user","expiresIn":1000}})", shapes[1],
        {.sent_at = base::Time{}});
    REQUIRE(tokens);
    CHECK(tokens->expires_at == base::Time{} + std::chrono::seconds(1));
}

}  // namespace
}  // namespace claviger::oauth
