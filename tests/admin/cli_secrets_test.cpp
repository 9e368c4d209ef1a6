#include "admin/cli/arguments.h"
#include "admin/cli/secret_document.h"
#include "admin/cli/secret_input.h"
#include "base/bytes.h"
#include "tests/support/spec.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <unistd.h>

using namespace claviger;
using namespace claviger::admin::cli;
using nlohmann::json;

namespace {

std::string text_of(const crypto::Secret& secret) {
    return secret.expose([](std::span<const std::byte> bytes) { return std::string(base::as_view(bytes)); });
}

/// The read end of a pipe that holds `text` and no more.
class Pipe {
public:
    explicit Pipe(std::string_view text) {
        REQUIRE(::pipe(ends_) == 0);
        REQUIRE(::write(ends_[1], text.data(), text.size()) == ssize_t(text.size()));
        ::close(ends_[1]);
    }
    ~Pipe() { ::close(ends_[0]); }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    int input() const { return ends_[0]; }

private:
    int ends_[2];
};

class TemporaryFile {
public:
    explicit TemporaryFile(std::string_view text) {
        std::string name = "/tmp/claviger-cli-XXXXXX";
        const int opened = ::mkstemp(name.data());
        REQUIRE(::write(opened, text.data(), text.size()) == ssize_t(text.size()));
        ::close(opened);
        path_ = name;
    }
    ~TemporaryFile() { std::filesystem::remove(path_); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace

TEST_CASE("A secret from a pipe loses one line end and nothing else", "[admin][cli]") {
    for (const auto& [given, expected] : {std::pair<std::string, std::string>{"token\n", "token"},
                                          {"token\r\n", "token"},
                                          {"token", "token"},
                                          {" to ken \n", " to ken "},
                                          {"two\nlines\n", "two\nlines"},
                                          {"blank\n\n", "blank\n"}}) {
        std::ostringstream err;
        const Pipe pipe(given);
        const auto secret = read_secret(pipe.input(), "Secret", err);
        REQUIRE(secret);
        CHECK(text_of(*secret) == expected);
        CHECK(err.str().empty());
    }
}

TEST_CASE("An empty secret is refused", "[admin][cli]") {
    for (const auto* given : {"", "\n", "\r\n"}) {
        std::ostringstream err;
        const Pipe pipe(given);
        const auto secret = read_secret(pipe.input(), "Secret", err);
        REQUIRE_FALSE(secret);
        CHECK(secret.error().code == kUsageCode);
    }
}

TEST_CASE("A file that is too long is not a secret", "[admin][cli]") {
    std::ostringstream err;
    const TemporaryFile at_most(std::string(64 * 1024, 'x'));
    const TemporaryFile longer(std::string(64 * 1024 + 1, 'x'));

    CHECK(read_secret_file(at_most.path(), -1, err));
    const auto refused = read_secret_file(longer.path(), -1, err);
    REQUIRE_FALSE(refused);
    CHECK_THAT(refused.error().message, Catch::Contains("longer than 64 KiB"));
}

TEST_CASE("A secret's file that others may read is used with a warning", "[admin][cli]") {
    const TemporaryFile file("token\n");
    std::ostringstream quiet, loud;

    REQUIRE(read_secret_file(file.path(), -1, quiet));
    CHECK(quiet.str().empty());
    std::filesystem::permissions(file.path(), std::filesystem::perms(0644));
    const auto secret = read_secret_file(file.path(), -1, loud);
    REQUIRE(secret);
    CHECK(text_of(*secret) == "token");
    CHECK_THAT(loud.str(), Catch::Contains("other users may read it") && !Catch::Contains("token\n"));
}

TEST_CASE("A key file is taken byte for byte", "[admin][cli]") {
    const std::string bytes("\x00\x01\n\xff\n", 5);
    const TemporaryFile file(bytes);
    std::ostringstream err;

    const auto key = read_key_file(file.path(), err);

    REQUIRE(key);
    CHECK(text_of(*key) == bytes);
}

TEST_CASE("A document with secrets is the JSON that a writer who knows them would make", "[admin][cli]") {
    for (const std::string secret :
         {"plain", "with \"quotes\" and \\ back", "tab\tnewline\n\x01", "käse €🔑", "a/b+c=="}) {
        SecretDocument document;
        json skeleton = {{"auth", {{"type", "static_bearer"}}}, {"display_name", "name \"x\""}};
        const auto first = document.place(crypto::Secret::copy_of(std::string_view(secret)));
        const auto second = document.place(crypto::Secret::copy_of(std::string_view("other")));
        REQUIRE(first);
        REQUIRE(second);
        skeleton["auth"]["token"] = *first;
        skeleton["auth"]["zz"] = *second;

        const auto parsed = json::parse(text_of(document.render(skeleton)));

        CHECK(parsed["auth"]["token"] == secret);
        CHECK(parsed["auth"]["zz"] == "other");
        CHECK(parsed["display_name"] == "name \"x\"");
        CHECK_THAT(skeleton.dump(), !Catch::Contains("other"));
    }
}

TEST_CASE("Bytes that are no UTF-8 cannot become a token", "[admin][cli]") {
    for (const std::string bytes :
         {"\xff", "a\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xc3"}) {
        SecretDocument document;
        const auto placed = document.place(crypto::Secret::copy_of(std::string_view(bytes)));
        REQUIRE_FALSE(placed);
        CHECK(placed.error().code == kUsageCode);
    }
}
