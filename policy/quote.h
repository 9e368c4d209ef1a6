// Names of other people's making, fit to stand in a message.
#pragma once

#include <string>
#include <string_view>

namespace claviger::policy {

/// In single quotes; control characters become '?', anything after 128 bytes "..." (never inside a UTF-8
/// character).
std::string in_quotes(std::string_view text);

}  // namespace claviger::policy
