// The bytes of a request become a Request, strictly.
#pragma once

#include "net/http.h"
#include "net/server.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace claviger::net {

/// Why a request was refused before a handler saw it.
struct Refused {
    BadRequest reason;
    unsigned status;
    std::string_view message;  // a literal, for the client
};

/// Collects one request from bytes that come in pieces of any size; how they are cut never changes what comes
/// out. Grammar is checked by Beast's parser on the complete head; framing, which decides where the next
/// request begins, is checked here and refuses whatever two implementations might read differently.
class RequestParser {
public:
    enum class Progress { head, body, complete, refused };

    explicit RequestParser(const ServerLimits& limits) : limits_(limits) {}
    /// Forgets the last request. The strings of `into` are reused.
    void begin(Request& into);
    /// Takes from the front of `bytes` what belongs to this request and says how much that was. While the
    /// head is incomplete nothing is taken: call again with the same bytes and more.
    std::size_t take(std::string_view bytes);

    Progress progress() const { return progress_; }
    const Refused& refused() const { return *refused_; }

    // After the head:
    bool keep_alive() const { return keep_alive_; }
    bool http_1_0() const { return http_1_0_; }
    bool head_only() const { return head_only_; }                // HEAD: the answer has no body
    bool expects_continue() const { return expects_continue_; }  // waits for "100 Continue" with its body
    /// More than that many bytes of body are to come, or nobody knows how many.
    bool awaits_more_than(std::size_t bytes) const { return chunked_ || remaining_ > bytes; }
    /// The request is complete without its body, which stays unread: it is the last on its connection.
    void leave_body();

private:
    class HeadParser;
    enum class Chunk {
        size,
        extension,
        size_end,
        data,
        data_return,
        data_end,
        trailer_start,
        trailer_name,
        trailer_value,
        trailer_end,
        last_end
    };

    std::size_t take_head(std::string_view bytes);
    void check_line(std::string_view line);
    bool parse_head(std::string_view head);
    void check_head();
    void check_target();
    void check_fields();
    std::size_t take_chunks(std::string_view bytes);
    void take_chunk_byte(char c);
    void take_size_byte(char c);
    void take_trailer_byte(char c);
    void begin_chunk_line();
    void end_size_line();
    void refuse(BadRequest reason, unsigned status, std::string_view message);
    void refuse_syntax(std::string_view message) { refuse(BadRequest::syntax, 400, message); }

    const ServerLimits& limits_;
    Request* request_ = nullptr;
    Progress progress_ = Progress::head;
    std::optional<Refused> refused_;

    std::size_t head_start_ = 0;
    std::size_t scanned_ = 0;  // bytes of the incomplete head that were looked at
    std::size_t line_start_ = 0;
    std::size_t lines_ = 0;
    bool keep_alive_ = false, http_1_0_ = false, head_only_ = false, expects_continue_ = false,
         chunked_ = false;
    std::uint64_t remaining_ = 0;  // of the body, or of the chunk

    Chunk chunk_ = Chunk::size;
    unsigned size_digits_ = 0;
    std::size_t extension_bytes_ = 0, trailer_bytes_ = 0, trailer_fields_ = 0;
};

}  // namespace claviger::net
