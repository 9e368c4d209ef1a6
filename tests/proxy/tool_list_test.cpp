#include "proxy/tool_list.h"

#include "tests/support/spec.h"

#include <string>

using namespace claviger;

namespace {

constexpr std::uint64_t kTtl = 30'000;

bool is_public(std::string_view tool) { return !tool.starts_with("secret"); }

std::string filtered(std::string_view response) {
    const auto result = proxy::filter_tool_list(response, is_public, kTtl);
    REQUIRE(result);
    return *result;
}

}  // namespace

TEST_CASE("Hidden tools leave the list, and what stays keeps its bytes", "[proxy][tool_list]") {
    const std::string kept_one =
        R"({ "name" : "echo",  "inputSchema":{"big":12345678901234567890.10,"n":"\u0061"} })";
    const std::string kept_two = R"({"description":"]}\"{[","name":"\u0061dd","name":"add"})";
    CHECK(filtered(R"( {"id": 7 ,"jsonrpc":"2.0","result":{"nextCursor":"c" , "tools":[ )" + kept_one +
                   R"( , {"name":"secret_one"},)" + kept_two +
                   R"(, {"name":"\u0073ecret"}],"x":1e2}, "extra" : [1] } )") ==
          R"( {"id": 7 ,"jsonrpc":"2.0","result":{"nextCursor":"c" , "tools":[)" + kept_one + "," + kept_two +
              R"(],"x":1e2}, "extra" : [1] } )");
}

TEST_CASE("A list without hidden tools is not touched at all", "[proxy][tool_list]") {
    for (const std::string_view text :
         {R"({"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"a"} ,{"name":"b"} ]}})",
          R"({"jsonrpc":"2.0","id":1,"result":{"tools":[ ]}})",
          R"({"jsonrpc":"2.0","id":1,"error":{"code":-1}})",
          R"({"jsonrpc":"2.0","method":"notifications/message","params":{"tools":[{"name":"secret"}]}})",
          R"({"jsonrpc":"2.0","id":1,"result":7})", R"([])", R"("text")"})
        CHECK(filtered(text) == text);
}

TEST_CASE("A tool whose name cannot be read is hidden", "[proxy][tool_list]") {
    for (const std::string tool : {R"({})", R"({"name":7})", R"({"name":null})", R"({"title":"x"})",
                                   R"("echo")", "1", R"([{"name":"echo"}])", R"({"Name":"echo"})"})
        CHECK(filtered(R"({"result":{"tools":[)" + tool + "]}}") == R"({"result":{"tools":[]}})");
    CHECK(filtered(R"({"result":{"tools":{"a":{"name":"secret"}}}})") == R"({"result":{"tools":[]}})");
    CHECK(filtered(R"({"result":{"tools":"secret"}})") == R"({"result":{"tools":[]}})");
}

TEST_CASE("Of two members of one name both are cut", "[proxy][tool_list]") {
    CHECK(
        filtered(
            R"({"result":{"tools":[{"name":"secret"}],"tools":[{"name":"secret"}]},"result":{"tools":[{"name":"secret"}]}})") ==
        R"({"result":{"tools":[],"tools":[]},"result":{"tools":[]}})");
    CHECK(filtered(R"({"r\u0065sult":{"t\u006fols":[{"name":"secret"}]}})") ==
          R"({"r\u0065sult":{"t\u006fols":[]}})");
    CHECK(filtered(R"({"result":{"tools":[{"name":"echo","name":"secret"}]}})") ==
          R"({"result":{"tools":[]}})");
}

TEST_CASE("Every answer of a batch is cut", "[proxy][tool_list]") {
    CHECK(
        filtered(
            R"([ {"id":1,"result":{"tools":[{"name":"secret"}]}} ,{"id":2,"result":{"tools":[{"name":"a"}]}}])") ==
        R"([ {"id":1,"result":{"tools":[]}} ,{"id":2,"result":{"tools":[{"name":"a"}]}}])");
}

TEST_CASE("A filtered list may be kept by its client alone, and not for long", "[proxy][tool_list]") {
    const auto cached = [](std::string_view ttl) {
        return filtered(R"({"result":{"ttlMs":)" + std::string(ttl) +
                        R"(,"cacheScope":"public","tools":[]}})");
    };
    const auto expected = [](std::string_view ttl) {
        return R"({"result":{"ttlMs":)" + std::string(ttl) + R"(,"cacheScope":"private","tools":[]}})";
    };
    for (const std::string_view kept : {"0", "1", "29999", "30000"}) CHECK(cached(kept) == expected(kept));
    for (const std::string_view cut :
         {"30001", "3600000", "99999999999999999999", "1e9", "30000.5", "-1", "\"1\"", "null"})
        CHECK(cached(cut) == expected("30000"));
}

TEST_CASE("What is not JSON is no tool list", "[proxy][tool_list]") {
    for (const auto& text :
         {std::string(), std::string("{"), std::string(R"({"result":{"tools":[{"name":"secret"}})"),
          std::string("<html>"), std::string(65, '[') + std::string(65, ']')}) {
        const auto result = proxy::filter_tool_list(text, is_public, kTtl);
        REQUIRE_FALSE(result);
        CHECK(result.error().code == "upstream.invalid");
    }
}

TEST_CASE("A response is known by its id, however that is spelled", "[proxy][tool_list]") {
    CHECK(proxy::response_id(R"({"jsonrpc":"2.0","id":7,"result":{}})") == "7");
    CHECK(proxy::response_id(R"({"id":"\u0061\/","result":{}})") == R"("a/")");
    CHECK(proxy::response_id(R"({"id":9007199254740993,"error":{}})") == "9007199254740993");
    CHECK(proxy::response_id(R"({"id":7,"method":"sampling/createMessage"})").empty());
    CHECK(proxy::response_id(R"({"method":"notifications/progress"})").empty());
    CHECK(proxy::response_id("[]").empty());
    CHECK(proxy::response_id("{").empty());
}
