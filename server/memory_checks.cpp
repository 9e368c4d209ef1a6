#include "server/memory_checks.h"

#include "crypto/secret.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <sys/resource.h>
#include <sys/timex.h>
#include <unistd.h>

namespace claviger::server {
namespace {

constexpr rlim_t kLockedEnough = 16U << 20;  // the arena grows with the secrets of calls in flight

HostCheck check_lock_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    const bool endless = limit.rlim_cur == RLIM_INFINITY;
    HostCheck check{"memory.lock_limit", Finding::good,
                    endless ? "Memory may be locked without limit."
                            : std::to_string(limit.rlim_cur >> 10) + " KiB of memory may be locked."};
    if (!endless && limit.rlim_cur < kLockedEnough) {
        check.finding = Finding::weak;
        check.advice = "Set LimitMEMLOCK=64M in the unit, or `ulimit -l 65536`.";
    }
    return check;
}

HostCheck check_locking() {
    const auto locked = crypto::prove_locked_memory();
    if (locked) return {"memory.locking", Finding::good, "The kernel locks memory, and says so."};
    return {"memory.locking", Finding::weak, locked.error().message + " " + locked.error().detail,
            locked.error().hint};
}

HostCheck check_core_dumps() {
    const auto pattern = kernel_text("/proc/sys/kernel/core_pattern");
    if (const auto forbidden = crypto::forbid_core_dumps(); !forbidden)
        return {"memory.core_dumps", Finding::weak, forbidden.error().message, forbidden.error().hint};
    return {"memory.core_dumps", Finding::good,
            "Core dumps can be switched off, and the server does so (kernel.core_pattern: " + pattern + ")."};
}

HostCheck check_swap() {
    std::ifstream in("/proc/swaps");
    const auto lines = std::count(std::istreambuf_iterator<char>(in), {}, '\n');
    if (lines == 0) return {"memory.swap", Finding::unknown, "/proc/swaps cannot be read."};
    if (lines == 1) return {"memory.swap", Finding::good, "There is no swap."};
    return {
        "memory.swap", Finding::weak,
        "There is swap. Secrets are locked in memory, but for moments they also lie in buffers that are not.",
        "Set MemorySwapMax=0 in the unit, switch swap off, or encrypt it with a key that is lost at a "
        "reboot."};
}

HostCheck check_ptrace() {
    const auto scope = kernel_text("/proc/sys/kernel/yama/ptrace_scope");
    if (!scope.empty() && scope != "0")
        return {"kernel.ptrace", Finding::good,
                "Processes may not trace each other (ptrace_scope " + scope + ")."};
    return {"kernel.ptrace", Finding::weak,
            scope.empty() ? "The kernel has no Yama, which restricts ptrace."
                          : "Processes of one user may trace each other (ptrace_scope 0).",
            "Run the server as a user of its own, and set kernel.yama.ptrace_scope=1 where there is one. The "
            "server "
            "forbids it for itself."};
}

HostCheck check_randomisation() {
    const auto value = kernel_text("/proc/sys/kernel/randomize_va_space");
    if (value == "2") return {"kernel.aslr", Finding::good, "Addresses are randomised."};
    return {"kernel.aslr", Finding::weak,
            "Addresses are not fully randomised (randomize_va_space " + value + ").",
            "Set kernel.randomize_va_space=2."};
}

HostCheck check_user() {
    if (::geteuid() != 0) return {"process.user", Finding::good, "This is not root."};
    return {"process.user", Finding::weak, "This runs as root, which the server does not need.",
            "Run the server, and this, as a user of its own: deploy/systemd/claviger.service does."};
}

HostCheck check_clock() {
    timex state{};
    const int clock = ::adjtimex(&state);
    if (clock < 0) return {"host.clock", Finding::unknown, "The state of the clock cannot be read here."};
    if (clock != TIME_ERROR && (state.status & STA_UNSYNC) == 0)
        return {"host.clock", Finding::good, "The clock is synchronised."};
    return {"host.clock", Finding::weak,
            "The clock is not synchronised: lifetimes of tokens and times in the access log follow it.",
            "Run systemd-timesyncd or chrony."};
}

}  // namespace

std::string kernel_text(const std::string& file) {
    std::ifstream in(file);
    std::string line;
    std::getline(in, line);
    return line;
}

HostChecks check_process_and_kernel() {
    return {check_lock_limit(), check_locking(),       check_core_dumps(), check_swap(),
            check_ptrace(),     check_randomisation(), check_user(),       check_clock()};
}

}  // namespace claviger::server
