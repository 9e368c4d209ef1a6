// What a fuzzer claims of every input.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace claviger::fuzz {

/// Ends the program, which the fuzzer takes for a finding, when the claim does not hold.
inline void require(bool holds, const char* what = "the claim",
                    const std::source_location& where = std::source_location::current()) {
    if (holds) return;
    std::fprintf(stderr, "%s:%u: does not hold: %s\n", where.file_name(), static_cast<unsigned>(where.line()),
                 what);
    std::abort();
}

}  // namespace claviger::fuzz
