#include "admin/api/probe.h"

#include "admin/api/scrub.h"
#include "base/log.h"
#include "net/sse.h"
#include "oauth/grant_client.h"
#include "oauth/resource_proof.h"
#include "policy/server_url.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace claviger::admin::api {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024, kLongestSecret = 8192 + 32;
constexpr std::string_view kInitialize =
    R"({"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",)"
    R"("capabilities":{},"clientInfo":{"name":"claviger-validate","version":")" CLAVIGER_VERSION R"("}}})";

bool inject(net::OutboundHead& head, const vault::Injection& injection, const crypto::Secret& token) {
    const auto scheme = injection.scheme.empty() ? std::string() : injection.scheme + " ";
    return token.expose([&](std::span<const std::byte> bytes) {
        return head.add(injection.header, scheme, base::as_view(bytes));
    });
}

/// Tokens that are bound to a key are nothing without a proof (RFC 9449 7). `nonce` may be empty.
bool prove(net::OutboundHead& head, std::string_view method, const net::Origin& origin,
           const policy::ServerUrl& url, const vault::SecretParts& secrets, std::string_view nonce,
           base::Time now) {
    if (!secrets.dpop_key) return true;
    return oauth::add_resource_proof(
               head, {.method = method, .origin = origin, .target = url.target, .nonce = nonce}, secrets, now)
        .has_value();
}

bool is_media_type(std::string_view type, std::string_view wanted) {
    return net::equal_ignoring_case(type.substr(0, type.find_first_of("; \t")), wanted);
}

/// Whether the text is the JSON-RPC result of our request.
bool is_result(std::string_view text) {
    const auto message = nlohmann::json::parse(text, nullptr, false);
    if (!message.is_object()) return false;
    const auto id = message.find("id");
    const auto result = message.find("result");
    return id != message.end() && *id == 1 && result != message.end() && result->is_object();
}

/// The first answer in an event stream, or nothing when it has not come yet.
bool stream_has_result(std::string_view text) {
    net::SseSplitter splitter(kReadBytes * 2);
    if (!splitter.feed(text)) return false;
    while (const auto event = splitter.next())
        if (event->has_data && is_result(event->data)) return true;
    return false;
}

struct Read {
    std::string body;
    bool complete = false, result = false;
};

/// Reads until the result is there, the body ends, or enough has come.
net::awaitable<Read> read(net::Answer& answer, std::chrono::milliseconds limit) {
    Read read;
    const auto type = answer.head().headers.find("Content-Type").value_or("");
    const bool stream = is_media_type(type, "text/event-stream");
    answer.idle_limit(limit);
    while (read.body.size() < kReadBytes) {
        const auto part = co_await answer.next();
        if (!part) co_return read;
        if (part->empty()) {
            read.complete = true;
            break;
        }
        read.body += *part;
        if (stream && stream_has_result(read.body)) {
            read.result = true;
            co_return read;
        }
    }
    if (!stream) read.result = read.complete && is_result(read.body);
    co_return read;
}

ProbeAnswer shown_answer(const net::ResponseHead& head, Read read, const vault::SecretParts& secrets) {
    // A secret may be cut in two where reading stopped; its first half must not show either.
    if (!read.complete && read.body.size() >= kReadBytes)
        read.body.resize(read.body.size() - std::min(read.body.size(), kLongestSecret));
    auto body = shown_body(std::move(read.body), secrets);
    const auto type = head.headers.find("Content-Type").value_or("");
    return {.status = head.status,
            .content_type =
                scrubbed(std::string(type.substr(0, std::min<std::size_t>(type.size(), 200))), secrets),
            .body = std::move(body.text),
            .body_truncated = body.truncated || !read.complete};
}

Probe::Verdict verdict_of(unsigned status, bool result) {
    if (status == 401) return Probe::Verdict::refused;
    if (status == 403) return Probe::Verdict::forbidden;
    if (status >= 200 && status < 300 && result) return Probe::Verdict::valid;
    return Probe::Verdict::unknown;
}

/// What the server may have kept for us is not needed.
net::awaitable<void> end_session(Call& call, const vault::Credential& credential,
                                 const vault::SecretParts& secrets, const policy::ServerUrl& url,
                                 const net::Origin& origin, std::string session, std::string_view nonce,
                                 const net::SendOptions& options) {
    net::OutboundHead head(call.worker);
    head.begin("DELETE", url.target, origin);
    const bool good = head.add("Mcp-Session-Id", session) && head.add("MCP-Protocol-Version", "2025-06-18") &&
                      inject(head, credential.injection, *secrets.token) &&
                      prove(head, "DELETE", origin, url, secrets, nonce, call.records.clock().now());
    if (!good) co_return;
    const std::string none;
    const auto answer = co_await call.pool_of(call.worker).send(origin, head, none, options);
    if (!answer) base::log_error("probe.session_not_ended", answer.error());
}

}  // namespace

net::awaitable<Probe> probe(Call& call, const vault::Credential& credential,
                            const vault::SecretParts& secrets, net::PrivateAddresses private_addresses) {
    const auto url = policy::parse_server_url(credential.mcp_server_url);
    if (!url || !secrets.token) co_return Probe{.answer = {}, .failure = "internal"};
    const net::Origin origin{url->tls, url->host, url->port};
    std::shared_ptr<const net::TlsIdentity> identity;
    if (oauth::shows_certificate(credential)) {
        auto shown = oauth::certificate_of(secrets);
        if (!shown) co_return Probe{.answer = {}, .failure = shown.error().code};
        identity = std::move(*shown);
    }
    const net::SendOptions options{
        .partition = "validate " + credential.id.text() + " " + std::to_string(credential.version),
        .private_addresses = private_addresses,
        .identity = identity.get(),
        .head_timeout = call.settings.probe_timeout,
        .on_cancellable = {}};
    auto& pool = call.pool_of(call.worker);
    Probe done;
    std::string session, nonce;
    for (bool again = true; again;) {
        again = false;
        net::OutboundHead head(call.worker);
        head.begin("POST", url->target, origin);
        const bool good = head.add("Content-Type", "application/json") &&
                          head.add("Accept", "application/json, text/event-stream") &&
                          head.add("User-Agent", "claviger/" CLAVIGER_VERSION) &&
                          inject(head, credential.injection, *secrets.token) &&
                          prove(head, "POST", origin, *url, secrets, nonce, call.records.clock().now());
        if (!good) co_return Probe{.answer = {}, .failure = "request.invalid"};
        const auto answer = co_await pool.send(origin, head, kInitialize, options);
        if (!answer) {
            base::log_error("probe.failed", answer.error());
            done.failure = answer.error().code;
            co_return done;
        }
        const auto& received = (*answer)->head();
        if (const auto given = received.headers.find("DPoP-Nonce"); given && secrets.dpop_key) {
            again = received.status == 401 && nonce.empty();  // it wants the proof once more, with this
            nonce = *given;
            if (again) continue;
        }
        auto body = co_await read(**answer, call.settings.probe_timeout);
        done.response_bytes = body.body.size();
        done.verdict = verdict_of(received.status, body.result);
        session = received.headers.find("Mcp-Session-Id").value_or("");
        done.answer = shown_answer(received, std::move(body), secrets);
    }
    if (!session.empty())
        co_await end_session(call, credential, secrets, *url, origin, std::move(session), nonce, options);
    pool.retire(options.partition);
    co_return done;
}

}  // namespace claviger::admin::api
