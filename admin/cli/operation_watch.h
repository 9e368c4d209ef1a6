// An operation while it goes on: a bar that stays on its line in a terminal, a line now and then elsewhere.
#pragma once

#include "admin/cli/objects.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace claviger::admin::cli {

/// "[=========>          ]  47 %  470,000 of 1,000,000, 52,311/s, 10 s left"; without a total, its step.
std::string progress_text(const nlohmann::json& operation);
/// What has become of it, in a sentence, with what to do next.
std::string outcome_text(const nlohmann::json& operation);

/// Shows the operation until nothing goes on by itself: it is over, paused, or waits to be retired. Asks the
/// server four times a second. "operation.failed" when it failed. Gives the operation as it then is.
base::Result<nlohmann::json> watch_operation(Context& context, nlohmann::json operation);

}  // namespace claviger::admin::cli
