// How a command that did not work ends: on standard error, with what to do, and an exit code.
#pragma once

#include "base/result.h"

namespace claviger::server {

inline constexpr int kFailed = 1;
inline constexpr int kNotUnderstood = 2;

/// 0, or kFailed after printing what happened, why and what to do.
int report(const base::Status& status);

}  // namespace claviger::server
