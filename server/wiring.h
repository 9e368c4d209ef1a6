// The running server: every long-lived part, built in order and taken down in reverse.
#pragma once

#include "base/result.h"
#include "server/config.h"

#include <filesystem>
#include <optional>

namespace claviger::server {

/// Serves until SIGTERM or SIGINT. Prints one JSON line on standard output once both listeners answer:
/// {"ready":true,"sealed":false,"agents_port":8700,"admin_port":8701}. SIGHUP reloads certificates, log level
/// and log file.
base::Status serve(const std::filesystem::path& config_file, InsecureListen insecure);

struct InitRequest {
    std::filesystem::path data_dir;
    std::optional<std::filesystem::path> key_file;  // a slot; created with random bytes when absent on disk
    bool passphrase = false;                        // a slot; read from standard input
};
/// Makes a new store and prints its first admin API key, once.
enum class Output { text, json };
base::Status initialise(const InitRequest& request, Output output);

}  // namespace claviger::server
