#include "net/answer_writer.h"

#include "net/session.h"
#include "net/wiping.h"

#include <algorithm>

namespace claviger::net {
namespace {

constexpr std::size_t kOneWrite = 64 * 1024;  // more than this is not copied together to be sent at once
constexpr std::string_view kLastChunk = "0\r\n\r\n";

base::Status client_gone() {
    return base::failure(base::ErrorKind::unavailable, "client.gone",
                         "The client has closed its connection.");
}

base::Status misused(std::string message) {
    return base::failure(base::ErrorKind::internal, "answer.misused", std::move(message));
}

}  // namespace

void AnswerWriter::begin(Connection& connection, Shard& shard, const RequestParser& parser,
                         std::string& out) {
    connection_ = &connection;
    shard_ = &shard;
    parser_ = &parser;
    out_ = &out;
    state_ = State::nothing;
    framing_ = Framing::length;
    persistence_ = Persistence::close;
    remaining_ = 0;
}

AnswerHead AnswerWriter::head(unsigned status, std::optional<std::uint64_t> length) {
    const bool keep = parser_->keep_alive() && !shard_->draining();
    persistence_ = !keep                 ? Persistence::close
                   : parser_->http_1_0() ? Persistence::keep_http_1_0
                                         : Persistence::keep;
    framing_ = Framing::length;
    if (status == 204 || status == 304) {
        framing_ = Framing::no_body;
    } else if (!length && parser_->http_1_0()) {
        framing_ = Framing::until_close;
        persistence_ = Persistence::close;
    } else if (!length) {
        framing_ = Framing::chunked;
    }
    return {status, framing_, length.value_or(0), persistence_, shard_->date()};
}

Io AnswerWriter::put_now(std::string_view& bytes) {
    Shard::add(shard_->counters.bytes_out, bytes.size());
    return connection_->write_now(bytes);
}

awaitable<Io> AnswerWriter::put_rest(std::string_view bytes) {
    Connection& connection = *connection_;
    connection.expires_without_progress(shard_->common->limits.write);
    const Io io = co_await connection.write_all(bytes);
    if (io == Io::timed_out) {
        Shard::add(shard_->counters.slow_readers);
        connection.reset();
    }
    connection.expires_never();
    co_return io;
}

base::Status AnswerWriter::ended(Io io) {
    if (io == Io::ok) return {};
    state_ = State::broken;
    connection_->close();
    return client_gone();
}

awaitable<base::Status> AnswerWriter::put(std::string_view bytes) {
    Io io = put_now(bytes);
    if (io == Io::ok && !bytes.empty()) io = co_await put_rest(bytes);
    co_return ended(io);
}

awaitable<base::Status> AnswerWriter::send(const Response& response) {
    if (state_ == State::broken) co_return client_gone();
    if (state_ != State::nothing) co_return misused("The request was answered twice.");
    state_ = State::finished;
    wipe_and_clear(*out_);
    append_head(*out_, head(response.status, response.body.size()), response.headers);
    std::string_view body = response.body;
    if (parser_->head_only() || framing_ == Framing::no_body) body = {};
    out_->append(body.substr(0, kOneWrite));
    body.remove_prefix(std::min(body.size(), kOneWrite));

    std::string_view first = *out_;
    Io io = put_now(first);
    if (io == Io::ok && !first.empty()) io = co_await put_rest(first);
    if (io == Io::ok && !body.empty()) co_return co_await put(body);
    co_return ended(io);
}

base::Status AnswerWriter::start(unsigned status, const Headers& headers,
                                 std::optional<std::uint64_t> length) {
    if (state_ == State::broken) return client_gone();
    if (state_ != State::nothing) return misused("The request was answered twice.");
    state_ = State::streaming;
    wipe_and_clear(*out_);
    append_head(*out_, head(status, length), headers);
    remaining_ = length.value_or(0);
    return {};
}

base::Status AnswerWriter::may_write() const {
    if (state_ == State::broken) return client_gone();
    if (state_ == State::streaming) return {};
    return misused("Bytes were written, or the answer was finished, before the start or after the end.");
}

bool AnswerWriter::fits(std::string_view bytes, Piece piece) {
    if (framing_ != Framing::length || !has_body()) return true;
    if (bytes.size() > remaining_) return false;
    remaining_ -= bytes.size();
    return piece != Piece::last || remaining_ == 0;
}

awaitable<base::Status> AnswerWriter::put_piece(std::string_view bytes, Piece piece) {
    if (!fits(bytes, piece)) {
        abort();
        co_return misused("More bytes were written than the declared length, or fewer.");
    }
    if (piece == Piece::last) state_ = State::finished;
    const bool chunked = framing_ == Framing::chunked && has_body();
    if (!has_body()) bytes = {};
    base::Status done;
    do {
        const auto part = bytes.substr(0, kOneWrite);
        bytes.remove_prefix(part.size());
        if (!chunked)
            out_->append(part);
        else if (!part.empty())
            append_chunk(*out_, part);
        if (chunked && piece == Piece::last && bytes.empty()) *out_ += kLastChunk;
        if (out_->empty()) break;
        done = co_await put(*out_);
        wipe_and_clear(*out_);
    } while (done && !bytes.empty());
    co_return done;
}

awaitable<base::Status> AnswerWriter::write(std::string_view bytes) {
    if (auto may = may_write(); !may) co_return may;
    connection_->watch_at_once();  // more is to come, who knows when
    co_return co_await put_piece(bytes, Piece::one_of_many);
}

awaitable<base::Status> AnswerWriter::finish(std::string_view last) {
    if (auto may = may_write(); !may) co_return may;
    co_return co_await put_piece(last, Piece::last);
}

void AnswerWriter::abort() {
    state_ = State::broken;
    connection_->reset();
}

void AnswerWriter::on_client_gone(std::function<void()> action) {
    connection_->watch_for_close(std::move(action));
    if (state_ == State::streaming && out_->empty()) connection_->watch_at_once();
}

awaitable<void> AnswerWriter::refuse(OwnError error, bool with_body) {
    state_ = State::finished;
    persistence_ = Persistence::close;
    wipe_and_clear(*out_);
    append_error(*out_, error, shard_->date(), with_body);
    const auto done = co_await put(*out_);
    static_cast<void>(done);  // the connection ends either way
}

}  // namespace claviger::net
