// Which hosts an environment lets its sessions reach.
#pragma once

#include "base/result.h"
#include "base/rules.h"

#include <string>
#include <string_view>

namespace claviger::policy {

/// A bare host, an IPv4 address, or "*." and a name of at least two labels; lower case. No scheme, port, path
/// or IPv6. Errors: invalid_request "allowed_host.invalid".
base::Result<std::string> normalise_allowed_host(std::string_view text);

/// Both in normal form. "*.example.com" matches every depth of subdomain, never example.com itself.
bool host_matches(std::string_view pattern, std::string_view host);

enum class HostIs { declared_mcp_server, other };

struct HostRule {
    bool reachable = false;
    bool private_addresses =
        false;            // the guard against private ranges is lifted: the operator named this very host
    std::string because;  // for the operator
};

/// `host` as in ServerUrl::host. allow_package_managers is not asked: package installs do not pass through
/// here.
HostRule may_reach(const base::NetworkRules& rules, std::string_view host, HostIs role);

}  // namespace claviger::policy
