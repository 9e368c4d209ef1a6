#include "base/log.h"

#include <atomic>

namespace claviger::base {
namespace {
std::atomic<LogSink> g_sink{nullptr};  // the one global: every folder logs, none should carry a logger around
}

void set_log_sink(LogSink sink) { g_sink.store(sink, std::memory_order_release); }

void log(LogLevel level, std::string_view event, LogFields fields) {
    if (const auto sink = g_sink.load(std::memory_order_acquire)) sink(level, event, fields);
}

void log_error(std::string_view event, const Error& error) {
    log(LogLevel::error, event, {{"code", error.code}, {"message", error.message}, {"detail", error.detail}});
}

}  // namespace claviger::base
