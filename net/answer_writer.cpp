#include "net/answer_writer.h"

#include "net/session.h"
#include "net/wiping.h"

#include <algorithm>

namespace claviger::net {
namespace {

constexpr std::size_t kOneWrite = 64 * 1024;  // more than this is not copied together to be sent at once

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

awaitable<base::Status> AnswerWriter::start(unsigned status, const Headers& headers,
                                            std::optional<std::uint64_t> length) {
    if (state_ == State::broken) co_return client_gone();
    if (state_ != State::nothing) co_return misused("The request was answered twice.");
    state_ = State::streaming;
    wipe_and_clear(*out_);
    append_head(*out_, head(status, length), headers);
    remaining_ = length.value_or(0);
    connection_->watch_at_once();
    co_return co_await put(*out_);
}

awaitable<base::Status> AnswerWriter::write(std::string_view bytes) {
    if (state_ == State::broken) co_return client_gone();
    if (state_ != State::streaming)
        co_return misused("Bytes were written before the start or after the end.");
    if (bytes.empty() || parser_->head_only() || framing_ == Framing::no_body) co_return base::Status{};
    if (framing_ == Framing::length) {
        if (bytes.size() > remaining_) {
            abort();
            co_return misused("More bytes were written than the declared length.");
        }
        remaining_ -= bytes.size();
    }
    if (framing_ != Framing::chunked) co_return co_await put(bytes);

    base::Status done;
    for (std::size_t at = 0; done && at < bytes.size(); at += kOneWrite) {
        wipe_and_clear(*out_);
        append_chunk(*out_, bytes.substr(at, kOneWrite));
        done = co_await put(*out_);
    }
    co_return done;
}

awaitable<base::Status> AnswerWriter::finish() {
    if (state_ == State::broken) co_return client_gone();
    if (state_ != State::streaming) co_return misused("The answer was finished before its start or twice.");
    const bool has_body = !parser_->head_only() && framing_ != Framing::no_body;
    if (has_body && framing_ == Framing::length && remaining_ > 0) {
        abort();
        co_return misused("Fewer bytes were written than the declared length.");
    }
    state_ = State::finished;
    if (!has_body || framing_ != Framing::chunked) co_return base::Status{};
    co_return co_await put("0\r\n\r\n");
}

void AnswerWriter::abort() {
    state_ = State::broken;
    connection_->reset();
}

void AnswerWriter::on_client_gone(std::function<void()> action) {
    connection_->watch_for_close(std::move(action));
    if (state_ == State::streaming) connection_->watch_at_once();
}

awaitable<void> AnswerWriter::refuse(unsigned status, std::string_view type, std::string_view message,
                                     bool with_body) {
    state_ = State::finished;
    persistence_ = Persistence::close;
    Headers more;
    if (status == 405) more.add("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    wipe_and_clear(*out_);
    append_error(*out_, status, type, message, more, shard_->date(), with_body);
    const auto done = co_await put(*out_);
    static_cast<void>(done);  // the connection ends either way
}

}  // namespace claviger::net
