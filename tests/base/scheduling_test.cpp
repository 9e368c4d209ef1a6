// What a thread asks of the kernel must leave alone what an operator set for the whole process.
#include "base/scheduling.h"

#include <catch2/catch.hpp>

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <thread>

namespace claviger::base {
namespace {

TEST_CASE("asking for short turns changes neither the policy nor the niceness of a thread",
          "[base][scheduling]") {
    // Another thread, because nobody may take a higher niceness back.
    int policy = -1, niceness = -1;
    std::thread nice([&] {
        const auto self = static_cast<id_t>(::syscall(SYS_gettid));
        ::setpriority(PRIO_PROCESS, self, 5);
        prefer_short_turns();
        policy = ::sched_getscheduler(0);
        niceness = ::getpriority(PRIO_PROCESS, self);
    });
    nice.join();
    REQUIRE(policy == SCHED_OTHER);
    REQUIRE(niceness == 5);
}

TEST_CASE("a thread of another policy keeps its own", "[base][scheduling]") {
    int policy = -1;
    std::thread idle([&] {
        const sched_param none{};
        ::sched_setscheduler(0, SCHED_IDLE, &none);
        prefer_short_turns();
        policy = ::sched_getscheduler(0);
    });
    idle.join();
    REQUIRE(policy == SCHED_IDLE);
}

TEST_CASE("a thread that gives way is nicer than before, and the others are not", "[base][scheduling]") {
    const auto niceness = [] {
        return ::getpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)));
    };
    const int own = niceness();
    int nicer = 0;
    std::thread background([&] {
        give_way();
        nicer = niceness();
    });
    background.join();
    REQUIRE(nicer == std::min(own + 10, 19));
    REQUIRE(niceness() == own);
}

}  // namespace
}  // namespace claviger::base
