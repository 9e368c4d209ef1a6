#include "server/operator_commands.h"

#include "admin/cli/arguments.h"
#include "admin/cli/cli.h"
#include "server/backup_files.h"
#include "server/doctor.h"
#include "server/fsck.h"
#include "server/pinning.h"
#include "server/report.h"

#include <algorithm>
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
const std::map<std::string, Run, std::less<>> kCommands = {
    {"backup verify", backup_verify}, {"backup restore", backup_restore}, {"doctor", doctor}, {"fsck", fsck},
    {"pin status", pin_status},       {"pin accept", pin_accept},
};

}  // namespace

std::optional<int> run_operator_command(const std::vector<std::string>& words) {
    const auto words_of_name = [&](std::size_t count) {
        std::string name;
        for (std::size_t i = 0; i < std::min(count, words.size()); ++i)
            name += (name.empty() ? "" : " ") + words[i];
        return name;
    };
    auto found = kCommands.find(words_of_name(2));
    if (found == kCommands.end()) found = kCommands.find(words_of_name(1));
    if (found == kCommands.end()) return std::nullopt;
    if (std::ranges::find(words, "--help") != words.end() || std::ranges::find(words, "-h") != words.end()) {
        std::cout << admin::cli::help_text(found->first);
        return 0;
    }
    const auto invocation = admin::cli::parse_invocation(words);
    if (!invocation || invocation->command == nullptr) {
        if (!invocation) report(std::unexpected(invocation.error()));
        return kNotUnderstood;
    }
    const auto done = found->second(invocation->arguments);
    const int code = report(done);
    return !done && done.error().code == admin::cli::kUsageCode ? kNotUnderstood : code;
}

}  // namespace claviger::server
