// Fuzzes claviger_oauth: a profile file is refused with reasons or gives a profile that reads back the same,
// and whose URLs stay what they are whatever its variables become.
#include "oauth/provider_profile.h"
#include "tests/fuzz/require.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

using namespace claviger;
using fuzz::require;

bool printable(std::string_view text) {
    for (const char c : text)
        if (c < 0x20 || c >= 0x7f) return false;
    return true;
}

bool safe_url(std::string_view url) {
    if (url.empty()) return true;
    if (!url.starts_with("https://") && !url.starts_with("http://")) return false;
    for (const char c : url)
        if (c <= 0x20 || c >= 0x7f || c == '{' || c == '}' || c == '#' || c == '\\') return false;
    const auto rest = url.substr(url.find("//") + 2);
    return !rest.substr(0, rest.find_first_of("/?")).contains('@');
}

void check_requests(const oauth::ProviderProfile& profile) {
    for (const auto& [name, value] : profile.token_request.headers)
        require(printable(name) && printable(value) && !name.empty());
    for (const auto* parameters : {&profile.authorization.parameters, &profile.token_request.parameters,
                                   &profile.refresh_request.parameters})
        for (const auto& [name, value] : *parameters)
            require(printable(value) && name != "client_id" && name != "redirect_uri" && name != "resource");
    require(printable(profile.upstream.header) && printable(profile.upstream.scheme));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const auto profile = oauth::parse_profile(text, "sample");
    const auto problems = oauth::problems_in(text, "sample");
    require(profile.has_value() == problems.empty());
    for (const auto& problem : problems) require(!problem.message.empty() && printable(problem.member));
    if (!profile) return 0;

    const auto written = oauth::to_json(*profile);
    const auto again = oauth::parse_profile(written.dump(), "sample");
    require(again.has_value() && oauth::to_json(*again) == written);
    check_requests(*profile);
    require(!oauth::token_shapes(profile->response).empty());

    oauth::WordMap values;
    for (const auto& [name, variable] : profile->variables)
        if (variable.fallback.empty()) values[name] = "v1";
    const auto concrete = oauth::with_variables(*profile, values);
    if (!concrete) return 0;
    const auto& urls = concrete->endpoints;
    for (const auto& url :
         {concrete->issuer, urls.authorization, urls.token, urls.refresh, urls.device_authorization,
          urls.revocation, urls.introspection, concrete->resource.value})
        require(safe_url(url));
    return 0;
}
