#include "proxy/relay.h"

#include "net/sse.h"
#include "policy/policy.h"
#include "proxy/json_rpc.h"
#include "proxy/json_span.h"
#include "proxy/media_type.h"
#include "proxy/session_ids.h"
#include "proxy/token_verdict.h"
#include "proxy/tool_list.h"

#include <algorithm>
#include <utility>

namespace claviger::proxy {
namespace {

constexpr std::size_t kGatherBytes = 64 * 1024;   // answers up to this size go out in one write
constexpr std::uint64_t kFilteredTtlMs = 30'000;  // how long a client may keep a filtered tool list
constexpr std::size_t kErrorDepth = 64;
constexpr std::chrono::milliseconds kDrain{1'000};

bool is_message(std::string_view body) {
    return valid_json(body, kErrorDepth) && member(body, "jsonrpc").has_value();
}

/// Cheap, because a long answer passes as it comes: what is wrong further on is for the client to find.
bool begins_message(std::string_view body) {
    const auto first = body.find_first_not_of(" \t\r\n");
    return first != body.npos && (body[first] == '{' || body[first] == '[');
}

constexpr std::size_t kShortText = 256;

bool names_session(std::string_view text) {
    constexpr std::string_view word = "session";
    const auto same = [](char a, char b) { return (a | 0x20) == b; };
    return std::ranges::search(text, word, same).begin() != text.end();
}

/// How servers say with 400 that they do not know a session (mcp.md 11.2): as an error that answers no
/// message, or in a few words.
bool refuses_session(std::string_view body, std::string_view id) {
    if (!is_message(body)) return body.size() <= kShortText && names_session(body);
    const auto error = member(body, "error");
    const auto message = error ? member(*error, "message") : std::nullopt;
    return message && (id.empty() || response_id(body) != id) && names_session(*message);
}

/// Statuses that mean something to MCP clients and may pass (mcp.md 8.2); every other failure is wrapped.
bool passes(unsigned status) {
    for (const unsigned known : {200U, 202U, 204U, 400U, 404U, 405U, 406U, 415U})
        if (status == known) return true;
    return false;
}

void copy_headers(const net::ResponseHead& head, Redactor& redactor, net::Headers& out) {
    for (std::size_t i = 0; i < head.headers.size(); ++i) {
        const auto field = head.headers.at(i);
        bool passes_on =
            field.name.size() > 10 && net::equal_ignoring_case(field.name.substr(0, 10), "RateLimit-");
        for (const auto* name :
             {"Content-Type", "Cache-Control", "X-Accel-Buffering", "Retry-After", "Allow"})
            passes_on = passes_on || net::equal_ignoring_case(field.name, name);
        if (!passes_on) continue;
        std::string value(field.value);
        redactor.redact(value);
        out.add(field.name, value);
    }
}

void map_session_id(Lane& lane, const net::ResponseHead& head, const RelayPlan& plan,
                    std::string_view revision, net::Headers& out) {
    if (plan.era == Era::modern) return;
    const auto upstream_id = head.headers.find("Mcp-Session-Id");
    if (!upstream_id || upstream_id->empty()) return;
    if (!plan.session_in.empty() && *upstream_id == plan.upstream_session_in) {
        out.add("Mcp-Session-Id", plan.session_in);
    } else {
        out.add("Mcp-Session-Id",
                seal_session_id(lane.records.keys(), plan.context, plan.server, *upstream_id, revision));
    }
}

/// What the server's answer to an initialize says the two speak from now on.
std::string revision_of(std::string_view message) {
    const auto result = valid_json(message, kErrorDepth) ? member(message, "result") : std::nullopt;
    const auto revision = result ? member(*result, "protocolVersion") : std::nullopt;
    return revision ? string_value(*revision).value_or("") : "";
}

/// How a server ends a subscription in good order (mcp.md 4.5).
std::string listen_result(std::string_view id) {
    return R"(event: message
data: {"jsonrpc":"2.0","id":)" +
           std::string(id) +
           R"(,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":)" +
           std::string(id) + "}}}\n\n";
}

std::string error_event(std::string_view id, const base::Error& error) {
    const auto wire = wire_of(error);
    return "event: message\ndata: " + error_body(id, wire.code, error.message, error.code, error.hint) +
           "\n\n";
}

/// The event again, with other data. Line ends in the data become lines of their own (WHATWG HTML 9.2.6).
std::string event_of(const net::SseEvent& event, std::string_view data) {
    std::string out = "event: message\n";
    if (event.has_id) out += "id: " + std::string(event.id) + "\n";
    if (event.retry_milliseconds) out += "retry: " + std::to_string(*event.retry_milliseconds) + "\n";
    out += "data: ";
    for (const char c : data) {
        out += c;
        if (c == '\n') out += "data: ";
    }
    return out + "\n\n";
}

base::Error broken_stream(const base::Error& cause) {
    base::Error error = cause;
    error.hint = "The call may have been carried out; check before calling again.";
    return error;
}

class Relay {
public:
    Relay(Lane& lane, net::Answer& answer, Redactor& redactor, net::ResponseWriter& writer,
          const RelayPlan& plan)
        : lane_(lane),
          answer_(answer),
          redactor_(redactor),
          writer_(writer),
          plan_(plan),
          type_(media_type(answer.head())),
          events_(type_ == MediaType::event_stream),
          handles_({lane.records.keys(), plan.context, plan.server, plan.asked},
                   events_ ? HandleStream::Body::events : HandleStream::Body::json) {}

    /// Answers the agent, in the one way that suits the head.
    net::awaitable<void> pass_on() {
        const auto& head = answer_.head();
        relayed_.status = head.status;
        copy_headers(head, redactor_, headers_);
        if (const auto refusal = refused(head)) return fail(*refusal);
        answer_.idle_limit(may_be_silent(head) ? std::chrono::milliseconds(0) : lane_.settings.stream_idle);
        // The session id of an initialize waits for the revision that comes in the body.
        if (!opens_session()) map_session_id(lane_, head, plan_, {}, headers_);
        if (head.status >= 400) return error_answer();
        if (plan_.due == Due::nothing) return acknowledged();
        if (!events_) return json_answer();
        return plan_.filters_list || plan_.in_batch ? filtered_events() : events();
    }

    const Relayed& relayed() const { return relayed_; }

private:
    bool opens_session() const { return plan_.rpc_method == "initialize" && plan_.due == Due::response; }

    /// Streams that only tell of what happens: for hours it may be nothing.
    bool may_be_silent(const net::ResponseHead& head) const {
        return events_ && head.status == 200 && plan_.cancellation.endless;
    }

    /// Answers that never reach the agent, whatever is in them.
    std::optional<base::Error> refused(const net::ResponseHead& head) const {
        using base::ErrorKind;
        if (head.status >= 300 && head.status < 400)
            return base::Error{ErrorKind::unavailable, "upstream.redirect",
                               "The server answered with a redirect, which is not followed.",
                               "An administrator has to declare the server's final URL."};
        if (!passes(head.status) && head.status != 429)
            return base::Error{ErrorKind::unavailable, "upstream.failed",
                               "The server failed with HTTP status " + std::to_string(head.status) + ".",
                               "Try again later."};
        const auto encoding = head.headers.find("Content-Encoding");
        if (encoding && !net::equal_ignoring_case(*encoding, "identity"))
            return base::Error{ErrorKind::unavailable, "upstream.invalid",
                               "The server sent a compressed answer although none was asked for."};
        const auto session = head.headers.find("Mcp-Session-Id");
        if (plan_.era == Era::legacy && session && !session->empty() && !valid_session_id(*session))
            return base::Error{ErrorKind::unavailable, "upstream.invalid",
                               "The server named a session in a way that cannot be passed on."};
        if (head.status >= 400 || plan_.due == Due::nothing) return std::nullopt;
        if (plan_.due == Due::stream && (head.status != 200 || !events_))
            return base::Error{ErrorKind::unavailable, "upstream.invalid",
                               "The server did not answer with an event stream."};
        if (head.status != 200 || type_ == MediaType::other)
            return base::Error{ErrorKind::unavailable, "upstream.invalid",
                               "The server answered the call with neither JSON nor an event stream in UTF-8.",
                               "The call may have been carried out; check before calling again."};
        return std::nullopt;
    }

    net::awaitable<void> send(net::Response response) {
        relayed_.bytes += response.body.size();
        if (heard()) co_await writer_.send(response);
    }

    net::awaitable<void> fail(const base::Error& error) {
        relayed_.failure = error.code;
        auto response = error_reply(plan_.id, error);
        if (const auto wait = headers_.find("Retry-After")) response.headers.add("Retry-After", *wait);
        return send(std::move(response));
    }

    /// An error that says nothing in MCP's terms: its status, its Allow and Retry-After, and none of its
    /// text.
    net::awaitable<void> wrapped() {
        net::Response response =
            error_reply(plan_.id, relayed_.status, kUpstreamFailed,
                        "The server answered with HTTP status " + std::to_string(relayed_.status) + ".",
                        "upstream.failed");
        for (const auto* name : {"Allow", "Retry-After"})
            if (const auto value = headers_.find(name)) response.headers.add(name, *value);
        relayed_.failure = "upstream.failed";
        return send(std::move(response));
    }

    /// However the server said it, there is one way to tell a client to initialize again (mcp.md 5).
    net::awaitable<void> session_lost() {
        relayed_.failure = "session.unknown";
        return send(error_reply(plan_.id, 404, -32001, "Session not found"));
    }

    net::awaitable<void> error_answer() {
        net::Response response;
        response.status = relayed_.status;
        plan_.cancellation.limit(lane_.settings.stream_idle);  // of a GET, too: an error is no stream
        const bool in_session = plan_.era == Era::legacy && !plan_.session_in.empty();
        const bool may_refuse_session = in_session && relayed_.status == 400;
        while (may_refuse_session || type_ == MediaType::json) {
            const auto part = co_await answer_.next();
            if (!part) {
                const auto why = plan_.cancellation.reason(part.error());
                if (why.code != part.error().code) co_return co_await fail(broken_stream(why));
            }
            if (!part || part->empty() || response.body.size() + part->size() > kGatherBytes) {
                if (!part || !part->empty()) response.body.clear();  // not a whole message
                break;
            }
            response.body += *part;
        }
        const bool message = type_ == MediaType::json && is_message(response.body);
        if ((may_refuse_session && refuses_session(response.body, plan_.id)) ||
            (in_session && relayed_.status == 404 && !message)) {
            co_await session_lost();
            co_return;
        }
        if (!message) {
            co_await wrapped();
            co_return;
        }
        redactor_.redact(response.body);
        response.headers = std::move(headers_);
        co_await send(std::move(response));
    }

    /// To a message that asks for nothing goes the status, and nothing of a body.
    net::awaitable<void> acknowledged() {
        net::Response response;
        response.status = relayed_.status == 200 && plan_.method == "POST" ? 202 : relayed_.status;
        if (const auto session = headers_.find("Mcp-Session-Id"))
            response.headers.add("Mcp-Session-Id", *session);
        co_await send(std::move(response));
        if (events_) co_return;
        answer_.idle_limit(kDrain);
        plan_.cancellation.limit(kDrain);  // a body read to its end leaves a connection that can serve again
        for (std::size_t read = 0; read <= kGatherBytes;) {
            const auto part = co_await answer_.next();
            if (!part || part->empty()) co_return;
            read += part->size();
        }
    }

    /// Short answers go out in one write; what is to be filtered must be read to its end first.
    net::awaitable<void> json_answer() {
        net::Response response;
        const std::size_t most = plan_.filters_list ? lane_.settings.list_bytes : kGatherBytes;
        bool ended = false;
        while (!ended && response.body.size() <= most) {
            const auto part = co_await answer_.next();
            if (!part) {
                co_await fail(broken_stream(plan_.cancellation.reason(part.error())));
                co_return;
            }
            response.body += *part;
            ended = part->empty() || answer_.ended();
        }
        if (!begins_message(response.body)) {
            co_await fail(
                broken_stream({base::ErrorKind::unavailable, "upstream.invalid",
                               "The server answered the call with an empty body, or with something else than "
                               "the JSON it declared."}));
            co_return;
        }
        if (plan_.filters_list) {
            auto filtered = filtered_list(response.body, ended);
            if (!filtered) {
                co_await fail(filtered.error());
                co_return;
            }
            response.body = std::move(*filtered);
        } else if (opens_session()) {
            map_session_id(lane_, answer_.head(), plan_, revision_of(response.body), headers_);
        }
        if (!ended) {
            co_await streamed(response.body);
        } else if (const auto sealed = handles_.pass_whole(response.body); !sealed) {
            co_await fail(broken_stream(sealed.error()));
        } else {
            response.body = redactor_.finish(*sealed);
            response.status = relayed_.status;
            response.headers = std::move(headers_);
            relayed_.bytes += response.body.size();
            if (heard()) co_await writer_.send(response);
        }
    }

    base::Result<std::string> filtered_list(std::string_view body, bool whole) const {
        if (whole) return filter(body);
        return base::failure(base::ErrorKind::unavailable, "upstream.invalid",
                             "The server's tool list is too long to be checked.");
    }

    /// A long answer: its beginning is `read` already, the rest passes as it comes.
    net::awaitable<void> streamed(std::string_view read) {
        begin();  // sealed handles are longer than their texts: how long the body is will show at its end
        auto part = handles_.pass(read);
        for (bool end = false;;) {
            if (!part) {
                relayed_.failure = part.error().code;
                writer_.abort();  // a body that was begun and cannot be completed
                co_return;
            }
            const bool go_on =
                co_await (end ? emit_last(redactor_.finish(*part)) : emit(redactor_.pass(*part)));
            if (!go_on || end) co_return;
            part = unless_ended(co_await answer_.next());
            end = part && (part->empty() || answer_.ended());
            if (part) part = handles_.pass(*part);
        }
    }

    /// Its head goes out with the first bytes.
    void begin() { note(writer_.start(relayed_.status, headers_, std::nullopt)); }

    void note(const base::Status& written) {
        if (!written) plan_.cancellation.lose_client();
    }
    bool heard() const { return !plan_.cancellation.client_gone; }

    /// Writes to the agent unless it is gone; says whether there is still a reason to read on.
    net::awaitable<bool> emit(std::string_view bytes) {
        relayed_.bytes += bytes.size();
        if (heard() && !bytes.empty()) {
            const auto written = co_await writer_.write(bytes);
            note(written);
        }
        if (heard()) co_return true;
        unheard_ += bytes.size();
        const bool go_on = plan_.cancellation.outlives_client && unheard_ <= lane_.settings.abandoned_bytes;
        if (!go_on) relayed_.failure = "client.gone";
        co_return go_on;
    }

    /// The same, and ends the answer. That nobody heard an end without bytes changes nothing.
    net::awaitable<bool> emit_last(std::string_view bytes) {
        relayed_.bytes += bytes.size();
        if (heard()) {
            const auto written = co_await writer_.finish(bytes);
            note(written);
        }
        if (!bytes.empty() && !heard() && !plan_.cancellation.outlives_client)
            relayed_.failure = "client.gone";
        co_return false;
    }

    /// What takes long may outlast what allowed it: nothing that comes after a revocation passes, and what
    /// was cut off says why.
    base::Result<std::string_view> unless_ended(base::Result<std::string_view> part) const {
        if (!part) return std::unexpected(plan_.cancellation.reason(part.error()));
        if (part->empty()) return part;
        if (auto allowed = plan_.cancellation.stands(); !allowed)
            return std::unexpected(std::move(allowed).error());
        return part;
    }

    /// Reads the stream of an initialize up to its answer, whose revision goes into the session id.
    net::awaitable<void> read_revision() {
        net::SseSplitter splitter(kGatherBytes);
        std::string revision;
        bool answered = false;
        while (!answered && begun_.size() < kGatherBytes) {
            auto part = co_await answer_.next();
            if (!part || part->empty()) {
                after_begun_ = std::move(part);
                break;
            }
            begun_ += *part;
            if (const auto fed = splitter.feed(*part); !fed) break;
            while (const auto event = splitter.next()) {
                if (!event->has_data || response_id(event->data) != plan_.id) continue;
                answered = true;
                revision = revision_of(event->data);
            }
        }
        map_session_id(lane_, answer_.head(), plan_, revision, headers_);
    }

    /// The next bytes of the stream: first what was read of it before its head went out.
    net::awaitable<base::Result<std::string_view>> next_part() {
        if (!begun_.empty()) {
            read_ = std::exchange(begun_, {});
            co_return std::string_view(read_);
        }
        if (after_begun_) co_return *std::exchange(after_begun_, std::nullopt);
        co_return co_await answer_.next();
    }

    /// Whether next_part() would wait, and the agent should see meanwhile that the stream has begun.
    bool waits() const { return begun_.empty() && !after_begun_ && !answer_.ready(); }
    bool all_read() const { return begun_.empty() && !after_begun_ && answer_.ended(); }

    net::awaitable<void> events() {
        if (opens_session()) co_await read_revision();
        begin();
        if (waits()) {
            const auto written = co_await writer_.write({});
            note(written);
        }
        net::SseWatcher watcher(plan_.id);
        std::optional<base::Error> broken;
        for (bool end = false; !end;) {
            auto part = unless_ended(co_await next_part());
            end = part && (part->empty() || all_read());
            if (part) part = handles_.pass(*part);
            if (!part) {
                broken = part.error();
                break;
            }
            const auto bytes = end ? redactor_.finish(*part) : redactor_.pass(*part);
            watcher.feed(bytes);
            const bool complete = end && !lacks_response(watcher);
            const bool go_on = co_await (complete ? emit_last(bytes) : emit(bytes));
            if (!go_on) co_return;
        }
        if (broken && !ends_in_order()) relayed_.failure = broken->code;
        co_await emit_last(lacks_response(watcher) ? missing_response(broken, watcher.between_events()) : "");
    }

    /// Whether the agent comes back for the rest: a legacy client that holds an event id, and the id of the
    /// session without which that event id goes nowhere. Everybody else would wait for ever.
    bool comes_back(bool holds_event_id) const {
        return plan_.era == Era::legacy && holds_event_id &&
               (!plan_.session_in.empty() || headers_.find("Mcp-Session-Id"));
    }

    /// A stopping server takes nothing from those who wait for nothing.
    bool ends_in_order() const { return plan_.cancellation.stopping && plan_.cancellation.endless; }

    bool lacks_response(const net::SseWatcher& watcher) const {
        return plan_.due == Due::response && !watcher.answered() && !comes_back(watcher.resumable());
    }

    std::string missing_response(const std::optional<base::Error>& broken, bool between_events) {
        const base::Error closed{base::ErrorKind::unavailable, "upstream.closed",
                                 "The server ended the stream without answering the call."};
        const auto error = broken_stream(broken ? *broken : closed);
        const bool ends_here = ends_in_order() && plan_.rpc_method == kListen;
        relayed_.failure = ends_here ? std::string_view() : error.code;
        return (between_events ? "" : "\n\n") +
               (ends_here ? listen_result(plan_.id) : error_event(plan_.id, error));
    }

    net::awaitable<void> filtered_events() {
        begin();
        if (waits()) {
            const auto written = co_await writer_.write({});
            note(written);
        }
        net::SseSplitter splitter(lane_.settings.list_bytes);
        bool answered = false, resumable = false;
        std::optional<base::Error> broken;
        while (!broken) {
            const auto part = unless_ended(co_await next_part());
            if (!part) {
                broken = part.error();
                break;
            }
            if (part->empty()) break;
            const auto fed = splitter.feed(*part);
            if (!fed) broken = fed.error();
            while (const auto event = splitter.next()) {
                if (event->has_id && !plan_.in_batch) resumable = !event->id.empty();
                auto out = plan_.in_batch    ? batched_event(*event, answered)
                           : event->has_data ? filtered_event(*event, answered)
                                             : std::string(event->raw);
                const auto sealed = handles_.pass(out);
                if (!sealed) {
                    broken = sealed.error();
                    break;
                }
                out = *sealed;
                redactor_.redact(out);
                const bool go_on = co_await emit(out);
                if (!go_on) co_return;
            }
        }
        if (broken && !ends_in_order()) relayed_.failure = broken->code;
        const bool lacking = plan_.due == Due::response && !answered && !comes_back(resumable);
        co_await emit_last(lacking ? missing_response(broken, true) : "");
    }

    /// Whatever id it bears: an agent could read a list that answers an id it never sent.
    std::string filtered_event(const net::SseEvent& event, bool& answered) const {
        if (event.data.empty()) return std::string(event.raw);  // only its id or retry counts
        const bool is_answer = plan_.due == Due::response && response_id(event.data) == plan_.id;
        const auto filtered = filter(event.data);
        answered = answered || is_answer;
        if (filtered) return *filtered == event.data ? std::string(event.raw) : event_of(event, *filtered);
        if (plan_.due != Due::response || answered) return {};  // nobody waits for what cannot be read
        answered = true;
        return event_of(event, error_body(plan_.id, kUpstreamFailed, filtered.error().message,
                                          filtered.error().code, ""));
    }

    /// Without its id and retry.
    std::string batched_event(const net::SseEvent& event, bool& answered) const {
        if (event.data.empty()) return {};
        if (!plan_.filters_list) {
            answered = answered || response_id(event.data) == plan_.id;
            return event_of({}, event.data);
        }
        const auto filtered = filter(event.data);
        if (!filtered) return {};  // the missing response tells of it
        answered = answered || response_id(event.data) == plan_.id;
        return event_of({}, *filtered);
    }

    base::Result<std::string> filter(std::string_view message) const {
        const auto policy = plan_.context.policy();
        return filter_tool_list(
            message,
            [&](std::string_view tool) {
                return plan_.server.may_be_used_for(tool) &&
                       policy::tool_visible(policy, plan_.context.agent_id, plan_.server.name, tool);
            },
            kFilteredTtlMs);
    }

    Lane& lane_;
    net::Answer& answer_;
    Redactor& redactor_;
    net::ResponseWriter& writer_;
    const RelayPlan& plan_;
    const MediaType type_;
    const bool events_;  // the answer is an event stream
    HandleStream handles_;
    net::Headers headers_;
    Relayed relayed_;
    std::string begun_, read_;  // of a stream, before its head went out
    std::optional<base::Result<std::string_view>> after_begun_;
    std::size_t unheard_ = 0;  // bytes that came when the agent had gone
};

}  // namespace

net::awaitable<Relayed> relay(Lane& lane, net::Answer& answer, Redactor& redactor,
                              net::ResponseWriter& writer, const RelayPlan& plan) {
    Relay relay(lane, answer, redactor, writer, plan);
    co_await relay.pass_on();
    co_return relay.relayed();
}

}  // namespace claviger::proxy
