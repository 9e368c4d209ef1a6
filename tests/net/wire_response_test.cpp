// Answers taken apart: what is accepted comes out the same at any chunk borders, what is doubtful is refused
// at any.
#include "net/wire_response.h"
#include "tests/support/spec.h"

#include <string>
#include <vector>

using namespace claviger::net;
using namespace std::string_literals;

namespace {

struct Read {
    unsigned status = 0;
    std::string body;
    std::string left;  // behind the end of the answer
    std::string fault;
    bool complete = false;
    bool keep_alive = false;
    std::vector<std::pair<std::string, std::string>> fields;
    bool operator==(const Read&) const = default;
};

/// Feeds `pieces` the way a connection does: what was not consumed is presented again, followed by more.
Read read_pieces(const std::vector<std::string>& pieces,
                 ResponseParser::Body body = ResponseParser::Body::as_framed,
                 ResponseParser::Limits limits = {}) {
    ResponseParser parser(limits);
    parser.start(body);
    Read read;
    std::string pending;
    for (const auto& piece : pieces) {
        pending += piece;
        if (parser.complete() || !parser.fault().empty()) continue;
        const auto fed = parser.feed(pending);
        read.body += fed.body;
        pending.erase(0, fed.consumed);
    }
    parser.end_of_stream();
    read.fault = parser.fault();
    read.complete = parser.complete();
    if (parser.head_complete()) {
        read.status = parser.head().status;
        for (std::size_t i = 0; i < parser.head().headers.size(); ++i) {
            const auto field = parser.head().headers.at(i);
            read.fields.emplace_back(field.name, field.value);
        }
    }
    if (read.complete) read.keep_alive = parser.keep_alive();
    if (read.complete) read.left = pending;
    return read;
}

std::vector<std::string> single_bytes(const std::string& text) {
    std::vector<std::string> bytes;
    for (const char byte : text) bytes.emplace_back(1, byte);
    return bytes;
}

const std::string kGood[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n01\r\nx\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
    "chunked\r\n\r\n5;name=value;q=\"a\\\"b\"\r\nhello\r\n0;last\r\nX-Trailer: yes\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 "
    "Created\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nEmpty:\r\nSpaced: \t a b \t\r\nContent-Length: 3\r\n\r\nend",
};

}  // namespace

TEST_CASE("An answer reads the same whole, byte by byte, and cut at every position", "[net][wire]") {
    for (const auto& text : kGood) {
        INFO(text);
        const auto whole = read_pieces({text});
        REQUIRE(whole.fault.empty());
        REQUIRE(whole.complete);
        CHECK(read_pieces(single_bytes(text)) == whole);
        for (std::size_t cut = 1; cut < text.size(); ++cut) {
            INFO("cut at " << cut);
            CHECK(read_pieces({text.substr(0, cut), text.substr(cut)}) == whole);
        }
        for (std::size_t cut = 1; cut + 1 < text.size(); cut += 3)
            CHECK(read_pieces({text.substr(0, cut), text.substr(cut, 1), text.substr(cut + 1)}) == whole);
    }
    CHECK(read_pieces({kGood[2]}).body == "hello world");
    CHECK(read_pieces({kGood[6]}).body == "hello");
    CHECK(read_pieces({kGood[6]}).fields.size() == 1);  // trailers decide nothing
    CHECK(read_pieces({kGood[7]}).status == 201);
    CHECK(read_pieces({kGood[7]}).body == "ok");
    CHECK(read_pieces({kGood[7]}).fields.size() == 1);  // none of an interim answer
    CHECK(read_pieces({kGood[10]}).body == "until the end");
    CHECK(read_pieces({kGood[12]}).fields[1] == std::pair<std::string, std::string>("Spaced", "a b"));
}

TEST_CASE("Whether a connection can be used again follows version, framing and Connection", "[net][wire]") {
    CHECK(read_pieces({kGood[0]}).keep_alive);
    CHECK(read_pieces({kGood[2]}).keep_alive);
    CHECK(read_pieces({kGood[8]}).keep_alive);
    CHECK_FALSE(read_pieces({kGood[10]}).keep_alive);
    CHECK(read_pieces({kGood[11]}).keep_alive);
    CHECK_FALSE(read_pieces({"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"}).keep_alive);
    CHECK_FALSE(
        read_pieces({"HTTP/1.1 200 OK\r\nConnection: a, close\r\nContent-Length: 2\r\n\r\nhi"}).keep_alive);
    CHECK(read_pieces({kGood[0] + "HTTP/1.1 200 OK\r\n"}).left == "HTTP/1.1 200 OK\r\n");
    CHECK(read_pieces({kGood[2] + "x"}).left == "x");
    CHECK(read_pieces({kGood[8] + "x"}).left == "x");
}

TEST_CASE("The answer to HEAD has no body, whatever it declares", "[net][wire]") {
    for (const auto* text :
         {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"}) {
        const auto read = read_pieces({text}, ResponseParser::Body::none);
        CHECK(read.complete);
        CHECK(read.keep_alive);
        CHECK(read.body.empty());
    }
}

TEST_CASE("An answer that two readers could understand differently is refused", "[net][wire]") {
    const std::string ok = "HTTP/1.1 200 OK\r\n";
    const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
    const std::string refused[] = {
        "hello, this is no HTTP at all\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 600 High\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        ok + "Content-Length: 5\nX: y\r\n\r\nhello",
        ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        ok + "Content-Length: 5, 5\r\n\r\nhello",
        ok + "Content-Length: +5\r\n\r\nhello",
        ok + "Content-Length: -5\r\n\r\nhello",
        ok + "Content-Length: 0x5\r\n\r\nhello",
        ok + "Content-Length: 5 5\r\n\r\nhello",
        ok + "Content-Length:\r\n\r\nhello",
        ok + "Content-Length: 99999999999999999999\r\n\r\nhello",
        ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ok + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ok + "Transfer-Encoding: gzip\r\n\r\nx",
        ok + "Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
        ok + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        ok + "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ok + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        ok + "Content-Length : 5\r\n\r\nhello",
        ok + "X-Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        ok + "X-Folded:\r\n b\r\nContent-Length: 0\r\n\r\n",
        ok + "X-Folded: a\r\n\t\r\nContent-Length: 0\r\n\r\n",
        ok + "X-Folded:\r\n \r\nContent-Length: 0\r\n\r\n",
        ok + " Content-Length: 5\r\n\r\nhello",
        ok + ": no name\r\nContent-Length: 0\r\n\r\n",
        ok + "no colon\r\nContent-Length: 0\r\n\r\n",
        ok + "X\x01: y\r\nContent-Length: 0\r\n\r\n",
        ok + "X: a\x01\r\nContent-Length: 0\r\n\r\n",
        ok + "X: a\0b\r\nContent-Length: 0\r\n\r\n"s,
        ok + "X: a\rb\r\nContent-Length: 0\r\n\r\n",
        ok + "X: y\r\n\rContent-Length: 0\r\n\r\n",
        chunked + "x\r\nhello\r\n0\r\n\r\n",
        chunked + "-5\r\nhello\r\n0\r\n\r\n",
        chunked + "0x5\r\nhello\r\n0\r\n\r\n",
        chunked + "5 \r\nhelloX\n0\r\n\r\n",
        chunked + "5\nhello\r\n0\r\n\r\n",
        chunked + "5\r\nhelloXX0\r\n\r\n",
        chunked + "5\r\nhello\n0\r\n\r\n",
        chunked + "\r\n5\r\nhello\r\n0\r\n\r\n",
        chunked + "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        chunked + "5;=\r\nhello\r\n0\r\n\r\n",
        chunked + "0\r\nbad trailer\r\n\r\n",
        chunked + "0\r\nContent-Length: 5\r\n\r\n",
        chunked + "0\r\nX: a\r\n b\r\n\r\n",
    };
    for (const auto& text : refused) {
        INFO(text);
        const auto whole = read_pieces({text});
        CHECK_FALSE(whole.complete);
        CHECK_FALSE(whole.fault.empty());
        // Byte by byte it may instead wait for an end that never comes, up to the limits.
        CHECK_FALSE(read_pieces(single_bytes(text)).complete);
    }
}

TEST_CASE("A body cut short is never complete", "[net][wire]") {
    CHECK_FALSE(
        read_pieces({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"\r\nhello\r\n0\r\n\r\n\""})
            .complete);
    for (const auto& text : {kGood[0], kGood[2], kGood[6], kGood[7]})
        for (std::size_t cut = 0; cut < text.size(); ++cut) {
            INFO(text.substr(0, cut));
            const auto read = read_pieces({text.substr(0, cut)});
            CHECK_FALSE(read.complete);
            CHECK(read.fault.empty());
        }
}

TEST_CASE("Heads, trailers and interim answers are bounded, and a long body is not", "[net][wire]") {
    const ResponseParser::Limits limits{1024, 10};
    const auto fault = [&](const std::string& text) {
        const auto whole = read_pieces({text}, ResponseParser::Body::as_framed, limits).fault;
        const auto slow = read_pieces(single_bytes(text), ResponseParser::Body::as_framed, limits).fault;
        CHECK(whole.empty() == slow.empty());
        return slow;
    };
    const std::string ok = "HTTP/1.1 200 OK\r\n", chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
    std::string few, many, long_fields;
    for (int i = 0; i < 9; ++i) few += "A" + std::to_string(i) + ": b\r\n";
    for (int i = 0; i < 10; ++i) many += "A" + std::to_string(i) + ": b\r\n";
    for (int i = 0; i < 9; ++i) long_fields += "A: " + std::string(120, 'x') + "\r\n";
    CHECK(fault(ok + few + "Content-Length: 0\r\n\r\n").empty());
    CHECK(fault(ok + many + "Content-Length: 0\r\n\r\n") == "too many header fields");
    CHECK(fault(ok + long_fields + "\r\n") == "header fields that are too long");
    CHECK(fault(ok + "A: " + std::string(1100, 'x') + "\r\n\r\n") == "header fields that are too long");
    CHECK(fault(ok + std::string(1100, 'x')) == "header fields that are too long");
    CHECK(fault(ok + "A:" + std::string(1100, ' ')) == "header fields that are too long");
    CHECK(fault("HTTP/1.1 200 " + std::string(1100, 'x')) == "header fields that are too long");
    CHECK(fault(chunked + "0\r\n" + many + "\r\n") == "too many header fields");
    CHECK(fault(chunked + "0\r\n" + long_fields + "\r\n") == "header fields that are too long");
    CHECK(fault(chunked + "5;a=" + std::string(20'000, 'x')) == "bad chunks");
    CHECK(fault(chunked + "0\r\nX: " + std::string(20'000, 'x')) == "bad chunks");
    CHECK(fault(chunked + std::string(20'000, '0')) == "bad chunks");

    std::string interim;
    for (int i = 0; i < 8; ++i) interim += "HTTP/1.1 100 Continue\r\n\r\n";
    CHECK(fault(interim + ok + "Content-Length: 0\r\n\r\n").empty());
    CHECK(fault(interim + "HTTP/1.1 100 Continue\r\n\r\n") == "too many interim answers");

    const std::string megabytes(20 * 1024 * 1024, 'x');
    const auto read =
        read_pieces({ok + "Content-Length: " + std::to_string(megabytes.size()) + "\r\n\r\n", megabytes});
    CHECK(read.complete);
    CHECK(read.body.size() == megabytes.size());
}

TEST_CASE("Chunks that arrive together come out as one piece, inside the bytes that were fed",
          "[net][wire]") {
    std::string text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    std::string expected;
    for (int i = 1; i < 200; ++i) {
        const std::string piece(static_cast<std::size_t>(i), static_cast<char>('a' + i % 26));
        char size[8];
        std::snprintf(size, sizeof size, "%x", i);
        text += std::string(size) + "\r\n" + piece + "\r\n";
        expected += piece;
    }
    ResponseParser parser({});
    const auto fed = parser.feed(text);
    CHECK(fed.body == expected);
    CHECK(fed.body.data() > text.data());
    CHECK(fed.body.data() + fed.body.size() <= text.data() + fed.consumed);
    CHECK_FALSE(parser.complete());
}

TEST_CASE("A parser reads one answer after the other", "[net][wire]") {
    ResponseParser parser({});
    std::string broken = "HTTP/1.1 200 OK\r\nX y\r\n\r\n";
    parser.feed(broken);
    CHECK(parser.fault() == "bad header fields");
    for (int i = 0; i < 3; ++i) {
        parser.start(ResponseParser::Body::as_framed);
        CHECK_FALSE(parser.begun());
        std::string text = "HTTP/1.1 20" + std::to_string(i) + " OK\r\nContent-Length: 2\r\n\r\nhi";
        CHECK(parser.feed(text).body == "hi");
        CHECK(parser.complete());
        CHECK(parser.head().status == 200u + static_cast<unsigned>(i));
        CHECK(parser.head().headers.size() == 1);
        CHECK(parser.declared_length() == 2);
    }
}
