#include "policy/network_rules.h"

#include "policy/host_name.h"

#include <algorithm>
#include <utility>

namespace claviger::policy {
namespace {

std::unexpected<base::Error> refuse(std::string fault) {
    return base::failure(
        base::ErrorKind::invalid_request, "allowed_host.invalid", "allowed host refused: " + std::move(fault),
        "Write a host such as api.example.com, an IPv4 address, or *.example.com for its subdomains.");
}

}  // namespace

base::Result<std::string> normalise_allowed_host(std::string_view text) {
    if (text.find("://") != std::string_view::npos) return refuse("it has a scheme");
    if (text.find('/') != std::string_view::npos) return refuse("it has a path");
    if (text.starts_with('[') || std::ranges::count(text, ':') > 1) return refuse("it is an IPv6 address");
    if (text.find(':') != std::string_view::npos) return refuse("it has a port");

    const bool pattern = text.starts_with("*.");
    auto host = normalise_host_name(pattern ? text.substr(2) : text);
    if (text.find('*', pattern ? 1 : 0) != std::string_view::npos)
        return refuse("'*' may stand only in front, as in *.example.com");
    if (!host) return refuse(std::move(host).error());
    if (!pattern) return *std::move(host);
    if (is_ipv4(*host)) return refuse("an IPv4 address has no subdomains");
    if (host->find('.') == std::string::npos)
        return refuse("a pattern must name at least two labels after '*.'");
    return "*." + *host;
}

bool host_matches(std::string_view pattern, std::string_view host) {
    if (!pattern.starts_with("*.")) return pattern == host;
    const auto suffix = pattern.substr(1);  // ".example.com"
    return host.size() > suffix.size() && host.ends_with(suffix);
}

HostRule may_reach(const base::NetworkRules& rules, std::string_view host, HostIs role) {
    const auto listed = std::ranges::find_if(
        rules.allowed_hosts, [&](const auto& allowed) { return host_matches(allowed, host); });
    if (listed != rules.allowed_hosts.end()) return {true, true, "allowed_hosts lists '" + *listed + "'"};
    if (!rules.limited) return {true, false, "networking is unrestricted: every public host may be reached"};
    if (role == HostIs::declared_mcp_server && rules.allow_mcp_servers)
        return {true, false, "allow_mcp_servers admits the agent's declared servers"};
    return {false, false,
            "networking is limited and allowed_hosts does not list '" + std::string(host) + "'"};
}

}  // namespace claviger::policy
