#include "server/log_sink.h"

#include "base/clock.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <mutex>

namespace claviger::server {
namespace {

spdlog::level::level_enum level_of(base::LogLevel level) {
    switch (level) {
        case base::LogLevel::debug:
            return spdlog::level::debug;
        case base::LogLevel::info:
            return spdlog::level::info;
        case base::LogLevel::warning:
            return spdlog::level::warn;
        case base::LogLevel::error:
            return spdlog::level::err;
    }
    return spdlog::level::err;
}

std::string_view name_of(base::LogLevel level) {
    switch (level) {
        case base::LogLevel::debug:
            return "debug";
        case base::LogLevel::info:
            return "info";
        case base::LogLevel::warning:
            return "warning";
        case base::LogLevel::error:
            return "error";
    }
    return "error";
}

/// Of a SIGHUP and the lines that other threads write meanwhile; each line holds on to its logger.
std::mutex g_guard;
std::shared_ptr<spdlog::logger> g_logger;  // guarded

std::shared_ptr<spdlog::logger> logger_now() {
    const std::lock_guard hold(g_guard);
    return g_logger;
}

void write(base::LogLevel level, std::string_view event, base::LogFields fields) {
    const auto logger = logger_now();
    if (!logger || !logger->should_log(level_of(level))) return;
    nlohmann::ordered_json line{
        {"time", base::to_rfc3339(base::SystemClock().now())}, {"level", name_of(level)}, {"event", event}};
    for (const auto& field : fields)
        std::visit([&](const auto& value) { line[std::string(field.name)] = value; }, field.value);
    // Bytes that are no UTF-8 are replaced, so that a line is always JSON.
    logger->log(level_of(level), "{}",
                line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace

base::Status start_logging(base::LogLevel level, const std::optional<std::filesystem::path>& file) {
    std::shared_ptr<spdlog::logger> logger;
    try {
        logger = file ? std::make_shared<spdlog::logger>(
                            "claviger", std::make_shared<spdlog::sinks::basic_file_sink_mt>(file->string()))
                      : std::make_shared<spdlog::logger>("claviger",
                                                         std::make_shared<spdlog::sinks::stderr_sink_mt>());
    } catch (const spdlog::spdlog_ex& error) {
        return base::failure(base::ErrorKind::unavailable, "log.unwritable", "The log file cannot be opened.",
                             "Check log.file.", error.what());
    }
    logger->set_pattern("%v");
    logger->set_level(level_of(level));
    logger->flush_on(spdlog::level::info);
    {
        const std::lock_guard hold(g_guard);
        g_logger.swap(logger);
    }
    base::set_log_sink(write);
    return {};
}

base::Status restart_logging(base::LogLevel level, const std::optional<std::filesystem::path>& file) {
    return start_logging(level, file);
}

}  // namespace claviger::server
