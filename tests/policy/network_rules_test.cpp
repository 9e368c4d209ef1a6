// Which hosts an environment reaches, and when the guard against private addresses is lifted.
#include "policy/network_rules.h"

#include "tests/support/spec.h"

using namespace claviger;
using policy::host_matches;
using policy::HostIs;
using policy::may_reach;
using policy::normalise_allowed_host;

TEST_CASE("An allowed host is a bare host, an IPv4 address or a pattern of subdomains", "[policy][network]") {
    const struct {
        std::string_view given, normal;
    } accepted[] = {
        {"api.example.com", "api.example.com"},
        {"API.Example.COM", "api.example.com"},
        {"*.Example.com", "*.example.com"},
        {"*.crm.example.com", "*.crm.example.com"},
        {"10.0.0.7", "10.0.0.7"},
        {"localhost", "localhost"},
        {"my_server", "my_server"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
    };
    for (const auto& row : accepted) {
        INFO(row.given);
        const auto normal = normalise_allowed_host(row.given);
        REQUIRE(normal);
        CHECK(*normal == row.normal);
        CHECK(normalise_allowed_host(*normal) == *normal);
    }

    const struct {
        std::string_view given, because;
    } refused[] = {
        {"", "missing"},
        {"https://api.example.com", "scheme"},
        {"api.example.com/v1", "path"},
        {"api.example.com:443", "port"},
        {"::1", "IPv6"},
        {"[::1]", "IPv6"},
        {"*", "'*' may stand only in front"},
        {"*.", "missing"},
        {"*.com", "two labels"},
        {"*.localhost", "two labels"},
        {"*.10.0.0.7", "no subdomains"},
        {"*.*.example.com", "'*' may stand only in front"},
        {"api.*.com", "'*' may stand only in front"},
        {"*example.com", "'*' may stand only in front"},
        {"example.com.", "ends with a dot"},
        {"127.1", "IPv4"},
        {"a b.example", "character"},
        {"b\xc3\xbc\x63her.example", "punycode"},
        {"user@example.com", "character"},
    };
    for (const auto& row : refused) {
        INFO(row.given);
        const auto normal = normalise_allowed_host(row.given);
        REQUIRE_FALSE(normal);
        CHECK(normal.error().kind == base::ErrorKind::invalid_request);
        CHECK(normal.error().code == "allowed_host.invalid");
        CHECK_THAT(normal.error().message, Catch::Contains(std::string(row.because)));
    }
}

TEST_CASE("A pattern matches every depth of subdomain and never the apex", "[policy][network]") {
    CHECK(host_matches("*.example.com", "a.example.com"));
    CHECK(host_matches("*.example.com", "a.b.c.example.com"));
    CHECK_FALSE(host_matches("*.example.com", "example.com"));
    CHECK_FALSE(host_matches("*.example.com", ".example.com"));
    CHECK_FALSE(host_matches("*.example.com", "evilexample.com"));
    CHECK_FALSE(host_matches("*.example.com", "a.example.com.evil.net"));
    CHECK(host_matches("example.com", "example.com"));
    CHECK_FALSE(host_matches("example.com", "a.example.com"));
    CHECK_FALSE(host_matches("example.com", "example.co"));
}

TEST_CASE("Only a host that the operator listed lifts the guard against private addresses",
          "[policy][network]") {
    base::NetworkRules open;
    CHECK(may_reach(open, "mcp.example.com", HostIs::declared_mcp_server).reachable);
    CHECK_FALSE(may_reach(open, "mcp.example.com", HostIs::declared_mcp_server).private_addresses);
    open.allowed_hosts = {"localhost", "*.corp.example"};
    CHECK(may_reach(open, "localhost", HostIs::other).private_addresses);
    CHECK(may_reach(open, "git.corp.example", HostIs::other).private_addresses);
    CHECK_FALSE(may_reach(open, "corp.example", HostIs::other).private_addresses);
    CHECK(may_reach(open, "corp.example", HostIs::other).reachable);
}

TEST_CASE("A limited environment reaches what is listed, and declared servers only when it says so",
          "[policy][network]") {
    base::NetworkRules limited{.limited = true, .allowed_hosts = {"api.example.com"}};
    CHECK(may_reach(limited, "api.example.com", HostIs::other).reachable);
    CHECK_FALSE(may_reach(limited, "mcp.example.com", HostIs::declared_mcp_server).reachable);
    CHECK_THAT(may_reach(limited, "mcp.example.com", HostIs::declared_mcp_server).because,
               Catch::Contains("mcp.example.com"));

    limited.allow_mcp_servers = true;
    const auto declared = may_reach(limited, "mcp.example.com", HostIs::declared_mcp_server);
    CHECK(declared.reachable);
    CHECK_FALSE(declared.private_addresses);
    CHECK_FALSE(may_reach(limited, "mcp.example.com", HostIs::other).reachable);

    limited.allow_mcp_servers = false;
    limited.allow_package_managers = true;
    CHECK_FALSE(may_reach(limited, "registry.npmjs.org", HostIs::other).reachable);
}
