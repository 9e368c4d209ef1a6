#include "proxy/eras.h"

#include "tests/support/spec.h"

#include <string>
#include <utility>
#include <vector>

using namespace claviger;

namespace {

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;

/// The refusal's JSON-RPC code, 0 when the message may pass.
int code_of(std::string_view body, const Fields& fields) {
    net::Headers headers;
    for (const auto& [name, value] : fields) headers.add(name, value);
    std::string id;
    const auto message = proxy::parse_message(body, {}, id);
    REQUIRE(message);
    const auto refusal = proxy::check_headers(headers, *message);
    if (!refusal) return 0;
    CHECK(refusal->status == 400);
    CHECK_FALSE(refusal->message.empty());
    return refusal->code;
}

std::string modern(std::string_view method, std::string_view params = "",
                   std::string_view version = "\"2026-07-28\"", std::string_view capabilities = "{}") {
    std::string body = R"({"jsonrpc":"2.0","id":1,"method":")" + std::string(method) +
                       R"(","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":)" +
                       std::string(version);
    if (!capabilities.empty())
        body += R"(,"io.modelcontextprotocol/clientCapabilities":)" + std::string(capabilities);
    return body + "}" + std::string(params) + "}}";
}

std::string legacy(std::string_view method) {
    return R"({"jsonrpc":"2.0","id":1,"method":")" + std::string(method) + "\"}";
}

constexpr std::pair<std::string_view, std::string_view> kVersion{"MCP-Protocol-Version", "2026-07-28"};

}  // namespace

TEST_CASE("Mirrored headers must equal the body", "[proxy][eras]") {
    struct Row {
        std::string_view what;
        std::string body;
        Fields fields;
        int code;
    };
    const auto list = modern("tools/list");
    const auto call = modern("tools/call", R"(,"name":"echo")");
    const auto umlaut = modern("tools/call", R"(,"name":"zürich")");
    const auto spaced = modern("tools/call", R"(,"name":" us-west1")");
    const auto marked = modern("tools/call", R"(,"name":"=?base64?literal?=")");
    const Row rows[] = {
        {"all in order", list, {kVersion, {"Mcp-Method", "tools/list"}}, 0},
        {"names of headers ignore case",
         list,
         {{"mcp-protocol-version", "2026-07-28"}, {"MCP-METHOD", "tools/list"}},
         0},
        {"no Mcp-Method", list, {kVersion}, -32020},
        {"another Mcp-Method", list, {kVersion, {"Mcp-Method", "tools/call"}}, -32020},
        {"Mcp-Method in other case", list, {kVersion, {"Mcp-Method", "Tools/List"}}, -32020},
        {"no version header", list, {{"Mcp-Method", "tools/list"}}, -32020},
        {"another version",
         list,
         {{"MCP-Protocol-Version", "2025-11-25"}, {"Mcp-Method", "tools/list"}},
         -32020},
        {"the version twice", list, {kVersion, kVersion, {"Mcp-Method", "tools/list"}}, -32020},
        {"the method twice",
         list,
         {kVersion, {"Mcp-Method", "tools/list"}, {"Mcp-Method", "tools/call"}},
         -32020},
        {"a call with its name", call, {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "echo"}}, 0},
        {"a call without its name", call, {kVersion, {"Mcp-Method", "tools/call"}}, -32020},
        {"a call with another name",
         call,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "other"}},
         -32020},
        {"a name in other case",
         call,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "Echo"}},
         -32020},
        {"the name twice",
         call,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "echo"}, {"Mcp-Name", "x"}},
         -32020},
        {"a name in base64",
         call,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "=?base64?ZWNobw==?="}},
         0},
        {"bad padding",
         call,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "=?base64?ZWNobw?="}},
         -32020},
        {"bad alphabet",
         call,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "=?base64?ZWN*bw==?="}},
         -32020},
        {"a marker in capitals is text",
         call,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "=?BASE64?ZWNobw==?="}},
         -32020},
        {"beyond ASCII",
         umlaut,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "=?base64?esO8cmljaA==?="}},
         0},
        {"a leading space",
         spaced,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "=?base64?IHVzLXdlc3Qx?="}},
         0},
        {"a name like a marker",
         marked,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="}},
         0},
        {"an empty name",
         modern("tools/call", R"(,"name":"")"),
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", ""}},
         0},
        {"a prompt",
         modern("prompts/get", R"(,"name":"p")"),
         {kVersion, {"Mcp-Method", "prompts/get"}, {"Mcp-Name", "q"}},
         -32020},
        {"a resource",
         modern("resources/read", R"(,"uri":"a:b")"),
         {kVersion, {"Mcp-Method", "resources/read"}, {"Mcp-Name", "a:b"}},
         0},
        {"another resource",
         modern("resources/read", R"(,"uri":"a:b")"),
         {kVersion, {"Mcp-Method", "resources/read"}, {"Mcp-Name", "a:c"}},
         -32020},
        {"a task",
         modern("tasks/get", R"(,"taskId":"t")"),
         {kVersion, {"Mcp-Method", "tasks/get"}, {"Mcp-Name", "t"}},
         0},
        {"another task",
         modern("tasks/cancel", R"(,"taskId":"t")"),
         {kVersion, {"Mcp-Method", "tasks/cancel"}, {"Mcp-Name", "u"}},
         -32020},
        {"a method without a mirrored name",
         modern("tasks/list"),
         {kVersion, {"Mcp-Method", "tasks/list"}},
         0},
        {"unknown headers are the server's business",
         call,
         {kVersion, {"Mcp-Method", "tools/call"}, {"Mcp-Name", "echo"}, {"Mcp-Param-Foo", "x"}},
         0},
        {"a session id is ignored",
         list,
         {kVersion, {"Mcp-Method", "tools/list"}, {"Mcp-Session-Id", "abc"}},
         0},
        {"a version that the server must judge",
         modern("tools/list", "", "\"2099-01-01\""),
         {{"MCP-Protocol-Version", "2099-01-01"}, {"Mcp-Method", "tools/list"}},
         0},
        {"an old version claimed the modern way",
         modern("tools/list", "", "\"2025-11-25\""),
         {{"MCP-Protocol-Version", "2025-11-25"}},
         0},
        {"a claim without capabilities",
         modern("tools/list", "", "\"2026-07-28\"", ""),
         {kVersion, {"Mcp-Method", "tools/list"}},
         -32602},
        {"capabilities of another type",
         modern("tools/list", "", "\"2026-07-28\"", "[]"),
         {kVersion, {"Mcp-Method", "tools/list"}},
         -32602},
        {"a claim of another type",
         modern("tools/list", "", "20260728"),
         {kVersion, {"Mcp-Method", "tools/list"}},
         -32602},
        {"a claim of null",
         modern("tools/list", "", "null"),
         {kVersion, {"Mcp-Method", "tools/list"}},
         -32602},
        {"a modern header over a legacy body", legacy("tools/list"), {kVersion}, -32602},
        {"a modern header over initialize", legacy("initialize"), {kVersion}, -32020},
        {"initialize without the header", legacy("initialize"), {}, 0},
        {"a legacy header", legacy("tools/list"), {{"MCP-Protocol-Version", "2025-11-25"}}, 0},
        {"a legacy request without any header", legacy("tools/list"), {}, 0},
        {"a legacy header of nonsense is the server's business",
         legacy("tools/list"),
         {{"MCP-Protocol-Version", "x"}},
         0},
        {"a notification needs no mirrored headers",
         R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}})",
         {kVersion},
         0},
        {"a notification whose method header is another",
         R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}})",
         {kVersion, {"Mcp-Method", "tools/call"}},
         -32020},
        {"a method header that differs, of a version that the server must judge",
         modern("tools/list", "", "\"2099-01-01\""),
         {{"MCP-Protocol-Version", "2099-01-01"}, {"Mcp-Method", "tools/call"}},
         -32020},
        {"a method header that differs from an old version claimed the modern way",
         modern("tools/list", "", "\"2025-11-25\""),
         {{"MCP-Protocol-Version", "2025-11-25"}, {"Mcp-Method", "tools/call"}},
         -32020},
        {"a legacy version twice",
         legacy("tools/list"),
         {{"MCP-Protocol-Version", "2025-03-26"}, {"MCP-Protocol-Version", "2025-11-25"}},
         -32020},
        {"a legacy notification under a modern header",
         R"({"jsonrpc":"2.0","method":"notifications/cancelled"})",
         {kVersion},
         0},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        CHECK(code_of(row.body, row.fields) == row.code);
    }
}

TEST_CASE("A marked header value is decoded, any other is itself", "[proxy][eras]") {
    CHECK(proxy::decode_mirrored("us west 1") == std::optional<std::string>("us west 1"));
    CHECK(proxy::decode_mirrored("") == std::optional<std::string>(""));
    CHECK(proxy::decode_mirrored("=?base64?"
                                 "?=") == std::optional<std::string>(""));
    CHECK(proxy::decode_mirrored("=?base64?=") == std::optional<std::string>("=?base64?="));
    CHECK_FALSE(proxy::decode_mirrored("=?base64?Z?="));
}

TEST_CASE("What a header cannot hold is marked, and comes back as it was", "[proxy][eras]") {
    for (const auto* plain : {"us west 1", "", "a", "=?base64?x", "x?=", "=?BASE64?x?="})
        CHECK(proxy::encode_mirrored(plain) == plain);
    CHECK(proxy::encode_mirrored(" us-west1") == "=?base64?IHVzLXdlc3Qx?=");
    CHECK(proxy::encode_mirrored("zürich") == "=?base64?esO8cmljaA==?=");
    CHECK(proxy::encode_mirrored("=?base64?literal?=") == "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=");
    for (const std::string text : {"a\tb", "tab\t", "x ", "a\r\nX: y", "\x7f", "=?base64?b?="}) {
        const auto marked = proxy::encode_mirrored(text);
        CHECK(marked.starts_with("=?base64?"));
        CHECK(proxy::decode_mirrored(marked) == std::optional(text));
    }
}
