// The query of a request: names and decoded values, with the checks that all lists share.
#pragma once

#include "base/clock.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace claviger::admin::api {

/// "%41" becomes "A", "+" stays. nullopt for a '%' that two hex digits do not follow.
std::optional<std::string> percent_decoded(std::string_view text);

/// Everything but unreserved characters (RFC 3986) encoded.
std::string percent_encoded(std::string_view text);

struct TimeBounds {
    std::optional<base::Time> from, to;  // from inclusive, to exclusive
    bool contains(base::Time time) const { return (!from || time >= *from) && (!to || time < *to); }
};

/// Errors of all members: invalid_request "query.invalid", naming the parameter.
class Query {
public:
    static base::Result<Query> parse(std::string_view text);

    /// The last value of that name; an empty one counts as none.
    std::optional<std::string> text(std::string_view name) const;
    /// Values of "name", "name[]", all of them.
    std::vector<std::string> texts(std::string_view name) const;
    base::Result<std::size_t> limit(std::size_t otherwise, std::size_t most) const;
    base::Result<bool> flag(std::string_view name) const;
    base::Result<std::optional<std::uint64_t>> number(std::string_view name) const;
    /// name[gt], name[gte], name[lt], name[lte].
    base::Result<TimeBounds> times(std::string_view name) const;

private:
    std::vector<std::pair<std::string, std::string>> values_;
};

}  // namespace claviger::admin::api
