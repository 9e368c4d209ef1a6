// Fuzzes claviger_proxy: tool lists. What is hidden is gone for another parser too, and the rest is what it
// was.
#include "proxy/json_span.h"
#include "proxy/tool_list.h"
#include "tests/fuzz/require.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

using namespace claviger;
using fuzz::require;
using nlohmann::json;

namespace {

bool visible(std::string_view tool) { return tool.find('h') == tool.npos; }

bool shown(const json& tool) {
    return tool.is_object() && tool.contains("name") && tool["name"].is_string() &&
           visible(tool["name"].get<std::string>());
}

/// What the answer must be, by the other parser.
void cut(json& message) {
    if (!message.is_object() || !message.contains("result") || !message["result"].is_object()) return;
    auto& result = message["result"];
    if (result.contains("tools")) {
        auto kept = json::array();
        if (result["tools"].is_array())
            for (const auto& tool : result["tools"])
                if (shown(tool)) kept.push_back(tool);
        result["tools"] = std::move(kept);
    }
    if (result.contains("cacheScope")) result["cacheScope"] = "private";
    result.erase("ttlMs");
}

void cut_all(json& message) {
    if (message.is_array())
        for (auto& each : message) cut(each);
    else
        cut(message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    proxy::response_id(text);
    const auto filtered = proxy::filter_tool_list(text, visible, 30'000);
    require(filtered.has_value() == proxy::valid_json(text, 64), "valid JSON is filtered, nothing else");
    if (!filtered) return 0;
    require(proxy::valid_json(*filtered, 64), "the result is JSON");
    require(*proxy::filter_tool_list(*filtered, visible, 30'000) == *filtered,
            "filtering twice changes nothing");

    auto expected = json::parse(text, nullptr, false), found = json::parse(*filtered, nullptr, false);
    if (expected.is_discarded()) return 0;  // numbers beyond a double, which the other parser refuses
    if (found.is_object() && found.contains("result") && found["result"].is_object() &&
        found["result"].contains("ttlMs")) {
        const auto& ttl = found["result"]["ttlMs"];
        require(ttl.is_number_unsigned() && ttl.get<std::uint64_t>() <= 30'000, "the time to live is short");
    }
    cut_all(expected);
    cut_all(found);
    require(found == expected, "another parser agrees");
    return 0;
}
