#include "server/unit_checks.h"

#include <array>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace claviger::server {
namespace {

/// The values of each setting, in order; an empty one clears those before it (systemd.syntax(7)).
using Unit = std::map<std::string, std::vector<std::string>, std::less<>>;

Unit parse(std::string_view text) {
    Unit unit;
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line);) {
        const auto equals = line.find('=');
        if (line.empty() || line[0] == '#' || line[0] == ';' || line[0] == '[' || equals == std::string::npos)
            continue;
        auto& values = unit[line.substr(0, equals)];
        const auto value = line.substr(equals + 1);
        if (value.empty()) values.clear();
        values.push_back(value);
    }
    return unit;
}

struct Wanted {
    std::string_view setting, value, why;
};
constexpr std::array kWanted{
    Wanted{"LimitCORE", "0", "a crash could write secrets to the disk"},
    Wanted{"MemorySwapMax", "0", "memory could be written to swap"},
    Wanted{"NoNewPrivileges", "yes", "a program that it starts could gain rights"},
    Wanted{"CapabilityBoundingSet", "", "it could hold rights that it never needs"},
    Wanted{"ProtectSystem", "strict", "it could write anywhere"},
    Wanted{"ProtectHome", "yes", "it could read people's files"},
    Wanted{"PrivateTmp", "yes", "it shares /tmp with everybody"},
    Wanted{"PrivateDevices", "yes", "it could open devices"},
    Wanted{"ProtectKernelTunables", "yes", "it could change the kernel's settings"},
    Wanted{"ProtectKernelModules", "yes", "it could load kernel modules"},
    Wanted{"ProtectProc", "invisible", "it could look at other processes"},
    Wanted{"RestrictNamespaces", "yes", "it could make namespaces, a common way out"},
    Wanted{"MemoryDenyWriteExecute", "yes", "injected code could be run"},
    Wanted{"SystemCallArchitectures", "native", "the system call filter could be got around"},
    Wanted{"UMask", "0077", "new files are open to others"},
};

HostCheck weak(std::string found, std::string advice) {
    return {"unit.hardening", Finding::weak, std::move(found), std::move(advice)};
}

bool any_holds(const Unit& unit, std::string_view setting, std::string_view word) {
    const auto found = unit.find(setting);
    if (found == unit.end()) return false;
    for (const auto& value : found->second)
        if ((" " + value + " ").find(" " + std::string(word) + " ") != std::string::npos) return true;
    return false;
}

void check_user(const Unit& unit, HostChecks& checks) {
    const auto user = unit.find("User");
    const bool own = user != unit.end() && !user->second.back().empty() && user->second.back() != "root";
    if (!own && !any_holds(unit, "DynamicUser", "yes"))
        checks.push_back(weak("The unit runs as root.", "Set User= to a user of its own."));
}

}  // namespace

HostChecks check_unit_text(std::string_view text) {
    const auto unit = parse(text);
    HostChecks checks;
    for (const auto& [setting, value, why] : kWanted) {
        const auto found = unit.find(setting);
        if (found != unit.end() && found->second.back() == value) continue;
        checks.push_back(weak("The unit does not say " + std::string(setting) + "=" + std::string(value) +
                                  ": " + std::string(why) + ".",
                              "Set it, as deploy/systemd/claviger.service does."));
    }
    if (!any_holds(unit, "SystemCallFilter", "@system-service"))
        checks.push_back(weak("The unit has no system call filter.",
                              "Set SystemCallFilter=, as deploy/systemd/claviger.service does."));
    for (const auto* setting : {"RestrictAddressFamilies", "LimitMEMLOCK"})
        if (!unit.contains(setting))
            checks.push_back(weak("The unit does not set " + std::string(setting) + ".",
                                  "Set it, as deploy/systemd/claviger.service does."));
    check_user(unit, checks);
    if (checks.empty())
        checks.push_back({"unit.hardening", Finding::good,
                          "The unit keeps the server in its room: every setting is there."});
    return checks;
}

HostChecks check_unit(const std::filesystem::path& unit_file) {
    std::ifstream in(unit_file);
    if (!in)
        return {{"unit.hardening", Finding::unknown,
                 "There is no unit " + unit_file.string() + " that could be read.",
                 "Run the server by deploy/systemd/claviger.service, or name its unit with --unit."}};
    std::ostringstream text;
    text << in.rdbuf();
    return check_unit_text(text.str());
}

}  // namespace claviger::server
