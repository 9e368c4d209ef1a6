#include "base/scheduling.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cstdint>

namespace claviger::base {
namespace {

constexpr std::uint64_t kTurnNanoseconds = 100'000;
constexpr std::uint32_t kOrdinary = 0, kBatch = 3;  // SCHED_OTHER and SCHED_BATCH; others have no turns

/// As the kernel has it (sched_setattr(2)); Debian 12's library does not name it.
struct Attributes {
    std::uint32_t size;
    std::uint32_t policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
};

}  // namespace

void prefer_short_turns() {
    Attributes attributes{};
    if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
    if (attributes.policy != kOrdinary && attributes.policy != kBatch) return;
    attributes.runtime = kTurnNanoseconds;
    ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void give_way() {
    constexpr int kNicer = 10;
    const auto self = static_cast<id_t>(::syscall(SYS_gettid));
    ::setpriority(PRIO_PROCESS, self, ::getpriority(PRIO_PROCESS, self) + kNicer);
}

}  // namespace claviger::base
