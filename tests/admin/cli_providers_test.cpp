#include "admin/cli/cli.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

using namespace claviger::admin::cli;
using nlohmann::json;

namespace {

struct Run {
    int code;
    std::string out, err;
};
Run run(const std::vector<std::string>& words) {
    std::ostringstream out, err;
    const int code = run_cli(words, nullptr, -1, out, err);
    return {code, out.str(), err.str()};
}

class Folder {
public:
    Folder() {
        std::string name =
            (std::filesystem::temp_directory_path() / "claviger_cli_providers_XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path_); }

    std::string path() const { return path_.string(); }
    std::string write(const std::string& name, const std::string& text) const {
        std::ofstream(path_ / name) << text;
        return (path_ / name).string();
    }

private:
    std::filesystem::path path_;
};

}  // namespace

TEST_CASE("The providers are listed without a server", "[admin][cli]") {
    const auto text = run({"provider", "list"});
    CHECK(text.code == 0);
    CHECK_THAT(text.out, Catch::StartsWith("NAME") && Catch::Contains("\nlinear-mcp ") &&
                             Catch::Contains("https://mcp.linear.app") && Catch::Contains("built in"));

    Folder folder;
    folder.write("acme.json", R"({"format":1,"name":"acme","title":"Acme"})");
    const auto listed = run({"provider", "list", "--folder", folder.path(), "--json"});
    CHECK(listed.code == 0);
    const auto page = json::parse(listed.out);
    CHECK(page.at("data").front().at("name") == "acme");
    CHECK(page.at("data").front().at("source") == "folder");
}

TEST_CASE("A provider is shown with what is claimed and how sure that is", "[admin][cli]") {
    const auto shown = run({"provider", "show", "linear"});
    CHECK(shown.code == 0);
    CHECK_THAT(shown.out, Catch::StartsWith("linear: Linear\nhttps://linear.app/developers"));
    CHECK_THAT(shown.out, Catch::Contains("refresh_token.grace_seconds") && Catch::Contains("1800") &&
                              Catch::Contains("reported") && Catch::Contains("unverified"));
    CHECK_THAT(shown.out, !Catch::Contains("upstream.header"));  // a default

    const auto unknown = run({"provider", "show", "line"});
    CHECK(unknown.code == 1);
    CHECK_THAT(unknown.err, Catch::Contains("No provider profile is called 'line'") &&
                                Catch::Contains("linear, linear-mcp"));
}

TEST_CASE("What show prints as JSON is a good file of one's own", "[admin][cli]") {
    const auto shown = run({"provider", "show", "slack", "--json"});
    REQUIRE(shown.code == 0);
    Folder folder;
    const auto file = folder.write("slack.json", shown.out);

    const auto tested = run({"provider", "test", file});

    CHECK(tested.code == 0);
    CHECK_THAT(tested.out,
               Catch::StartsWith("The profile 'slack' is good.") && Catch::Contains("Not verified"));
    CHECK(run({"provider", "list", "--folder", folder.path()}).code == 0);
}

TEST_CASE("Every problem of a profile file is explained", "[admin][cli]") {
    Folder folder;
    const auto file = folder.write(
        "bad.json", R"({"format":1,"name":"bad","title":"Bad","pkce":"off","revocation":"rfc"})");

    const auto text = run({"provider", "test", file});
    CHECK(text.code == 1);
    CHECK_THAT(text.err, Catch::Contains("bad.json: revocation must be one of \"none\"") &&
                             Catch::Contains("bad.json: pkce is not a member of this format") &&
                             Catch::Contains("bad.json has 2 problems and would not be loaded."));
    CHECK(text.out.empty());

    const auto as_json = run({"provider", "test", file, "--json"});
    CHECK(as_json.code == 1);
    const auto document = json::parse(as_json.err);
    CHECK(document.at("error").at("type") == "provider.invalid");
    CHECK(document.at("error").at("problems").size() == 2);
    CHECK(document.at("error").at("problems")[0].at("member") == "revocation");

    const auto folder_refused = run({"provider", "list", "--folder", folder.path()});
    CHECK(folder_refused.code == 1);
    CHECK_THAT(folder_refused.err,
               Catch::Contains("bad.json: revocation") && Catch::Contains("provider test FILE"));
}

TEST_CASE("Profiles are tested by name too, and files that are not there are named", "[admin][cli]") {
    const auto good = run({"provider", "test", "github", "--json"});
    CHECK(good.code == 0);
    CHECK(json::parse(good.out).at("valid") == true);
    CHECK_FALSE(json::parse(good.out).at("unverified").empty());

    CHECK(run({"provider", "test", "nobody"}).code == 1);
    const auto missing = run({"provider", "test", "./nowhere.json"});
    CHECK(missing.code == 1);
    CHECK_THAT(missing.err, Catch::Contains("nowhere.json cannot be read"));
    CHECK_THAT(run({"provider", "list", "--folder", "/nonexistent"}).err, Catch::Contains("cannot be read"));
}
