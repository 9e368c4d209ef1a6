// Wall-clock time in milliseconds, and its RFC 3339 text.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::base {

using Time = std::chrono::sys_time<std::chrono::milliseconds>;

/// The seam for tests that need another time.
class Clock {
public:
    virtual ~Clock() = default;
    /// Safe from any thread; never blocks.
    virtual Time now() const = 0;
};

class SystemClock final : public Clock {
public:
    Time now() const override;
};

/// "2026-11-21T10:00:00Z", with ".123" when the milliseconds are not zero.
std::string to_rfc3339(Time time);
/// Accepts any offset, up to nine fraction digits (cut to milliseconds), years 1970 to 9999.
std::optional<Time> from_rfc3339(std::string_view text);

}  // namespace claviger::base
