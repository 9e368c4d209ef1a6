// Commands of two words, and doctor, that work beside the server: pins, backups, the host.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace claviger::server {

/// The exit code, or nothing when the words are another command's. 2: not understood.
std::optional<int> run_operator_command(const std::vector<std::string>& words);

}  // namespace claviger::server
