#include "net/wire_response.h"

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include <cstring>
#include <functional>

namespace claviger::net {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;

constexpr int kInterimAnswers = 8;
constexpr std::size_t kChunkLineBytes = 16 * 1024;

bool is_decimal(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

/// What the heads and trailers of one answer have used of the limits.
struct Spent {
    std::size_t bytes = 0, fields = 0;
};

/// Beast finds the parts; what it would let pass although two readers could disagree about it is refused
/// here.
class Collector final : public http::basic_parser<false> {
public:
    Collector(ResponseHead& head, Spent& spent, ResponseParser::Limits limits)
        : head_(head), spent_(spent), limits_(limits) {
        header_limit(static_cast<std::uint32_t>(limits.header_bytes));
        body_limit(boost::none);  // streams have no end; who collects a body sets the bound
        eager(true);
    }

    void look_at(std::span<char> bytes) {
        bytes_ = bytes;
        body_at_ = body_end_ = nullptr;
    }
    std::string_view body() const { return {body_at_, static_cast<std::size_t>(body_end_ - body_at_)}; }
    std::string_view fault() const { return fault_; }
    bool interim() const { return head_.status / 100 == 1; }
    bool in_first_chunk_line() const { return chunked_ && is_header_done() && !chunk_seen_; }
    bool in_chunk_line() const { return chunked_ && is_header_done() && !in_chunk_; }

private:
    void refuse(std::string_view why, ErrorCode& error) {
        fault_ = why;
        error = http::error::bad_field;
    }

    void on_request_impl(http::verb, beast::string_view, beast::string_view, int, ErrorCode& error) override {
        refuse("a request instead of an answer", error);
    }

    void on_response_impl(int status, beast::string_view text, int version, ErrorCode& error) override {
        head_.status = static_cast<unsigned>(status);
        head_.headers.clear();
        spent_.bytes += 15 + text.size();
        old_version_ = version < 11;
        if (status < 100 || status > 599) refuse("a status outside of 100 to 599", error);
        if (status == 101) refuse("an upgrade that was not asked for", error);
    }

    void on_field_impl(http::field field, beast::string_view name, beast::string_view value,
                       ErrorCode& error) override {
        if (++spent_.fields > limits_.header_fields) return refuse("too many header fields", error);
        // A folded value was put together in another place, or has a line end between the colon and itself.
        const auto* name_end = name.data() + name.size();
        const auto* bytes_end = bytes_.data() + bytes_.size();
        if (std::less()(value.data(), name_end) || std::less()(bytes_end, value.data()))
            return refuse("a folded header field", error);
        const std::string_view gap(name_end, static_cast<std::size_t>(value.data() - name_end));
        if (gap.find('\r') != gap.npos) return refuse("a folded header field", error);
        spent_.bytes += name.size() + gap.size() + value.size() + 2;
        if (spent_.bytes > limits_.header_bytes) return refuse("header fields that are too long", error);
        if (is_header_done()) return;  // a trailer: nothing may be decided by it

        if (field == http::field::content_length) {
            if (length_seen_) return refuse("more than one Content-Length", error);
            if (!is_decimal({value.data(), value.size()})) return refuse("a bad Content-Length", error);
            length_seen_ = true;
        } else if (field == http::field::transfer_encoding) {
            if (!equal_ignoring_case({value.data(), value.size()}, "chunked"))
                return refuse("an unknown Transfer-Encoding", error);
            chunked_ = true;
        }
        if (length_seen_ && chunked_) return refuse("both Content-Length and Transfer-Encoding", error);
        if (chunked_ && old_version_) return refuse("Transfer-Encoding in HTTP/1.0", error);
        head_.headers.add({name.data(), name.size()}, {value.data(), value.size()});
    }

    void on_header_impl(ErrorCode&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorCode&) override {}

    std::size_t on_body_impl(beast::string_view body, ErrorCode&) override {
        append(body);
        return body.size();
    }

    void on_chunk_header_impl(std::uint64_t, beast::string_view, ErrorCode&) override {
        chunk_seen_ = true;
        in_chunk_ = true;
    }

    std::size_t on_chunk_body_impl(std::uint64_t remaining, beast::string_view body, ErrorCode&) override {
        append(body);
        if (body.size() == remaining) in_chunk_ = false;
        return body.size();
    }

    void on_finish_impl(ErrorCode&) override {}

    void append(beast::string_view piece) {
        char* at = bytes_.data() + (piece.data() - bytes_.data());
        if (!body_at_) body_at_ = body_end_ = at;
        // Always towards the front, over chunk lines that have been read.
        if (body_end_ != at) std::memmove(body_end_, at, piece.size());
        body_end_ += piece.size();
    }

    ResponseHead& head_;
    Spent& spent_;
    ResponseParser::Limits limits_;
    std::span<char> bytes_;
    char* body_at_ = nullptr;
    char* body_end_ = nullptr;
    std::string_view fault_;
    bool old_version_ = false;
    bool length_seen_ = false;
    bool chunked_ = false;
    bool chunk_seen_ = false;
    bool in_chunk_ = false;
};

std::string_view reason(const ErrorCode& error) {
    if (error == http::error::header_limit) return "header fields that are too long";
    if (error == http::error::bad_content_length || error == http::error::multiple_content_length)
        return "a bad Content-Length";
    if (error == http::error::bad_transfer_encoding) return "a bad Transfer-Encoding";
    if (error == http::error::bad_chunk || error == http::error::bad_chunk_extension) return "bad chunks";
    if (error == http::error::bad_version) return "something else than HTTP/1.1";
    if (error == http::error::bad_status || error == http::error::bad_reason) return "a bad status line";
    return "bad header fields";
}

}  // namespace

struct ResponseParser::State {
    Limits limits;
    ResponseHead head;
    Spent spent;
    int interim_answers = 0;
    Body body = Body::as_framed;
    std::string_view fault;
    std::optional<Collector> collector;

    void next_answer() {
        collector.emplace(head, spent, limits);
        collector->skip(body == Body::none);
    }
};

ResponseParser::ResponseParser(Limits limits) : state_(std::make_unique<State>()) {
    state_->limits = limits;
    start(Body::as_framed);
}
ResponseParser::~ResponseParser() = default;

void ResponseParser::start(Body body) {
    state_->head.status = 0;
    state_->head.headers.clear();
    state_->spent = {};
    state_->interim_answers = 0;
    state_->body = body;
    state_->fault = {};
    state_->next_answer();
}

ResponseParser::Fed ResponseParser::feed(std::span<char> bytes) {
    auto& state = *state_;
    std::size_t consumed = 0;
    for (;;) {
        auto& collector = *state.collector;
        const auto rest = bytes.subspan(consumed);
        // Beast counts on five bytes when it comes back to a last chunk that it has seen begin; no shorter
        // one is whole.
        if (rest.empty() || (collector.in_first_chunk_line() && rest.front() == '0' && rest.size() < 5))
            return {consumed, {}};

        collector.look_at(rest);
        ErrorCode error;
        const auto taken = collector.put({rest.data(), rest.size()}, error);
        consumed += taken;
        const auto waiting = rest.size() - taken;
        if (error && error != http::error::need_more) {
            state.fault = collector.fault().empty() ? reason(error) : collector.fault();
        } else if (!collector.is_header_done() && state.spent.bytes + waiting > state.limits.header_bytes) {
            state.fault = reason(http::error::header_limit);
        } else if (collector.in_chunk_line() && !collector.is_done() && waiting > kChunkLineBytes) {
            state.fault = reason(http::error::bad_chunk);
        } else if (!collector.is_done() || !collector.interim()) {
            return {consumed, collector.body()};
        } else if (++state.interim_answers > kInterimAnswers) {
            state.fault = "too many interim answers";
        } else {
            state.next_answer();
            continue;
        }
        return {consumed, {}};
    }
}

void ResponseParser::end_of_stream() {
    auto& collector = *state_->collector;
    if (!state_->fault.empty() || !collector.is_header_done() || collector.is_done()) return;
    ErrorCode incomplete;  // unless the end of the stream is the end of the body
    collector.put_eof(incomplete);
}

bool ResponseParser::begun() const { return state_->interim_answers > 0 || state_->collector->got_some(); }
bool ResponseParser::head_complete() const {
    return state_->fault.empty() && state_->collector->is_header_done();
}
bool ResponseParser::complete() const { return head_complete() && state_->collector->is_done(); }
std::string_view ResponseParser::fault() const { return state_->fault; }
bool ResponseParser::keep_alive() const { return complete() && state_->collector->keep_alive(); }
ResponseHead& ResponseParser::head() { return state_->head; }

std::optional<std::uint64_t> ResponseParser::declared_length() const {
    if (!head_complete()) return std::nullopt;
    const auto length = state_->collector->content_length();
    return length ? std::optional(*length) : std::nullopt;
}

}  // namespace claviger::net
