// Fuzzes claviger_proxy: messages of agents. What is accepted means the same to another parser.
#include "proxy/eras.h"
#include "proxy/json_rpc.h"
#include "proxy/json_span.h"
#include "tests/fuzz/require.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

using namespace claviger;
using fuzz::require;
using nlohmann::json;

namespace {

std::string text_of(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

void compare(std::string_view body, const proxy::Message& message) {
    const json other = json::parse(body, nullptr, false);
    require(other.is_object(), "another parser reads an object");
    require(text_of(other, "jsonrpc") == "2.0", "version");
    if (message.kind == proxy::MessageKind::response) {
        require(!other.contains("method") && other.contains("id"), "a response");
        require(other.contains("result") != other.contains("error"), "result or error");
        return;
    }
    require(text_of(other, "method") == message.method && !message.method.empty(), "method");
    require(other.contains("id") == (message.kind == proxy::MessageKind::request), "an id makes a request");
    if (message.kind == proxy::MessageKind::request) {
        require(json::accept(message.id), "the id is JSON");
        // Numbers beyond 64 bits lose digits in the other parser, not here.
        require(json::parse(message.id) == other["id"], "id");
        require(message.id.find_first_of(".eE") == std::string::npos || message.id[0] == '"', "no fraction");
    }
    const auto params = other.value("params", json());
    require(params.is_object() || params.is_null(), "params");
    if (!params.is_object()) return;
    require(text_of(params, "name") == message.name, "name");
    require(text_of(params, "uri") == message.uri, "uri");
    require(text_of(params, "taskId") == message.task_id, "taskId");
    require(params.contains("arguments") == message.has_arguments, "arguments");
    const auto arguments = proxy::arguments_text(body);
    require(arguments.empty() != message.has_arguments, "the arguments' text");
    if (message.has_arguments)
        require(json::parse(arguments) == params["arguments"], "the arguments' content");
    const auto meta = params.value("_meta", json());
    const bool claimed = meta.is_object() && meta.contains("io.modelcontextprotocol/protocolVersion");
    require(claimed == message.modern, "modern");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view body(reinterpret_cast<const char*>(bytes), size);
    std::string id;
    const auto message = proxy::parse_message(body, {.depth = 32}, id);
    require(id.empty() || json::accept(id), "a known id is JSON");
    if (message) {
        compare(body, *message);
        net::Headers headers;
        headers.add("MCP-Protocol-Version", "2026-07-28");
        headers.add("Mcp-Method", message->method);
        headers.add("Mcp-Name", message->name);
        proxy::check_headers(headers, *message);
    } else {
        require(message.error().kind == base::ErrorKind::invalid_request,
                "a refusal says that the input is bad");
    }
    require(proxy::valid_json(body, 32) || !message, "what is accepted is valid");
    require(json::accept(proxy::json_string(body)), "any text can be quoted");
    proxy::decode_mirrored(body);
    proxy::string_value(body);
    proxy::arguments_text(body);  // never beyond the text, whatever it is
    return 0;
}
