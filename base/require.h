// Where a broken promise of our own ends the program, because going on would be worse.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace claviger::base {

/// Aborts with the promise on standard error unless it holds. `promise` is a literal without a secret.
inline void require(bool holds, const char* promise) {
    if (holds) [[likely]]
        return;
    std::fprintf(stderr, "claviger: broken promise: %s\n", promise);
    std::abort();
}

}  // namespace claviger::base
