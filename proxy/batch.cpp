#include "proxy/batch.h"

#include "proxy/json_span.h"
#include "proxy/session_ids.h"
#include "proxy/tool_list.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace claviger::proxy {
namespace {

using base::ErrorKind;

constexpr std::size_t kMostElements = 32;
constexpr std::size_t kMostBytes = 8 * 1024 * 1024;  // of the responses that wait for the last one
constexpr std::string_view kRevision = "2025-03-26";

std::unexpected<base::Error> refused(std::string message, std::string hint = {}) {
    return base::failure(ErrorKind::invalid_request, "rpc.batch", std::move(message), std::move(hint));
}

bool is_event_stream(const net::Headers& headers) {
    const auto type = headers.find("Content-Type");
    return type &&
           net::equal_ignoring_case(type->substr(0, type->find_first_of("; \t")), "text/event-stream");
}

/// One message as one event; its line ends become lines of their own.
std::string event_with(std::string_view message) {
    std::string out = "event: message\ndata: ";
    for (const char c : message) {
        if (c == '\r') continue;
        out += c;
        if (c == '\n') out += "data: ";
    }
    return out + "\n\n";
}

/// Takes the answer of one element at a time and keeps the responses until all are there.
class BatchWriter final : public net::ResponseWriter {
public:
    explicit BatchWriter(net::ResponseWriter& agent) : agent_(agent) {}

    void begin(const Message& message) {
        id_ = message.id;
        piece_.clear();
        status_ = 200;
        started_ = streams_now_ = too_long_ = false;
    }
    /// The session is gone, and nothing has been answered yet: the agent must hear of it by the status.
    bool session_lost() const { return lost_; }

    net::awaitable<base::Status> send(const net::Response& response) override {
        started_ = true;
        status_ = response.status;
        if (status_ == 404 && !streaming_ && responses_.empty()) {
            lost_ = true;
            co_return co_await agent_.send(response);
        }
        if (id_.empty()) {
            if (status_ >= 400 && !refusal_) refusal_ = response;
            co_return base::Status{};
        }
        co_return co_await answered(response.body);
    }

    base::Status start(unsigned status, const net::Headers& headers, std::optional<std::uint64_t>) override {
        started_ = true;
        status_ = status;
        streams_now_ = is_event_stream(headers);
        if (!streams_now_ || streaming_) return {};
        streaming_ = true;
        return agent_.start(200, headers, std::nullopt);
    }

    net::awaitable<base::Status> write(std::string_view bytes) override {
        if (streams_now_) co_return co_await agent_.write(with_responses(bytes));
        too_long_ = too_long_ || held_ + piece_.size() + bytes.size() > kMostBytes;
        if (!too_long_) piece_ += bytes;
        co_return base::Status{};
    }

    net::awaitable<base::Status> finish(std::string_view last) override {
        if (streams_now_ && last.empty() && responses_.empty()) co_return base::Status{};
        auto written = co_await write(last);
        if (streams_now_ || !written) co_return written;
        co_return co_await answered(piece_);
    }

    void abort() override { piece_.clear(); }  // what was promised is incomplete: close() says so
    bool started() const override { return started_; }
    void on_client_gone(std::function<void()> action) override { agent_.on_client_gone(std::move(action)); }

    /// After the element's handler: whoever waits for its response gets one.
    net::awaitable<void> close() {
        if (id_.empty() || streams_now_ || lost_ || answered_) {
            answered_ = false;
            co_return;
        }
        static_cast<void>(co_await answered({}));
        answered_ = false;
    }

    net::awaitable<void> end() {
        if (lost_) co_return;
        if (streaming_) {
            static_cast<void>(co_await agent_.finish(with_responses({})));
        } else if (!responses_.empty()) {
            net::Response all;
            all.headers.add("Content-Type", "application/json");
            for (const auto& response : responses_) (all.body += all.body.empty() ? '[' : ',') += response;
            all.body += ']';
            static_cast<void>(co_await agent_.send(all));
        } else {
            net::Response accepted;
            accepted.status = 202;
            static_cast<void>(co_await agent_.send(refusal_ ? *refusal_ : accepted));
        }
    }

private:
    /// The responses that waited, as events, and `bytes` behind them.
    std::string with_responses(std::string_view bytes) {
        std::string out;
        for (const auto& response : std::exchange(responses_, {})) out += event_with(response);
        return out.append(bytes);
    }

    net::awaitable<base::Status> answered(std::string_view message) {
        answered_ = true;
        std::string response(message);
        if (too_long_) {
            response = error_body(id_, kUpstreamFailed, "The server's answer is too long for a batch.",
                                  "upstream.invalid", "Send the call alone.");
        } else if (response_id(message) != id_) {
            response = error_body(
                id_, kUpstreamFailed,
                status_ == 200 ? "The server's answer is not a response to this request."
                               : "The server answered with HTTP status " + std::to_string(status_) + ".",
                "upstream.failed", "");
        }
        if (streaming_) co_return co_await agent_.write(event_with(response));
        held_ += response.size();
        responses_.push_back(std::move(response));
        co_return base::Status{};
    }

    net::ResponseWriter& agent_;
    std::string id_;  // of the request that is carried out; empty when no response is due
    std::string piece_;
    unsigned status_ = 200;
    bool started_ = false, streams_now_ = false, too_long_ = false, answered_ = false;

    std::vector<std::string> responses_;
    std::size_t held_ = 0;
    std::optional<net::Response> refusal_;  // of a notification: heard only when nothing else is answered
    bool streaming_ = false, lost_ = false;
};

}  // namespace

bool is_batch(std::string_view body) {
    const auto first = body.find_first_not_of(" \t\r\n");
    return first != body.npos && body[first] == '[';
}

base::Result<std::vector<BatchElement>> parse_batch(std::string_view body, JsonLimits limits) {
    if (!valid_json(body, limits.depth + 1))
        return base::failure(ErrorKind::invalid_request, "json.invalid",
                             "The body is not valid JSON, or nests deeper than " +
                                 std::to_string(limits.depth + 1) + " levels.");
    std::vector<std::string_view> texts;
    for_each_element(body, [&](std::string_view text) {
        texts.push_back(text);
        return texts.size() <= kMostElements;
    });
    if (texts.empty()) return refused("The batch is empty.");
    if (texts.size() > kMostElements)
        return refused("The batch has more than " + std::to_string(kMostElements) + " messages.",
                       "Send several batches, or the messages one by one.");

    std::vector<BatchElement> elements;
    std::set<std::string, std::less<>> ids;
    std::size_t responses = 0;
    for (const auto text : texts) {
        if (is_batch(text)) return refused("A batch cannot hold another batch.");
        std::string id;
        auto message = parse_message(text, limits, id);
        if (!message) return std::unexpected(std::move(message).error());
        if (message->modern)
            return refused("A message of a protocol revision without batches is part of a batch.",
                           "Send one message per request.");
        if (message->method == "initialize")
            return refused("An initialize cannot be part of a batch.",
                           "Send it alone, before anything else.");
        if (!message->id.empty() && !ids.insert(message->id).second)
            return refused("Two requests of the batch have the same id.");
        if (message->kind == MessageKind::response) ++responses;
        elements.push_back({text, std::move(*message)});
    }
    if (responses != 0 && responses != elements.size())
        return refused("A batch holds requests and notifications, or responses, but not both.");
    return elements;
}

std::optional<net::Response> refuse_batch(Lane& lane, const net::Request& request,
                                          const SessionContext& context, const ServerContext& server) {
    auto refusal =
        error_reply("", 400, -32600, "Batches are not accepted; send one message per request.", "rpc.batch",
                    "Only sessions of the protocol revision 2025-03-26 have batches.");
    const auto header = request.headers.find("MCP-Protocol-Version");
    if (header && (*header != kRevision || request.headers.count("MCP-Protocol-Version") > 1)) return refusal;
    const auto given = request.headers.find("Mcp-Session-Id");
    if (!given || !server.credential) return std::nullopt;  // no header: it is 2025-03-26 (mcp.md 5)
    const auto session = open_session_id(lane.records.keys(), context, server, *given);
    if (!session) return error_reply("", 404, -32001, "Session not found");
    if (session->revision != kRevision) return refusal;
    return std::nullopt;
}

net::awaitable<void> run_batch(Lane& lane, ProxyCounters& counters, const net::Request& request,
                               std::shared_ptr<const SessionContext> context, const ServerContext& server,
                               std::vector<BatchElement> elements, net::ResponseWriter& writer) {
    counters.calls.fetch_add(elements.size() - 1, std::memory_order_relaxed);
    net::Request alone{.method = request.method,
                       .target = request.target,
                       .headers = request.headers,
                       .body = {},
                       .peer = request.peer};
    BatchWriter answers(writer);
    for (auto& element : elements) {
        alone.body.assign(element.text);
        answers.begin(element.message);
        const Call call{.context = context,
                        .server = server,
                        .request = alone,
                        .message = std::move(element.message),
                        .era = Era::legacy,
                        .in_batch = true};
        co_await run_call(lane, counters, call, answers);
        co_await answers.close();
        if (answers.session_lost()) break;
    }
    alone.wipe();
    co_await answers.end();
}

}  // namespace claviger::proxy
