#include "admin/cli/cli.h"
#include "admin/cli/command.h"

#include <algorithm>
#include <vector>

namespace claviger::admin::cli {
namespace {

constexpr std::size_t kLineWidth = 100;

/// "  left    right", the right column wrapped under itself.
void add_row(std::string& out, std::string_view left, std::size_t left_width, std::string_view right) {
    std::string line = "  " + std::string(left);
    line.append(std::max<std::size_t>(2, left_width + 4 - line.size()), ' ');
    const std::size_t indent = left_width + 4;
    while (!right.empty()) {
        const auto room = std::max<std::size_t>(20, kLineWidth - std::min(kLineWidth, line.size()));
        auto cut = right.size() <= room ? right.size() : right.rfind(' ', room);
        if (cut == std::string_view::npos || cut == 0) cut = right.size();
        out += line + std::string(right.substr(0, cut)) + "\n";
        right.remove_prefix(std::min(right.size(), cut + 1));
        line.assign(indent, ' ');
    }
}

std::string spelled(const Flag& flag) {
    return std::string(flag.name) + (flag.value.empty() ? "" : " " + std::string(flag.value));
}

std::string usage_line(const Command& command) {
    std::string line = "claviger " + std::string(command.name);
    for (const auto& operand : command.operands) {
        const std::string name(operand.name);
        switch (operand.count) {
            case Operand::Count::one:
                line += " " + name;
                break;
            case Operand::Count::optional:
                line += " [" + name + "]";
                break;
            case Operand::Count::some:
                line += " " + name + "...";
                break;
        }
    }
    for (const auto& flag : command.flags)
        if (flag.required) line += " " + spelled(flag);
    const bool has_more = command.takes_common_flags ||
                          std::ranges::any_of(command.flags, [](const Flag& flag) { return !flag.required; });
    return line + (has_more ? " [flags]" : "");
}

void add_flags(std::string& out, std::string_view title, std::span<const Flag> flags) {
    if (flags.empty()) return;
    std::size_t width = 0;
    for (const auto& flag : flags) width = std::max(width, spelled(flag).size());
    out += "\n" + std::string(title) + "\n";
    for (const auto& flag : flags) {
        std::string help(flag.help);
        if (flag.required) help += " (required)";
        if (flag.repeatable) help += " (may be repeated)";
        add_row(out, spelled(flag), width, help);
    }
}

std::string help_of(const Command& command) {
    std::string out = std::string(command.purpose) + "\n\nUsage\n  " + usage_line(command) + "\n";
    if (!command.operands.empty()) {
        std::size_t width = 0;
        for (const auto& operand : command.operands) width = std::max(width, operand.name.size());
        out += "\nWords\n";
        for (const auto& operand : command.operands) add_row(out, operand.name, width, operand.help);
    }
    add_flags(out, "Flags", command.flags);
    if (command.takes_common_flags) add_flags(out, "Flags of every command", common_flags());
    return out + "\nExample\n  " + std::string(command.example) + "\n";
}

std::string list_of(std::string_view group) {
    std::vector<const Command*> rows;
    std::size_t width = 0;
    for (const auto& command : commands()) {
        if (!group.empty() && !command.name.starts_with(std::string(group) + " ")) continue;
        rows.push_back(&command);
        width = std::max(width, command.name.size());
    }
    std::string out;
    for (const auto* command : rows) add_row(out, command->name, width, command->purpose);
    return out;
}

std::string overview() {
    return "Claviger keeps credentials and puts them into MCP calls, so that agents never hold them.\n\n"
           "Usage\n  claviger COMMAND [words] [flags]\n\nCommands\n" +
           list_of("") +
           "\nA name may stand for an id wherever it is the only one of its kind.\n"
           "Secrets are read from standard input or from a file, never from arguments or the environment.\n"
           "Exit codes: 0 done, 1 refused by the server, 2 not understood, 3 server not reachable.\n"
           "`claviger help COMMAND` explains one command and shows an example.\n";
}

}  // namespace

std::string help_text(std::optional<std::string_view> command) {
    if (!command || command->empty()) return overview();
    if (const Command* row = find_command(*command); row != nullptr) {
        auto out = help_of(*row);
        if (is_group(*command)) out += "\nFurther commands\n" + list_of(*command);
        return out;
    }
    if (!is_group(*command)) return overview();
    return "Usage\n  claviger " + std::string(*command) + " COMMAND [words] [flags]\n\nCommands\n" +
           list_of(*command) + "\n`claviger help COMMAND` explains one command and shows an example.\n";
}

}  // namespace claviger::admin::cli
