// Fuzzes claviger_net: an event stream, whole and in pieces, and the watch against the splitter.
#include "net/sse.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

using namespace claviger::net;

namespace {

constexpr std::string_view kId = "\"a\\u00e9\"";

struct Stream {
    std::vector<std::tuple<std::string, std::string, std::string, bool>> events;
    bool answered = false;
    bool resumable = false;
    bool operator==(const Stream&) const = default;
};

Stream split(std::string_view text, std::size_t piece_bytes) {
    Stream stream;
    SseSplitter splitter;
    JsonRpcAnswerFinder finder(kId);
    std::string raw;
    for (std::size_t at = 0; at < text.size(); at += piece_bytes) {
        if (!splitter.feed(text.substr(at, piece_bytes))) std::abort();
        while (const auto event = splitter.next()) {
            raw += event->raw;
            if (event->has_id) stream.resumable = !event->id.empty();
            if (event->has_data && (event->name.empty() || event->name == "message")) {
                finder.start();
                finder.feed(event->data);
                if (finder.found()) stream.answered = true;
            }
            if (event->has_data || event->has_id || !event->name.empty())
                stream.events.emplace_back(event->data, event->name, event->id, event->has_data);
        }
    }
    if (raw + std::string(splitter.rest()) != text) std::abort();  // nothing is lost, nothing is added
    return stream;
}

Stream watch(std::string_view text, std::size_t piece_bytes) {
    SseWatcher watcher(kId);
    for (std::size_t at = 0; at < text.size(); at += piece_bytes) watcher.feed(text.substr(at, piece_bytes));
    return {{}, watcher.answered(), watcher.resumable()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    const std::size_t piece_bytes = 1 + bytes[0] % 64;
    const std::string_view text(reinterpret_cast<const char*>(bytes + 1), size - 1);
    const auto whole = split(text, size);
    if (split(text, piece_bytes) != whole || split(text, 1) != whole) std::abort();
    const auto watched = watch(text, size);
    if (watch(text, piece_bytes) != watched || watch(text, 1) != watched) std::abort();
    if (watched.answered != whole.answered || watched.resumable != whole.resumable) std::abort();
    return 0;
}
