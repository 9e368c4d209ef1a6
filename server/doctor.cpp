#include "server/doctor.h"

#include "server/file_checks.h"
#include "server/memory_checks.h"
#include "server/unit_checks.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>
#include <iterator>

namespace claviger::server {
namespace {

using nlohmann::json;

std::string_view word_of(Finding finding) {
    switch (finding) {
        case Finding::good:
            return "good";
        case Finding::weak:
            return "weak";
        case Finding::unknown:
            return "unknown";
    }
    return "";
}

void print(const HostChecks& checks, std::ptrdiff_t weak, Output output) {
    if (output == Output::json) {
        json shown{{"weak", weak}, {"checks", json::array()}};
        for (const auto& check : checks)
            shown["checks"].push_back({{"name", check.name},
                                       {"finding", word_of(check.finding)},
                                       {"found", check.found},
                                       {"advice", check.advice.empty() ? json() : json(check.advice)}});
        std::cout << shown.dump() << std::endl;
        return;
    }
    for (const auto& check : checks) {
        std::cout << (check.finding == Finding::weak   ? "WEAK     "
                      : check.finding == Finding::good ? "good     "
                                                       : "unknown  ")
                  << check.name << ": " << check.found << '\n';
        if (!check.advice.empty()) std::cout << "         " << check.advice << '\n';
    }
}

}  // namespace

base::Status examine_host(const DoctorRequest& request, Output output) {
    const auto config = load_config(request.config_file);
    if (!config) return std::unexpected(config.error());
    auto checks = check_process_and_kernel();
    std::ranges::move(check_files(*config, request.config_file), std::back_inserter(checks));
    std::ranges::move(check_unit(request.unit_file), std::back_inserter(checks));
    const auto weak = std::ranges::count(checks, Finding::weak, &HostCheck::finding);
    print(checks, weak, output);
    if (weak == 0) return {};
    return base::failure(
        base::ErrorKind::unavailable, "host.weak",
        std::to_string(weak) + (weak == 1 ? " thing is" : " things are") + " weaker here than necessary.",
        "Each says above what to do; the server runs all the same.");
}

}  // namespace claviger::server
