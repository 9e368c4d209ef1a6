// The head of an answer becomes bytes that no handler can break.
#pragma once

#include "net/http.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace claviger::net {

/// How the end of an answer's body is told. no_body: the status forbids one (204, 304).
enum class Framing { length, chunked, until_close, no_body };
enum class Persistence { keep, keep_http_1_0, close };

struct AnswerHead {
    unsigned status = 200;
    Framing framing = Framing::length;
    std::uint64_t length = 0;
    Persistence persistence = Persistence::keep;
    std::string_view date;
};

/// Status line to empty line. Framing headers among `headers` are left out; a name or value that would break
/// the head is left out and logged.
void append_head(std::string& out, const AnswerHead& head, const Headers& headers);
void append_chunk(std::string& out, std::string_view bytes);
/// An answer of ours. `message` is a literal that needs no escaping.
struct OwnError {
    unsigned status = 0;
    std::string_view type, message;
    std::string request_id;  // empty: it has none
};

/// A whole answer that closes: {"type":"error","error":{"type":…,"message":…},"request_id":…}. Without body:
/// the answer to HEAD.
void append_error(std::string& out, const OwnError& error, std::string_view date, bool with_body);

}  // namespace claviger::net
