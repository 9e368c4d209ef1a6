// Event streams: the WHATWG rules at any chunk borders, nothing lost on the way, and the watch agrees with
// whole parsing.
#include "net/sse.h"
#include "tests/support/spec.h"

#include <string>
#include <vector>

using namespace claviger::net;
using namespace std::string_literals;

namespace {

struct Event {
    std::string data, name, id;
    bool has_data = false, has_id = false;
    std::optional<std::uint64_t> retry;
    bool operator==(const Event&) const = default;
};

struct Split {
    std::vector<Event> events;  // without the ones that have nothing to say
    std::string raw, rest;
};

Split split(const std::vector<std::string>& pieces) {
    Split split;
    SseSplitter splitter;
    for (const auto& piece : pieces) {
        REQUIRE(splitter.feed(piece));
        while (auto event = splitter.next()) {
            split.raw += event->raw;
            if (event->has_data || event->has_id || event->retry_milliseconds || !event->name.empty())
                split.events.push_back({std::string(event->data), std::string(event->name),
                                        std::string(event->id), event->has_data, event->has_id,
                                        event->retry_milliseconds});
        }
    }
    split.rest = splitter.rest();
    return split;
}

std::vector<std::string> single_bytes(const std::string& text) {
    std::vector<std::string> bytes;
    for (const char byte : text) bytes.emplace_back(1, byte);
    return bytes;
}

bool answered(const std::string& id, const std::string& stream) {
    SseWatcher whole(id), slow(id);
    whole.feed(stream);
    for (const char byte : stream) slow.feed({&byte, 1});
    CHECK(whole.answered() == slow.answered());
    return whole.answered();
}

std::string event(const std::string& data) { return "data: " + data + "\n\n"; }

}  // namespace

TEST_CASE("Events read the same with every line end and cut at every position", "[net][sse]") {
    const std::string stream =
        "\xef\xbb\xbf: hello\nevent: message\nid: 1\ndata: {\"a\":1}\n\ndata:two\ndata:  "
        "lines\ndata\n\nretry: 1500\nid\n\n: ping\n\n"
        "event: other\ndata: x\nunknown: field\n data: no\nid: bad\\0\n\nid: 7\n\ndata: unfinished\n";
    const std::vector<Event> expected = {
        {"{\"a\":1}", "message", "1", true, true, {}},
        {"two\n lines\n", "", "", true, false, {}},
        {"", "", "", false, true, 1500},
        {"x", "other", "bad\\0", true, true, {}},
        {"", "", "7", false, true, {}},
    };
    for (const std::string line_end : {"\n", "\r\n", "\r"}) {
        std::string text;
        for (const char byte : stream) text += byte == '\n' ? line_end : std::string(1, byte);
        const auto check = [&](const std::vector<std::string>& pieces) {
            const auto result = split(pieces);
            CHECK(result.events == expected);
            CHECK(result.raw + result.rest == text);
        };
        check({text});
        check(single_bytes(text));
        for (std::size_t cut = 1; cut < text.size(); ++cut) check({text.substr(0, cut), text.substr(cut)});
    }
}

TEST_CASE("Odd corners of the format", "[net][sse]") {
    CHECK(split({"data: a\r\n\rdata: b\n\r\n"}).events.size() == 2);  // mixed line ends
    CHECK(split({"\n\n\n"}).events.empty());
    CHECK(split({"\xef\xbb\xbf\n\n"}).raw == "\xef\xbb\xbf\n\n");
    CHECK(split({"data\n\n"}).events[0].has_data);
    CHECK(split({"data:\n\n"}).events[0].data.empty());
    CHECK(split({"data: \xef\xbb\xbfx\n\n"}).events[0].data ==
          "\xef\xbb\xbfx");  // a mark is one only at the start
    CHECK(split({"a: b\n\n\xef\xbb\xbf"
                 "data: x\n\n"})
              .events.empty());
    CHECK_FALSE(split({"id: a\0b\ndata: x\n\n"s}).events[0].has_id);
    CHECK_FALSE(split({"retry: 1a\ndata: x\n\n"}).events[0].retry);
    CHECK_FALSE(split({"retry:\ndata: x\n\n"}).events[0].retry);
    CHECK_FALSE(split({"retry: 99999999999999999999999\ndata: x\n\n"}).events[0].retry);
    CHECK(split({"data: a\n"}).rest == "data: a\n");
    CHECK(split({"DATA: a\n\n"}).events.empty());
    // The event is given out with its CR; a LF that comes later opens the next one and is no blank line.
    const auto late = split({"data: a\r\r", "\ndata: b\r\n\r", "\n"});
    CHECK(late.events.size() == 2);
    CHECK(late.raw == "data: a\r\r\ndata: b\r\n\r");
    CHECK(late.rest == "\n");
}

TEST_CASE("An event that is too long ends the stream, and the ones before it are not lost", "[net][sse]") {
    const auto feed = [](std::size_t limit, const std::vector<std::string>& pieces, int& events) {
        SseSplitter splitter(limit);
        std::string code;
        for (const auto& piece : pieces) {
            if (auto fed = splitter.feed(piece); !fed) code = fed.error().code;
            while (splitter.next()) ++events;
        }
        return code;
    };
    int events = 0;
    CHECK(feed(20, {"data: 890123456789\n\ndata: 890123456789\n\n"}, events).empty());
    CHECK(events == 2);
    events = 0;
    CHECK(feed(19, {"data: 1\n\ndata: 890123456789\n\n"}, events) == "upstream.event_too_long");
    CHECK(events == 1);
    events = 0;
    CHECK(feed(19, {"data: 1\n\ndata: 89012", "345678", "9012345", "\n\n"}, events) ==
          "upstream.event_too_long");
    CHECK(events == 1);
    events = 0;
    CHECK(feed(16, single_bytes(std::string(17, ':')), events) == "upstream.event_too_long");
    const std::string long_data(SseSplitter::kEventBytes - 8, 'x');
    events = 0;
    CHECK(feed(SseSplitter::kEventBytes, {"data: " + long_data, "\n\n"}, events).empty());
    CHECK(events == 1);
    CHECK(feed(SseSplitter::kEventBytes, {"data: " + long_data, "x\n\n"}, events) ==
          "upstream.event_too_long");
}

TEST_CASE("The end of the last whole event is found, also behind comments and before what comes next",
          "[net][sse]") {
    for (const std::string event : {"data: a\n\n", "data: a\r\n\r\n", ": a\n\r\n", "data: a\r\n\n", "\n\n"}) {
        INFO(event);
        CHECK(end_of_events(event) == event.size());
        CHECK(end_of_events(event + event) == 2 * event.size());
        CHECK(end_of_events(event + "data: b\n") == event.size());
        CHECK(end_of_events(event + "\r") == event.size());
        CHECK(end_of_events(event.substr(0, event.size() - 1)) == 0);
    }
    CHECK(end_of_events("") == 0);
    CHECK(end_of_events("data: a\n") == 0);
    CHECK(end_of_events("data: a\r\r") == 0);  // an end all the same, but not one that is looked for
}

TEST_CASE("The watch skips what tells nothing, and nothing else", "[net][sse]") {
    const std::string notice = "event: message\ndata: {\"method\":\"notifications/message\"}\n\n";
    for (const std::string answer :
         {R"({"id":1,"result":{}})", R"({"\u0069d":1,"result":{}})", R"({"i\u0064":1,"result":{}})"}) {
        SseWatcher watch("1");
        watch.feed(notice + notice);
        CHECK_FALSE(watch.answered());
        watch.feed(notice + "data: " + answer + "\n\n" + notice);
        CHECK(watch.answered());
    }
    for (const std::string id :
         {"id: 5\n", "\xef\xbb\xbfid: 5\n", "retry: 5\nid: 5\n", "data: x\r\nid: 5\r\n"}) {
        SseWatcher watch("1");
        watch.feed(id + "data: x\n\n" + notice);
        CHECK(watch.resumable());
    }
    SseWatcher watch("1");
    watch.feed(notice + "id: 5\n\ndata: {\"id\":1,");
    CHECK(watch.resumable());
    CHECK_FALSE(watch.between_events());
    watch.feed("\"result\":{}}\n\n" + notice);
    CHECK(watch.answered());
}

TEST_CASE("The watch sees the response to one request and nothing else", "[net][sse]") {
    CHECK(answered("1", event(R"({"jsonrpc":"2.0","id":1,"result":{}})")));
    CHECK(answered("1", event(R"({"result":{"id":2},"id" : 1 })")));
    CHECK(answered("1", event(R"({"error":{"code":-1,"message":"x"},"id":1})")));
    CHECK(answered("\"a-1\"", event(R"({"id":"a-1","result":null})")));
    CHECK(answered("\"\"", event(R"({"id":"","result":null})")));
    CHECK(answered("1", event(R"([{"method":"n"},{"id":1,"result":0}])")));
    CHECK(answered("1", "event: message\r\n" + event(R"({"id":1,"result":0})")));
    CHECK(answered("1", "data: {\"id\"\ndata: :1,\ndata: \"result\":0}\n\n"));
    CHECK(answered("1", event(R"({"method":"notifications/progress"})") + ": ping\n\n" +
                            event(R"({"id":1,"result":0})")));
    CHECK(answered("1", event(R"({"id":1,"result":{"text":"a\"}]{[\\"},"x":["}"]})")));
    CHECK(answered("\"\u00e9\U0001f600\"", event(R"({"id":"\u00E9\ud83d\ude00","result":0})")));
    CHECK(answered("\"\\u0061\\/\\n\"", event(R"({"id":"a/\n","result":0})")));
    CHECK(answered("1.0", event(R"({"id":1,"result":0})")));
    CHECK(answered("1", event(R"({"id":1e0,"result":0})")));
    CHECK(answered("9007199254740993", event(R"({"id":9007199254740993,"result":0})")));
    CHECK(answered("1", event(R"({"\u0069d":1,"result":0})")));
    CHECK(answered("1", event(R"({"id":2,"id":1,"result":0})")));

    CHECK_FALSE(answered("1", event(R"({"id":2,"result":0})")));
    CHECK_FALSE(answered("1", event(R"({"id":"1","result":0})")));
    CHECK_FALSE(answered("\"1\"", event(R"({"id":1,"result":0})")));
    CHECK_FALSE(answered("1", event(R"({"id":11,"result":0})")));
    CHECK_FALSE(answered("11", event(R"({"id":1,"result":0})")));
    CHECK_FALSE(answered("1", event(R"({"id":1,"id":2,"result":0})")));
    CHECK_FALSE(answered("1", event(R"({"id":1,"method":"sampling/createMessage","params":{"result":0}})")));
    CHECK_FALSE(answered("1", event(R"({"params":{"id":1,"result":0}})")));
    CHECK_FALSE(answered("1", event(R"({"id":{"id":1},"result":0})")));
    CHECK_FALSE(answered("1", event(R"({"id":[1],"result":0})")));
    CHECK_FALSE(answered("1", event(R"({"text":"\",\"id\":1,\"result\":0","id":3,"result":0})")));
    CHECK_FALSE(answered("1", event(R"([[{"id":1,"result":0}]])")));
    CHECK_FALSE(answered("1", event(R"({"id":1,"result":0)")));
    CHECK_FALSE(answered("1", event(R"({"id":1,"result":0} x)")));
    CHECK_FALSE(answered("1", event(R"({"id":1,"result":0}{)")));
    CHECK_FALSE(answered("1", event(R"(}{"id":1,"result":0})")));
    CHECK_FALSE(answered("1", event(R"(1 {"id":1,"result":0})")));
    CHECK_FALSE(
        answered("1", "data: {\"id\":1,\"result\":0}\n"));  // the client discards what has no blank line
    CHECK_FALSE(answered("1", "event: ping\n" + event(R"({"id":1,"result":0})")));
    CHECK_FALSE(answered("1", "event: messages\n" + event(R"({"id":1,"result":0})")));
    CHECK_FALSE(answered("1", ": {\"id\":1,\"result\":0}\n\n"));
    CHECK_FALSE(answered("1", "xdata: {\"id\":1,\"result\":0}\n\n"));
    CHECK_FALSE(answered("", event(R"({"id":1,"result":0})")));
    CHECK_FALSE(answered("", event(R"({"id":,"result":0})")));
    CHECK_FALSE(answered("\"a", event(R"({"id":"a","result":0})")));
    CHECK_FALSE(answered("\"a\"b\"", event(R"({"id":"a","result":0})")));
    CHECK_FALSE(answered("9007199254740993", event(R"({"id":9007199254740992,"result":0})")));
    CHECK(answered(
        "1", event("{\"id\":5,") + event(R"({"id":1,"result":0})")));  // a broken event spoils only itself
}

TEST_CASE("The watch knows whether the client can come back, and where an event may be put in",
          "[net][sse]") {
    SseWatcher watch("1");
    CHECK(watch.between_events());
    CHECK_FALSE(watch.resumable());
    watch.feed("id: 7\ndata:");
    CHECK_FALSE(watch.between_events());
    CHECK_FALSE(watch.resumable());  // counts once the event ends
    watch.feed("\n\n");
    CHECK(watch.between_events());
    CHECK(watch.resumable());
    watch.feed(": ping");
    CHECK_FALSE(watch.between_events());
    watch.feed("\n");
    CHECK(watch.between_events());
    watch.feed("data: x\n\n");
    CHECK(watch.resumable());  // ids stay until another comes
    watch.feed("id\ndata: x\n\n");
    CHECK_FALSE(watch.resumable());
    watch.feed("id: a\0b\n\n"s);
    CHECK_FALSE(watch.resumable());
    watch.feed("i");
    CHECK_FALSE(watch.between_events());
    watch.feed("d:9\r\n\r");
    CHECK(watch.resumable());
    CHECK(watch.between_events());
    watch.feed("\n");
    CHECK(watch.between_events());
    watch.feed("identity: no\r\r");
    CHECK(watch.resumable());
    SseWatcher marked("1");
    marked.feed("\xef\xbb");
    marked.feed(
        "\xbf"
        "id: 1\n\n");
    CHECK(marked.resumable());
}

TEST_CASE("A stream of lone CRs costs no more than any other", "[net][sse]") {
    const std::string returns(512 * 1024, '\r');
    SseWatcher watch("1");
    watch.feed(returns);
    SseSplitter splitter;
    REQUIRE(splitter.feed(returns));
    std::size_t bytes = 0;
    while (auto event = splitter.next()) bytes += event->raw.size();
    CHECK(bytes == returns.size());
}
