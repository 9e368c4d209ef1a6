#include "admin/cli/local_socket.h"
#include "admin/cli/seal_opening.h"
#include "admin/cli/secret_input.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

using nlohmann::json;

using Socket = std::filesystem::path;

/// What the server said to one attempt, or why it refused.
base::Result<json> try_unseal(const Socket& socket, std::string_view slot, std::string_view slot_id,
                              const crypto::Secret& secret) {
    const auto reply = post_unseal(socket, slot, slot_id, secret);
    if (!reply) return std::unexpected(reply.error());
    return document_of(*reply);
}

/// Gives the shares one by one; the server keeps them until there are enough.
base::Result<json> give_shares(Context& context, const Socket& socket) {
    base::Result<json> answer = json::object();
    for (const auto& file : context.arguments.values("--share")) {
        const auto share = read_share(share_source(context), file);
        if (!share) return std::unexpected(share.error());
        answer = try_unseal(socket, "share", "", *share);
        if (!answer || !answer->value("sealed", true)) return answer;
    }
    return answer;
}

base::Result<json> with_identity(Context& context, const Socket& socket) {
    const auto files = context.arguments.values("--identity");
    if (files.size() != 1)
        return usage("One --identity FILE opens a recipient's slot; others go with --share.");
    const auto identity = read_identity(files[0], context.screen.err());
    if (!identity) return std::unexpected(identity.error());
    const auto seal = seal_at(socket);
    if (!seal) return std::unexpected(seal.error());
    for (const auto& slot : seal->value("slots", json::array())) {
        if (slot.value("kind", "") != "recipient" ||
            slot.value("public_key", "") != identity->recipient().text())
            continue;
        const auto opening = opening_with(*identity, slot);
        if (!opening) return std::unexpected(opening.error());
        return try_unseal(
            socket, "recipient", slot.value("id", ""),
            opening->expose([](std::span<const std::byte> bytes) { return crypto::Secret::copy_of(bytes); }));
    }
    return usage("No seal slot of this store is for the identity " + identity->recipient().text() + ".",
                 "`claviger seal status --data DIR` shows the slots.");
}

base::Result<json> unseal_with(Context& context, const Socket& socket) {
    const auto& arguments = context.arguments;
    if (arguments.has("--forget-shares")) return forget_shares(socket);
    if (arguments.has("--share")) return give_shares(context, socket);
    if (arguments.has("--identity")) return with_identity(context, socket);
    if (arguments.has("--pkcs11"))
        return try_unseal(socket, "pkcs11", "", crypto::Secret::copy_of(std::string_view()));
    const auto key_file = arguments.value("--key-file");
    const auto secret = key_file ? read_key_file(*key_file, context.screen.err())
                                 : read_secret(context.input, "Passphrase (not shown)", context.screen.err());
    if (!secret) return std::unexpected(secret.error());
    return try_unseal(socket, key_file ? "key_file" : "passphrase", "", *secret);
}

base::Status unseal(Context& context) {
    const auto socket = socket_of(context.arguments);
    if (!socket) return std::unexpected(socket.error());
    if (!*socket)
        return usage("One of --data and --socket is needed: where the server's local socket is.",
                     "For example: claviger unseal --data /var/lib/claviger");
    const auto answer = unseal_with(context, **socket);
    if (!answer) return std::unexpected(answer.error());
    if (!answer->value("sealed", true)) {
        context.screen.done(*answer, "Unsealed: the server answers.");
        return {};
    }
    std::string sentence = "No shares are kept.";
    for (const auto& set : answer->value("shares", json::array()))
        sentence = std::to_string(set.value("have", 0)) + " of " + std::to_string(set.value("need", 0)) +
                   " shares are there (" + cell_text(set.value("given", json::array())) +
                   "); they are kept for half an hour.";
    context.screen.done(*answer, sentence);
    return {};
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

/// Of commands that open a store without a server.
std::vector<Flag> offline_flags(std::vector<Flag> flags) {
    flags.insert(
        flags.end(),
        {{"--key-file", "FILE", "open with this key file"},
         {"--passphrase-stdin", "", "open with a passphrase, read from standard input"},
         {"--share", "FILE", "open with holders' shares, as text or as .age files; as many as it takes",
          true},
         {"--identity", "FILE", "open with a recipient's identity, or with --share: the holders'", true},
         {"--pkcs11", "", "open with the PKCS#11 token that --config names"},
         {"--config", "FILE", "with --pkcs11: the server's settings"},
         {"--json", "", "print JSON instead of text"}});
    return flags;
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
          {"--allow-passphrase", "", "with --passphrase-stdin: yes, although it can be guessed"},
          {"--json", "", "print JSON instead of text"}},
         "claviger init --data ./data --key-file ./seal.key",
         nullptr,
         false},
        {"serve",
         "Run the server: the agents' listener and the admin listener.",
         {},
         {{"--config", "FILE", "settings, as in deploy/claviger.example.jsonc", false, true},
          {"--insecure-listen", "", "allow a listener without TLS on other than loopback addresses"},
          {"--json", "", "say as JSON why it does not start"}},
         "claviger serve --config claviger.jsonc",
         nullptr,
         false},
        {"check-config",
         "Read a config and say what the server would do with it.",
         {{"FILE", "the config file (or --config FILE)", Operand::Count::optional}},
         {{"--config", "FILE", "the config file"},
          {"--insecure-listen", "", "check as `serve --insecure-listen` would"},
          {"--json", "", "print JSON instead of text"}},
         "claviger check-config claviger.jsonc",
         nullptr,
         false},
        {"fsck",
         "Read a whole store that no server has open: every row opens, every log entry is the one that was "
         "hashed.",
         {},
         offline_flags({{"--data", "DIR", "the data folder", false, true}}),
         "claviger fsck --data ./data --key-file ./seal.key",
         nullptr,
         false},
        {"doctor",
         "Look at the host: memory, files, disk, clock and unit; say what is weak and what to do. Exit code "
         "1 then.",
         {},
         {{"--config", "FILE", "the server's settings", false, true},
          {"--unit", "FILE", "its systemd unit (default: /etc/systemd/system/claviger.service)"},
          {"--json", "", "print JSON instead of text"}},
         "claviger doctor --config /etc/claviger/claviger.jsonc",
         nullptr,
         false},
        {"backup verify",
         "Read a backup whole: every file and the log; with a key also who wrote it, and every row.",
         {{"FOLDER", "the backup"}},
         offline_flags({}),
         "claviger backup verify backups/friday --key-file ./seal.key",
         nullptr,
         false},
        {"backup restore",
         "Put a backup's store into the config's data folder, which must have none; it opens fenced.",
         {{"FOLDER", "the backup"}},
         {{"--config", "FILE", "the settings of the server that will use it", false, true},
          {"--json", "", "print JSON instead of text"}},
         "claviger backup restore backups/friday --config claviger.jsonc",
         nullptr,
         false},
        {"pin status",
         "Say what is pinned of the access log outside the store; needs no key, and so proves nothing.",
         {},
         {{"--config", "FILE", "the server's settings, with access_log.pin_dir", false, true},
          {"--json", "", "print JSON instead of text"}},
         "claviger pin status --config claviger.jsonc",
         nullptr,
         false},
        {"pin accept",
         "Let the next start take a store that is not the pinned one, such as a backup restored on purpose.",
         {},
         {{"--config", "FILE", "the server's settings, with access_log.pin_dir", false, true},
          {"--root", "HEX", "the root of that store's access log, from the refusal or `backup verify`", false,
           true},
          {"--json", "", "print JSON instead of text"}},
         "claviger pin accept --config claviger.jsonc --root $root",
         nullptr,
         false},
        {"unseal",
         "Open a sealed server over its local socket: with its passphrase, or with what a flag names.",
         {},
         {{"--data", "DIR", "the server's data folder; its socket is DIR/unseal.sock"},
          {"--socket", "FILE", "the socket itself"},
          {"--key-file", "FILE", "open with this key file (default: ask for the passphrase)"},
          {"--share", "FILE", "give a holder's share, as text or as a .age file; others may follow later",
           true},
          {"--identity", "FILE", "open with a recipient's identity, or with --share: the holder's", true},
          {"--pkcs11", "", "open with the PKCS#11 token of the server's config"},
          {"--forget-shares", "", "drop the shares that were given so far"},
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
