// Runs a piece of a test in a child process: for what ends a process or changes it for good.
#pragma once

#include "tests/support/spec.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace claviger::crypto {

/// True when `body` returned true in a forked child; false when it returned false or the child died.
template <class Body>
bool holds_in_child(Body&& body) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        for (const int death : {SIGSEGV, SIGBUS, SIGABRT, SIGILL}) signal(death, SIG_DFL);
        const int nowhere = ::open("/dev/null", O_WRONLY);
        dup2(nowhere, STDERR_FILENO);  // what it says when it dies is not a fault of the test run
        _exit(body() ? 42 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

}  // namespace claviger::crypto
