// The program's own log: an event name and named fields of a closed list of types.
// Secrets, requests and bodies are not on the list, so they cannot be logged.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <variant>

namespace claviger::base {

enum class LogLevel { debug, info, warning, error };

struct LogField {
    std::string_view name;
    std::variant<std::string_view, std::int64_t, double, bool> value;

    LogField(std::string_view n, std::string_view text) : name(n), value(text) {}
    LogField(std::string_view n, const char* text) : name(n), value(std::string_view(text)) {}
    LogField(std::string_view n, const std::string& text) : name(n), value(std::string_view(text)) {}
    LogField(std::string_view n, bool flag) : name(n), value(flag) {}
    LogField(std::string_view n, double number) : name(n), value(number) {}
    template <class Integer>
        requires std::is_integral_v<Integer>
    LogField(std::string_view n, Integer number) : name(n), value(static_cast<std::int64_t>(number)) {}
};

using LogFields = std::initializer_list<LogField>;
using LogSink = void (*)(LogLevel, std::string_view event, LogFields fields);

/// Set once by main before any thread starts; until then nothing is written.
void set_log_sink(LogSink sink);

/// `event` is a literal such as "listener.started". Thread safe; may block on the sink's output.
void log(LogLevel level, std::string_view event, LogFields fields = {});
/// Logs an error that stops travelling here: its code, message and detail.
void log_error(std::string_view event, const Error& error);

}  // namespace claviger::base
