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

constexpr std::size_t kReadBytes = 1024 * 1024, kShownBytes = 64 * 1024, kLongestSecret = 8192 + 32;
constexpr std::string_view kModern = "2026-07-28", kLegacy = "2025-06-18";
constexpr int kMethodNotFound = -32601;

/// One message to the server. Only notifications and the end of a session want no answer.
struct Message {
    std::string_view method;  // of JSON-RPC
    nlohmann::json params;
    std::string version;  // of the protocol; empty: it is not agreed upon yet
    std::string session;  // empty: none
};

/// What came back for one request.
struct Reply {
    std::string_view method;                // that was asked
    std::string_view failure;               // the Error's code when no answer came
    std::optional<net::ResponseHead> head;  // none: no answer came
    std::string beginning;                  // of the body
    std::size_t body_bytes = 0;
    bool complete = false;
    nlohmann::json answer;  // the JSON-RPC answer to the request; null: there was none
};

bool is_media_type(std::string_view type, std::string_view wanted) {
    return net::equal_ignoring_case(type.substr(0, type.find_first_of("; \t")), wanted);
}

/// The text, if it answers the request of that id; otherwise null.
nlohmann::json answer_in(std::string_view text, int request) {
    auto message = nlohmann::json::parse(text, nullptr, false);
    if (!message.is_object()) return nullptr;
    const auto id = message.find("id");
    if (id == message.end() || *id != request || message.contains("method")) return nullptr;
    return message;
}

const nlohmann::json* member(const nlohmann::json& object, const char* name) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
}

const nlohmann::json* result_of(const Reply& reply) {
    const auto* result = member(reply.answer, "result");
    const bool good = reply.head && reply.head->status >= 200 && reply.head->status < 300;
    return good && result != nullptr && result->is_object() ? result : nullptr;
}

bool speaks_modern(const Reply& discovered) {
    const auto* result = result_of(discovered);
    const auto* versions = result != nullptr ? member(*result, "supportedVersions") : nullptr;
    return versions != nullptr && versions->is_array() &&
           std::ranges::find(*versions, nlohmann::json(kModern)) != versions->end();
}

/// What a server without tools answers to whom it knows.
bool has_no_such_method(const Reply& reply) {
    const auto* error = member(reply.answer, "error");
    const auto* code = error != nullptr ? member(*error, "code") : nullptr;
    return code != nullptr && *code == kMethodNotFound;
}

Probe::Verdict verdict_of(const Reply& reply) {
    if (!reply.head) return Probe::Verdict::unknown;
    if (reply.head->status == 401) return Probe::Verdict::refused;
    if (reply.head->status == 403) return Probe::Verdict::forbidden;
    if (result_of(reply) != nullptr) return Probe::Verdict::valid;
    if (reply.method == "tools/list" && has_no_such_method(reply)) return Probe::Verdict::valid;
    return Probe::Verdict::unknown;
}

ProbeAnswer shown_answer(Reply reply, const vault::SecretParts& secrets) {
    // A secret may be cut in two where the beginning ends; its first half must not show either.
    if (reply.body_bytes > reply.beginning.size() || (!reply.complete && reply.body_bytes >= kShownBytes))
        reply.beginning.resize(reply.beginning.size() - std::min(reply.beginning.size(), kLongestSecret));
    auto body = shown_body(std::move(reply.beginning), secrets);
    const auto type = reply.head->headers.find("Content-Type").value_or("");
    return {.status = reply.head->status,
            .content_type =
                scrubbed(std::string(type.substr(0, std::min<std::size_t>(type.size(), 200))), secrets),
            .body = std::move(body.text),
            .body_truncated = body.truncated || !reply.complete};
}

/// What a modern request says of its sender, on every one of them.
nlohmann::json modern_params() {
    return {{"_meta",
             {{"io.modelcontextprotocol/protocolVersion", kModern},
              {"io.modelcontextprotocol/clientCapabilities", nlohmann::json::object()},
              {"io.modelcontextprotocol/clientInfo",
               {{"name", "claviger-validate"}, {"version", CLAVIGER_VERSION}}}}}};
}

/// The exchanges of one probe with one server.
class Conversation {
public:
    Conversation(Call& call, const vault::Credential& credential, const vault::SecretParts& secrets,
                 const policy::ServerUrl& url, const net::SendOptions& options)
        : call_(call),
          credential_(credential),
          secrets_(secrets),
          url_(url),
          origin_{url.tls, url.host, url.port},
          options_(options) {}

    /// What the server answers, read until the answer is there, the body ends, enough has come or the time is
    /// over.
    net::awaitable<Reply> ask(Message message);
    /// A notification: whatever the server says to it, the next question shows more.
    net::awaitable<void> tell(Message message);
    /// What the server may have kept for us is not needed.
    net::awaitable<void> end_session(Message message);

private:
    using Sent = base::Result<std::unique_ptr<net::Answer>>;
    net::awaitable<Sent> send(std::string_view verb, const Message& message, const std::string& body);
    bool write(net::OutboundHead& head, std::string_view verb, const Message& message) const;
    bool inject(net::OutboundHead& head) const;
    bool prove(net::OutboundHead& head, std::string_view verb) const;
    net::awaitable<void> read(net::Answer& answer, Reply& reply, std::chrono::steady_clock::time_point until);

    Call& call_;
    const vault::Credential& credential_;
    const vault::SecretParts& secrets_;
    const policy::ServerUrl& url_;
    const net::Origin origin_;
    const net::SendOptions& options_;
    std::string nonce_;  // the newest that the server gave for proofs
    int asked_ = 0;      // the last request's id
};

bool Conversation::inject(net::OutboundHead& head) const {
    const auto& injection = credential_.injection;
    const auto scheme = injection.scheme.empty() ? std::string() : injection.scheme + " ";
    return secrets_.token->expose([&](std::span<const std::byte> bytes) {
        return head.add(injection.header, scheme, base::as_view(bytes));
    });
}

/// Tokens that are bound to a key are nothing without a proof (RFC 9449 7).
bool Conversation::prove(net::OutboundHead& head, std::string_view verb) const {
    if (!secrets_.dpop_key) return true;
    return oauth::add_resource_proof(
               head, {.method = verb, .origin = origin_, .target = url_.target, .nonce = nonce_}, secrets_,
               call_.records.clock().now())
        .has_value();
}

bool Conversation::write(net::OutboundHead& head, std::string_view verb, const Message& message) const {
    head.begin(verb, url_.target, origin_);
    bool good = head.add("User-Agent", "claviger/" CLAVIGER_VERSION);
    if (verb == "POST")
        good = good && head.add("Content-Type", "application/json") &&
               head.add("Accept", "application/json, text/event-stream");
    if (!message.version.empty()) good = good && head.add("MCP-Protocol-Version", message.version);
    if (message.version == kModern) good = good && head.add("Mcp-Method", message.method);
    if (!message.session.empty()) good = good && head.add("Mcp-Session-Id", message.session);
    return good && inject(head) && prove(head, verb);
}

net::awaitable<Conversation::Sent> Conversation::send(std::string_view verb, const Message& message,
                                                      const std::string& body) {
    for (bool again = true;;) {
        net::OutboundHead head(call_.worker);
        if (!write(head, verb, message))
            co_return base::failure(base::ErrorKind::invalid_request, "request.invalid",
                                    "What the probe would send does not fit into a header.");
        auto sent = co_await call_.pool_of(call_.worker).send(origin_, head, body, options_);
        if (!sent) {
            base::log_error("probe.failed", sent.error());
            co_return sent;
        }
        const auto& received = (*sent)->head();
        const auto given = received.headers.find("DPoP-Nonce");
        if (!given || !secrets_.dpop_key) co_return sent;
        const bool wanted = received.status == 401 && nonce_ != *given;  // the proof once more, with this
        nonce_ = *given;
        if (!wanted || !again) co_return sent;
        again = false;
    }
}

net::awaitable<void> Conversation::read(net::Answer& answer, Reply& reply,
                                        std::chrono::steady_clock::time_point until) {
    const auto type = answer.head().headers.find("Content-Type").value_or("");
    const bool stream = is_media_type(type, "text/event-stream");
    net::SseSplitter splitter(kReadBytes);
    std::string text;
    while (reply.body_bytes < kReadBytes) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (left <= std::chrono::milliseconds::zero()) co_return;
        answer.idle_limit(left);
        const auto part = co_await answer.next();
        if (!part) co_return;
        if (part->empty()) {
            reply.complete = true;
            break;
        }
        reply.body_bytes += part->size();
        reply.beginning += part->substr(0, kShownBytes - reply.beginning.size());
        if (!stream) {
            text += *part;
            continue;
        }
        if (!splitter.feed(*part)) co_return;
        while (const auto event = splitter.next()) {
            if (!event->has_data) continue;
            reply.answer = answer_in(event->data, asked_);
            if (!reply.answer.is_null()) co_return;
        }
    }
    if (!stream && reply.complete) reply.answer = answer_in(text, asked_);
}

net::awaitable<Reply> Conversation::ask(Message message) {
    const auto until = std::chrono::steady_clock::now() + call_.settings.probe_timeout;
    const auto body = nlohmann::json{
        {"jsonrpc", "2.0"},
        {"id", ++asked_},
        {"method", message.method},
        {"params",
         message.params}}.dump();
    Reply reply;
    reply.method = message.method;
    const auto sent = co_await send("POST", message, body);
    if (!sent) {
        reply.failure = sent.error().code;
        co_return reply;
    }
    reply.head = (*sent)->head();
    co_await read(**sent, reply, until);
    co_return reply;
}

net::awaitable<void> Conversation::tell(Message message) {
    const auto body = nlohmann::json{{"jsonrpc", "2.0"}, {"method", message.method}}.dump();
    co_await send("POST", message, body);
}

net::awaitable<void> Conversation::end_session(Message message) {
    const std::string none;
    co_await send("DELETE", message, none);
}

/// Discovers, and where that shows no modern server, initializes; then asks for the tools, because some
/// servers let everybody come that far. The reply that decides.
net::awaitable<Reply> converse(Conversation& server, std::uint64_t& bytes) {
    auto discovered = co_await server.ask({.method = "server/discover",
                                           .params = modern_params(),
                                           .version = std::string(kModern),
                                           .session = {}});
    bytes += discovered.body_bytes;
    if (speaks_modern(discovered)) {
        auto listed = co_await server.ask({.method = "tools/list",
                                           .params = modern_params(),
                                           .version = std::string(kModern),
                                           .session = {}});
        bytes += listed.body_bytes;
        co_return listed;
    }
    auto opened = co_await server.ask(
        {.method = "initialize",
         .params = {{"protocolVersion", kLegacy},
                    {"capabilities", nlohmann::json::object()},
                    {"clientInfo", {{"name", "claviger-validate"}, {"version", CLAVIGER_VERSION}}}},
         .version = {},
         .session = {}});
    bytes += opened.body_bytes;
    std::string session;
    if (opened.head) session = opened.head->headers.find("Mcp-Session-Id").value_or("");
    const auto verdict = verdict_of(opened);
    auto decisive = std::move(opened);
    std::string version(kLegacy);
    if (verdict == Probe::Verdict::valid) {
        const auto* agreed = member(decisive.answer["result"], "protocolVersion");
        if (agreed != nullptr && agreed->is_string()) version = agreed->get<std::string>();
        co_await server.tell({"notifications/initialized", {}, version, session});
        decisive = co_await server.ask({"tools/list", nlohmann::json::object(), version, session});
        bytes += decisive.body_bytes;
    } else if (verdict == Probe::Verdict::unknown && verdict_of(discovered) != Probe::Verdict::unknown) {
        decisive = std::move(discovered);  // a modern server that refuses whom it does not know
    }
    if (!session.empty()) co_await server.end_session({{}, {}, version, session});
    co_return decisive;
}

}  // namespace

net::awaitable<Probe> probe(Call& call, const vault::Credential& credential,
                            const vault::SecretParts& secrets, net::PrivateAddresses private_addresses) {
    const auto url = policy::parse_server_url(credential.mcp_server_url);
    if (!url || !secrets.token) co_return Probe{.answer = {}, .failure = "internal"};
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
    Conversation server(call, credential, secrets, *url, options);
    Probe done;
    auto reply = co_await converse(server, done.response_bytes);
    call.pool_of(call.worker).retire(options.partition);
    done.method = reply.method;
    done.verdict = verdict_of(reply);
    done.failure = reply.failure;
    if (reply.head) done.answer = shown_answer(std::move(reply), secrets);
    co_return done;
}

}  // namespace claviger::admin::api
