// The one table of commands: what is parsed, explained, completed and run all stands in its rows.
#pragma once

#include "base/result.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::admin::cli {

struct Context;

/// A word after the command that is not a flag.
struct Operand {
    enum class Count { one, optional, some };  // some: one or more, always the last operand

    std::string_view name;  // "VAULT"
    std::string_view help;
    Count count = Count::one;
};

struct Flag {
    std::string_view name;   // "--limit"
    std::string_view value;  // "N"; empty: a switch without a value
    std::string_view help;
    bool repeatable = false;
    bool required = false;
};

struct Command {
    std::string_view name;  // "vault create"
    std::string_view purpose;
    std::vector<Operand> operands;
    std::vector<Flag> flags;
    std::string_view example;
    base::Status (*run)(Context&) = nullptr;  // null: server/ runs it, here is only its help
    bool takes_common_flags = true;           // --url, --api-key-file and the like
};

/// All rows, in the order in which the help shows them.
std::span<const Command> commands();
/// Flags that every command which talks to the admin API takes.
std::span<const Flag> common_flags();

const Command* find_command(std::string_view name);
/// True for "vault", the first word of commands of two words.
bool is_group(std::string_view word);

/// The rows of each file, gathered by commands().
std::vector<Command> server_commands();
std::vector<Command> vault_commands();
std::vector<Command> credential_commands();
std::vector<Command> rotation_commands();
std::vector<Command> environment_commands();
std::vector<Command> agent_commands();
std::vector<Command> session_commands();
std::vector<Command> log_commands();
std::vector<Command> key_commands();
std::vector<Command> seal_commands();
std::vector<Command> key_rotation_commands();
std::vector<Command> webhook_commands();
std::vector<Command> provider_commands();
std::vector<Command> client_commands();
std::vector<Command> backup_commands();
std::vector<Command> shredding_commands();
std::vector<Command> shell_commands();

}  // namespace claviger::admin::cli
