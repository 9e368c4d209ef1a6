#include "proxy/tool_list.h"

#include "proxy/json_rpc.h"
#include "proxy/json_span.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

namespace claviger::proxy {
namespace {

constexpr std::size_t kDepth = 64;

/// Replaces spans of a text by other texts; spans come in order and do not overlap.
class Mending {
public:
    explicit Mending(std::string_view text) : text_(text) {}
    void replace(std::string_view span, std::string with) {
        edits_.push_back(
            {static_cast<std::size_t>(span.data() - text_.data()), span.size(), std::move(with)});
    }
    std::string result() {
        std::ranges::sort(edits_, {}, &Edit::at);
        std::string out;
        std::size_t done = 0;
        for (const auto& edit : edits_) {
            out.append(text_.substr(done, edit.at - done)).append(edit.with);
            done = edit.at + edit.bytes;
        }
        return out.append(text_.substr(done));
    }

private:
    struct Edit {
        std::size_t at, bytes;
        std::string with;
    };
    std::string_view text_;
    std::vector<Edit> edits_;
};

/// The array without what is hidden; nullopt when nothing is.
std::optional<std::string> visible_tools(std::string_view tools,
                                         const std::function<bool(std::string_view)>& visible) {
    std::string kept = "[";
    bool cut = !tools.starts_with('[');
    for_each_element(tools, [&](std::string_view tool) {
        const auto name_text = member(tool, "name");
        const auto name = name_text ? string_value(*name_text) : std::nullopt;
        if (name && visible(*name)) {  // a tool without a readable name cannot be allowed either
            if (kept.size() > 1) kept += ',';
            kept += tool;
        } else {
            cut = true;
        }
        return true;
    });
    if (!cut) return std::nullopt;
    return kept + "]";
}

/// Every member of a name is treated alike: whichever of two a client would take, it is a filtered one.
void mend_message(std::string_view message, const std::function<bool(std::string_view)>& visible,
                  std::uint64_t max_ttl_ms, Mending& mending) {
    for_each_member(message, [&](const std::string& key, std::string_view value) {
        if (key != "result") return true;
        for_each_member(value, [&](const std::string& field, std::string_view content) {
            if (field == "tools")
                if (auto kept = visible_tools(content, visible)) mending.replace(content, std::move(*kept));
            if (field == "cacheScope") mending.replace(content, R"("private")");
            if (field == "ttlMs") {
                std::uint64_t ttl = 0;
                const auto* end = content.data() + content.size();
                const auto read = std::from_chars(content.data(), end, ttl);
                if (read.ec != std::errc{} || read.ptr != end || ttl > max_ttl_ms)
                    mending.replace(content, std::to_string(max_ttl_ms));
            }
            return true;
        });
        return true;
    });
}

}  // namespace

base::Result<std::string> filter_tool_list(std::string_view response,
                                           const std::function<bool(std::string_view)>& visible,
                                           std::uint64_t max_ttl_ms) {
    if (!valid_json(response, kDepth))
        return base::failure(base::ErrorKind::invalid_request, "upstream.invalid",
                             "The server's tool list is not valid JSON.");
    Mending mending(response);
    const auto mend = [&](std::string_view message) {
        mend_message(message, visible, max_ttl_ms, mending);
        return true;
    };
    mend(response);
    for_each_element(response, mend);  // servers of the 2025-03-26 revision may answer with a batch
    return mending.result();
}

std::string response_id(std::string_view message) {
    if (!valid_json(message, kDepth)) return {};
    if (member(message, "method")) return {};
    const auto id = member(message, "id");
    if (!id) return {};
    const auto text = string_value(*id);  // servers may escape it differently than the client did
    return text ? json_string(*text) : std::string(*id);
}

}  // namespace claviger::proxy
