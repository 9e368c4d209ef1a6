// Scopes: lists of names on the wire, sets in meaning.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace claviger::oauth {

using Scopes = std::vector<std::string>;

/// The names in `text`, in order, each once. Any character of `separators` divides; RFC 6749 3.3 knows only
/// the space, some providers use a comma.
Scopes split_scopes(std::string_view text, std::string_view separators = " ");
std::string join_scopes(const Scopes& scopes, std::string_view separator = " ");
/// What is in either; the order of `held` first, then what `added` brings.
Scopes united(const Scopes& held, const Scopes& added);
/// True when every name of `part` is in `whole`.
bool contains_all(const Scopes& whole, const Scopes& part);

}  // namespace claviger::oauth
