#include "server/operator_commands.h"

#include "server/backup_files.h"
#include "server/doctor.h"
#include "server/fsck.h"
#include "server/pinning.h"
#include "server/wiring.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <iostream>
#include <map>

namespace claviger::server {
namespace {

using admin::cli::Arguments;

Output output_of(const Arguments& arguments) { return arguments.has("--json") ? Output::json : Output::text; }

base::Status with_config(const Arguments& arguments, const std::function<base::Status(const Config&)>& run) {
    const auto config = load_config(*arguments.value("--config"));
    return config ? run(*config) : std::unexpected(config.error());
}

InsecureListen insecure_listen(const Arguments& arguments) {
    return arguments.has("--insecure-listen") ? InsecureListen::allow : InsecureListen::refuse;
}

base::Status init(const Arguments& arguments) {
    InitRequest request{.data_dir = *arguments.value("--data"),
                        .key_file = {},
                        .passphrase = arguments.has("--passphrase-stdin")};
    if (request.passphrase && !arguments.has("--allow-passphrase"))
        return admin::cli::usage("A passphrase can be guessed by whoever has a copy of the disk.",
                                 "Use --key-file, or add --allow-passphrase.");
    if (const auto file = arguments.value("--key-file")) request.key_file = *file;
    return initialise(request, output_of(arguments));
}

base::Status serve_agents(const Arguments& arguments) {
    return serve(*arguments.value("--config"), insecure_listen(arguments));
}

base::Status check_config(const Arguments& arguments) {
    const auto& words = arguments.operands();
    if (words.empty() == !arguments.has("--config"))
        return admin::cli::usage("One config file is needed.", "See `claviger help check-config`.");
    const auto config = load_config(words.empty() ? *arguments.value("--config") : words[0]);
    if (!config) return std::unexpected(config.error());
    const auto facts = explain_config(*config, insecure_listen(arguments));
    if (!facts) return std::unexpected(facts.error());
    if (arguments.has("--json"))
        std::cout << nlohmann::json{{"valid", true}, {"facts", *facts}}.dump() << std::endl;
    else
        for (const auto& fact : *facts) std::cout << fact << '\n';
    return {};
}

base::Status pin_status(const Arguments& arguments) {
    return with_config(arguments,
                       [&](const Config& config) { return show_pins(config, output_of(arguments)); });
}

base::Status pin_accept(const Arguments& arguments) {
    return with_config(arguments, [&](const Config& config) {
        return accept_root(config, *arguments.value("--root"), output_of(arguments));
    });
}

base::Status backup_verify(const Arguments& arguments) {
    auto opening = opening_named_by(arguments);
    if (!opening) return std::unexpected(std::move(opening).error());
    return check_backup({.backup = arguments.operands()[0], .opening = std::move(*opening)},
                        output_of(arguments));
}

base::Status fsck(const Arguments& arguments) {
    auto opening = opening_named_by(arguments);
    if (!opening) return std::unexpected(std::move(opening).error());
    if (!*opening)
        return admin::cli::usage("What opens the store is missing.",
                                 "Give --key-file, --share, --identity, --pkcs11 or --passphrase-stdin.");
    return check_store_files({.data_dir = *arguments.value("--data"), .opening = std::move(**opening)},
                             output_of(arguments));
}

base::Status backup_restore(const Arguments& arguments) {
    return with_config(arguments, [&](const Config& config) {
        return restore(arguments.operands()[0], config, output_of(arguments));
    });
}

base::Status doctor(const Arguments& arguments) {
    return examine_host({.config_file = *arguments.value("--config"),
                         .unit_file = arguments.value_or("--unit", "/etc/systemd/system/claviger.service")},
                        output_of(arguments));
}

using Run = base::Status (*)(const Arguments&);
const std::map<std::string_view, Run> kCommands = {
    {"init", init},
    {"serve", serve_agents},
    {"check-config", check_config},
    {"backup verify", backup_verify},
    {"backup restore", backup_restore},
    {"doctor", doctor},
    {"fsck", fsck},
    {"pin status", pin_status},
    {"pin accept", pin_accept},
};

}  // namespace

base::Status run_operator_command(const admin::cli::Arguments& arguments) {
    return kCommands.at(arguments.command().name)(arguments);
}

}  // namespace claviger::server
