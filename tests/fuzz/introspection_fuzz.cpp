// Fuzzes claviger_oauth: answers about tokens (RFC 7662), the first line the content type; and what servers
// want to find in the next token.
#include "oauth/challenge.h"
#include "oauth/introspection.h"
#include "tests/fuzz/require.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

using namespace claviger;
using fuzz::require;
using namespace claviger::oauth;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const auto line_end = text.find('\n');
    const auto type =
        line_end == std::string_view::npos ? std::string_view("application/json") : text.substr(0, line_end);
    const auto body = line_end == std::string_view::npos ? text : text.substr(line_end + 1);
    const auto state = parse_introspection(type, body);
    if (!state) {
        require(!state.error().message.empty());
    } else if (!state->active) {
        require(!state->expires_at && !state->scopes);
    } else if (state->expires_at) {
        require(state->expires_at->time_since_epoch().count() >= 0);
    }
    TokenChallenge challenge;
    challenge.error = "insufficient_claims";
    challenge.claims = body;
    if (const auto claims = insufficient_claims(401, challenge)) {
        require(claims->size() <= 4096 && claims->starts_with('{'));
        require(std::ranges::all_of(*claims, [](char c) { return c >= 0x20 && c < 0x7f; }));
    }
    return 0;
}
