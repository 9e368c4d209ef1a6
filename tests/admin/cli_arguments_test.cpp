#include "admin/cli/arguments.h"
#include "tests/support/spec.h"

using namespace claviger;
using namespace claviger::admin::cli;

namespace {

using Words = std::vector<std::string>;

base::Error refusal_of(const Words& words) {
    auto parsed = parse_invocation(words);
    REQUIRE_FALSE(parsed);
    return std::move(parsed).error();
}

Invocation understood(const Words& words) {
    auto parsed = parse_invocation(words);
    if (!parsed) FAIL(parsed.error().message);
    return *std::move(parsed);
}

}  // namespace

TEST_CASE("A command is found by all of its words, wherever common flags stand", "[admin][cli]") {
    struct Case {
        Words words;
        std::string command;
    };
    for (const auto& [words, command] : {
             Case{{"vault", "create", "alice"}, "vault create"},
             Case{{"--json", "vault", "list"}, "vault list"},
             Case{{"--url", "http://127.0.0.1:1", "vault", "list", "--limit", "3"}, "vault list"},
             Case{{"--url=http://127.0.0.1:1", "vault", "list"}, "vault list"},
             Case{{"session", "create", "--agent", "a", "--environment=e"}, "session create"},
             Case{{"session", "token", "create", "nightly"}, "session token create"},
             Case{{"status"}, "status"},
             Case{{"--version"}, "version"},
         }) {
        INFO(command);
        const auto found = understood(words);
        REQUIRE(found.command != nullptr);
        CHECK(found.command->name == command);
    }
}

TEST_CASE("Values, switches and operands are told apart", "[admin][cli]") {
    const auto arguments = understood({"environment", "create", "prod", "--vault", "a", "--vault=b",
                                       "--limited", "--metadata", "team=ops=1", "--json"})
                               .arguments;

    CHECK(arguments.operands() == Words{"prod"});
    CHECK(arguments.values("--vault") == Words{"a", "b"});
    CHECK(arguments.has("--limited"));
    CHECK(arguments.has("--json"));
    CHECK_FALSE(arguments.has("--any-host"));
    CHECK(arguments.value("--metadata") == "team=ops=1");
    CHECK(arguments.value_or("--description", "none") == "none");
}

TEST_CASE("After a double dash a word that begins with a dash is an operand", "[admin][cli]") {
    CHECK(understood({"vault", "get", "--", "--odd-name"}).arguments.operands() == Words{"--odd-name"});
}

TEST_CASE("What cannot be understood is refused with the word at fault", "[admin][cli]") {
    struct Case {
        Words words;
        std::string named;
    };
    for (const auto& [words, named] : {
             Case{{"valt"}, "'valt' is not a command"},
             Case{{"vault", "make"}, "no command 'make'"},
             Case{{"session", "token", "make"}, "no command 'token'"},
             Case{{"vault", "create"}, "NAME is missing"},
             Case{{"vault", "create", "a", "b"}, "'b' is one word too many"},
             Case{{"vault", "create", "a", "--nmae", "x"}, "no flag --nmae"},
             Case{{"vault", "list", "--limit"}, "--limit needs a value"},
             Case{{"vault", "list", "--archived=yes"}, "--archived takes no value"},
             Case{{"vault", "list", "--limit", "1", "--limit", "2"}, "--limit was given twice"},
             Case{{"session", "create", "--agent", "a"}, "--environment is missing"},
             Case{{"environment", "bind", "prod"}, "VAULT is missing"},
             Case{{"--nope", "vault", "list"}, "no flag --nope"},
         }) {
        INFO(named);
        const auto error = refusal_of(words);
        CHECK(error.code == kUsageCode);
        CHECK_THAT(error.message, Catch::Contains(named));
        CHECK_FALSE(error.hint.empty());
    }
}

TEST_CASE("A number that is none is refused", "[admin][cli]") {
    for (const auto* text : {"ten", "-1", "1.5", "", "99999999999999999999", "3 "}) {
        INFO(text);
        const auto arguments = understood({"vault", "list", "--limit=" + std::string(text)}).arguments;
        const auto number = arguments.number_or("--limit", 7);
        REQUIRE_FALSE(number);
        CHECK(number.error().code == kUsageCode);
    }
    CHECK(*understood({"vault", "list"}).arguments.number_or("--limit", 7) == 7);
}

TEST_CASE("A secret among the arguments is refused and never repeated", "[admin][cli]") {
    const std::string secret = "ghp_abcdefghijklmnop1234";
    for (const auto& words : {
             Words{"credential", "create", "--vault", "a", "--server-url", "https://x/mcp", "--token",
                   secret},
             Words{"credential", "create", "--vault", "a", "--server-url", "https://x/mcp",
                   "--token=" + secret},
             Words{"credential", "create", "--vault", "a", "--server-url", "https://x/mcp", secret},
             Words{"credential", "create", "--vault", "a", "--name", secret},
             Words{"credential", "create", "--vault", "a", "--token-file", secret},
             Words{"--api-key", secret, "vault", "list"},
             Words{"--api-key-file=clv_admin_0123456789abcdef", "vault", "list"},
             Words{"vault", "create", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"},
             Words{"unseal", "--passphrase", "correct horse battery"},
         }) {
        const auto error = refusal_of(words);
        CHECK(error.code == kUsageCode);
        CHECK_THAT(error.message, Catch::Contains("secret was given as an argument"));
        CHECK_THAT(error.message + error.hint, !Catch::Contains(secret) && !Catch::Contains("eyJ") &&
                                                   !Catch::Contains("horse") &&
                                                   !Catch::Contains("clv_admin"));
    }
}

TEST_CASE("A secret in the place of the command is not repeated either", "[admin][cli]") {
    const auto error = refusal_of({"ghp_abcdefghijklmnop1234"});

    CHECK_THAT(error.message + error.hint, !Catch::Contains("ghp_"));
}

TEST_CASE("Names and paths are not taken for secrets", "[admin][cli]") {
    for (const auto* word :
         {"alice", "sk-team", "prod", "https://api.example.com/mcp", "/run/keys/ghp_token.txt",
          "vlt_01BXHvTgqpwBVh9t3HhBRkP", "my ghp_ token name"}) {
        INFO(word);
        CHECK_FALSE(looks_like_secret(word));
    }
}

TEST_CASE("Nothing, --help and a bare group ask for help", "[admin][cli]") {
    CHECK(understood({}).command == nullptr);
    CHECK(understood({"--help"}).command == nullptr);
    CHECK(understood({"vault"}).topic == "vault");
    CHECK(understood({"vault", "--help"}).topic == "vault");
    CHECK(understood({"vault", "create", "--help"}).topic == "vault create");
    CHECK(understood({"vault", "create", "-h"}).topic == "vault create");
}
