// The command line: the table of commands, their help, and how each of them ends.
#pragma once

#include "base/result.h"

#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace claviger::admin::cli {

class Arguments;

/// Runs the commands whose rows in the table have no function of their own: those that work without the admin
/// API.
using RunHere = base::Status (*)(const Arguments& arguments);

/// Runs one command; `args` are the words after the program's name. Secrets are read from the file descriptor
/// `input`, without echo when it is a terminal. Blocks until the command is done. Returns the exit code: 0
/// done, 1 refused by the server, 2 not understood, 3 server not reachable.
int run_cli(const std::vector<std::string>& args, RunHere run_here, int input, std::ostream& out,
            std::ostream& err);

/// How a command that did not work ends: says what happened and what to do, as JSON when `args` hold --json.
/// Returns the exit code.
int fail(const base::Error& error, const std::vector<std::string>& args, std::ostream& err);

/// The help of one command ("serve", "vault create"), of a group ("vault"), or of everything when there is no
/// command. Knows the commands of server/ too. An unknown command gets the overview.
std::string help_text(std::optional<std::string_view> command);

}  // namespace claviger::admin::cli
