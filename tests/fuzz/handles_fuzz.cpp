// Fuzzes claviger_proxy: handles. However a text is cut into pieces the result is the same, another parser
// finds the handles replaced where they can stand and nowhere else, and what an agent may not know never goes
// to the server.
#include "proxy/handle_rewriter.h"
#include "proxy/json_rpc.h"
#include "proxy/json_span.h"
#include "tests/fuzz/require.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

using namespace claviger;
using fuzz::require;
using nlohmann::json;
using proxy::HandleSpot;
using proxy::Towards;

namespace {

std::string mark(HandleSpot spot, std::string_view handle) {
    return "<" + std::to_string(static_cast<int>(spot)) + std::string(handle) + ">";
}

std::string rewritten(Towards towards, std::string_view text, std::size_t piece, bool& failed) {
    proxy::HandleRewriter rewriter(
        towards, [](HandleSpot spot, std::string_view handle) { return std::optional(mark(spot, handle)); });
    std::string out;
    for (; !text.empty(); text.remove_prefix(std::min(piece, text.size())))
        rewriter.feed(text.substr(0, piece), out);
    failed = rewriter.failed().has_value();
    return out;
}

void replace(json& object, const char* key, HandleSpot spot) {
    if (object.is_object() && object.contains(key) && object[key].is_string())
        object[key] = mark(spot, object[key].get<std::string>());
}

/// By the other parser: what must have become of a result.
void replace_in_result(json& result, int nested) {
    if (!result.is_object()) return;
    replace(result, "taskId", HandleSpot::named_task);
    replace(result, "nextCursor", HandleSpot::cursor);
    replace(result, "requestState", HandleSpot::state);
    replace(result, "cacheScope", HandleSpot::scope);
    if (result.contains("task")) replace(result["task"], "taskId", HandleSpot::named_task);
    if (result.contains("tasks") && result["tasks"].is_array())
        for (auto& task : result["tasks"]) replace(task, "taskId", HandleSpot::named_task);
    if (result.contains("_meta") && result["_meta"].is_object()) {
        replace(result["_meta"], proxy::kRelatedTaskKey.data(), HandleSpot::named_task);
        if (result["_meta"].contains(proxy::kRelatedTaskKey.data()))
            replace(result["_meta"][proxy::kRelatedTaskKey.data()], "taskId", HandleSpot::named_task);
    }
    if (result.contains("result") && nested < 6) replace_in_result(result["result"], nested + 1);
}

/// A key that stands twice, or in another case, is more than the other parser's tree can say.
bool plain_keys(std::string_view text) {
    bool plain = text.find('\\') == text.npos && text.find_first_of("\x80\xc5\xe2") == text.npos;
    for (const auto* key : {"taskId", "nextCursor", "requestState", "cacheScope", "task", "tasks", "_meta",
                            "result", proxy::kRelatedTaskKey.data()}) {
        const auto lower = [](std::string_view of) {
            std::string out(of);
            std::ranges::transform(out, out.begin(), [](char c) {
                return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
            });
            return out;
        };
        const auto quoted = '"' + lower(key) + '"', in = lower(text);
        const auto first = in.find(quoted);
        if (first != in.npos)
            plain = plain && in.find(quoted, first + 1) == in.npos && text.substr(first + 1).starts_with(key);
    }
    return plain;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    for (const auto towards : {Towards::agent, Towards::server}) {
        bool failed = false, failed_in_pieces = false;
        const auto whole = rewritten(towards, text, size + 1, failed);
        for (const std::size_t piece : {1, 3}) {
            require(rewritten(towards, text, piece, failed_in_pieces) == whole, "pieces make no difference");
            require(failed == failed_in_pieces, "nor whether it fails");
        }
        if (proxy::valid_json(text, 64)) require(proxy::valid_json(whole, 64), "JSON stays JSON");
    }
    if (!proxy::valid_json(text, 64) || !plain_keys(text)) return 0;
    auto expected = json::parse(text, nullptr, false);
    if (expected.is_discarded() || !expected.is_object() || !expected.contains("result") ||
        expected.contains("params"))
        return 0;
    bool failed = false;
    const auto found = json::parse(rewritten(Towards::agent, text, size + 1, failed), nullptr, false);
    replace_in_result(expected["result"], 0);
    require(found == expected, "another parser agrees");
    return 0;
}
