#include "net/wire_request.h"

#include "net/wire_answer.h"
#include "tests/support/spec.h"

#include <string>
#include <string_view>
#include <vector>

using namespace claviger;
using Progress = net::RequestParser::Progress;

namespace {

struct Outcome {
    Progress progress;
    unsigned status = 0;
    std::size_t taken = 0;
    net::Request request;
};

/// Feeds `bytes` in pieces that end at `cuts`, as a session does: what is not taken is shown again.
Outcome parse(std::string_view bytes, const std::vector<std::size_t>& cuts,
              const net::ServerLimits& limits = {}) {
    net::Request request;
    net::RequestParser parser(limits);
    parser.begin(request);
    std::size_t at = 0;
    std::vector<std::size_t> ends = cuts;
    ends.push_back(bytes.size());
    for (const std::size_t end : ends) {
        at += parser.take(bytes.substr(at, end - at));
        if (parser.progress() == Progress::complete || parser.progress() == Progress::refused) break;
    }
    Outcome outcome{parser.progress(), 0, at, std::move(request)};
    if (outcome.progress == Progress::refused) outcome.status = parser.refused().status;
    return outcome;
}

std::vector<std::size_t> every_byte(std::string_view bytes) {
    std::vector<std::size_t> cuts;
    for (std::size_t i = 1; i < bytes.size(); ++i) cuts.push_back(i);
    return cuts;
}

}  // namespace

TEST_CASE("A request comes out the same wherever its bytes are cut", "[net]") {
    const std::string_view bytes =
        "POST /mcp?x=1 HTTP/1.1\r\nHost: vault.example:8700\r\nX-Empty:\r\nX-Tab: a\tb "
        "\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5;name=\"quoted; text\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nDropped: yes\r\nAnd: this\r\n\r\nGET "
        "/next";
    const std::size_t whole = bytes.find("GET /next");

    const auto check = [&](const Outcome& outcome) {
        REQUIRE(outcome.progress == Progress::complete);
        CHECK(outcome.taken == whole);
        CHECK(outcome.request.method == "POST");
        CHECK(outcome.request.target == "/mcp?x=1");
        CHECK(outcome.request.body == "hello0123456789");
        REQUIRE(outcome.request.headers.size() == 4);
        CHECK(outcome.request.headers.find("X-Empty") == "");
        CHECK(outcome.request.headers.find("X-Tab") == "a\tb");
        CHECK_FALSE(outcome.request.headers.find("Dropped"));
    };
    check(parse(bytes, {}));
    check(parse(bytes, every_byte(bytes)));
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) check(parse(bytes, {cut}));
}

TEST_CASE("Limits are exact, wherever the bytes are cut", "[net]") {
    net::ServerLimits limits;
    limits.header_bytes = 256;
    limits.header_fields = 3;
    limits.target_bytes = 64;
    limits.body_bytes = 10;

    const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
    const auto padded = [&](std::size_t total) {
        return start + "X: " + std::string(total - start.size() - 7, 'x') + "\r\n\r\n";
    };
    struct Row {
        const char* what;
        std::string bytes;
        unsigned status;  // 0: complete
    };
    const std::vector<Row> rows = {
        {"the largest head", padded(256), 0},
        {"one byte more", padded(257), 431},
        {"three fields", start + "A: 1\r\nB: 2\r\n\r\n", 0},
        {"four fields", start + "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", 431},
        {"the longest target", "GET /" + std::string(63, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"one byte more", "GET /" + std::string(64, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
        {"a target without end", "GET /" + std::string(300, 'a'), 414},
        {"the largest body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789", 0},
        {"one byte more", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789", 413},
        {"the largest chunks",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
         "chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
         0},
        {"one byte more",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
         "chunked\r\n\r\n5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n",
         413},
        {"chunk extensions up to 4096 bytes",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;" + std::string(4095, 'e') +
             "\r\n\r\n",
         0},
        {"one byte more",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;" + std::string(4096, 'e') +
             "\r\n\r\n",
         400},
        {"too many trailers",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n",
         431},
        {"a trailer too large",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + std::string(300, 't') +
             "\r\n\r\n",
         431},
    };
    for (const auto& row : rows) {
        INFO(row.what << ": " << row.bytes.substr(0, 80));
        for (const auto& cuts : {std::vector<std::size_t>{}, every_byte(row.bytes)}) {
            const auto outcome = parse(row.bytes, cuts, limits);
            CHECK(outcome.status == row.status);
            CHECK(outcome.progress == (row.status == 0 ? Progress::complete : Progress::refused));
        }
    }
}

TEST_CASE("Keep-alive follows the version and the Connection header", "[net]") {
    struct Row {
        const char* head;
        bool keeps;
    };
    for (const auto& [head, keeps] : {Row{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
                                      Row{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
                                      Row{"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false},
                                      Row{"GET / HTTP/1.0\r\n\r\n", false},
                                      Row{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true}}) {
        net::Request request;
        const net::ServerLimits limits;
        net::RequestParser parser(limits);
        parser.begin(request);
        parser.take(head);
        REQUIRE(parser.progress() == Progress::complete);
        CHECK(parser.keep_alive() == keeps);
    }
}

TEST_CASE("A head written for an answer cannot be broken by what a handler puts into it", "[net]") {
    net::Headers headers;
    headers.add("X-Good", "yes");
    headers.add("X-Split", "a\r\nSet-Cookie: stolen=1");
    headers.add("X-Null", std::string_view("a\0b", 3));
    headers.add("Bad Name", "x");
    headers.add("", "x");
    headers.add("Content-Length", "5");
    headers.add("transfer-encoding", "chunked");
    headers.add("Connection", "upgrade");
    headers.add("Date", "never");

    std::string out;
    net::append_head(
        out, {200, net::Framing::length, 12, net::Persistence::close, "Sat, 21 Nov 2026 10:00:00 GMT"},
        headers);

    CHECK(out ==
          "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nX-Good: yes\r\nContent-Length: 12\r\n"
          "Connection: close\r\n\r\n");
}
