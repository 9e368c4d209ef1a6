// A grant as an operator reads it at night: what is wrong, what to do, what happens next, then the details.
#pragma once

#include "admin/cli/screen.h"

#include <nlohmann/json_fwd.hpp>

namespace claviger::admin::cli {

/// `grant` is the answer of GET …/grant. Times are told relative to its `as_of`.
void show_grant(Screen& screen, const nlohmann::json& grant);

}  // namespace claviger::admin::cli
