// The one binary: some commands run here, everything else through the admin API.
#include "admin/cli/cli.h"
#include "server/operator_commands.h"

#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

int main(int argc, char** argv) {
    using namespace claviger;
    const std::vector<std::string> args(argv + 1, argv + argc);
    try {
        return admin::cli::run_cli(args, server::run_operator_command, STDIN_FILENO, std::cout, std::cerr);
    } catch (const std::exception& error) {  // bad_alloc, above all when locked memory runs out
        return admin::cli::fail(
            {base::ErrorKind::internal, "process.stopped", std::string("stopped by ") + error.what()}, args,
            std::cerr);
    }
}
