#include "proxy/inject.h"

namespace claviger::proxy {
namespace {

using base::ErrorKind;

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && net::equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}

/// The closed list of mcp.md 8.1: mirrored protocol headers and tracing. The legacy era mirrors nothing, so
/// what claims to be mirrored there was compared with nothing and stays here. Last-Event-ID only with a
/// session that is the agent's own: to the server, all agents with one credential are one.
bool travels(std::string_view name, Era era, MirroredName mirrored_name, bool has_session) {
    for (const auto* allowed : {"MCP-Protocol-Version", "traceparent", "tracestate", "baggage"})
        if (net::equal_ignoring_case(name, allowed)) return true;
    if (era == Era::legacy) return has_session && net::equal_ignoring_case(name, "Last-Event-ID");
    if (net::equal_ignoring_case(name, "Mcp-Name")) return mirrored_name == MirroredName::travels;
    return net::equal_ignoring_case(name, "Mcp-Method") || starts_with_ignoring_case(name, "Mcp-Param-");
}

}  // namespace

base::Status write_head(net::OutboundHead& head, const net::Request& request, Era era,
                        const ServerContext& server, const std::optional<std::string>& upstream_session,
                        const crypto::Secret& secret, MirroredName mirrored_name) {
    head.begin(request.method, server.url.target, server.origin);
    bool good = true;
    if (request.method == "POST") {
        good &= head.add("Content-Type", "application/json");
        good &= head.add("Accept", "application/json, text/event-stream");
    } else if (request.method == "GET") {
        good &= head.add("Accept", "text/event-stream");
    }
    good &= head.add("User-Agent", "claviger/" CLAVIGER_VERSION);
    const auto& injection = server.credential->injection;
    for (std::size_t i = 0; i < request.headers.size(); ++i) {
        const auto field = request.headers.at(i);
        if (net::equal_ignoring_case(field.name, injection.header))
            continue;  // ours alone, whatever its name
        if (travels(field.name, era, mirrored_name, upstream_session.has_value()))
            good &= head.add(field.name, field.value);
    }
    if (upstream_session) good &= head.add("Mcp-Session-Id", *upstream_session);
    if (!good)
        return base::failure(ErrorKind::invalid_request, "request.invalid",
                             "A header of the request cannot be sent on.");

    const bool injected = secret.expose([&](std::span<const std::byte> bytes) {
        return injection.scheme.empty()
                   ? head.add(injection.header, base::as_view(bytes))
                   : head.add(injection.header, injection.scheme + " ", base::as_view(bytes));
    });
    if (!injected)
        return base::failure(ErrorKind::denied, "credential.not_sendable",
                             "The stored credential cannot be sent in a header.",
                             "Store it again without line breaks or control characters.");
    return {};
}

}  // namespace claviger::proxy
