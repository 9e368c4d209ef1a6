#include "proxy/handles.h"

#include "crypto/sealed_text.h"
#include "net/key_search.h"
#include "net/sse.h"

#include <algorithm>

namespace claviger::proxy {
namespace {

constexpr std::size_t kMostTaskId = 2'048;  // sealed, it still fits into any header
constexpr std::string_view kServerTask = "mcp-server-task", kAgentTask = "mcp-agent-task",
                           kState = "mcp-request-state";

std::string_view purpose_of(HandleSpot spot) {
    switch (spot) {
        case HandleSpot::asked_task:
        case HandleSpot::named_task:
            return kServerTask;
        case HandleSpot::state:
            return kState;
        case HandleSpot::cursor:
            return "mcp-cursor";
        case HandleSpot::scope:
            break;
    }
    return {};
}

bool is_task(HandleSpot spot) { return spot == HandleSpot::asked_task || spot == HandleSpot::named_task; }

/// Whether a key that stands before a handle towards the agent may be in the text, in any spelling that the
/// rewriter knows: in any case, escaped, or with the two letters outside ASCII that case folding takes for s
/// and k. Says yes too often rather than too seldom.
bool may_name_handle(std::string_view text) {
    for (const std::string_view sign : {"\\u", "\u017f", "\u212a"})
        if (text.find(sign) != text.npos) return true;
    constexpr net::FourKeys keys{
        {{"taskid", 3}, {"nextcursor", 3}, {"requeststate", 2}, {"related-task", 7}}};
    return net::holds_ignoring_case(text, keys);
}

std::unexpected<base::Error> unknown(HandleSpot spot) {
    using base::ErrorKind;
    if (spot == HandleSpot::state)
        return base::failure(ErrorKind::not_found, "state.unknown", "Unknown requestState",
                             "Repeat the call without it, and answer with the requestState it then gives.");
    if (spot == HandleSpot::cursor)
        return base::failure(ErrorKind::not_found, "cursor.unknown", "Invalid cursor",
                             "Begin the list anew; a cursor belongs to the session that it was given to.");
    return base::failure(ErrorKind::not_found, "task.unknown", "Unknown task",
                         "A task belongs to the session that started it.");
}

/// The next CR or LF. Looks at each byte at most twice, also when all lines end with a lone CR.
class LineEnds {
public:
    /// Where the line ends that `rest` begins with. `rest` gets shorter from call to call.
    std::size_t find(std::string_view rest) {
        if (next_lf_ == nullptr || next_lf_ < rest.data())
            next_lf_ = rest.data() + std::min(rest.find('\n'), rest.size());
        const auto before = rest.substr(0, static_cast<std::size_t>(next_lf_ - rest.data()));
        return std::min(before.find('\r'), before.size());
    }

private:
    const char* next_lf_ = nullptr;
};

}  // namespace

/// Fixed-width ids before the name, lengths before what agents name, and a purpose that begins no other, so
/// that nothing imitates another.
std::string Handles::binding(std::string_view purpose) const {
    std::string text(purpose);
    text += '\0';
    text += context_.session->id.key();
    text += server_.credential->id.key();
    if (purpose == kState)
        for (const auto part : {asked_.method, asked_.name, asked_.uri})
            ((text += std::to_string(part.size())) += ' ') += part;
    text += server_.name;
    return text;
}

std::optional<std::string> Handles::sealed(std::string_view purpose, std::string_view plain) const {
    const bool task = purpose == kServerTask || purpose == kAgentTask;
    if (plain.size() > (task ? kMostTaskId : crypto::kMaxSealedPlain)) return std::nullopt;
    return crypto::seal_text_repeatably(keys_.derived(crypto::Purpose::agent_handles), binding(purpose),
                                        plain);
}

std::optional<std::string> Handles::open(std::string_view purpose, std::string_view sealed) const {
    return crypto::open_text(keys_.derived(crypto::Purpose::agent_handles), binding(purpose), sealed);
}

std::optional<std::string> Handles::for_agent(HandleSpot spot, std::string_view handle) const {
    if (spot == HandleSpot::scope) return "private";
    if (is_task(spot))
        if (auto own = open(kAgentTask, handle)) return own;
    return sealed(purpose_of(spot), handle);
}

std::optional<std::string> Handles::opened(HandleSpot spot, std::string_view handle) const {
    // Some clients send an empty cursor for the first page. It says nothing, so it is nobody's.
    if (handle.empty() && !is_task(spot)) return "";
    return open(purpose_of(spot), handle);
}

std::optional<std::string> Handles::for_server(HandleSpot spot, std::string_view handle) const {
    auto plain = opened(spot, handle);
    return plain || !is_task(spot) ? plain : sealed(kAgentTask, handle);
}

base::Result<ForServer> open_handles(const Handles& handles, const Message& message, std::string_view body) {
    ForServer out;
    if (!message.may_hold_handles) return out;
    const bool asks = message.kind == MessageKind::request;
    const auto replace = [&](HandleSpot spot, std::string_view handle) {
        const bool strictly = asks && spot == HandleSpot::asked_task;
        auto plain = strictly ? handles.opened(spot, handle) : handles.for_server(spot, handle);
        if (spot == HandleSpot::asked_task && handle == message.task_id) out.task_id = plain;
        return plain;
    };
    HandleRewriter rewriter(Towards::server, replace);
    rewriter.feed(body, out.body.emplace());
    if (rewriter.failed()) return unknown(*rewriter.failed());
    return out;
}

HandleStream::HandleStream(Handles handles, Body body)
    : handles_(handles),
      body_(body),
      rewriter_(Towards::agent, [this](HandleSpot spot, std::string_view handle) {
          return handles_.for_agent(spot, handle);
      }) {}

/// How many bytes in front are whole events without a handle, as nearly all are. They leave nothing here that
/// counts later.
std::size_t HandleStream::untouched(std::string_view bytes) const {
    if (body_ == Body::json || part_ != Part::name || !name_.empty() || !rewriter_.at_start()) return 0;
    const auto whole = net::end_of_events(bytes);
    return may_name_handle(bytes.substr(0, whole)) ? 0 : whole;
}

base::Result<std::string_view> HandleStream::pass(std::string_view bytes) {
    const auto skipped = untouched(bytes);
    if (skipped > 0) at_start_ = after_cr_ = false;
    if (skipped > 0 && skipped == bytes.size()) return bytes;
    out_.assign(bytes.substr(0, skipped));
    bytes.remove_prefix(skipped);
    if (body_ == Body::json) {
        rewriter_.feed(bytes, out_);
    } else {
        line(bytes);
    }
    if (rewriter_.failed())
        return base::failure(base::ErrorKind::unavailable, "upstream.invalid",
                             "The server gave a task id, request state or cursor that is too long to be "
                             "passed on.");
    return std::string_view(out_);
}

base::Result<std::string_view> HandleStream::pass_whole(std::string_view body) {
    if (may_name_handle(body)) return pass(body);
    return body;
}

/// Only what the data lines of events say is JSON (WHATWG HTML 9.2.6); all else passes as it is.
void HandleStream::line(std::string_view bytes) {
    constexpr std::string_view mark = "\xef\xbb\xbf";
    LineEnds ends;
    while (!bytes.empty()) {
        if (part_ == Part::value || part_ == Part::rest) {
            const auto end = ends.find(bytes);
            if (part_ == Part::value) {
                rewriter_.feed(bytes.substr(0, end), out_);
            } else {
                out_ += bytes.substr(0, end);
            }
            bytes.remove_prefix(end);
            if (bytes.empty()) return;
        }
        // Most lines of a stream.
        if (constexpr std::string_view kData = "data: ";
            part_ == Part::name && name_.empty() && bytes.starts_with(kData)) {
            out_ += kData;
            bytes.remove_prefix(kData.size());
            part_ = Part::value;
            after_cr_ = false;
            continue;
        }
        const char byte = bytes.front();
        if (part_ == Part::space && byte != ' ' && byte != '\r' && byte != '\n') {
            part_ = Part::value;
            continue;
        }
        bytes.remove_prefix(1);
        if (byte == '\r' || byte == '\n') {
            end_line(byte);
            continue;
        }
        out_ += byte;
        after_cr_ = false;
        if (part_ == Part::space) {
            part_ = Part::value;
        } else if (byte == ':') {
            if (at_start_ && name_.starts_with(mark)) name_.erase(0, mark.size());
            part_ = name_ == "data" ? Part::space : Part::rest;
        } else if (name_.size() <= mark.size() + 4) {
            name_ += byte;
        }
    }
}

void HandleStream::end_line(char byte) {
    const bool second_half = byte == '\n' && after_cr_;
    if (!second_half) {
        if (part_ == Part::value) rewriter_.line_break(out_);
        if (part_ == Part::name && name_.empty()) rewriter_.start();  // a blank line ends an event
        name_.clear();
        part_ = Part::name;
        at_start_ = false;
    }
    after_cr_ = byte == '\r';
    out_ += byte;
}

}  // namespace claviger::proxy
