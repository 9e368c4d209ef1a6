#include "proxy/mcp_endpoint.h"

#include "proxy/batch.h"
#include "proxy/eras.h"
#include "proxy/error_reply.h"
#include "proxy/json_rpc.h"
#include "proxy/page_writer.h"
#include "proxy/tool_call.h"

#include <algorithm>

#include <array>

#include <arpa/inet.h>
#include <boost/asio/this_coro.hpp>

namespace claviger::proxy {
namespace {

constexpr std::string_view kPrefix = "/mcp/";

bool is_loopback_name(std::string_view host) {
    return net::equal_ignoring_case(host, "localhost") || host == "127.0.0.1" || host == "[::1]";
}

std::string_view without_port(std::string_view authority) {
    const auto colon = authority.rfind(':');
    const auto bracket = authority.rfind(']');
    return colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)
               ? authority.substr(0, colon)
               : authority;
}

/// The address in "[2001:db8::1]" or "2001:db8::1", however it is written.
std::optional<std::array<unsigned char, 16>> ipv6_address(std::string_view host) {
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    std::array<unsigned char, 16> bytes{};
    if (inet_pton(AF_INET6, std::string(host).c_str(), bytes.data()) != 1) return std::nullopt;
    return bytes;
}

bool same_host(std::string_view allowed, std::string_view name) {
    if (net::equal_ignoring_case(allowed, name)) return true;
    if (!name.starts_with('[')) return false;
    const auto address = ipv6_address(name);
    const auto ours = ipv6_address(allowed);
    return address && ours && *address == *ours;
}

/// DNS rebinding: the Host must be a name of ours, and a browser's Origin one that was allowed (mcp.md 10).
bool host_is_ours(const net::Request& request, const ProxySettings& settings) {
    const auto host = request.headers.find("Host");
    if (!host) return false;
    const auto name = without_port(*host);
    return is_loopback_name(name) ||
           std::ranges::any_of(settings.allowed_hosts, [&](const std::string& allowed) {
               return same_host(allowed, name) || net::equal_ignoring_case(allowed, *host);
           });
}

bool origin_is_allowed(std::string_view origin, const ProxySettings& settings) {
    const auto scheme = origin.find("://");
    if (scheme != std::string_view::npos && is_loopback_name(without_port(origin.substr(scheme + 3))))
        return true;
    return std::ranges::find(settings.allowed_origins, origin) != settings.allowed_origins.end();
}

/// The token of the one `Authorization: Bearer`; empty when there is none.
std::string_view bearer_token(const net::Headers& headers) {
    const auto value = headers.find_only("Authorization");
    if (!value) return {};
    constexpr std::string_view scheme = "Bearer ";
    if (value->size() <= scheme.size() || !net::equal_ignoring_case(value->substr(0, scheme.size()), scheme))
        return {};
    auto token = value->substr(scheme.size());
    while (token.starts_with(' ')) token.remove_prefix(1);
    return token;
}

bool is_json(const net::Headers& headers) {
    const auto type = headers.find("Content-Type");
    return type && net::equal_ignoring_case(type->substr(0, type->find_first_of("; \t")), "application/json");
}

std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size()) {
            if (const auto byte = base::from_hex(text.substr(i + 1, 2))) {
                out += *byte;
                i += 2;
                continue;
            }
        }
        out += text[i];
    }
    return out;
}

auto find_server(const SessionContext& context, std::string_view segment) {
    return segment.contains('%') ? context.servers.find(percent_decoded(segment))
                                 : context.servers.find(segment);
}

// Not inlined, because what they need would become part of the coroutine's frame.

/// What is wrong with a request that carries messages, before its body is read: method, type, encoding.
[[gnu::noinline]] std::optional<net::Response> refuse_post(const net::Request& request) {
    if (request.method != "POST") {
        auto refused =
            error_reply("", 405, -32600, "Only POST, GET and DELETE are served here.", "request.method");
        refused.headers.add("Allow", "POST, GET, DELETE");
        return refused;
    }
    if (!is_json(request.headers))
        return error_reply("", 415, -32600, "The Content-Type must be application/json.",
                           "request.content_type");
    const auto encoding = request.headers.find("Content-Encoding");
    if (encoding && !net::equal_ignoring_case(*encoding, "identity"))
        return error_reply("", 415, -32600, "Encoded request bodies are not accepted.",
                           "request.content_encoding");
    return std::nullopt;
}

/// Reads the call's message from the body of its request, or says what is wrong with it.
[[gnu::noinline]] std::optional<net::Response> read_message(Call& call, std::size_t json_depth) {
    std::string id;
    auto parsed = parse_message(call.request.body, {.depth = json_depth}, id);
    if (!parsed) return error_reply(id, parsed.error());
    if (const auto refusal = check_headers(call.request.headers, *parsed))
        return error_reply(parsed->id, refusal->status, refusal->code, refusal->message);
    if (parsed->modern && parsed->kind == MessageKind::response)
        return error_reply("", 400, -32600, "Responses are not posted in this protocol revision.");
    call.era = parsed->modern ? Era::modern : Era::legacy;
    call.message = std::move(*parsed);
    return std::nullopt;
}

}  // namespace

McpEndpoint::McpEndpoint(const std::vector<std::unique_ptr<Lane>>& lanes, const ProxySettings& settings,
                         ProxyCounters& counters)
    : lanes_(lanes), settings_(settings), counters_(counters) {}

void McpEndpoint::stop(CallsUnderWay::Stop what) const {
    for (const auto& lane : lanes_) lane->worker.deliver([&calls = lane->calls, what] { calls.stop(what); });
}

bool McpEndpoint::knows(const net::Request& head, const net::Worker& worker) const {
    const auto lane =
        std::ranges::find(lanes_, &worker, [](const auto& candidate) { return &candidate->worker; });
    return lane != lanes_.end() && (*lane)->contexts.find(bearer_token(head.headers)).has_value();
}

std::optional<net::Response> McpEndpoint::find(Lane& lane, const net::Request& request, Asking asking,
                                               Destination& destination) const {
    if (!host_is_ours(request, settings_) || asking == Asking::foreign_page) {
        counters_.invalid.fetch_add(1, std::memory_order_relaxed);
        return error_reply("", 403, -32600, "The Host or Origin of this request is not allowed here.",
                           "request.origin",
                           "Use a name listed in agents.allowed_hosts or agents.allowed_origins.");
    }
    if (asking == Asking::allowed_page && is_preflight(request)) return preflight_reply();
    const auto path = request.path();
    if (!path.starts_with(kPrefix) || path.size() == kPrefix.size())
        return error_reply("", 404, 40401, "There is nothing here; MCP servers are at /mcp/{server}.",
                           "request.not_found");
    // A token in the query string would end up in logs on its way here, so none is ever taken from there.
    auto context = lane.contexts.find(bearer_token(request.headers));
    if (!context) {
        counters_.unauthenticated.fetch_add(1, std::memory_order_relaxed);
        return error_reply("", context.error());
    }
    const auto server = find_server(**context, path.substr(kPrefix.size()));
    if (server == (*context)->servers.end())
        return error_reply("", 404, 40401, "The session's agent declares no MCP server of this name.",
                           "server.unknown", "Use one of the session's mcp_endpoints.");
    destination = {std::move(*context), &server->second};
    return std::nullopt;
}

net::awaitable<void> McpEndpoint::handle(const net::Request& request, net::ResponseWriter& writer) const {
    counters_.calls.fetch_add(1, std::memory_order_relaxed);
    const auto executor = co_await net::asio::this_coro::executor;
    const auto lane = std::ranges::find_if(
        lanes_, [&](const auto& candidate) { return &candidate->worker.context() == &executor.context(); });
    if (lane == lanes_.end())
        co_return;  // a listener of a worker without a lane: wiring forbids it, the writer answers 500

    std::unique_ptr<PageWriter> page;  // on the heap, because agents are seldom pages
    auto asking = Asking::no_page;
    if (const auto origin = request.headers.find("Origin")) {
        asking = origin_is_allowed(*origin, settings_) ? Asking::allowed_page : Asking::foreign_page;
        if (asking == Asking::allowed_page) page = std::make_unique<PageWriter>(writer, *origin);
    }
    net::ResponseWriter& agent = page ? *page : writer;
    Destination to;
    if (const auto refused = find(**lane, request, asking, to)) {
        co_await agent.send(*refused);
        co_return;
    }
    co_await message(**lane, request, agent, to);
}

net::awaitable<void> McpEndpoint::message(Lane& lane, const net::Request& request,
                                          net::ResponseWriter& writer, const Destination& to) const {
    Call call{.context = to.context, .server = *to.server, .request = request, .message = {}};
    std::optional<net::Response> refused;
    if (request.method == "GET" || request.method == "DELETE") {
        call.message.kind = MessageKind::notification;
        call.message.method = request.method;
    } else {
        refused = refuse_post(request);
        if (!refused && is_batch(request.body)) co_return co_await batch(lane, request, writer, to);
        if (!refused) refused = read_message(call, settings_.json_depth);
    }
    if (!refused) co_return co_await run_call(lane, counters_, call, writer);
    counters_.invalid.fetch_add(1, std::memory_order_relaxed);
    co_await writer.send(*refused);
}

net::awaitable<void> McpEndpoint::batch(Lane& lane, const net::Request& request, net::ResponseWriter& writer,
                                        const Destination& to) const {
    auto elements = parse_batch(request.body, {.depth = settings_.json_depth});
    auto refused = elements ? refuse_batch(lane, request, *to.context, *to.server)
                            : std::optional(error_reply("", elements.error()));
    if (!refused)
        co_return co_await run_batch(lane, counters_, request, to.context, *to.server, std::move(*elements),
                                     writer);
    counters_.invalid.fetch_add(1, std::memory_order_relaxed);
    co_await writer.send(*refused);
}

}  // namespace claviger::proxy
