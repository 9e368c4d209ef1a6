#include "proxy/relay.h"

#include "net/sse.h"
#include "policy/policy.h"
#include "proxy/json_rpc.h"
#include "proxy/session_ids.h"
#include "proxy/tool_list.h"

#include <array>

namespace claviger::proxy {
namespace {

constexpr std::size_t kGatherBytes = 64 * 1024;   // answers up to this size go out in one write
constexpr std::uint64_t kFilteredTtlMs = 30'000;  // how long a client may keep a filtered tool list

bool contains_token(std::string_view value, std::string_view wanted) {
    // Media types compare without parameters.
    const auto end = value.find_first_of("; \t");
    return net::equal_ignoring_case(value.substr(0, end), wanted);
}

bool has_type(const net::ResponseHead& head, std::string_view type) {
    const auto value = head.headers.find("Content-Type");
    return value && contains_token(*value, type);
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

void map_session_id(Lane& lane, const net::ResponseHead& head, const RelayPlan& plan, net::Headers& out) {
    if (plan.era == Era::modern) return;
    const auto upstream_id = head.headers.find("Mcp-Session-Id");
    if (!upstream_id || upstream_id->empty()) return;
    if (!plan.session_in.empty() && *upstream_id == plan.upstream_session_in) {
        out.add("Mcp-Session-Id", plan.session_in);
    } else {
        out.add("Mcp-Session-Id",
                seal_session_id(lane.records.keys(), plan.context, plan.server, *upstream_id));
    }
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
        : lane_(lane), answer_(answer), redactor_(redactor), writer_(writer), plan_(plan) {}

    net::awaitable<Relayed> run() {
        const auto& head = answer_.head();
        relayed_.status = head.status;
        if (const auto refusal = refused(head)) {
            relayed_.failure = refusal->code;
            co_await send(error_reply(plan_.id, *refusal));
            co_return relayed_;
        }
        answer_.idle_limit(plan_.id.empty() ? std::chrono::milliseconds(0) : lane_.settings.stream_idle);
        copy_headers(head, redactor_, headers_);
        map_session_id(lane_, head, plan_, headers_);
        if (has_type(head, "text/event-stream") && head.status == 200) {
            if (plan_.filters_list) {
                co_await filtered_events();
            } else {
                co_await events();
            }
        } else if (head.status >= 400 && !has_type(head, "application/json")) {
            co_await wrapped();
        } else if (plan_.filters_list || answer_.complete() ||
                   answer_.declared_length().value_or(kGatherBytes + 1) <= kGatherBytes) {
            co_await gathered();
        } else {
            co_await streamed();
        }
        co_return relayed_;
    }

private:
    /// Answers that never reach the agent, whatever is in them.
    std::optional<base::Error> refused(const net::ResponseHead& head) const {
        using base::ErrorKind;
        if (head.status == 401)
            return base::Error{ErrorKind::unavailable, "upstream.unauthorized",
                               "The server did not accept the stored credential.",
                               "An administrator has to store a valid credential for this server."};
        if (head.status == 403)
            return base::Error{ErrorKind::unavailable, "upstream.forbidden",
                               "The server refused this call to the stored credential.",
                               "The credential may lack a permission for this operation."};
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
        return std::nullopt;
    }

    net::awaitable<void> send(net::Response response) {
        relayed_.bytes += response.body.size();
        if (!plan_.client_gone) co_await writer_.send(response);
    }

    net::awaitable<void> fail(const base::Error& error) {
        relayed_.failure = error.code;
        co_await send(error_reply(plan_.id, error));
    }

    /// An error that is not JSON: its status, its Allow and Retry-After, and nothing of its text.
    net::awaitable<void> wrapped() {
        net::Response response =
            error_reply(plan_.id, relayed_.status, kUpstreamFailed,
                        "The server answered with HTTP status " + std::to_string(relayed_.status) + ".",
                        "upstream.failed");
        for (const auto* name : {"Allow", "Retry-After"})
            if (const auto value = headers_.find(name)) response.headers.add(name, *value);
        relayed_.failure = "upstream.failed";
        co_await send(std::move(response));
    }

    net::awaitable<void> gathered() {
        net::Response response;
        response.status = relayed_.status;
        const std::size_t limit = plan_.filters_list ? lane_.settings.list_bytes : kGatherBytes;
        while (true) {
            const auto part = co_await answer_.next();
            if (!part) {
                co_await fail(broken_stream(part.error()));
                co_return;
            }
            if (part->empty()) break;
            if (response.body.size() + part->size() > limit) {
                co_await fail(
                    {base::ErrorKind::unavailable, "upstream.invalid", "The server's answer is too large."});
                co_return;
            }
            // What is filtered must be read first, and is redacted after.
            response.body += plan_.filters_list ? *part : redactor_.pass(*part);
        }
        if (plan_.filters_list) {
            auto filtered = filter(response.body);
            if (!filtered) {
                co_await fail(filtered.error());
                co_return;
            }
            response.body = redactor_.pass(*filtered);
        }
        response.body += redactor_.finish();
        response.headers = std::move(headers_);
        co_await send(std::move(response));
    }

    net::awaitable<void> streamed() {
        auto written = co_await writer_.start(relayed_.status, headers_, answer_.declared_length());
        while (true) {
            const auto part = co_await answer_.next();
            if (!part) {
                relayed_.failure = part.error().code;
                writer_.abort();  // a body that was promised and cannot be completed
                co_return;
            }
            const bool end = part->empty();
            const auto bytes = end ? redactor_.finish() : redactor_.pass(*part);
            relayed_.bytes += bytes.size();
            if (written && !plan_.client_gone && !bytes.empty()) written = co_await writer_.write(bytes);
            if (end) break;
            if ((!written || plan_.client_gone) && !plan_.outlives_client) {
                relayed_.failure = "client.gone";
                co_return;
            }
        }
        if (written && !plan_.client_gone) co_await writer_.finish();
    }

    /// Writes to the agent unless it is gone; says whether there is still a reason to read on.
    net::awaitable<bool> emit(std::string_view bytes) {
        relayed_.bytes += bytes.size();
        if (!agent_lost_ && !plan_.client_gone && !bytes.empty()) {
            const auto written = co_await writer_.write(bytes);
            if (!written) agent_lost_ = true;
        }
        if (!agent_lost_ && !plan_.client_gone) co_return true;
        if (!plan_.outlives_client) relayed_.failure = "client.gone";
        co_return plan_.outlives_client;
    }

    net::awaitable<void> events() {
        const auto started = co_await writer_.start(200, headers_, std::nullopt);
        agent_lost_ = !started;
        net::SseWatcher watcher(plan_.id);
        std::optional<base::Error> broken;
        while (true) {
            const auto part = co_await answer_.next();
            if (!part) {
                broken = part.error();
                break;
            }
            const bool end = part->empty();
            const auto bytes = end ? redactor_.finish() : redactor_.pass(*part);
            watcher.feed(bytes);
            const bool go_on = co_await emit(bytes);
            if (!go_on) co_return;
            if (end) break;
        }
        if (broken) relayed_.failure = broken->code;
        if (!plan_.id.empty() && !watcher.answered()) {
            // A legacy client that holds an event id comes back for the rest; everybody else would wait for
            // ever.
            if (plan_.era == Era::modern || !watcher.resumable())
                co_await missing_response(broken, watcher.between_events());
        }
        if (!agent_lost_ && !plan_.client_gone) co_await writer_.finish();
    }

    net::awaitable<void> missing_response(const std::optional<base::Error>& broken, bool between_events) {
        const base::Error closed{base::ErrorKind::unavailable, "upstream.closed",
                                 "The server ended the stream without answering the call."};
        const auto error = broken_stream(broken ? *broken : closed);
        relayed_.failure = error.code;
        const auto event = (between_events ? "" : "\n\n") + error_event(plan_.id, error);
        co_await emit(event);
    }

    net::awaitable<void> filtered_events() {
        const auto started = co_await writer_.start(200, headers_, std::nullopt);
        agent_lost_ = !started;
        net::SseSplitter splitter(lane_.settings.list_bytes);
        bool answered = false;
        std::optional<base::Error> broken;
        while (!broken) {
            const auto part = co_await answer_.next();
            if (!part) {
                broken = part.error();
                break;
            }
            if (part->empty()) break;
            const auto fed = splitter.feed(*part);
            if (!fed) broken = fed.error();
            while (const auto event = splitter.next()) {
                std::string out(event->raw);
                if (event->has_data && response_id(event->data) == plan_.id) {
                    const auto filtered = filter(event->data);
                    answered = true;
                    out = event_of(*event,
                                   filtered ? *filtered
                                            : error_body(plan_.id, kUpstreamFailed, filtered.error().message,
                                                         filtered.error().code, ""));
                }
                redactor_.redact(out);
                const bool go_on = co_await emit(out);
                if (!go_on) co_return;
            }
        }
        if (broken) relayed_.failure = broken->code;
        if (!answered) co_await missing_response(broken, true);
        if (!agent_lost_ && !plan_.client_gone) co_await writer_.finish();
    }

    base::Result<std::string> filter(std::string_view message) const {
        const auto policy = plan_.context.policy();
        return filter_tool_list(
            message,
            [&](std::string_view tool) {
                return policy::tool_visible(policy, plan_.context.agent_id, plan_.server.name, tool);
            },
            kFilteredTtlMs);
    }

    Lane& lane_;
    net::Answer& answer_;
    Redactor& redactor_;
    net::ResponseWriter& writer_;
    const RelayPlan& plan_;
    net::Headers headers_;
    Relayed relayed_;
    bool agent_lost_ = false;
};

}  // namespace

net::awaitable<Relayed> relay(Lane& lane, net::Answer& answer, Redactor& redactor,
                              net::ResponseWriter& writer, const RelayPlan& plan) {
    Relay relay(lane, answer, redactor, writer, plan);
    co_return co_await relay.run();
}

}  // namespace claviger::proxy
