#include "net/wire_answer.h"

#include "base/log.h"
#include "net/token.h"

#include <algorithm>
#include <charconv>

namespace claviger::net {
namespace {

std::string_view reason_phrase(unsigned status) {
    switch (status) {
        case 200:
            return "OK";
        case 201:
            return "Created";
        case 202:
            return "Accepted";
        case 204:
            return "No Content";
        case 206:
            return "Partial Content";
        case 301:
            return "Moved Permanently";
        case 302:
            return "Found";
        case 303:
            return "See Other";
        case 304:
            return "Not Modified";
        case 307:
            return "Temporary Redirect";
        case 308:
            return "Permanent Redirect";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 406:
            return "Not Acceptable";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 410:
            return "Gone";
        case 412:
            return "Precondition Failed";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 422:
            return "Unprocessable Content";
        case 428:
            return "Precondition Required";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "";
    }
}

template <class Integer>
void append_number(std::string& out, Integer number, int base = 10) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, number, base).ptr;
    out.append(digits, end);
}

/// Framing, dates and connection are the writer's business: a copy of an upstream's would contradict them.
bool is_writers_own(std::string_view name) {
    switch (name.size()) {
        case 4:
            return equal_ignoring_case(name, "date");
        case 10:
            return equal_ignoring_case(name, "connection") || equal_ignoring_case(name, "keep-alive");
        case 14:
            return equal_ignoring_case(name, "content-length");
        case 17:
            return equal_ignoring_case(name, "transfer-encoding");
        default:
            return false;
    }
}

}  // namespace

void append_head(std::string& out, const AnswerHead& head, const Headers& headers) {
    out += "HTTP/1.1 ";
    append_number(out, head.status);
    out += ' ';
    out += reason_phrase(head.status);
    out += "\r\nDate: ";
    out += head.date;
    out += "\r\n";
    for (std::size_t i = 0; i < headers.size(); ++i) {
        const auto [name, value] = headers.at(i);
        if (is_writers_own(name)) continue;
        const bool named = !name.empty() && std::all_of(name.begin(), name.end(), is_token);
        if (!named || std::any_of(value.begin(), value.end(), is_control)) {
            base::log(base::LogLevel::error, "answer.header_dropped",
                      {{"name", named ? name : std::string_view("(not a header name)")}});
            continue;
        }
        out.append(name).append(": ").append(value).append("\r\n");
    }
    switch (head.framing) {
        case Framing::length:
            out += "Content-Length: ";
            append_number(out, head.length);
            out += "\r\n";
            break;
        case Framing::chunked:
            out += "Transfer-Encoding: chunked\r\n";
            break;
        case Framing::until_close:
        case Framing::no_body:
            break;
    }
    if (head.persistence == Persistence::close) out += "Connection: close\r\n";
    if (head.persistence == Persistence::keep_http_1_0) out += "Connection: keep-alive\r\n";
    out += "\r\n";
}

void append_chunk(std::string& out, std::string_view bytes) {
    append_number(out, bytes.size(), 16);
    out.append("\r\n").append(bytes).append("\r\n");
}

void append_error(std::string& out, const OwnError& error, std::string_view date, bool with_body) {
    Headers headers;
    if (error.status == 405) headers.add("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    headers.add("Content-Type", "application/json");
    if (!error.request_id.empty()) headers.add("request-id", error.request_id);
    const auto id = error.request_id.empty() ? std::string("null") : '"' + error.request_id + '"';
    std::string body = R"({"type":"error","error":{"type":")";
    body.append(error.type).append(R"(","message":")").append(error.message);
    body.append(R"("},"request_id":)").append(id).append("}");
    append_head(out, {error.status, Framing::length, body.size(), Persistence::close, date}, headers);
    if (with_body) out += body;
}

}  // namespace claviger::net
