#include "proxy/tool_call.h"

#include "base/log.h"
#include "policy/policy.h"
#include "proxy/cancellation.h"
#include "proxy/departure.h"
#include "proxy/handles.h"
#include "proxy/proof.h"
#include "proxy/redact.h"
#include "proxy/relay.h"
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
               {"reason", decision.reason()},
               {"considered", policy::told(decision.considered())}});
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
    if (is_tool_call && !call.server.may_be_used_for(call.message.name))
        return Refusal{{ErrorKind::denied, "credential.tool_not_allowed",
                        "The credential for this server may not be used for this tool.",
                        "Ask an administrator to allow the tool for the credential."},
                       true};
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
    explicit InFlight(ProxyCounters& counters) : counters_(counters) {
        counters_.in_flight.fetch_add(1, std::memory_order_relaxed);
    }
    ~InFlight() { counters_.in_flight.fetch_sub(1, std::memory_order_relaxed); }
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;
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

/// The same call as things stand now. On the heap, because it is seldom needed and frames of calls should be
/// small. Errors: the session's, and not_found "server.unknown".
base::Result<std::unique_ptr<Call>> anew(Lane& lane, const Call& call) {
    auto context = lane.contexts.find_again(*call.context);
    if (!context) return std::unexpected(std::move(context).error());
    const auto server = (*context)->servers.find(call.server.name);
    if (server == (*context)->servers.end())
        return base::failure(ErrorKind::not_found, "server.unknown",
                             "The session's agent declares no MCP server of this name.");
    return std::unique_ptr<Call>(new Call{.context = *context,
                                          .server = server->second,
                                          .request = call.request,
                                          .message = call.message,
                                          .era = call.era,
                                          .in_batch = call.in_batch,
                                          .renewed = call.renewed,
                                          .retried = call.retried,
                                          .proven = call.proven});
}

/// What carrying out a call came to.
struct Carried {
    Relayed relayed = {};
    Again again = Again::no;  // else nothing was answered yet
    std::string claims = {};  // as in TokenVerdict
    std::uint32_t redactions = 0;
};

RelayPlan plan_of(const Call& call, const LegacySession& session, Cancellation& cancellation) {
    // The stream of a GET may bring a tool list that was asked for before it.
    const bool lists_tools = call.message.method == "tools/list" || call.request.method == "GET";
    return {.context = *call.context,
            .server = call.server,
            .era = call.era,
            .method = call.request.method,
            .rpc_method = call.message.method,
            .asked = Asked(call.message),
            .due = due_to(call),
            .id = call.message.id,
            .filters_list = call.server.filters_tools && lists_tools,
            .in_batch = call.in_batch,
            .session_in = session.given,
            .upstream_session_in = session.upstream,
            .cancellation = cancellation};
}

net::awaitable<void> answer_error(const Call& call, const base::Error& error, net::ResponseWriter& writer) {
    const auto reply = error.code == "session.unknown"  // mcp.md 8.2
                           ? error_reply(call.message.id, 404, -32001, error.message)
                           : error_reply(call.message.id, error);
    co_await writer.send(reply);
}

/// Claviger stops: nothing was sent, or only what nobody waits for.
net::awaitable<Carried> not_begun(const Call& call, net::ResponseWriter& writer) {
    const base::Error stopping{ErrorKind::unavailable, "server.stopping", "Claviger is stopping.",
                               "Try again in a moment."};
    co_await answer_error(call, stopping, writer);
    co_return Carried{{.failure = is_endless(call) ? std::string_view() : stopping.code}};
}

bool may_begin(const Lane& lane, const Call& call) {
    const auto stopped = lane.calls.stopped();
    return stopped == CallsUnderWay::Stop::none ||
           (stopped == CallsUnderWay::Stop::streams && !is_endless(call));
}

/// The server gave no answer.
net::awaitable<Carried> unanswered(const Call& call, const base::Error& error,
                                   const Cancellation& cancellation, net::ResponseWriter& writer) {
    if (cancellation.stopping && cancellation.endless) co_return co_await not_begun(call, writer);
    auto reason = cancellation.reason(error);
    if (reason.code != error.code && !cancellation.endless)
        reason.hint = "The call may have been carried out; check before calling again.";
    const bool is_servers_fault = error.code != "upstream.cancelled" || reason.code == "upstream.timeout";
    if (is_servers_fault && !cancellation.stopping) base::log_error("upstream.failed", reason);
    if (!cancellation.client_gone) co_await answer_error(call, reason, writer);
    co_return Carried{{.failure = reason.code}};
}

/// Looks whether the server refused the token. Without a failure the answer is the agent's; with one the
/// agent was answered, unless the call goes out again.
net::awaitable<Carried> refused_token(Lane& lane, const Call& call, const Cancellation& cancellation,
                                      std::unique_ptr<net::Answer>& answer, Redactor& redactor,
                                      net::ResponseWriter& writer) {
    auto verdict = co_await judge_token(lane, token_use_of(call, cancellation.client_gone), answer, redactor);
    if (verdict.failure.empty()) co_return Carried{};
    Carried carried{{.status = answer->head().status, .failure = verdict.failure},
                    verdict.again,
                    std::move(verdict.claims)};
    if (verdict.refusal) carried.relayed.bytes = verdict.refusal->body.size();
    if (verdict.refusal && !cancellation.client_gone) co_await writer.send(*verdict.refusal);
    co_return carried;
}

/// The part after the intent is durable; gives what the outcome entry says.
net::awaitable<Carried> carry_out(Lane& lane, const Call& call, const ForServer& message,
                                  net::ResponseWriter& writer, Cancellation::Time started) {
    if (!may_begin(lane, call)) co_return co_await not_begun(call, writer);
    const vault::VersionCalls::One in_use(
        *call.server.calls, is_endless(call) ? std::optional(call.context->session->id) : std::nullopt);
    Departure departure(lane.worker);
    if (const auto ready = prepare(lane, call, message, departure); !ready) {
        co_await answer_error(call, ready.error(), writer);
        co_return Carried{{.failure = ready.error().code}};
    }
    Redactor redactor(std::shared_ptr<const SecretForms>(departure.token, &departure.token->forms));
    Cancellation cancellation(lane, call, writer, started);
    const auto& server = call.server;
    const net::SendOptions options{
        .partition = server.partition,
        .private_addresses = server.private_addresses,
        .identity = departure.certificate.get(),
        .head_timeout = lane.settings.head_timeout,
        .on_cancellable = [&](std::function<void()> cancel) { cancellation.use(std::move(cancel)); }};
    auto answer = co_await lane.pool.send(server.origin, departure.head, departure.body, options);
    if (!answer) co_return co_await unanswered(call, answer.error(), cancellation, writer);

    const auto& head = (*answer)->head();
    if (needs_proof(server)) lane.nonces.learn(server.origin, head.headers);
    Carried carried;
    if (may_tell_of_token(lane, server, head.status))
        carried = co_await refused_token(lane, call, cancellation, *answer, redactor, writer);
    if (carried.relayed.failure.empty()) {
        const auto plan = plan_of(call, departure.session, cancellation);
        carried.relayed = co_await relay(lane, **answer, redactor, writer, plan);
    }
    carried.redactions = redactor.hits();
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

/// Whether the token that the call would go out with must be renewed before.
bool needs_renewal(const Lane& lane, const Call& call) {
    return !call.renewed && is_granted(lane, call.server) && !lane.grants->usable(*call.server.credential);
}

/// Waits for a usable token and gives the call that can go out with it, or nothing and why not: the grant's
/// errors, and those of anew.
net::awaitable<std::unique_ptr<Call>> with_usable_token(Lane& lane, const Call& call,
                                                        std::optional<Refusal>& refusal) {
    const auto usable = co_await lane.grants->make_usable(lane.worker, call.server.credential->id);
    auto again =
        usable ? anew(lane, call) : base::Result<std::unique_ptr<Call>>(std::unexpected(usable.error()));
    if (!again) {
        refusal = Refusal{std::move(again).error()};
        co_return nullptr;
    }
    (*again)->renewed = true;
    co_return std::move(*again);
}

/// After a refusal that says how the call may go out once more: makes good what it was refused for, and runs
/// it as a use of its own. The refused one did nothing.
net::awaitable<void> run_again(Lane& lane, ProxyCounters& counters, const Call& call, const Carried& carried,
                               net::ResponseWriter& writer) {
    const bool with_nonce = carried.again == Again::with_nonce;
    base::Status replaced;
    if (!with_nonce)
        replaced = co_await lane.grants->replace_refused(lane.worker, call.server.credential->id,
                                                         call.server.credential->version, carried.claims);
    auto again =
        replaced ? anew(lane, call) : base::Result<std::unique_ptr<Call>>(std::unexpected(replaced.error()));
    if (!again) co_return co_await answer_error(call, again.error(), writer);
    (*again)->renewed = true;
    (with_nonce ? (*again)->proven : (*again)->retried) = true;
    co_await run_call(lane, counters, **again, writer);
}

net::awaitable<void> refuse(const Call& call, const Refusal& refusal, net::ResponseWriter& writer) {
    const auto reply = refusal_reply(call, refusal);
    co_await writer.send(reply);
}

/// The message as the server is to read it, or nothing and why not.
ForServer open_message(Lane& lane, const Call& call, std::optional<Refusal>& refusal) {
    const Handles handles(lane.records.keys(), *call.context, call.server, Asked(call.message));
    auto opened = open_handles(handles, call.message, call.request.body);
    if (opened) return std::move(*opened);
    refusal = Refusal{std::move(opened).error()};
    return {};
}

/// Makes the outcome's entry of the intent's, and hands it to the log. Not inlined: what it needs for that
/// would become part of the coroutine's frame.
[[gnu::noinline]] void conclude(Lane& lane, ProxyCounters& counters, const Call& call, vault::LogEntry& entry,
                                std::uint64_t intent, const Carried& carried,
                                std::chrono::steady_clock::time_point started) {
    entry.kind = vault::EntryKind::use_outcome;
    entry.intent = intent + 1;
    entry.status = static_cast<std::uint16_t>(carried.relayed.status);
    entry.reason = vault::reason_number(carried.relayed.failure);
    entry.response_bytes = carried.relayed.bytes;
    entry.redactions = carried.redactions;
    entry.duration_us = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started)
            .count());
    count(counters, entry, carried.relayed.failure);
    if (carried.redactions != 0)
        base::log(base::LogLevel::warning, "secret.redacted",
                  {{"session", call.context->session->id.text()},
                   {"server", call.server.name},
                   {"times", carried.redactions}});
    lane.entries.add({.entry = entry});  // the next group commit has it; nobody waits
}

}  // namespace

net::awaitable<void> run_call(Lane& lane, ProxyCounters& counters, const Call& call,
                              net::ResponseWriter& writer) {
    const auto started = std::chrono::steady_clock::now();
    const InFlight in_flight(counters);
    auto refusal = decide(call);
    if (!refusal && needs_renewal(lane, call)) {
        const auto renewed = co_await with_usable_token(lane, call, refusal);
        if (renewed) co_return co_await run_call(lane, counters, *renewed, writer);
    }
    const ForServer message = refusal ? ForServer{} : open_message(lane, call, refusal);

    const auto kind = refusal ? vault::EntryKind::deny : vault::EntryKind::use_intent;
    const auto verdict = refusal ? vault::Verdict::denied : vault::Verdict::allowed;
    auto entry = entry_of(lane, call, kind, verdict, refusal ? refusal->error.code : std::string_view());
    const auto intent = co_await note(lane, entry, call);
    if (!intent) {  // what cannot be noted does not happen
        counters.not_durable.fetch_add(1, std::memory_order_relaxed);
        co_return co_await answer_error(call, intent.error(), writer);
    }
    if (refusal) {
        counters.denied.fetch_add(1, std::memory_order_relaxed);
        co_return co_await refuse(call, *refusal, writer);
    }
    counters.allowed.fetch_add(1, std::memory_order_relaxed);

    const auto carried = co_await carry_out(lane, call, message, writer, started);
    conclude(lane, counters, call, entry, *intent, carried, started);
    if (carried.again != Again::no) co_await run_again(lane, counters, call, carried, writer);
}

}  // namespace claviger::proxy
