// One HTTP/1.1 answer taken apart as it arrives: strict about everything that decides where it ends.
#pragma once

#include "net/client.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace claviger::net {

/// Reads answers to requests, one after the other; memory is kept between them. Interim answers (1xx) are
/// skipped.
class ResponseParser {
public:
    struct Limits {
        std::size_t header_bytes = 64 * 1024;  // head and trailers, and what interim answers came before
        std::size_t header_fields = 200;
    };
    enum class Body { as_framed, none };  // none: the answer to a HEAD request

    explicit ResponseParser(Limits limits);
    ~ResponseParser();
    ResponseParser(const ResponseParser&) = delete;
    ResponseParser& operator=(const ResponseParser&) = delete;

    void start(Body body);

    struct Fed {
        std::size_t consumed = 0;  // present the bytes behind these again, followed by more
        std::string_view body;     // decoded body bytes: a part of what was fed
    };
    /// Takes whatever can be understood now. Chunks are moved together inside `bytes`. Call it only while the
    /// answer is neither complete nor faulty.
    Fed feed(std::span<char> bytes);
    /// The peer has ended the stream in good order. Completes a body that lasts until then; anything else
    /// stays incomplete.
    void end_of_stream();

    bool begun() const;          // at least one byte was understood
    bool head_complete() const;  // of the final answer
    bool complete() const;
    /// Why the bytes are refused, a literal without anything of theirs; empty while all is well.
    std::string_view fault() const;
    /// Of a complete answer: the same connection may carry another request.
    bool keep_alive() const;
    ResponseHead& head();  // of the final answer, once head_complete()
    std::optional<std::uint64_t> declared_length() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace claviger::net
