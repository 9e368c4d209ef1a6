#include "oauth/provider_catalog.h"
#include "oauth/provider_files.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace claviger::oauth {
namespace {

using nlohmann::json;

class Folder {
public:
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "claviger_providers_XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path_); }

    const std::filesystem::path& path() const { return path_; }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(path_ / name) << text;
    }

private:
    std::filesystem::path path_;
};

/// The leaves of the document as dotted paths; lists are leaves.
void collect_leaves(const json& value, const std::string& place, Words& out) {
    if (!value.is_object() || value.empty()) {
        out.push_back(place);
        return;
    }
    for (const auto& [name, inner] : value.items())
        collect_leaves(inner, place.empty() ? name : place + "." + name, out);
}

bool has_entry(const ProviderProfile& profile, std::string member) {
    for (;;) {
        if (profile.evidence.contains(member)) return true;
        const auto dot = member.rfind('.');
        if (dot == std::string::npos) return false;
        member.resize(dot);
    }
}

TEST_CASE("Every provider that comes with Claviger can be read", "[oauth][provider]") {
    const auto catalog = ProviderCatalog::built_in();

    for (const auto* name : {"asana",
                             "atlassian",
                             "figma",
                             "generic",
                             "github",
                             "github-app",
                             "github-app-installation",
                             "gitlab",
                             "google",
                             "google-service-account",
                             "hubspot",
                             "linear",
                             "mcp",
                             "microsoft-entra",
                             "notion",
                             "salesforce",
                             "sentry",
                             "shopify",
                             "slack",
                             "stripe"}) {
        INFO(name);
        REQUIRE(catalog.find(name) != nullptr);
        CHECK(catalog.find(name)->name == name);
    }
    CHECK(catalog.list().size() == provider_files().size());
    for (const auto& file : provider_files()) {
        INFO(file.name);
        CHECK(problems_in(file.text, file.name).empty());
    }
    for (const auto& entry : catalog.list()) {
        CHECK_FALSE(entry.own);
        CHECK_FALSE(entry.profile.documentation.empty());
    }
    CHECK(catalog.find("nobody") == nullptr);
}

TEST_CASE("Every claim of a built-in profile says how sure it is", "[oauth][provider]") {
    for (const auto& file : provider_files()) {
        const auto profile = *parse_profile(file.text, file.name);
        auto claims = json::parse(file.text);
        for (const auto* identity : {"format", "name", "title", "documentation", "notes", "evidence"})
            claims.erase(identity);
        Words leaves;
        collect_leaves(claims, "", leaves);
        for (const auto& member : leaves) {
            INFO(file.name << " " << member);
            CHECK(has_entry(profile, member));
        }
    }
}

TEST_CASE("The profile mcp is the defaults, written out", "[oauth][provider]") {
    auto written = to_json(*ProviderCatalog::built_in().find("mcp"));
    auto defaults = to_json(ProviderProfile{});
    for (const auto* identity : {"name", "title", "documentation", "notes", "evidence"}) {
        written.erase(identity);
        defaults.erase(identity);
    }
    CHECK(written == defaults);
}

TEST_CASE("What sets the providers apart stands in their profiles", "[oauth][provider]") {
    const auto catalog = ProviderCatalog::built_in();
    const auto profile = [&](const char* name) -> const ProviderProfile& { return *catalog.find(name); };

    CHECK(profile("microsoft-entra").resource.use == ResourceUse::omit);
    CHECK(profile("microsoft-entra").refresh_request.send_scope);
    CHECK(profile("microsoft-entra").templated_issuer);
    CHECK(profile("microsoft-entra").errors.aadsts_codes);
    CHECK(profile("google").authorization.offline_access.parameters.at("access_type") == "offline");
    CHECK(profile("google").refresh_token.reuse == RefreshTokenReuse::reusable);
    CHECK(profile("github-app").refresh_token.old_access_token_dies);
    CHECK(profile("github-app-installation").response.shape.access_token == "token");
    CHECK(profile("slack").authorization.scope_separator == ",");
    CHECK(profile("notion").token_request.body == BodyFormat::json);
    CHECK(profile("atlassian").refresh_token.grace == std::chrono::minutes(10));
    CHECK(profile("linear").refresh_token.grace == std::chrono::minutes(30));
    CHECK(profile("sentry-integration").response.shape.refresh_token == "refreshToken");
    CHECK(profile("stripe").client.authentication == ClientAuthMethod::secret_as_user_name);
    CHECK(profile("stripe").lifetime.fixed == std::chrono::hours(1));
    CHECK(profile("asana-mcp").resource.value == "https://mcp.asana.com/v2");
    CHECK(profile("shopify").upstream.header == "X-Shopify-Access-Token");
    CHECK(profile("salesforce").response.captured.contains("instance_url"));
    CHECK(profile("figma").endpoints.refresh != "");
    CHECK(profile("hubspot").revocation == RevocationStyle::hubspot);
}

TEST_CASE("Refusals of providers are understood through their profiles", "[oauth][provider]") {
    struct Row {
        const char* provider;
        unsigned status;
        const char* body;
        AnswerClass kind;
        const char* code;
    };
    using enum AnswerClass;
    const Row rows[] = {
        {"github", 200, R"({"error":"bad_verification_code"})", grant_dead, "bad_verification_code"},
        {"github", 200, R"({"error":"incorrect_client_credentials"})", client_dead,
         "incorrect_client_credentials"},
        {"github-app", 200, R"({"error":"bad_refresh_token"})", grant_dead, "bad_refresh_token"},
        {"github-app-installation", 401,
         R"({"message":"A JSON web token could not be decoded","documentation_url":"https://docs.github.com/rest"})",
         client_dead, "app_key_refused"},
        {"github-app-installation", 403,
         R"({"message":"This installation has been suspended","documentation_url":"https://docs.github.com/rest"})",
         grant_dead, "installation_suspended"},
        {"github-app-installation", 403,
         R"({"message":"You have exceeded a secondary rate limit","documentation_url":"https://docs.github.com/rest"})",
         transient, "refused_for_now"},
        {"github-app-installation", 404,
         R"({"message":"Not Found","documentation_url":"https://docs.github.com/rest"})", grant_dead,
         "installation_removed"},
        {"google", 400, R"({"error":"invalid_grant","error_subtype":"invalid_rapt"})", grant_dead,
         "invalid_rapt"},
        {"slack", 200, R"({"ok":false,"error":"invalid_refresh_token"})", grant_dead,
         "invalid_refresh_token"},
        {"slack", 200, R"({"ok":false,"error":"bad_client_secret"})", client_dead, "bad_client_secret"},
        {"slack", 200, R"({"ok":false,"error":"ratelimited"})", transient, "ratelimited"},
        {"atlassian", 403, R"({"error":"invalid_grant"})", grant_dead, "invalid_grant"},
        {"atlassian", 401, R"({"error":"access_denied"})", client_dead, "client_secret_refused"},
        {"microsoft-entra", 400, R"({"error":"invalid_grant","error_description":"AADSTS7000215: wrong"})",
         client_dead, "invalid_client"},
        {"hubspot", 400, R"({"status":"BAD_REFRESH_TOKEN","message":"missing"})", grant_dead,
         "bad_refresh_token"},
        {"hubspot", 400, R"({"status":"BAD_CLIENT_ID"})", client_dead, "bad_client_id"},
        {"salesforce", 400, R"({"error":"inactive_user"})", grant_dead, "inactive_user"},
        {"mcp", 400, R"({"error":"access_denied"})", transient, "unrecognized"},
    };
    const auto catalog = ProviderCatalog::built_in();
    for (const auto& row : rows) {
        INFO(row.provider << " " << row.body);
        TokenAnswer answer{.status = row.status, .content_type = "application/json", .body = row.body};
        const auto result = classify(answer, catalog.find(row.provider)->errors, {});
        CHECK(to_text(result.kind) == to_text(row.kind));
        CHECK(result.code == row.code);
    }
}

TEST_CASE("A server URL finds the profile that knows it", "[oauth][provider]") {
    const auto catalog = ProviderCatalog::built_in();

    CHECK(catalog.for_server_url("https://mcp.linear.app/mcp").name == "linear-mcp");
    CHECK(catalog.for_server_url("https://mcp.linear.app").name == "linear-mcp");
    CHECK(catalog.for_server_url("https://mcp.linear.app?x=1").name == "linear-mcp");
    CHECK(catalog.for_server_url("https://api.githubcopilot.com/mcp/readonly").name == "github");
    CHECK(catalog.for_server_url("https://api.githubcopilot.com/mcpx").name == "mcp");
    CHECK(catalog.for_server_url("https://api.githubcopilot.com").name == "mcp");
    CHECK(catalog.for_server_url("https://mcp.linear.app.evil.example/mcp").name == "mcp");
    CHECK(catalog.for_server_url("http://mcp.linear.app/mcp").name == "mcp");
    CHECK(catalog.for_server_url("").name == "mcp");
}

TEST_CASE("Files of the operator add profiles and replace built-in ones", "[oauth][provider]") {
    Folder folder;
    folder.write("acme.json", R"({"format":1,"name":"acme","title":"Acme",
        "server_urls":["https://mcp.acme.example","https://mcp.linear.app","https://mcp.notion.com/team"]})");
    folder.write("github.json", R"({"format":1,"name":"github","title":"Our GitHub"})");
    folder.write("README.md", "not a profile");
    folder.write(".hidden.json", "not a profile either");

    const auto catalog = ProviderCatalog::with_folder(folder.path());

    REQUIRE(catalog);
    CHECK(catalog->list().size() == provider_files().size() + 1);
    CHECK(catalog->find("github")->title == "Our GitHub");
    CHECK(catalog->find("github")->server_urls.empty());
    CHECK(catalog->for_server_url("https://mcp.acme.example/v1").name == "acme");
    CHECK(catalog->for_server_url("https://mcp.linear.app/mcp").name == "acme");
    CHECK(catalog->for_server_url("https://mcp.notion.com/mcp").name == "notion-mcp");
    CHECK(catalog->for_server_url("https://mcp.notion.com/team/a").name == "acme");
    CHECK(catalog->for_server_url("https://api.githubcopilot.com/mcp").name == "mcp");
    CHECK(std::ranges::is_sorted(catalog->list(), {}, [](const auto& entry) { return entry.profile.name; }));
    for (const auto& entry : catalog->list())
        CHECK(entry.own == (entry.profile.name == "acme" || entry.profile.name == "github"));
}

TEST_CASE("One bad file refuses the folder, by file and member", "[oauth][provider]") {
    struct Row {
        const char* what;
        const char* name;
        const char* text;
        const char* code;
        const char* message;
    };
    const Row rows[] = {
        {"no JSON", "bad.json", "{", "provider.invalid", "bad.json: the file is not valid JSON: line 1"},
        {"unknown member", "bad.json", R"({"format":1,"name":"bad","title":"Bad","pkce":"off"})",
         "provider.invalid", "bad.json: pkce is not a member of this format; known here are format"},
        {"another name", "bad.json", R"({"format":1,"name":"worse","title":"Bad"})", "provider.invalid",
         "bad.json: name must be the file's name, \"bad\"."},
        {"too large", "bad.json", nullptr, "provider.invalid",
         "bad.json: the file is larger than 65536 bytes"},
        {"server URL of another file", "bad.json",
         R"({"format":1,"name":"bad","title":"Bad","server_urls":["https://mcp.acme.example"]})",
         "provider.server_url_taken",
         "bad.json: server_urls has https://mcp.acme.example, which acme.json has too"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        Folder folder;
        folder.write(
            "acme.json",
            R"({"format":1,"name":"acme","title":"Acme","server_urls":["https://mcp.acme.example"]})");
        folder.write(row.name, row.text != nullptr ? row.text : std::string(100'000, ' '));
        const auto refused = ProviderCatalog::with_folder(folder.path());
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == row.code);
        CHECK_THAT(refused.error().message, Catch::StartsWith(row.message));
        CHECK_FALSE(refused.error().hint.empty());
    }
}

TEST_CASE("A folder or file that cannot be read is named, not skipped", "[oauth][provider]") {
    Folder folder;
    const auto missing = ProviderCatalog::with_folder(folder.path() / "nowhere");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().code == "provider.folder_unreadable");

    std::filesystem::create_directory(folder.path() / "folder.json");
    const auto unreadable = ProviderCatalog::with_folder(folder.path());
    REQUIRE_FALSE(unreadable);
    CHECK(unreadable.error().code == "provider.file_unreadable");
    CHECK_THAT(unreadable.error().message, Catch::Contains("folder.json"));
}

}  // namespace
}  // namespace claviger::oauth
