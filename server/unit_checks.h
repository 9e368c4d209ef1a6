// Whether the systemd unit keeps the server in its room (systemd.exec(5)).
#pragma once

#include "server/host_check.h"

#include <filesystem>
#include <string_view>

namespace claviger::server {

/// One check per setting that deploy/systemd/claviger.service has and this unit lacks, or one that says it is
/// whole.
HostChecks check_unit(const std::filesystem::path& unit_file);
/// The same of a unit's text.
HostChecks check_unit_text(std::string_view text);

}  // namespace claviger::server
