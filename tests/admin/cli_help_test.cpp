#include "admin/cli/arguments.h"
#include "admin/cli/cli.h"
#include "admin/cli/command.h"
#include "admin/cli/completion.h"
#include "tests/support/spec.h"

#include <set>
#include <sstream>

using namespace claviger::admin::cli;

namespace {

/// The example's words up to the first redirection, quotes taken away.
std::vector<std::string> words_of(std::string_view example) {
    std::vector<std::string> words;
    std::string word;
    bool quoted = false;
    for (const char c : std::string(example) + " ") {
        if (c == '\'') {
            quoted = !quoted;
        } else if (c == ' ' && !quoted) {
            if (word == "<") return words;
            if (!word.empty()) words.push_back(std::exchange(word, {}));
        } else {
            word += c;
        }
    }
    return words;
}

struct Run {
    int code;
    std::string out, err;
};
Run run(const std::vector<std::string>& words) {
    std::ostringstream out, err;
    const int code = run_cli(words, nullptr, -1, out, err);
    return {code, out.str(), err.str()};
}

}  // namespace

TEST_CASE("The overview names every command with its purpose", "[admin][cli]") {
    const auto overview = help_text(std::nullopt);

    for (const auto& command : commands()) {
        INFO(command.name);
        CHECK_THAT(overview, Catch::Contains("\n  " + std::string(command.name) + " "));
        CHECK_FALSE(command.purpose.empty());
    }
}

TEST_CASE("Every command explains its words, its flags and an example", "[admin][cli]") {
    for (const auto& command : commands()) {
        INFO(command.name);
        const auto help = help_text(command.name);
        CHECK_THAT(help, Catch::StartsWith(std::string(command.purpose)));
        CHECK_THAT(help, Catch::Contains("claviger " + std::string(command.name)));
        CHECK_THAT(help, Catch::Contains(std::string(command.example)));
        for (const auto& operand : command.operands)
            CHECK_THAT(help, Catch::Contains("\n  " + std::string(operand.name) + " "));
        for (const auto& flag : command.flags)
            CHECK_THAT(help, Catch::Contains("\n  " + std::string(flag.name) + " "));
    }
}

TEST_CASE("The example in each help is a command that is understood", "[admin][cli]") {
    for (const auto& command : commands()) {
        INFO(command.example);
        if (command.name == "completion") continue;  // its example is the shell's own source command
        auto words = words_of(command.example);
        REQUIRE(words.size() > 1);
        CHECK(words.front() == "claviger");
        words.erase(words.begin());
        const auto parsed = parse_invocation(words);
        REQUIRE(parsed);
        REQUIRE(parsed->command != nullptr);
        CHECK(parsed->command->name == command.name);
    }
}

TEST_CASE("The commands of the server are explained here as well", "[admin][cli]") {
    CHECK_THAT(help_text("init"), Catch::Contains("--data DIR") && Catch::Contains("--passphrase-stdin"));
    CHECK_THAT(help_text("serve"), Catch::Contains("--config FILE") && Catch::Contains("--insecure-listen"));
    CHECK_THAT(help_text("check-config"), Catch::Contains("--config FILE"));
    CHECK_THAT(help_text("init"), !Catch::Contains("--api-key-file"));
}

TEST_CASE("The help of a group lists its commands and no others", "[admin][cli]") {
    const auto help = help_text("vault");

    CHECK_THAT(help, Catch::Contains("vault archive") && !Catch::Contains("session"));
}

TEST_CASE("No line of any help is wider than a terminal", "[admin][cli]") {
    for (const auto& command : commands()) {
        std::istringstream lines(help_text(command.name));
        for (std::string line; std::getline(lines, line);) {
            if (line.contains(std::string(command.example)) || line == command.purpose) continue;
            INFO(line);
            CHECK(line.size() <= 120);
        }
    }
}

TEST_CASE("Flags and names of commands are unique, and no flag takes a secret itself", "[admin][cli]") {
    std::set<std::string_view> names;
    for (const auto& command : commands()) {
        INFO(command.name);
        CHECK(names.insert(command.name).second);
        std::set<std::string_view> flags;
        for (const auto& flag : command.flags) {
            INFO(flag.name);
            CHECK(flags.insert(flag.name).second);
            for (const auto* forbidden : {"--token", "--secret", "--api-key", "--password", "--passphrase"})
                CHECK(flag.name != forbidden);
        }
        if (command.takes_common_flags)
            for (const auto& flag : common_flags()) CHECK(flags.insert(flag.name).second);
    }
}

TEST_CASE("Completion of every shell knows every command and flag", "[admin][cli]") {
    for (const std::string shell : {"bash", "zsh", "fish"}) {
        const auto script = completion_script(shell);
        REQUIRE(script);
        for (const auto& command : commands()) {
            INFO(shell << " " << command.name);
            const std::string name(command.name), last = name.substr(name.rfind(' ') + 1);
            CHECK(script->contains(shell == "fish" ? " -a " + last + " -d " : "'" + name + "'"));
            for (const auto& flag : command.flags)
                CHECK(script->contains(shell == "fish" ? " -l " + std::string(flag.name.substr(2)) + " "
                                                       : std::string(flag.name)));
        }
    }
    CHECK_FALSE(completion_script("tcsh"));
}

TEST_CASE("Help goes to the output and ends well; a mistake goes to the errors with code 2", "[admin][cli]") {
    const auto help = run({"help", "vault", "create"});
    CHECK(help.code == 0);
    CHECK_THAT(help.out, Catch::Contains("claviger vault create alice"));

    const auto unknown = run({"help", "valt"});
    CHECK(unknown.code == 2);
    CHECK(unknown.out.empty());
    CHECK_THAT(unknown.err, Catch::Contains("no command 'valt'"));

    const auto as_json = run({"vault", "list", "--nope", "--json"});
    CHECK(as_json.code == 2);
    CHECK_THAT(as_json.err, Catch::Contains(R"("type": "cli.usage")"));
}

TEST_CASE("A server that is not there is exit code 3, with what to do", "[admin][cli]") {
    const auto result = run({"status", "--url", "http://127.0.0.1:1"});

    CHECK(result.code == 3);
    CHECK_THAT(result.err, Catch::Contains("http://127.0.0.1:1") && Catch::Contains("claviger serve"));
}

TEST_CASE("An API key is never sent in clear to another machine", "[admin][cli]") {
    const auto result = run({"vault", "list", "--url", "http://192.0.2.1:8701"});

    CHECK(result.code == 2);
    CHECK_THAT(result.err, Catch::Contains("would cross the network in clear"));
}

TEST_CASE("A missing key file is explained before anything is sent", "[admin][cli]") {
    const auto result =
        run({"vault", "list", "--url", "http://127.0.0.1:1", "--api-key-file", "/nonexistent/key"});

    CHECK(result.code == 2);
    CHECK_THAT(result.err, Catch::Contains("/nonexistent/key") && Catch::Contains("claviger init"));
}
