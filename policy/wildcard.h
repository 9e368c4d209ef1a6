// The only pattern language of the rules: '*' stands for any run of characters.
#pragma once

#include <string_view>

namespace claviger::policy {

/// Compares bytes; upper and lower case differ. The whole text must match.
bool wildcard_matches(std::string_view pattern, std::string_view text);

}  // namespace claviger::policy
