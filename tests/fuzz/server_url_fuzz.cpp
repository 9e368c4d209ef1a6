// Fuzzes claviger_policy: normalising a server URL twice changes nothing, and what it gives is safe to put on
// the wire.
#include "policy/network_rules.h"
#include "policy/server_url.h"
#include "tests/fuzz/require.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

using claviger::fuzz::require;

bool printable(std::string_view text) {
    for (const char c : text)
        if (c <= 0x20 || c == 0x7f) return false;
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace claviger::policy;
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    if (const auto url = parse_server_url(text)) {
        const auto again = parse_server_url(url->normal);
        require(again.has_value());
        require(again->normal == url->normal);
        require(again->tls == url->tls && again->host == url->host && again->port == url->port);
        require(url->normal.size() <= 2047 && !url->host.empty() && url->port != 0);
        require(url->target.starts_with('/'));
        require(printable(url->target) && printable(url->normal) && printable(url->host));
        require(url->host.find_first_of("@/?#\\%[]") == std::string::npos);
    }
    if (const auto host = normalise_allowed_host(text)) {
        require(normalise_allowed_host(*host) == *host);
        require(printable(*host) && host->find_first_of("@/?#\\%[]:") == std::string::npos);
    }
    return 0;
}
