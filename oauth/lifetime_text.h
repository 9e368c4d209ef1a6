// Numbers and moments as servers write them.
#pragma once

#include "base/clock.h"

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace claviger::oauth {

/// A whole JSON number, or a text of nothing but an optional '-' and digits. "3600abc", "+1", 3600.5 and what
/// does not fit in 64 bits are no integers.
std::optional<std::int64_t> strict_integer(const nlohmann::json& value);
std::optional<std::int64_t> strict_integer(std::string_view text);

/// `start` and `amount` units of `milliseconds_each`; never before `start`. Nothing above kLongestLifetime
/// (10 years).
std::optional<base::Time> after(base::Time start, std::int64_t amount, std::int64_t milliseconds_each);

/// `amount` units after 1970. Nothing outside the years 1970 to 9999.
std::optional<base::Time> unix_time(std::int64_t amount, std::int64_t milliseconds_each);

/// A NumericDate of JWTs and their relatives (RFC 7519 2): seconds after 1970, a number or a text of digits;
/// a fraction is cut off, because the earlier second is the safe one. Nothing outside the years 1970 to 9999.
std::optional<base::Time> numeric_date(const nlohmann::json& value);

/// The moment of an HTTP-date in any of its three forms (RFC 9110 5.6.7). A two-digit year is the nearest
/// that is not more than 50 years after `now`.
std::optional<base::Time> http_date(std::string_view text, base::Time now);

/// How long to wait, from a Retry-After header (RFC 9110 10.2.3), seconds or HTTP-date; at least 0, at most
/// one hour. Nothing when it is absent (empty) or neither.
std::optional<std::chrono::seconds> retry_after(std::string_view text, base::Time now);

}  // namespace claviger::oauth
