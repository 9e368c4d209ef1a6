// Fuzzes claviger_oauth: WWW-Authenticate fields; lines of the input are fields.
#include "oauth/challenge.h"
#include "tests/fuzz/require.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace claviger::oauth;

namespace {

using claviger::fuzz::require;

void check(const Challenge& challenge) {
    require(!challenge.scheme.empty());
    require(challenge.token68.empty() || challenge.parameters.empty());
    for (const char c : challenge.scheme) require(c > 0x20 && c < 0x7f && !(c >= 'A' && c <= 'Z'));
    for (const auto& parameter : challenge.parameters) {
        require(!parameter.name.empty() && challenge.find(parameter.name).has_value());
        for (const char c : parameter.value) require(c == '\t' || static_cast<unsigned char>(c) >= 0x20);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(bytes), size);
    std::vector<std::string_view> fields;
    while (!rest.empty()) {
        const auto end = rest.find('\n');
        fields.push_back(rest.substr(0, end));
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    const auto parsed = parse_challenges(fields);
    if (!parsed) {
        require(size > 32 * 1024);
        return 0;
    }
    for (const auto& challenge : *parsed) check(challenge);
    const auto wanted = token_challenge(*parsed);
    require(wanted.offered ||
            (wanted.error.empty() && wanted.resource_metadata.empty() && wanted.scopes.empty()));
    if (const auto scopes = insufficient_scope(403, wanted)) require(*scopes == wanted.scopes);
    return 0;
}
