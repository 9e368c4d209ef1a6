#include "proxy/tool_call.h"

#include "base/log.h"
#include "policy/policy.h"
#include "proxy/handles.h"
#include "proxy/inject.h"
#include "proxy/redact.h"
#include "proxy/relay.h"
#include "proxy/session_ids.h"
#include "proxy/token_verdict.h"

#include <algorithm>
#include <chrono>

#include <arpa/inet.h>

namespace claviger::proxy {
namespace {

using base::ErrorKind;

/// Why a call does not happen: for the log, for the operator, and for the agent.
struct Refusal {
    base::Error error;
    bool hidden = false;         // answer as if the tool did not exist
    bool for_the_model = false;  // the tool exists but not now: a result the model can read
};

std::array<unsigned char, 16> address_bytes(const std::string& text) {
    std::array<unsigned char, 16> bytes{};
    if (text.contains(':')) {
        if (inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) bytes = {};
        return bytes;
    }
    std::array<unsigned char, 4> v4{};
    if (inet_pton(AF_INET, text.c_str(), v4.data()) == 1) {
        bytes[10] = bytes[11] = 0xff;
        std::ranges::copy(v4, bytes.begin() + 12);
    }
    return bytes;
}

/// What tools/call, prompts/get and resources/read are about, for the log.
std::string_view subject_of(const Message& message) {
    return message.name.empty() ? std::string_view(message.uri) : message.name;
}

/// A name the log may learn: short and printable. Anything else shows as its fingerprint.
bool may_be_learned(std::string_view name) {
    return !name.empty() && name.size() <= 128 &&
           std::ranges::all_of(name, [](char c) { return c > 0x20 && c < 0x7f; });
}

vault::LogEntry entry_of(Lane& lane, const Call& call, vault::EntryKind kind, vault::Verdict verdict,
                         std::string_view reason) {
    const auto& session = *call.context->session;
    vault::LogEntry entry;
    entry.kind = kind;
    entry.action = vault::Action::call;
    entry.verdict = verdict;
    entry.reason = vault::reason_number(reason);
    entry.actor = vault::ActorKind::session;
    entry.actor_id = session.id.raw;
    entry.workspace = session.workspace.raw;
    entry.environment = session.environment.raw;
    entry.agent = session.agent.id.raw;
    entry.session = session.id.raw;
    if (call.server.credential) {
        entry.vault = call.server.credential->vault.raw;
        entry.credential = call.server.credential->id.raw;
        entry.credential_version = call.server.credential->version;
    }
    entry.server = call.server.fingerprint;
    entry.method = lane.methods.of(call.message.method);
    if (const auto subject = subject_of(call.message); !subject.empty()) entry.tool = lane.tools.of(subject);
    entry.source = address_bytes(call.request.peer);
    entry.request_digest = lane.records.access_log().digest(call.request.body);
    entry.request_bytes = call.request.body.size();
    return entry;
}

/// Waits until the entry is on disk. `entry` and `call` must live until then.
net::awaitable<base::Result<std::uint64_t>> note(Lane& lane, const vault::LogEntry& entry, const Call& call) {
    std::array<vault::NamedFingerprint, 3> names{};
    names[0] = {entry.server, call.server.name};
    names[1] = {entry.method, call.message.method};
    const auto subject = subject_of(call.message);
    if (entry.verdict == vault::Verdict::allowed && may_be_learned(subject)) names[2] = {entry.tool, subject};
    if (!may_be_learned(call.message.method)) names[1] = {};
    return net::await_callback<base::Result<std::uint64_t>>(
        lane.worker, [&lane, &entry, names](vault::Appended appended) {
            lane.entries.add({entry, names, std::move(appended)});
        });
}

/// What the policy has against the call.
std::optional<Refusal> ask_policy(const Call& call) {
    const auto& context = *call.context;
    const bool is_tool_call = call.message.method == "tools/call";
    // A posted response and a GET or DELETE of the legacy transport follow from the server being permitted,
    // as a ping does.
    const bool transport = call.message.kind == MessageKind::response || call.request.method != "POST";
    const auto policy = context.policy();
    const bool looks_at_arguments =
        std::ranges::any_of(policy.rules, [](const base::ToolRule& rule) { return !rule.when.empty(); });
    const bool decided_by_tool = is_tool_call && !transport && !looks_at_arguments;
    if (decided_by_tool && call.server.allowed_tools.contains(call.message.name)) return std::nullopt;
    const std::string arguments = is_tool_call && call.message.has_arguments && looks_at_arguments
                                      ? arguments_text(call.request.body)
                                      : "";
    const policy::Question question{
        .environment = {context.environment_id, context.environment->name},
        .agent = {context.agent_id, context.session->agent.name},
        .server = call.server.name,
        .server_url = call.server.url,
        .method = transport ? std::string_view("ping") : call.message.method,
        .tool = is_tool_call ? std::string_view(call.message.name) : std::string_view(),
        .arguments = arguments};
    const auto decision = policy::decide(question, policy);
    if (decision.allowed()) {
        if (decided_by_tool) call.server.allowed_tools.add(call.message.name);
        return std::nullopt;
    }
    base::log(base::LogLevel::info, "call.denied",
              {{"session", context.session->id.text()},
               {"server", call.server.name},
               {"code", decision.code()},
               {"rule", decision.rule()},
               {"reason", decision.reason()}});
    return Refusal{{ErrorKind::denied, decision.code(), decision.reason(), std::string(decision.hint())},
                   decision.hidden(),
                   decision.effect() == policy::Effect::ask_human};
}

std::optional<Refusal> decide(const Call& call) {
    if (auto refusal = ask_policy(call)) return refusal;
    const bool is_tool_call = call.message.method == "tools/call";
    if (!call.server.credential) {
        base::log(base::LogLevel::warning, "call.without_credential",
                  {{"session", call.context->session->id.text()},
                   {"server", call.server.name},
                   {"code", call.server.missing.code},
                   {"explanation", call.server.explanation}});
        return Refusal{call.server.missing};
    }
    const auto& allowed_tools = call.server.credential->allowed_tools;
    if (is_tool_call && !allowed_tools.empty() &&
        std::ranges::find(allowed_tools, call.message.name) == allowed_tools.end())
        return Refusal{{ErrorKind::denied, "credential.tool_not_allowed",
                        "The credential for this server may not be used for this tool.",
                        "Ask an administrator to allow the tool for the credential."}};
    return std::nullopt;
}

net::Response refusal_reply(const Call& call, const Refusal& refusal) {
    const auto& id = call.message.id;
    if (!id.empty() && refusal.error.code == "policy.method_not_allowed")
        return error_reply(id, call.era == Era::modern ? 404 : 200, kMethodNotFound, "Method not found");
    if (!id.empty() && refusal.hidden && call.message.method == "tools/call")
        return error_reply(id, 200, kInvalidParams, "Unknown tool: " + call.message.name);
    if (refusal.error.code.ends_with(".unknown"))  // a handle that is not this session's
        return error_reply(id, id.empty() ? 400 : 200, kInvalidParams, refusal.error.message,
                           refusal.error.code, refusal.error.hint);
    if (!id.empty() && refusal.for_the_model)
        return refused_result(
            id, call.era,
            refusal.error.message + (refusal.error.hint.empty() ? "" : " " + refusal.error.hint));
    return error_reply(id, refusal.error);
}

Due due_to(const Call& call) {
    if (call.request.method == "GET") return Due::stream;
    return call.message.id.empty() ? Due::nothing : Due::response;
}

/// Runs when it goes out of scope, so that a call is counted down whichever way it ends.
struct InFlight {
    InFlight(const Lane& lane, ProxyCounters& counters)
        : of_worker_(lane.entries.calls()), counters_(counters) {
        ++*of_worker_;
        counters_.in_flight.fetch_add(1, std::memory_order_relaxed);
    }
    ~InFlight() {
        --*of_worker_;
        counters_.in_flight.fetch_sub(1, std::memory_order_relaxed);
    }
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;
    const std::shared_ptr<std::size_t> of_worker_;
    ProxyCounters& counters_;
};

TokenUse token_use_of(const Call& call, const bool& client_gone) {
    const auto subject = subject_of(call.message);
    return {.server = call.server,
            .id = call.message.id,
            .operation = subject.empty() ? std::string_view(call.message.method) : subject,
            .retried = call.retried,
            .proven = call.proven,
            .client_gone = client_gone};
}

/// The same call as things stand now. Errors: the session's, and not_found "server.unknown".
base::Result<Call> anew(Lane& lane, const Call& call) {
    auto context = lane.contexts.find_again(*call.context);
    if (!context) return std::unexpected(std::move(context).error());
    const auto server = (*context)->servers.find(call.server.name);
    if (server == (*context)->servers.end())
        return base::failure(ErrorKind::not_found, "server.unknown",
                             "The session's agent declares no MCP server of this name.");
    return Call{.context = *context,
                .server = server->second,
                .request = call.request,
                .message = call.message,
                .era = call.era,
                .in_batch = call.in_batch,
                .renewed = call.renewed,
                .retried = call.retried,
                .proven = call.proven};
}

/// What carrying out a call came to.
struct Carried {
    Relayed relayed = {};
    Again again = Again::no;  // else nothing was answered yet
    std::string claims = {};  // as in TokenVerdict
};

/// The agent's Mcp-Session-Id and what it stands for; both empty when it named none.
struct LegacySession {
    std::string given, upstream;
    std::optional<std::string> for_server() const {
        return given.empty() ? std::nullopt : std::optional(upstream);
    }
};

/// Nothing when the agent named a session that is not its own.
std::optional<LegacySession> session_of(Lane& lane, const Call& call) {
    const auto given = call.request.headers.find("Mcp-Session-Id");
    if (call.era != Era::legacy || !given) return LegacySession{};
    auto opened = open_session_id(lane.records.keys(), *call.context, call.server, *given);
    if (!opened) return std::nullopt;
    return LegacySession{std::string(*given), std::move(opened->upstream_id)};
}

/// The request with the secret in it. Errors: those of write_head and add_proof; invalid_request
/// "request.invalid".
base::Status write_request(Lane& lane, const Call& call, const ForServer& message,
                           const std::optional<std::string>& session, const crypto::Secret& secret,
                           net::OutboundHead& head) {
    // To the server a task has another id, and Mcp-Name must repeat that.
    const bool renamed =
        call.era == Era::modern && call.message.method.starts_with("tasks/") && message.task_id;
    auto written =
        write_head(head, call.request, call.era, call.server, session, secret,
                   mirrors_name(call.message) && !renamed ? MirroredName::travels : MirroredName::stays);
    if (written && needs_proof(call.server))
        written = add_proof(head, call.request.method, call.server, lane.records, lane.nonces);
    if (written && renamed && !head.add("Mcp-Name", encode_mirrored(*message.task_id)))
        return base::failure(ErrorKind::invalid_request, "request.invalid",
                             "The task id cannot be sent on in a header.");
    return written;
}

/// Only a POST's body was read and decided on.
std::string_view body_of(const Call& call, const ForServer& message) {
    if (call.request.method != "POST") return {};
    return message.body ? *message.body : call.request.body;
}

/// The part after the intent is durable; gives what the outcome entry says.
net::awaitable<Carried> carry_out(Lane& lane, const Call& call, const ForServer& message,
                                  std::uint32_t& redactions, net::ResponseWriter& writer) {
    const auto& server = call.server;
    const auto fail = [&](const base::Error& error) { return error_reply(call.message.id, error); };

    // Nobody waits for the end of these, so they must not keep a server from stopping.
    const bool endless = call.request.method == "GET" || call.message.method == kListen;
    const base::Error stopped{ErrorKind::unavailable, "server.stopping", "Claviger is stopping.",
                              "Try again in a moment."};
    if (endless && lane.streams.ended()) {
        co_await writer.send(fail(stopped));
        co_return Carried{};
    }
    const auto session = session_of(lane, call);
    if (!session) {
        co_await writer.send(error_reply(call.message.id, 404, -32001, "Session not found"));
        co_return Carried{{.failure = "session.unknown"}};
    }
    // The decision is as old as the wait for the disk: what was revoked meanwhile is not used.
    if (const auto stands = still_allowed(lane, *call.context, server); !stands) {
        co_await writer.send(fail(stands.error()));
        co_return Carried{{.failure = stands.error().code}};
    }
    const vault::VersionCalls::One in_use(*server.calls,
                                          endless ? std::optional(call.context->session->id) : std::nullopt);
    auto secret = lane.records.open_token(server.sealed);
    if (!secret) {
        base::log_error("credential.refused", secret.error());
        co_await writer.send(fail(secret.error()));
        co_return Carried{{.failure = secret.error().code}};
    }
    Redactor redactor(*secret);
    net::OutboundHead head(lane.worker);
    const auto written = write_request(lane, call, message, session->for_server(), *secret, head);
    if (!written) {
        co_await writer.send(fail(written.error()));
        co_return Carried{{.failure = written.error().code}};
    }
    const auto certificate = certificate_for(server, lane.records);
    if (!certificate) {
        co_await writer.send(fail(certificate.error()));
        co_return Carried{{.failure = certificate.error().code}};
    }
    {
        const auto wiped = std::move(*secret);
    }  // not needed any longer

    // Modern: the client closing its stream is the cancel signal. Legacy: only GET streams end with their
    // client (mcp.md 8.2).
    const bool outlives_client = call.era == Era::legacy && call.request.method == "POST";
    bool client_gone = false, stopping = false;
    std::function<void()> cancel;
    std::optional<OpenStreams::Entry> open_stream;
    if (endless)
        open_stream.emplace(lane.streams, OpenStreams::Stream{.end = [&] {
                                stopping = true;
                                if (cancel) cancel();
                            }});
    writer.on_client_gone([&] {
        client_gone = true;
        if (!outlives_client && cancel) cancel();
    });
    net::SendOptions options{
        .partition = server.partition,
        .private_addresses = server.private_addresses,
        .identity = certificate->get(),
        .head_timeout = lane.settings.head_timeout,
        .on_cancellable = [&](std::function<void()> action) { cancel = std::move(action); }};
    const auto body = body_of(call, message);
    auto answer = co_await lane.pool.send(server.origin, head, body, options);
    if (answer && needs_proof(server)) lane.nonces.learn(server.origin, (*answer)->head().headers);

    Carried carried;
    TokenVerdict verdict;
    if (answer && may_tell_of_token(lane, server, (*answer)->head().status))
        verdict = co_await judge_token(lane, token_use_of(call, client_gone), *answer, redactor);
    if (!answer && stopping) {
        co_await writer.send(fail(stopped));
    } else if (!answer) {
        base::log_error("upstream.failed", answer.error());
        carried.relayed.failure = answer.error().code;
        if (!client_gone) co_await writer.send(fail(answer.error()));
    } else if (!verdict.failure.empty()) {
        carried = {{.status = (*answer)->head().status, .failure = verdict.failure},
                   verdict.again,
                   std::move(verdict.claims)};
        if (verdict.refusal) carried.relayed.bytes = verdict.refusal->body.size();
        if (verdict.refusal && !client_gone) co_await writer.send(*verdict.refusal);
    } else {
        // The stream of a GET may bring a tool list that was asked for before it.
        const bool lists_tools = call.message.method == "tools/list" || call.request.method == "GET";
        const RelayPlan plan{.context = *call.context,
                             .server = server,
                             .era = call.era,
                             .method = call.request.method,
                             .rpc_method = call.message.method,
                             .due = due_to(call),
                             .id = call.message.id,
                             .filters_list = server.filters_tools && lists_tools,
                             .outlives_client = outlives_client,
                             .in_batch = call.in_batch,
                             .session_in = session->given,
                             .upstream_session_in = session->upstream,
                             .client_gone = client_gone,
                             .stopping = stopping};
        carried.relayed = co_await relay(lane, **answer, redactor, writer, plan);
    }
    writer.on_client_gone(nullptr);
    redactions = redactor.hits();
    co_return carried;
}

void count(ProxyCounters& counters, const vault::LogEntry& outcome, std::string_view failure) {
    const auto add = [](std::atomic<std::uint64_t>& counter, std::uint64_t by) {
        counter.fetch_add(by, std::memory_order_relaxed);
    };
    add(counters.request_bytes, outcome.request_bytes);
    add(counters.response_bytes, outcome.response_bytes);
    add(counters.duration_us, outcome.duration_us);
    if (outcome.redactions != 0) add(counters.redactions, outcome.redactions);
    if (failure == "upstream.unauthorized" || failure == "upstream.forbidden" ||
        failure == "upstream.insufficient_scope") {
        add(counters.upstream_refusals, 1);
    } else if (failure.starts_with("upstream.") || failure.starts_with("network.")) {
        add(counters.upstream_failures, 1);
    }
}

}  // namespace

net::awaitable<void> run_call(Lane& lane, ProxyCounters& counters, const Call& call,
                              net::ResponseWriter& writer) {
    const auto started = std::chrono::steady_clock::now();
    const InFlight in_flight(lane, counters);
    auto refusal = decide(call);
    if (!refusal && !call.renewed && is_granted(lane, call.server) &&
        !lane.grants->usable(*call.server.credential)) {
        const auto usable = co_await lane.grants->make_usable(lane.worker, call.server.credential->id);
        if (usable) {
            auto again = anew(lane, call);
            if (again) {
                again->renewed = true;
                co_return co_await run_call(lane, counters, *again, writer);
            }
            refusal = Refusal{std::move(again).error()};
        } else {
            refusal = Refusal{usable.error()};
        }
    }
    ForServer message;
    if (!refusal) {
        const Handles handles(lane.records.keys(), *call.context, call.server);
        auto opened = open_handles(handles, call.message, call.request.body);
        if (opened) {
            message = std::move(*opened);
        } else {
            refusal = Refusal{std::move(opened).error()};
        }
    }

    const auto kind = refusal ? vault::EntryKind::deny : vault::EntryKind::use_intent;
    const auto verdict = refusal ? vault::Verdict::denied : vault::Verdict::allowed;
    auto outcome = entry_of(lane, call, kind, verdict, refusal ? refusal->error.code : std::string_view());
    const auto intent = co_await note(lane, outcome, call);
    if (!intent) {  // what cannot be noted does not happen
        counters.not_durable.fetch_add(1, std::memory_order_relaxed);
        const auto reply = error_reply(call.message.id, intent.error());
        co_await writer.send(reply);
        co_return;
    }
    if (refusal) {
        counters.denied.fetch_add(1, std::memory_order_relaxed);
        const auto reply = refusal_reply(call, *refusal);
        co_await writer.send(reply);
        co_return;
    }
    counters.allowed.fetch_add(1, std::memory_order_relaxed);

    std::uint32_t redactions = 0;
    const auto carried = co_await carry_out(lane, call, message, redactions, writer);
    const auto& relayed = carried.relayed;

    outcome.kind = vault::EntryKind::use_outcome;
    outcome.intent = *intent + 1;
    outcome.status = static_cast<std::uint16_t>(relayed.status);
    outcome.reason = vault::reason_number(relayed.failure);
    outcome.response_bytes = relayed.bytes;
    outcome.redactions = redactions;
    outcome.duration_us = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started)
            .count());
    count(counters, outcome, relayed.failure);
    if (redactions != 0)
        base::log(base::LogLevel::warning, "secret.redacted",
                  {{"session", call.context->session->id.text()},
                   {"server", call.server.name},
                   {"times", redactions}});
    lane.entries.add({.entry = outcome});  // the next group commit has it; nobody waits
    if (carried.again == Again::no) co_return;

    // A refused call did nothing, so it may go out once more, as a use of its own.
    const bool with_nonce = carried.again == Again::with_nonce;
    base::Status replaced;
    if (!with_nonce)
        replaced = co_await lane.grants->replace_refused(lane.worker, call.server.credential->id,
                                                         call.server.credential->version, carried.claims);
    auto again = replaced ? anew(lane, call) : base::Result<Call>(std::unexpected(replaced.error()));
    if (again) {
        again->renewed = true;
        (with_nonce ? again->proven : again->retried) = true;
        co_return co_await run_call(lane, counters, *again, writer);
    }
    const auto reply = error_reply(call.message.id, again.error());
    co_await writer.send(reply);
}

}  // namespace claviger::proxy
