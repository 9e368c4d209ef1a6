#include "admin/cli/local_socket.h"
#include "admin/cli/objects.h"
#include "admin/cli/secret_input.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

base::Status unseal(Context& context) {
    const auto& arguments = context.arguments;
    if (arguments.has("--data") == arguments.has("--socket"))
        return usage("One of --data and --socket is needed: where the server's local socket is.",
                     "For example: claviger unseal --data /var/lib/claviger");
    const auto socket = arguments.has("--socket")
                            ? std::filesystem::path(*arguments.value("--socket"))
                            : std::filesystem::path(*arguments.value("--data")) / "unseal.sock";
    const auto key_file = arguments.value("--key-file");
    const auto secret = key_file ? read_key_file(*key_file, context.screen.err())
                                 : read_secret(context.input, "Passphrase (not shown)", context.screen.err());
    if (!secret) return std::unexpected(secret.error());
    const auto reply = post_unseal(socket, key_file ? "key_file" : "passphrase", *secret);
    if (!reply) return std::unexpected(reply.error());
    const auto document = json::parse(reply->body, nullptr, false);
    if (reply->status == 200 && document.is_object()) {
        context.screen.done(document, "Unsealed: the server answers.");
        return {};
    }
    const auto error = document.is_object() ? document.value("error", json::object()) : json::object();
    return base::failure(base::ErrorKind::denied, "api.refused",
                         error.value("message", "The server refused to unseal, without a reason."),
                         error.value("hint", ""), reply->body);
}

base::Status status(Context& context) {
    const auto health = context.api.look("/healthz");
    if (!health) return std::unexpected(health.error());
    const auto ready = context.api.look("/readyz");
    if (!ready) return std::unexpected(ready.error());
    const auto details = json::parse(ready->body, nullptr, false);
    const json summary = {{"url", context.api.url()},
                          {"healthy", health->status == 200},
                          {"ready", ready->status == 200},
                          {"state", details.is_object() ? details.value("status", "unknown") : "unknown"}};
    if (context.screen.json()) {
        context.screen.document(summary);
    } else {
        context.screen.line("Claviger at " + context.api.url());
        context.screen.line(std::string("  healthy  ") + (health->status == 200 ? "yes" : "no"));
        context.screen.line("  state    " + cell_text(summary.at("state")));
    }
    if (health->status == 200 && ready->status == 200) return {};
    const auto state = summary.at("state").get<std::string>();
    return base::failure(base::ErrorKind::unavailable, "api.not_ready",
                         "The server runs but is not ready: " + state + ".",
                         state == "sealed"     ? "Open it with `claviger unseal`."
                         : details.is_object() ? details.value("hint", "")
                                               : std::string("Its own log says why."));
}

}  // namespace

std::vector<Command> server_commands() {
    return {
        {"init",
         "Create an empty store and print the first admin key, once.",
         {},
         {{"--data", "DIR", "folder of the store; created when it is missing", false, true},
          {"--key-file", "FILE", "seal slot: a file that opens the store; created when it is missing"},
          {"--passphrase-stdin", "", "seal slot: a passphrase, read from standard input"},
          {"--json", "", "print JSON instead of text"}},
         "claviger init --data ./data --key-file ./seal.key",
         nullptr,
         false},
        {"serve",
         "Run the server: the agents' listener and the admin listener.",
         {},
         {{"--config", "FILE", "settings, as in deploy/claviger.example.jsonc", false, true},
          {"--insecure-listen", "", "allow a listener without TLS on other than loopback addresses"}},
         "claviger serve --config claviger.jsonc",
         nullptr,
         false},
        {"check-config",
         "Read a config and say what the server would do with it.",
         {{"FILE", "the config file (or --config FILE)", Operand::Count::optional}},
         {{"--config", "FILE", "the config file"},
          {"--insecure-listen", "", "check as `serve --insecure-listen` would"}},
         "claviger check-config claviger.jsonc",
         nullptr,
         false},
        {"fsck",
         "Read a whole store that no server has open: every row opens, every log entry is the one that was "
         "hashed.",
         {},
         {{"--data", "DIR", "the data folder", false, true},
          {"--key-file", "FILE", "open with this key file"},
          {"--passphrase-stdin", "", "open with a passphrase, read from standard input"},
          {"--json", "", "print JSON instead of text"}},
         "claviger fsck --data ./data --key-file ./seal.key",
         nullptr,
         false},
        {"unseal",
         "Open a sealed server with its passphrase or key file, over its local socket.",
         {},
         {{"--data", "DIR", "the server's data folder; its socket is DIR/unseal.sock"},
          {"--socket", "FILE", "the socket itself"},
          {"--key-file", "FILE", "open with this key file (default: ask for the passphrase)"},
          {"--json", "", "print JSON instead of text"}},
         "claviger unseal --data /var/lib/claviger",
         unseal,
         false},
        {"status",
         "Say whether the server is up and ready; needs no key. Exit code 1: up, but not ready.",
         {},
         {},
         "claviger status",
         status},
    };
}

}  // namespace claviger::admin::cli
