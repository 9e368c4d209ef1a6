// The command line: every command but serve, init and check-config, and the help for all of them.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::admin::cli {

/// Runs one command; `args` are the words after the program's name. Secrets are read from the file descriptor
/// `input`, without echo when it is a terminal. Blocks until the command is done. Returns the exit code: 0
/// done, 1 refused by the server, 2 not understood, 3 server not reachable.
int run_cli(const std::vector<std::string>& args, int input, std::ostream& out, std::ostream& err);

/// The help of one command ("serve", "vault create"), of a group ("vault"), or of everything when there is no
/// command. Knows the commands of server/ too. An unknown command gets the overview.
std::string help_text(std::optional<std::string_view> command);

}  // namespace claviger::admin::cli
