#include "net/server.h"
#include "net/wire_request.h"

#include "tests/support/net_loop.h"
#include "tests/support/raw_client.h"
#include "tests/support/spec.h"

#include <string>
#include <vector>

using namespace claviger;
using namespace std::chrono_literals;

namespace {

struct Row {
    const char* what;
    std::string bytes;
    unsigned status;  // 0: closed without an answer, because the request never became whole
};

std::string get(const std::string& fields) { return "GET / HTTP/1.1\r\n" + fields + "\r\n"; }
std::string post(const std::string& fields, const std::string& body) {
    return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}
std::string chunked(const std::string& body) { return post("Transfer-Encoding: chunked\r\n", body); }

const std::vector<Row>& bad_inputs() {
    using std::string_literals::operator""s;
    static const std::vector<Row> rows = {
        // Two ways to say where the body ends
        {"length and chunked", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
        {"chunked and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400},
        {"two different lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400},
        {"the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400},
        {"a list of lengths", post("Content-Length: 5, 5\r\n", "hello"), 400},
        {"a signed length", post("Content-Length: +5\r\n", "hello"), 400},
        {"a negative length", post("Content-Length: -1\r\n", ""), 400},
        {"a hexadecimal length", post("Content-Length: 0x5\r\n", "hello"), 400},
        {"an empty length", post("Content-Length:\r\n", ""), 400},
        {"a length with a space inside", post("Content-Length: 1 2\r\n", "hello"), 400},
        {"a length beyond 64 bits", post("Content-Length: 18446744073709551621\r\n", "hello"), 400},
        {"chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
         400},
        {"chunked and chunked", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 400},
        {"gzip, then chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400},
        {"chunked, then identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), 400},
        {"an unknown coding", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 400},
        {"an empty coding", post("Transfer-Encoding:\r\n", "0\r\n\r\n"), 400},
        {"chunked with a parameter", post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"), 400},
        {"chunked after a vertical tab", post("Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n"), 400},
        {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"white space before the colon", post("Content-Length : 5\r\n", "hello"), 400},
        {"a tab before the colon", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"), 400},
        // Lines
        {"bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", 400},
        {"bare LF after a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
        {"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        {"bare CR inside a value", get("Host: a\r\nX: b\rc\r\n"), 400},
        {"CR CR LF", get("Host: a\r\r\n"), 400},
        {"a folded header", get("Host: a\r\nX: b\r\n c\r\n"), 400},
        {"a folded first header", get(" X: b\r\nHost: a\r\n"), 400},
        {"NUL in a value", get("Host: a\r\nX: b\0c\r\n"s), 400},
        {"a control byte in a value", get("Host: a\r\nX: b\x01\r\n"), 400},
        {"DEL in a value", get("Host: a\r\nX: b\x7f\r\n"), 400},
        {"NUL in a name", get("Host: a\r\nX\0: b\r\n"s), 400},
        {"an empty name", get("Host: a\r\n: b\r\n"), 400},
        {"a line without a colon", get("Host: a\r\nnonsense\r\n"), 400},
        {"a name in quotes", get("Host: a\r\n\"X\": b\r\n"), 400},
        {"a name beyond ASCII", get("Host: a\r\nX\xc3\xa9: b\r\n"), 400},
        {"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        // Host
        {"no Host", get("X: y\r\n"), 400},
        {"two Hosts", get("Host: a\r\nHost: b\r\n"), 400},
        {"two equal Hosts", get("Host: a\r\nhost: a\r\n"), 400},
        {"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"an empty Host", get("Host:\r\n"), 400},
        {"a Host with a user", get("Host: a@b\r\n"), 400},
        {"a Host with a path", get("Host: a/b\r\n"), 400},
        {"a Host with a space", get("Host: a b\r\n"), 400},
        // Request line
        {"an absolute target", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"an asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"no leading slash", "GET index HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"a raw space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"a tab in the target", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"bytes beyond ASCII in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"s, 400},
        {"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"a trailing space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
        {"no version (HTTP/0.9)", "GET /\r\n\r\n", 400},
        {"lower case http", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
        {"a space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"a method in brackets", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
        {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"HTTP/0.9 in words", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
        {"the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"a TLS hello", "\x16\x03\x01\x02"s, 400},
        // Chunks
        {"a chunk size without digits", chunked("\r\nhello\r\n0\r\n\r\n"), 400},
        {"a chunk size that is no number", chunked("xyz\r\n"), 400},
        {"a signed chunk size", chunked("+5\r\nhello\r\n0\r\n\r\n"), 400},
        {"a chunk size with 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n"), 400},
        {"a chunk size of 17 digits", chunked("00000000000000005\r\nhello\r\n0\r\n\r\n"), 400},
        {"a space after the chunk size", chunked("5 \r\nhello\r\n0\r\n\r\n"), 400},
        {"bare LF after the chunk size", chunked("5\nhello\r\n0\r\n\r\n"), 400},
        {"CR without LF after the chunk size", chunked("5\rXhello\r\n0\r\n\r\n"), 400},
        {"bare LF in a chunk extension", chunked("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"), 400},
        {"NUL in a chunk extension", chunked("5;a=\0\r\nhello\r\n0\r\n\r\n"s), 400},
        {"a chunk longer than its size", chunked("5\r\nhello!\r\n0\r\n\r\n"), 400},
        {"bare LF after chunk data", chunked("5\r\nhello\n0\r\n\r\n"), 400},
        {"bare LF after the last chunk", chunked("0\n\r\n"), 400},
        {"a folded trailer", chunked("0\r\nA: b\r\n c\r\n\r\n"), 400},
        {"a trailer without a colon", chunked("0\r\nAb\r\n\r\n"), 400},
        {"a trailer with bare LF", chunked("0\r\nA: b\n\r\n"), 400},
        {"CR without LF at the very end", chunked("0\r\n\rX"), 400},
        // Too much
        {"a head too large", get("Host: a\r\nX: " + std::string(5000, 'x') + "\r\n"), 431},
        {"too many headers", get([] {
             std::string many = "Host: a\r\n";
             for (int i = 0; i < 30; ++i) many += "X: y\r\n";
             return many;
         }()),
         431},
        {"a target too long", "GET /" + std::string(2000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
        {"a body too long", post("Content-Length: 100001\r\n", ""), 413},
        {"a huge length", post("Content-Length: 18446744073709551615\r\n", ""), 413},
        {"a chunk too long", chunked("186a1\r\n"), 413},
        {"a huge chunk", chunked("ffffffffffffffff\r\n"), 413},
        {"chunks too long together", chunked("18000\r\n" + std::string(0x18000, 'x') + "\r\n8000\r\n"), 413},
        {"chunk extensions without end", chunked("5;" + std::string(5000, 'e')), 400},
        {"trailers without end", chunked("0\r\nA: " + std::string(5000, 't')), 431},
        // Expectations
        {"an unknown expectation", post("Expect: 200-maybe\r\nContent-Length: 1\r\n", "x"), 417},
        // Cut short
        {"nothing at all", "", 0},
        {"half a request line", "GET / HT", 0},
        {"half a head", "GET / HTTP/1.1\r\nHost: a\r\n", 0},
        {"half a body", post("Content-Length: 10\r\n", "hello"), 0},
        {"half a chunk", chunked("5\r\nhel"), 0},
        {"no last chunk", chunked("5\r\nhello\r\n"), 0},
        {"no end of the trailers", chunked("5\r\nhello\r\n0\r\n"), 0},
    };
    return rows;
}

net::ServerLimits small_limits() {
    net::ServerLimits limits;
    limits.header_bytes = 4096;
    limits.header_fields = 20;
    limits.target_bytes = 1024;
    limits.body_bytes = 100'000;
    return limits;
}

}  // namespace

TEST_CASE("Whatever two parsers could read differently is refused, and the server goes on", "[net]") {
    const bool with_ids = GENERATE(true, false);
    std::atomic<int> handled{0}, ids{0};
    net::NewRequestId new_id;
    if (with_ids) new_id = [&] { return "req_" + std::to_string(++ids); };
    test::Loop loop;
    net::Server server(
        {&loop.worker}, small_limits(),
        [&](const net::Request&, net::ResponseWriter& writer) -> net::awaitable<void> {
            ++handled;
            net::Response response;
            response.body = "served";
            const auto done = co_await writer.send(response);
            static_cast<void>(done);
        },
        {}, new_id);
    REQUIRE(server.listen("127.0.0.1", 0, nullptr));

    for (const auto& row : bad_inputs()) {
        INFO(row.what);
        handled = 0;
        test::RawClient client(server.port());
        REQUIRE(client.connected());
        client.send(row.bytes);
        client.finish_writing();
        const std::string answer = client.rest();

        CHECK(test::status_of(answer) == row.status);
        CHECK(client.ended());
        CHECK_FALSE(client.was_reset());
        CHECK(handled == 0);
        if (row.status != 0) {
            CHECK(answer.find("\r\nConnection: close\r\n") != std::string::npos);
            const std::string type = row.status == 413 ? "request_too_large" : "invalid_request_error";
            CHECK(test::body_of(answer).starts_with(R"({"type":"error","error":{"type":")" + type +
                                                    R"(","message":")"));
            const auto id = "req_" + std::to_string(ids);
            CHECK(test::body_of(answer).ends_with(R"("},"request_id":)" +
                                                  (with_ids ? '"' + id + '"' : std::string("null")) + "}"));
            const std::string field = with_ids ? "\r\nrequest-id: " + id + "\r\n" : "\r\nrequest-id: ";
            CHECK((answer.find(field) != std::string::npos) == with_ids);
        }

        test::RawClient next(server.port());
        next.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(test::status_of(next.answer()) == 200);
    }
    std::uint64_t refused = 0, expected = 0;
    for (const auto count : server.counters().bad_requests) refused += count;
    for (const auto& row : bad_inputs()) expected += row.status != 0;
    CHECK(refused == expected);
}

TEST_CASE("What is refused does not depend on how the bytes arrive", "[net]") {
    const auto limits = small_limits();
    for (const auto& row : bad_inputs()) {
        INFO(row.what);
        net::Request request;
        net::RequestParser parser(limits);
        parser.begin(request);
        std::size_t at = 0;
        for (std::size_t end = 1; end <= row.bytes.size(); ++end) {
            at += parser.take(std::string_view(row.bytes).substr(at, end - at));
            if (parser.progress() == net::RequestParser::Progress::refused) break;
        }
        if (row.status == 0) {
            CHECK(parser.progress() != net::RequestParser::Progress::complete);
        } else {
            REQUIRE(parser.progress() == net::RequestParser::Progress::refused);
            CHECK(parser.refused().status == row.status);
        }
    }
}
