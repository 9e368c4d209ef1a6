#include "net/wire_request.h"

#include "net/token.h"
#include "net/wiping.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <cstring>
#include <limits>

namespace claviger::net {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using boost::beast::string_view;

constexpr std::size_t kMethodAndVersionBytes = 48;  // what a request line may have besides its target
constexpr std::size_t kChunkExtensionBytes = 4096;  // in one body, all chunks together
constexpr unsigned kChunkSizeDigits = 16;
constexpr std::size_t kReservedBody =
    64 * 1024;  // a declared length alone does not buy more memory than this

std::string_view plain(string_view text) { return {text.data(), text.size()}; }

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// host [":" port] without user, path or anything that another parser might split differently (RFC 9112 3.2).
bool is_host(std::string_view value) {
    if (value.empty()) return false;
    return std::all_of(value.begin(), value.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("-._~:[]%!$&'()*+;=").find(c) != std::string_view::npos;
    });
}

/// "HTTP/9.9": a version we do not speak, as opposed to a line that is no request line.
bool ends_with_version(std::string_view line) {
    const auto space = line.rfind(' ');
    if (space == std::string_view::npos || std::count(line.begin(), line.end(), ' ') != 2) return false;
    const std::string_view version = line.substr(space + 1);
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return version.size() == 8 && version.starts_with("HTTP/") && digit(version[5]) && version[6] == '.' &&
           digit(version[7]);
}

std::string_view explain(const error_code& error) {
    if (error == http::error::bad_method) return "The request method is malformed.";
    if (error == http::error::bad_target) return "The request target is malformed.";
    if (error == http::error::bad_version) return "The request line is malformed.";
    if (error == http::error::bad_field) return "A header name is malformed.";
    if (error == http::error::bad_value) return "A header value is malformed.";
    if (error == http::error::bad_line_ending) return "A line of the request head does not end with CRLF.";
    return "The request head is malformed.";
}

bool is_framing(const error_code& error) {
    return error == http::error::bad_content_length || error == http::error::multiple_content_length ||
           error == http::error::bad_transfer_encoding;
}

}  // namespace

/// Beast checks the grammar of a complete head and hands over its parts; it never sees a body.
class RequestParser::HeadParser final : public http::basic_parser<true> {
public:
    explicit HeadParser(Request& request) : request_(request) {
        skip(true);
        header_limit(std::numeric_limits<std::uint32_t>::max());  // limits are checked before
    }
    bool http_1_0() const { return version_ == 10; }

private:
    void on_request_impl(http::verb, string_view method, string_view target, int version,
                         error_code&) override {
        request_.method.assign(method.data(), method.size());
        request_.target.assign(target.data(), target.size());
        version_ = version;
    }
    void on_field_impl(http::field, string_view name, string_view value, error_code&) override {
        request_.headers.add(plain(name), plain(value));
    }
    void on_response_impl(int, string_view, int, error_code&) override {}
    void on_header_impl(error_code&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
    std::size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
    void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override {
        return body.size();
    }
    void on_finish_impl(error_code&) override {}

    Request& request_;
    int version_ = 0;
};

void RequestParser::begin(Request& into) {
    request_ = &into;
    into.wipe();
    progress_ = Progress::head;
    refused_.reset();
    head_start_ = scanned_ = line_start_ = lines_ = 0;
    keep_alive_ = http_1_0_ = head_only_ = expects_continue_ = chunked_ = false;
    remaining_ = 0;
    begin_chunk_line();
    extension_bytes_ = trailer_bytes_ = trailer_fields_ = 0;
}

void RequestParser::leave_body() {
    wipe_and_clear(request_->body);
    progress_ = Progress::complete;
    keep_alive_ = false;
}

void RequestParser::refuse(BadRequest reason, unsigned status, std::string_view message) {
    progress_ = Progress::refused;
    refused_ = Refused{reason, status, message};
}

std::size_t RequestParser::take(std::string_view bytes) {
    std::size_t taken = 0;
    if (progress_ == Progress::head) taken = take_head(bytes);
    if (progress_ != Progress::body) return taken;
    if (chunked_) return taken + take_chunks(bytes.substr(taken));

    const std::size_t part =
        static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size() - taken));
    append_wiping(request_->body, bytes.substr(taken, part));
    remaining_ -= part;
    if (remaining_ == 0) progress_ = Progress::complete;
    return taken + part;
}

std::size_t RequestParser::take_head(std::string_view bytes) {
    if (bytes.empty()) return 0;
    if (head_start_ == 0 && scanned_ == 0 &&
        bytes[0] == '\r') {  // one empty line before it is forgiven (RFC 9112 2.2)
        if (bytes.size() == 1) return 0;
        if (bytes[1] != '\n') return refuse_syntax("The request line is malformed."), 0;
        head_start_ = scanned_ = line_start_ = 2;
    }
    if (bytes.size() == head_start_) return 0;
    if (!is_token(bytes[head_start_]))
        return refuse_syntax("This is not an HTTP request; is the other side speaking TLS to a plain port?"),
               0;

    const std::size_t end = std::min(bytes.size(), head_start_ + limits_.header_bytes);
    while (scanned_ < end) {
        const void* found = std::memchr(bytes.data() + scanned_, '\n', end - scanned_);
        if (!found) {
            scanned_ = end;
            break;
        }
        const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
        const auto line = bytes.substr(line_start_, at - line_start_);
        scanned_ = line_start_ = at + 1;
        if (line == "\r") {
            const auto head = bytes.substr(head_start_, scanned_ - head_start_);
            if (parse_head(head)) check_head();
            return progress_ == Progress::refused ? 0 : scanned_;
        }
        check_line(line);
        if (progress_ == Progress::refused) return 0;
    }
    if (lines_ == 0 && end - head_start_ > limits_.target_bytes + kMethodAndVersionBytes)
        refuse(BadRequest::target_too_long, 414, "The request target is too long.");
    else if (bytes.size() > end)
        refuse(BadRequest::head_too_large, 431, "The request head is too large.");
    return 0;
}

void RequestParser::check_line(std::string_view line) {
    if (lines_ == 0 && line.size() > limits_.target_bytes + kMethodAndVersionBytes)
        return refuse(BadRequest::target_too_long, 414, "The request target is too long.");
    if (line.empty() || line.back() != '\r')
        return refuse_syntax("A line of the request head does not end with CRLF.");
    if (line.front() == ' ' || line.front() == '\t')
        return refuse_syntax("A header line begins with white space (folded lines are obsolete).");
    if (lines_++ > limits_.header_fields)  // the first line is the request line
        refuse(BadRequest::head_too_large, 431, "The request has too many header fields.");
}

bool RequestParser::parse_head(std::string_view head) {
    HeadParser parser(*request_);
    error_code error;
    const std::size_t used = parser.put(boost::asio::buffer(head.data(), head.size()), error);
    if (error == http::error::bad_version && ends_with_version(head.substr(0, head.find("\r\n")))) {
        refuse(BadRequest::version, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    } else if (is_framing(error)) {
        refuse(BadRequest::framing, 400,
               "Content-Length or Transfer-Encoding is malformed or contradictory.");
    } else if (error || used != head.size() || !parser.is_done()) {
        refuse_syntax(explain(error));
    } else {
        keep_alive_ = parser.keep_alive();
        http_1_0_ = parser.http_1_0();
        chunked_ = parser.chunked();
        remaining_ = parser.content_length().value_or(0);
        return true;
    }
    return false;
}

void RequestParser::check_head() {
    const std::string& method = request_->method;
    if (method == "CONNECT") return refuse(BadRequest::method, 501, "This server is not a tunnel.");
    if (method == "TRACE") return refuse(BadRequest::method, 405, "TRACE is not allowed.");
    head_only_ = method == "HEAD";
    check_target();
    if (progress_ != Progress::refused) check_fields();
    if (progress_ == Progress::refused) return;

    if (remaining_ > limits_.body_bytes)
        return refuse(BadRequest::body_too_large, 413, "The request body is too large.");
    const bool has_body = chunked_ || remaining_ > 0;
    expects_continue_ = expects_continue_ && has_body && !http_1_0_;
    progress_ = has_body ? Progress::body : Progress::complete;
    if (!chunked_)
        request_->body.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, kReservedBody)));
}

void RequestParser::check_target() {
    const std::string& target = request_->target;
    if (target.size() > limits_.target_bytes)
        return refuse(BadRequest::target_too_long, 414, "The request target is too long.");
    if (target.front() != '/') return refuse_syntax("The request target must begin with '/'.");
    for (const char c : target) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte >= 0x7f || c == '#')
            return refuse_syntax("The request target has a character that must be percent-encoded.");
    }
}

void RequestParser::check_fields() {
    std::size_t hosts = 0, lengths = 0, encodings = 0;
    for (std::size_t i = 0; i < request_->headers.size(); ++i) {
        const auto [name, value] = request_->headers.at(i);
        if (name.size() == 4 && equal_ignoring_case(name, "host")) {
            ++hosts;
            if (!is_host(value)) return refuse_syntax("The Host header is malformed.");
        } else if (name.size() == 14 && equal_ignoring_case(name, "content-length")) {
            lengths += value.find(',') == std::string_view::npos ? 1 : 2;
        } else if (name.size() == 17 && equal_ignoring_case(name, "transfer-encoding")) {
            ++encodings;
            if (!equal_ignoring_case(value, "chunked"))
                return refuse(BadRequest::framing, 400,
                              "The only transfer encoding understood here is chunked.");
        } else if (name.size() == 6 && equal_ignoring_case(name, "expect") && !http_1_0_) {
            if (!equal_ignoring_case(value, "100-continue"))
                return refuse(BadRequest::expectation, 417,
                              "The only expectation understood here is 100-continue.");
            expects_continue_ = true;
        }
    }
    if (lengths + encodings > 1)
        return refuse(BadRequest::framing, 400,
                      "Content-Length and Transfer-Encoding must appear once, and never together.");
    if (encodings == 1 && http_1_0_)
        return refuse(BadRequest::framing, 400, "HTTP/1.0 has no Transfer-Encoding.");
    if (hosts > 1 || (hosts == 0 && !http_1_0_)) refuse_syntax("The Host header must appear exactly once.");
}

void RequestParser::begin_chunk_line() {
    chunk_ = Chunk::size;
    size_digits_ = 0;
}

std::size_t RequestParser::take_chunks(std::string_view bytes) {
    std::size_t at = 0;
    while (at < bytes.size() && progress_ == Progress::body) {
        if (chunk_ == Chunk::data) {
            const auto part =
                static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size() - at));
            append_wiping(request_->body, bytes.substr(at, part));
            at += part;
            remaining_ -= part;
            if (remaining_ == 0) chunk_ = Chunk::data_return;
        } else {
            take_chunk_byte(bytes[at++]);
        }
    }
    return at;
}

void RequestParser::take_chunk_byte(char c) {
    constexpr std::string_view malformed = "The chunked body is malformed.";
    const auto refuse_chunk = [&] { refuse(BadRequest::framing, 400, malformed); };
    switch (chunk_) {
        case Chunk::size:
            return take_size_byte(c);
        case Chunk::extension:
            if (++extension_bytes_ > kChunkExtensionBytes)
                return refuse(BadRequest::framing, 400, "The chunk extensions are too long.");
            if (c == '\r')
                chunk_ = Chunk::size_end;
            else if (is_control(c))
                refuse_chunk();
            return;
        case Chunk::size_end:
            return c == '\n' ? end_size_line() : refuse_chunk();
        case Chunk::data:
            return;  // taken in bulk
        case Chunk::data_return:
            return c == '\r' ? void(chunk_ = Chunk::data_end) : refuse_chunk();
        case Chunk::data_end:
            return c == '\n' ? begin_chunk_line() : refuse_chunk();
        case Chunk::trailer_start:
        case Chunk::trailer_name:
        case Chunk::trailer_value:
        case Chunk::trailer_end:
            return take_trailer_byte(c);
        case Chunk::last_end:
            return c == '\n' ? void(progress_ = Progress::complete) : refuse_chunk();
    }
}

void RequestParser::take_size_byte(char c) {
    const int digit = hex_digit(c);
    if (digit >= 0 && size_digits_ < kChunkSizeDigits) {
        remaining_ = size_digits_++ == 0 ? 0 : remaining_ << 4;
        remaining_ |= static_cast<std::uint64_t>(digit);
    } else if (size_digits_ > 0 && c == ';') {
        chunk_ = Chunk::extension;
    } else if (size_digits_ > 0 && c == '\r') {
        chunk_ = Chunk::size_end;
    } else {
        refuse(BadRequest::framing, 400, "A chunk size is malformed.");
    }
}

void RequestParser::end_size_line() {
    if (remaining_ > limits_.body_bytes - request_->body.size())
        return refuse(BadRequest::body_too_large, 413, "The request body is too large.");
    chunk_ = remaining_ > 0 ? Chunk::data : Chunk::trailer_start;
}

/// Trailers are read, checked and dropped: nothing that comes after the body may change what the head said.
void RequestParser::take_trailer_byte(char c) {
    const auto refuse_trailer = [&] {
        refuse(BadRequest::framing, 400, "The trailer of the chunked body is malformed.");
    };
    if (++trailer_bytes_ > limits_.header_bytes)
        return refuse(BadRequest::head_too_large, 431, "The trailer of the chunked body is too large.");
    if (chunk_ == Chunk::trailer_start) {
        if (c == '\r') return void(chunk_ = Chunk::last_end);
        if (!is_token(c)) return refuse_trailer();
        if (++trailer_fields_ > limits_.header_fields)
            return refuse(BadRequest::head_too_large, 431,
                          "The trailer of the chunked body has too many fields.");
        chunk_ = Chunk::trailer_name;
    } else if (chunk_ == Chunk::trailer_name) {
        if (c == ':') return void(chunk_ = Chunk::trailer_value);
        if (!is_token(c)) refuse_trailer();
    } else if (chunk_ == Chunk::trailer_value) {
        if (c == '\r') return void(chunk_ = Chunk::trailer_end);
        if (is_control(c)) refuse_trailer();
    } else {
        if (c != '\n') return refuse_trailer();
        chunk_ = Chunk::trailer_start;
    }
}

}  // namespace claviger::net
