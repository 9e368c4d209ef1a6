// How a handler's answer reaches the client.
#pragma once

#include "net/connection.h"
#include "net/http.h"
#include "net/wire_answer.h"
#include "net/wire_request.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::net {

class Shard;

/// Answers one request on one connection. Builds each piece in one buffer and sends it with one system call.
class AnswerWriter final : public ResponseWriter {
public:
    /// Before the request is read; `parser` is asked when the answer begins. `out` stays the exchange's.
    void begin(Connection& connection, Shard& shard, const RequestParser& parser, std::string& out);

    awaitable<base::Status> send(const Response& response) override;
    base::Status start(unsigned status, const Headers& headers, std::optional<std::uint64_t> length) override;
    awaitable<base::Status> write(std::string_view bytes) override;
    awaitable<base::Status> finish(std::string_view last) override;
    void abort() override;
    bool started() const override { return state_ != State::nothing; }
    void on_client_gone(std::function<void()> action) override;

    awaitable<void> refuse(OwnError error, bool with_body);
    bool finished() const { return state_ == State::finished; }
    bool keeps_connection() const { return persistence_ != Persistence::close; }

private:
    enum class State { nothing, streaming, finished, broken };
    enum class Piece { one_of_many, last };
    AnswerHead head(unsigned status, std::optional<std::uint64_t> length);
    /// Without a coroutine, because nearly always the socket takes everything at once.
    Io put_now(std::string_view& bytes);
    awaitable<Io> put_rest(std::string_view bytes);
    awaitable<base::Status> put(std::string_view bytes);
    awaitable<base::Status> put_piece(std::string_view bytes, Piece piece);
    base::Status may_write() const;
    /// Whether `bytes` agree with the declared length. Counts them.
    bool fits(std::string_view bytes, Piece piece);
    bool has_body() const { return !parser_->head_only() && framing_ != Framing::no_body; }
    base::Status ended(Io io);

    Connection* connection_ = nullptr;
    Shard* shard_ = nullptr;
    const RequestParser* parser_ = nullptr;
    std::string* out_ = nullptr;  // what is being sent, or the head until the first piece comes
    State state_ = State::nothing;
    Framing framing_ = Framing::length;
    Persistence persistence_ = Persistence::close;
    std::uint64_t remaining_ = 0;  // of a declared length
};

}  // namespace claviger::net
