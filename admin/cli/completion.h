// Completion scripts for shells, made of the table of commands.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace claviger::admin::cli {

/// For "bash", "zsh" or "fish"; nothing for another word.
std::optional<std::string> completion_script(std::string_view shell);

}  // namespace claviger::admin::cli
