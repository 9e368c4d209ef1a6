// The one binary: server commands here, everything else through the admin API.
#include "admin/cli/cli.h"
#include "server/config.h"
#include "server/operator_commands.h"
#include "server/report.h"
#include "server/wiring.h"

#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

namespace {

using namespace claviger;

using server::kFailed;
using server::kNotUnderstood;
using server::report;

int usage(std::string_view command, const std::string& why) {
    std::cerr << "claviger " << command << ": " << why << "\n\n" << admin::cli::help_text(command);
    return kNotUnderstood;
}

/// Flags of the server commands; the first argument that fits none of them is the fault.
struct Flags {
    std::optional<std::string> data, key_file, config;
    bool passphrase = false, allow_passphrase = false, json = false, insecure_listen = false, help = false;
    std::optional<std::string> fault;
};

Flags parse(const std::vector<std::string>& args) {
    Flags flags;
    for (std::size_t i = 1; i < args.size(); ++i) {
        const auto value = [&](std::optional<std::string>& out) {
            if (i + 1 < args.size())
                out = args[++i];
            else
                flags.fault = args[i] + " needs a value";
        };
        if (args[i] == "--data")
            value(flags.data);
        else if (args[i] == "--key-file")
            value(flags.key_file);
        else if (args[i] == "--config")
            value(flags.config);
        else if (args[i] == "--passphrase-stdin")
            flags.passphrase = true;
        else if (args[i] == "--allow-passphrase")
            flags.allow_passphrase = true;
        else if (args[i] == "--insecure-listen")
            flags.insecure_listen = true;
        else if (args[i] == "--json")
            flags.json = true;
        else if (args[i] == "--help" || args[i] == "-h")
            flags.help = true;
        else if (args[0] == "check-config" && !flags.config && !args[i].starts_with('-'))
            flags.config = args[i];
        else
            flags.fault = "unknown argument " + args[i];
    }
    return flags;
}

int run_init(const Flags& flags) {
    if (!flags.data) return usage("init", "--data is required");
    if (flags.passphrase && !flags.allow_passphrase)
        return usage("init",
                     "a passphrase can be guessed by whoever has a copy of the disk; use --key-file, or add "
                     "--allow-passphrase");
    server::InitRequest request{.data_dir = *flags.data, .key_file = {}, .passphrase = flags.passphrase};
    if (flags.key_file) request.key_file = *flags.key_file;
    return report(server::initialise(request, flags.json ? server::Output::json : server::Output::text));
}

int run_check_config(const Flags& flags, server::InsecureListen insecure) {
    if (!flags.config) return usage("check-config", "the config file is required");
    const auto config = server::load_config(*flags.config);
    if (!config) return report(std::unexpected(config.error()));
    const auto facts = server::explain_config(*config, insecure);
    if (!facts) return report(std::unexpected(facts.error()));
    for (const auto& fact : *facts) std::cout << fact << '\n';
    return 0;
}

int run(const std::vector<std::string>& args) {
    if (const auto code = server::run_operator_command(args)) return *code;
    const auto command = args.empty() ? std::string() : args[0];
    if (command != "init" && command != "serve" && command != "check-config")
        return admin::cli::run_cli(args, STDIN_FILENO, std::cout, std::cerr);

    const auto flags = parse(args);
    if (flags.help) {
        std::cout << admin::cli::help_text(command);
        return 0;
    }
    if (flags.fault) return usage(command, *flags.fault);
    const auto insecure =
        flags.insecure_listen ? server::InsecureListen::allow : server::InsecureListen::refuse;
    if (command == "init") return run_init(flags);
    if (command == "check-config") return run_check_config(flags, insecure);
    if (!flags.config) return usage("serve", "--config is required");
    return report(server::serve(*flags.config, insecure));
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const std::exception& error) {  // bad_alloc, above all when locked memory runs out
        std::cerr << "claviger: stopped by " << error.what() << '\n';
        return kFailed;
    }
}
