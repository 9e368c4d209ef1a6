// `claviger doctor`: what about this host makes secrets less safe than they could be, and what to do.
#pragma once

#include "base/result.h"
#include "server/wiring.h"

#include <filesystem>

namespace claviger::server {

struct DoctorRequest {
    std::filesystem::path config_file;
    std::filesystem::path unit_file;
};

/// Prints every check. Errors: unavailable "host.weak" when something is weak; those of the config.
base::Status examine_host(const DoctorRequest& request, Output output);

}  // namespace claviger::server
