#include "proxy/json_rpc.h"

#include "tests/support/spec.h"

#include <string>

using namespace claviger;
using proxy::MessageKind;

namespace {

constexpr std::string_view kVersion = "io.modelcontextprotocol/protocolVersion";
constexpr std::string_view kCapabilities = "io.modelcontextprotocol/clientCapabilities";

base::Result<proxy::Message> parse(std::string_view body, std::size_t depth = 64) {
    std::string id;
    return proxy::parse_message(body, {.depth = depth}, id);
}

std::string nested(std::size_t levels) {
    return R"({"jsonrpc":"2.0","id":1,"method":"ping","params":{"deep":)" + std::string(levels, '[') +
           std::string(levels, ']') + "}}";
}

std::string meta(std::string_view content) {
    return R"({"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{)" + std::string(content) +
           "}}}";
}

}  // namespace

TEST_CASE("A bad message is refused with a code that says why", "[proxy][json_rpc]") {
    struct Row {
        std::string_view what;
        std::string body;
        std::string_view code;
    };
    const std::string head = R"({"jsonrpc":"2.0","id":1,)";
    const Row rows[] = {
        {"nothing", "", "json.invalid"},
        {"spaces", " \r\n\t", "json.invalid"},
        {"a word", "ping", "json.invalid"},
        {"cut short", R"({"jsonrpc":"2.0","id":1,"method":"pi)", "json.invalid"},
        {"no closing brace", head + R"("method":"ping")", "json.invalid"},
        {"a second value", head + R"("method":"ping"}{})", "json.invalid"},
        {"text behind it", head + R"("method":"ping"} x)", "json.invalid"},
        {"NUL behind it", head + R"("method":"ping"})" + std::string(1, '\0'), "json.invalid"},
        {"a byte order mark", "\xef\xbb\xbf" + head + R"("method":"ping"})", "json.invalid"},
        {"UTF-16", std::string("{\0\"\0", 4), "json.invalid"},
        {"a comment", "/* */" + head + R"("method":"ping"})", "json.invalid"},
        {"a trailing comma", head + R"("method":"ping",})", "json.invalid"},
        {"single quotes", R"({'jsonrpc':'2.0'})", "json.invalid"},
        {"NaN", head + R"("method":"ping","x":NaN})", "json.invalid"},
        {"a number with a leading zero", R"({"jsonrpc":"2.0","id":01,"method":"ping"})", "json.invalid"},
        {"a number with a plus sign", R"({"jsonrpc":"2.0","id":+1,"method":"ping"})", "json.invalid"},
        {"a line end inside a string", head + "\"method\":\"pi\nng\"}", "json.invalid"},
        {"an unknown escape", head + R"("method":"pi\xng"})", "json.invalid"},
        {"half a surrogate pair", head + R"("method":"\ud800"})", "json.invalid"},
        {"bytes that are not UTF-8", head + "\"method\":\"\xff\"}", "json.invalid"},
        {"an overlong UTF-8 sequence", head + "\"method\":\"\xc0\xaf\"}", "json.invalid"},
        {"a key that is not UTF-8", head + "\"\xfe\":1,\"method\":\"ping\"}", "json.invalid"},
        {"a key without quotes", R"({jsonrpc:"2.0"})", "json.invalid"},

        {"too deep", nested(63), "json.too_deep"},
        {"far too deep", nested(100'000), "json.too_deep"},
        {"too deep and never closed", std::string(200'000, '['), "json.too_deep"},
        {"too deep in objects",
         [] {
             std::string text;
             for (int i = 0; i < 70; ++i) text += R"({"a":)";
             return text;
         }(),
         "json.too_deep"},

        {"a batch", "[" + head + R"("method":"ping"}])", "rpc.batch"},
        {"an empty batch", "[]", "rpc.batch"},

        {"a string", R"("ping")", "rpc.invalid"},
        {"a number", "7", "rpc.invalid"},
        {"null", "null", "rpc.invalid"},
        {"an empty object", "{}", "rpc.invalid"},
        {"no version", R"({"id":1,"method":"ping"})", "rpc.invalid"},
        {"version 1.0", R"({"jsonrpc":"1.0","id":1,"method":"ping"})", "rpc.invalid"},
        {"version as a number", R"({"jsonrpc":2.0,"id":1,"method":"ping"})", "rpc.invalid"},
        {"version in a nested object", R"({"x":{"jsonrpc":"2.0"},"id":1,"method":"ping"})", "rpc.invalid"},
        {"id null", R"({"jsonrpc":"2.0","id":null,"method":"ping"})", "rpc.invalid"},
        {"id true", R"({"jsonrpc":"2.0","id":true,"method":"ping"})", "rpc.invalid"},
        {"id with a fraction", R"({"jsonrpc":"2.0","id":1.5,"method":"ping"})", "rpc.invalid"},
        {"id with a whole fraction", R"({"jsonrpc":"2.0","id":1.0,"method":"ping"})", "rpc.invalid"},
        {"id with an exponent", R"({"jsonrpc":"2.0","id":1e3,"method":"ping"})", "rpc.invalid"},
        {"id as an array", R"({"jsonrpc":"2.0","id":[1],"method":"ping"})", "rpc.invalid"},
        {"id as an object", R"({"jsonrpc":"2.0","id":{"a":1},"method":"ping"})", "rpc.invalid"},
        {"id that is far too long",
         R"({"jsonrpc":"2.0","id":")" + std::string(5'000, 'i') + R"(","method":"ping"})", "rpc.invalid"},
        {"id of far too many digits",
         R"({"jsonrpc":"2.0","id":1)" + std::string(5'000, '0') + R"(,"method":"ping"})", "rpc.invalid"},
        {"method null", head + R"("method":null})", "rpc.invalid"},
        {"method as a number", head + R"("method":7})", "rpc.invalid"},
        {"method as an array", head + R"("method":["ping"]})", "rpc.invalid"},
        {"method as an object", head + R"("method":{}})", "rpc.invalid"},
        {"an empty method", head + R"("method":""})", "rpc.invalid"},
        {"a method that is far too long", head + R"("method":")" + std::string(5'000, 'm') + "\"}",
         "rpc.invalid"},
        {"params as a string", head + R"("method":"ping","params":"x"})", "rpc.invalid"},
        {"params as a number", head + R"("method":"ping","params":1})", "rpc.invalid"},
        {"params by position", head + R"("method":"tools/call","params":["echo"]})", "rpc.invalid"},
        {"name as a number", head + R"("method":"tools/call","params":{"name":7}})", "rpc.invalid"},
        {"name as an array", head + R"("method":"tools/call","params":{"name":["echo"]}})", "rpc.invalid"},
        {"name as an object", head + R"("method":"tools/call","params":{"name":{}}})", "rpc.invalid"},
        {"name null", head + R"("method":"tools/call","params":{"name":null}})", "rpc.invalid"},
        {"uri true", head + R"("method":"resources/read","params":{"uri":true}})", "rpc.invalid"},
        {"taskId as a number", head + R"("method":"tasks/get","params":{"taskId":1}})", "rpc.invalid"},
        {"a name that is far too long",
         head + R"("method":"tools/call","params":{"name":")" + std::string(5'000, 'n') + "\"}}",
         "rpc.invalid"},
        {"method and result", head + R"("method":"ping","result":{}})", "rpc.invalid"},
        {"method and error", head + R"("method":"ping","error":{}})", "rpc.invalid"},
        {"result and error", head + R"("result":{},"error":{}})", "rpc.invalid"},
        {"neither method nor result", R"({"jsonrpc":"2.0","id":1})", "rpc.invalid"},
        {"a result without an id", R"({"jsonrpc":"2.0","result":{}})", "rpc.invalid"},

        {"two versions", R"({"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"ping"})", "rpc.duplicate_key"},
        {"two methods", head + R"("method":"ping","method":"tools/call"})", "rpc.duplicate_key"},
        {"two methods, one escaped", head + R"("method":"ping","\u006dethod":"tools/call"})",
         "rpc.duplicate_key"},
        {"two ids", head + R"("id":2,"method":"ping"})", "rpc.duplicate_key"},
        {"two params", head + R"("method":"tools/call","params":{"name":"a"},"params":{"name":"b"}})",
         "rpc.duplicate_key"},
        {"params and null params", head + R"("method":"tools/call","params":null,"params":{"name":"b"}})",
         "rpc.duplicate_key"},
        {"two results", head + R"("result":{},"result":{}})", "rpc.duplicate_key"},
        {"two names", head + R"("method":"tools/call","params":{"name":"a","name":"b"}})",
         "rpc.duplicate_key"},
        {"two names, one escaped", head + R"("method":"tools/call","params":{"name":"a","n\u0061me":"b"}})",
         "rpc.duplicate_key"},
        {"two uris", head + R"("method":"resources/read","params":{"uri":"a","uri":"b"}})",
         "rpc.duplicate_key"},
        {"two taskIds", head + R"("method":"tasks/get","params":{"taskId":"a","taskId":"b"}})",
         "rpc.duplicate_key"},
        {"two arguments",
         head + R"("method":"tools/call","params":{"name":"a","arguments":{},"arguments":{}}})",
         "rpc.duplicate_key"},
        {"two _meta", head + R"("method":"ping","params":{"_meta":{},"_meta":{}}})", "rpc.duplicate_key"},
        {"two claims",
         meta(R"("io.modelcontextprotocol/protocolVersion":"a","io.modelcontextprotocol/protocolVersion":1)"),
         "rpc.duplicate_key"},
        {"a method in capitals beside it", head + R"("method":"ping","METHOD":"tools/call"})",
         "rpc.duplicate_key"},
        {"a capital Method alone", head + R"("Method":"ping"})", "rpc.duplicate_key"},
        {"a capital Params", head + R"("method":"tools/call","Params":{"name":"b"}})", "rpc.duplicate_key"},
        {"params with a long s", head + "\"method\":\"tools/call\",\"param\xc5\xbf\":{\"name\":\"b\"}}",
         "rpc.duplicate_key"},
        {"a capital Name", head + R"("method":"tools/call","params":{"name":"a","Name":"b"}})",
         "rpc.duplicate_key"},
        {"taskId with a Kelvin sign",
         head + "\"method\":\"tasks/get\",\"params\":{\"tas\xe2\x84\xaaId\":\"b\"}}", "rpc.duplicate_key"},
        {"capital Arguments", head + R"("method":"tools/call","params":{"name":"a","ARGUMENTS":{}}})",
         "rpc.duplicate_key"},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        const auto parsed = parse(row.body);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().code == row.code);
        CHECK(parsed.error().kind == base::ErrorKind::invalid_request);
        CHECK(parsed.error().message.size() < 120);  // nothing of the body is repeated
    }
}

TEST_CASE("An id comes back exactly as it was sent", "[proxy][json_rpc]") {
    for (const std::string id :
         {"0", "-1", "7", "9007199254740992", "9007199254740993", "18446744073709551615",
          "123456789012345678901234567890", R"("")", R"("a")", R"("7")", R"("a b/\\\"")"}) {
        INFO(id);
        const auto parsed = parse(R"({"jsonrpc":"2.0","id":)" + id + R"(,"method":"ping"})");
        REQUIRE(parsed);
        CHECK(parsed->id == id);
        CHECK(parsed->kind == MessageKind::request);
    }
    const auto escaped = parse(R"({"jsonrpc":"2.0","id":"\u0061\/b","method":"ping"})");
    REQUIRE(escaped);
    CHECK(escaped->id == R"("a/b")");  // the same string, in our own spelling
}

TEST_CASE("A refused message's id is known as far as it could be read", "[proxy][json_rpc]") {
    std::string id;
    CHECK_FALSE(proxy::parse_message(R"({"jsonrpc":"2.0","id":7,"method":""})", {}, id));
    CHECK(id == "7");
    id.clear();
    CHECK_FALSE(proxy::parse_message(R"({"id":"seven","method":"ping","method":"ping"})", {}, id));
    CHECK(id == R"("seven")");
    id.clear();
    CHECK_FALSE(proxy::parse_message(R"({"jsonrpc":"2.0","id":1.5,"method":"ping"})", {}, id));
    CHECK(id.empty());
}

TEST_CASE("Requests, notifications and responses are told apart", "[proxy][json_rpc]") {
    CHECK(parse(R"({"jsonrpc":"2.0","id":1,"method":"ping"})")->kind == MessageKind::request);
    const auto notification = parse(R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
    REQUIRE(notification);
    CHECK(notification->kind == MessageKind::notification);
    CHECK(notification->id.empty());
    const auto response = parse(R"({"jsonrpc":"2.0","id":4,"result":{"method":"tools/call"}})");
    REQUIRE(response);
    CHECK(response->kind == MessageKind::response);
    CHECK(response->id.empty());  // no answer is due to it
    CHECK(parse(R"({"jsonrpc":"2.0","id":4,"error":{"code":1,"message":"no"}})")->kind ==
          MessageKind::response);
    CHECK(parse(R"({"jsonrpc":"2.0","id":1,"method":"ping","params":null})"));
    CHECK(
        parse(" \n"
              R"({"jsonrpc":"2.0","id":1,"method":"ping"})"
              "\r\n"));
}

TEST_CASE("Names are read where they count and nowhere else", "[proxy][json_rpc]") {
    const auto parsed = parse(
        R"({"method":"t\u006fols/call","other":{"method":"x","params":{"name":"y"}},"jsonrpc":"2.0","params":)"
        R"({"arguments":{"name":"inner","uri":"inner","_meta":{},"arguments":{}},"list":[{"name":"z"}],)"
        R"("name":"\u0065cho\n","uri":"a:b","taskId":"t"},"id":"q"})");
    REQUIRE(parsed);
    CHECK(parsed->method == "tools/call");
    CHECK(parsed->name == "echo\n");
    CHECK(parsed->uri == "a:b");
    CHECK(parsed->task_id == "t");
    CHECK(parsed->has_arguments);
    CHECK_FALSE(parsed->modern);
    const auto without = parse(R"({"jsonrpc":"2.0","id":1,"method":"tools/call","name":"x","arguments":{}})");
    REQUIRE(without);
    CHECK(without->name.empty());
    CHECK_FALSE(without->has_arguments);
}

TEST_CASE("A claim of whatever type makes a message modern", "[proxy][json_rpc]") {
    for (const std::string value : {"\"2026-07-28\"", "\"\"", "null", "1", "true", "{}", "[]", "1.5"}) {
        INFO(value);
        const auto parsed = parse(meta("\"" + std::string(kVersion) + "\":" + value));
        REQUIRE(parsed);
        CHECK(parsed->modern);
        CHECK(parsed->claimed_version.has_value() == value.starts_with('"'));
    }
    const auto elsewhere =
        parse(R"({"jsonrpc":"2.0","id":1,"method":"ping","params":{")" + std::string(kVersion) +
              R"(":"2026-07-28","x":{"_meta":{")" + std::string(kVersion) + R"(":"2026-07-28"}}}})");
    REQUIRE(elsewhere);
    CHECK_FALSE(elsewhere->modern);

    const auto good = parse(meta("\"" + std::string(kVersion) + R"(":"2026-07-28",")" +
                                 std::string(kCapabilities) + R"(":{"a":{"b":{"c":1}}},"progressToken":41)"));
    REQUIRE(good);
    CHECK(*good->claimed_version == "2026-07-28");
    CHECK(good->client_capabilities);
    CHECK(good->progress_token == "41");
    CHECK_FALSE(parse(meta("\"" + std::string(kCapabilities) + "\":[]"))->client_capabilities);
}

TEST_CASE("The reader comes back to its place behind the deepest value", "[proxy][json_rpc]") {
    std::string deep = "1";
    for (int i = 0; i < 50; ++i) deep = i % 2 ? "{\"name\":" + deep + "}" : "[" + deep + "]";
    const auto parsed =
        parse(R"({"jsonrpc":"2.0","id":1,"params":{"_meta":{"x":)" + deep +
              R"(,"progressToken":5},"arguments":)" + deep + R"(,"name":"n"},"method":"tools/call"})");
    REQUIRE(parsed);
    CHECK(parsed->method == "tools/call");
    CHECK(parsed->name == "n");
    CHECK(parsed->progress_token == "5");
    CHECK(parse(nested(61)));
    CHECK_FALSE(parse(nested(20), 16));
}

TEST_CASE("The arguments are the bytes that were sent", "[proxy][json_rpc]") {
    const std::string arguments = R"({ "n" : 12345678901234567890123, "s":"}\"{" , "n":1.50 })";
    CHECK(proxy::arguments_text(R"({"params":{"x":[1,{"arguments":2}],"arguments":)" + arguments + "}}") ==
          arguments);
    CHECK(proxy::arguments_text(R"({"params":{"name":"x"}})").empty());
    CHECK(proxy::arguments_text(R"({"arguments":{}})").empty());
}

TEST_CASE("Any text can be quoted", "[proxy][json_rpc]") {
    CHECK(proxy::json_string("") == R"("")");
    CHECK(proxy::json_string("a\"\\/\n\x01\x7f") == "\"a\\\"\\\\/\\u000a\\u0001\x7f\"");
    CHECK(proxy::json_string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91") ==
          "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91\"");
    for (const std::string_view broken :
         {"\xff", "\xc0\xaf", "\xe2\x82", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\x80"}) {
        const auto text = proxy::json_string(broken);
        CHECK(text.find("\xef\xbf\xbd") == 1);
        CHECK(parse(R"({"jsonrpc":"2.0","method":)" + text + "}"));
    }
}
