#include "admin/cli/command.h"

#include <algorithm>
#include <iterator>

namespace claviger::admin::cli {

std::span<const Command> commands() {
    static const std::vector<Command> all = [] {
        std::vector<Command> rows;
        for (const auto part :
             {server_commands, vault_commands, credential_commands, rotation_commands, environment_commands,
              agent_commands, session_commands, log_commands, webhook_commands, key_commands,
              key_rotation_commands, seal_commands, client_commands, provider_commands, backup_commands,
              shredding_commands, shell_commands})
            std::ranges::move(part(), std::back_inserter(rows));
        return rows;
    }();
    return all;
}

std::span<const Flag> common_flags() {
    static const std::vector<Flag> flags = {
        {"--url", "URL", "admin API (default: $CLAVIGER_URL, else http://127.0.0.1:8701)"},
        {"--api-key-file", "FILE",
         "file with the API key (default: $CLAVIGER_API_KEY_FILE, else ~/.config/claviger/admin.key)"},
        {"--ca-file", "FILE", "PEM bundle to verify an https admin URL with (default: the system's store)"},
        {"--workspace", "ID", "work in this workspace (default: the key's own)"},
        {"--json", "", "print the API's JSON instead of text"},
        {"--insecure-http", "",
         "allow plain http to another machine; the API key crosses the network in clear"},
        {"--help", "", "explain the command and do nothing"},
    };
    return flags;
}

const Command* find_command(std::string_view name) {
    const auto at = std::ranges::find(commands(), name, &Command::name);
    return at == commands().end() ? nullptr : &*at;
}

bool is_group(std::string_view word) {
    return std::ranges::any_of(commands(), [word](const Command& command) {
        return command.name.size() > word.size() && command.name.starts_with(word) &&
               command.name[word.size()] == ' ';
    });
}

}  // namespace claviger::admin::cli
