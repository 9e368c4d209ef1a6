// Fuzzes claviger_net: the request parser. However the bytes are cut, the same request or refusal must come
// out, and what was accepted must be a request that every other parser would read the same way.
#include "net/wire_request.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace claviger;
using Progress = net::RequestParser::Progress;

namespace {

net::ServerLimits small_limits() {
    net::ServerLimits limits;
    limits.header_bytes = 512;
    limits.header_fields = 8;
    limits.target_bytes = 64;
    limits.body_bytes = 256;
    return limits;
}

struct Outcome {
    Progress progress = Progress::head;
    unsigned status = 0;
    std::size_t taken = 0;
    bool keep_alive = false;
    net::Request request;
};

/// `cuts` decides by its bits where a piece ends; zero is one piece.
Outcome parse(std::string_view bytes, std::uint64_t cuts) {
    static const net::ServerLimits limits = small_limits();
    Outcome outcome;
    net::RequestParser parser(limits);
    parser.begin(outcome.request);
    std::uint64_t state = cuts;
    for (std::size_t end = 1; end <= bytes.size(); ++end) {
        state = state * 6364136223846793005u + (cuts ? 1442695040888963407u : 0);
        const bool cut = cuts == 1 || (state >> 61) == 1;  // 1: after every byte
        if (end < bytes.size() && !cut) continue;
        outcome.taken += parser.take(bytes.substr(outcome.taken, end - outcome.taken));
        if (parser.progress() == Progress::complete || parser.progress() == Progress::refused) break;
    }
    outcome.progress = parser.progress();
    if (outcome.progress == Progress::refused) outcome.status = parser.refused().status;
    if (outcome.progress == Progress::complete) outcome.keep_alive = parser.keep_alive();
    return outcome;
}

void demand(bool holds) {
    if (!holds) std::abort();
}

void compare(const Outcome& a, const Outcome& b) {
    demand(a.progress == b.progress && a.status == b.status && a.keep_alive == b.keep_alive);
    if (a.progress != Progress::complete) return;
    demand(a.taken == b.taken && a.request.method == b.request.method &&
           a.request.target == b.request.target);
    demand(a.request.body == b.request.body && a.request.headers.size() == b.request.headers.size());
    for (std::size_t i = 0; i < a.request.headers.size(); ++i) {
        demand(a.request.headers.at(i).name == b.request.headers.at(i).name);
        demand(a.request.headers.at(i).value == b.request.headers.at(i).value);
    }
}

void check_promises(const Outcome& outcome) {
    const auto& [method, target, headers, body, peer] = outcome.request;
    demand(!method.empty() && target.starts_with('/') && target.size() <= 64 && body.size() <= 256 &&
           headers.size() <= 8);
    demand(headers.count("Host") <= 1 &&
           headers.count("Content-Length") + headers.count("Transfer-Encoding") <= 1);
    for (const char c : target) demand(c > 0x20 && c < 0x7f && c != '#');
    for (std::size_t i = 0; i < headers.size(); ++i)
        for (const char c : headers.at(i).value)
            demand(c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
    if (size < 8) return 0;
    std::uint64_t cuts = 0;
    for (int i = 0; i < 8; ++i) cuts = (cuts << 8) | input[i];
    const std::string_view bytes(reinterpret_cast<const char*>(input) + 8, size - 8);

    const Outcome whole = parse(bytes, 0);
    compare(whole, parse(bytes, 1));
    compare(whole, parse(bytes, cuts | 2));
    if (whole.progress == Progress::complete) check_promises(whole);
    return 0;
}
