// Fuzzes claviger_net: an upstream's answer, whole and in pieces, must mean the same, and never more than it
// says.
#include "net/wire_response.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using claviger::net::ResponseParser;

namespace {

struct Outcome {
    bool complete = false;
    bool keep_alive = false;
    unsigned status = 0;
    std::string fields, body, left;
    bool operator==(const Outcome&) const = default;
};

Outcome read(std::string_view text, ResponseParser::Body expected, std::size_t piece_bytes) {
    ResponseParser parser({});
    parser.start(expected);
    Outcome outcome;
    std::string pending;
    for (std::size_t at = 0; at < text.size(); at += piece_bytes) {
        pending += text.substr(at, piece_bytes);
        if (parser.complete() || !parser.fault().empty()) continue;
        const auto before = pending.size();
        const auto fed = parser.feed(pending);
        if (fed.consumed > before || fed.body.size() > before) std::abort();
        outcome.body += fed.body;
        pending.erase(0, fed.consumed);
    }
    if (outcome.body.size() > text.size()) std::abort();
    parser.end_of_stream();
    if (parser.complete() && !parser.fault().empty()) std::abort();
    if (!parser.complete()) return {};
    outcome.complete = true;
    outcome.keep_alive = parser.keep_alive();
    outcome.status = parser.head().status;
    if (outcome.status < 200 || outcome.status > 599) std::abort();
    for (std::size_t i = 0; i < parser.head().headers.size(); ++i) {
        const auto field = parser.head().headers.at(i);
        if (field.name.empty() ||
            field.value.find_first_of(std::string_view("\r\n\0", 3)) != field.value.npos)
            std::abort();
        outcome.fields.append(field.name).append(": ").append(field.value).append("\n");
    }
    outcome.left = pending;
    return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return 0;
    const auto expected = (bytes[0] & 1) != 0 ? ResponseParser::Body::none : ResponseParser::Body::as_framed;
    const std::size_t piece_bytes = 1 + (bytes[0] >> 1) % 64;
    const std::string_view text(reinterpret_cast<const char*>(bytes + 1), size - 1);
    const auto whole = read(text, expected, text.size() + 1);
    if (whole.complete && (read(text, expected, piece_bytes) != whole || read(text, expected, 1) != whole))
        std::abort();
    if (!whole.complete && (read(text, expected, piece_bytes).complete || read(text, expected, 1).complete))
        std::abort();
    return 0;
}
