// Where a value stands inside a JSON text, so that texts can be cut and mended without writing them anew.
// Every function expects valid JSON (checked before by a strict parser); on anything else it finds nothing,
// and never reads beyond the text.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::proxy {

/// True when `text` is one valid JSON value that nests at most `depth` deep (Boost.JSON, strict).
bool valid_json(std::string_view text, std::size_t depth);

/// Calls `visit(key, value)` for each member of an object, keys decoded, values as they stand; until it
/// returns false.
void for_each_member(std::string_view object,
                     const std::function<bool(const std::string& key, std::string_view value)>& visit);
/// Calls `visit(value)` for each element of an array, until it returns false.
void for_each_element(std::string_view array, const std::function<bool(std::string_view value)>& visit);
/// The last member of that name, which is what most readers take.
std::optional<std::string_view> member(std::string_view object, std::string_view key);
/// The text of a JSON string value; nullopt when it is no string.
std::optional<std::string> string_value(std::string_view value);

}  // namespace claviger::proxy
