#include "admin/cli/cli.h"
#include "admin/cli/completion.h"
#include "admin/cli/objects.h"

#include <nlohmann/json.hpp>

namespace claviger::admin::cli {
namespace {

base::Status completion(Context& context) {
    const auto& shell = context.arguments.operands()[0];
    const auto script = completion_script(shell);
    if (!script)
        return usage("There is no completion for '" + shell + "'.", "There is for bash, zsh and fish.");
    context.screen.done({{"script", *script}}, *script);
    return {};
}

base::Status help(Context& context) {
    std::string name;
    for (const auto& word : context.arguments.operands()) name += (name.empty() ? "" : " ") + word;
    if (!name.empty() && find_command(name) == nullptr && !is_group(name))
        return usage("There is no command '" + name + "'.", "See `claviger help`.");
    const auto text = help_text(name);
    context.screen.done({{"help", text}}, text);
    return {};
}

base::Status version(Context& context) {
    context.screen.done({{"version", CLAVIGER_VERSION}}, "claviger " CLAVIGER_VERSION);
    return {};
}

}  // namespace

std::vector<Command> shell_commands() {
    return {
        {"completion",
         "Print the completion script of a shell.",
         {{"SHELL", "bash, zsh or fish"}},
         {{"--json", "", "print JSON instead of text"}},
         "source <(claviger completion bash)",
         completion,
         false},
        {"help",
         "Explain a command, or list all of them.",
         {{"COMMAND", "such as vault, or vault create", Operand::Count::optional},
          {"WORD", "the command's second word", Operand::Count::optional},
          {"WORD", "the command's third word", Operand::Count::optional}},
         {{"--json", "", "print JSON instead of text"}},
         "claviger help credential create",
         help,
         false},
        {"version",
         "Print the version.",
         {},
         {{"--json", "", "print JSON instead of text"}},
         "claviger version",
         version,
         false},
    };
}

}  // namespace claviger::admin::cli
